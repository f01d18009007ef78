//! Plugins from plugins.toml and from the folder that is watched.

use crate::onnx;
use crate::support::{Folder, Server, guest, plugin, run};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn verify_prints_the_line_that_pins_and_a_pin_binds() {
    let folder = Folder::new();
    let path = plugin("portable");
    let path = path.to_str().unwrap();
    let (stdout, _) = run(0, &["plugin", "verify", path]);
    assert!(stdout.starts_with("chip `portable`"), "{stdout}");
    let pin = stdout.lines().last().unwrap();
    let config = |pin: &str| {
        let importer = plugin("import-onnx");
        let text = format!(
            "trust = \"pinned\"\nplugins_dir = {:?}\n[[plugin]]\nname = \"p\"\npath = {path:?}\n{pin}\n",
            importer.parent().unwrap()
        );
        folder.write("plugins.toml", text)
    };
    let pinned = config(pin);
    let (stdout, _) = run(0, &["plugin", "list", "--plugins", pinned.to_str().unwrap()]);
    assert!(stdout.contains("chip      portable: "), "{stdout}");
    assert!(
        stdout.contains("refused") && stdout.contains("trust = \"pinned\" takes only plugins that plugins.toml names"),
        "dropped ones are not: {stdout}"
    );
    let other = config(&format!("sha256 = \"{:064}\"", 7));
    let (stdout, _) = run(0, &["plugin", "list", "--plugins", other.to_str().unwrap()]);
    assert!(!stdout.contains("chip      portable") && stdout.contains("is the one that is pinned"), "{stdout}");
}

#[test]
fn a_file_that_is_no_plugin_is_refused_with_its_reason() {
    let folder = Folder::new();
    let garbage = folder.write("garbage.wasm", b"not a component");
    let (_, error) = run(1, &["plugin", "verify", garbage.to_str().unwrap()]);
    assert!(error.starts_with("error: ") && error.contains("garbage.wasm"), "{error}");
    let (_, error) = run(1, &["plugin", "verify", folder.path("absent.wasm").to_str().unwrap()]);
    assert!(error.contains("absent.wasm"), "{error}");
}

#[test]
fn a_plugin_dropped_while_serving_is_taken_and_a_broken_one_is_refused() {
    let folder = Folder::new();
    let model = folder.write("tiny.onnx", onnx::model("Add"));
    // Already in the cache then, so that the time measured is the host's and not the compiler's.
    run(0, &["plugin", "verify", plugin("simd128").to_str().unwrap()]);
    let config = folder.config("");
    let mut server = Server::start(&["--plugins", config.to_str().unwrap(), "--model-path", model.to_str().unwrap()]);
    server.until_ready();
    folder.write("dropped/broken.wasm", b"\0asm but not really");
    fs::copy(plugin("simd128"), folder.path("dropped/chip.wasm")).unwrap();
    let start = Instant::now();
    server.until("taken", |server| {
        server.log().lines().any(|line| line.contains("plugin loaded") && line.contains("dropped/chip.wasm"))
    });
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    server.until("refused", |server| {
        server.log().lines().any(|line| line.contains("plugin refused") && line.contains("broken.wasm"))
    });
    assert_eq!(server.post("/v2/models/tiny/infer", ASK).0, 200, "everything else goes on");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_dropped_plugin_does_not_take_the_name_of_a_configured_one() {
    let folder = Folder::new();
    let config = folder.config("");
    fs::create_dir_all(folder.path("dropped")).unwrap();
    fs::copy(plugin("portable"), folder.path("dropped/impostor.wasm")).unwrap();
    let (stdout, _) = run(0, &["plugin", "list", "--plugins", config.to_str().unwrap()]);
    assert!(stdout.contains("its id `portable` is taken by"), "{stdout}");
    assert_eq!(stdout.matches("chip      ").count(), 1);
}

const ASK: &str = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;

#[test]
fn a_model_waits_for_its_plugins_and_answers_once_they_are_dropped() {
    let folder = Folder::new();
    let model = folder.write("tiny.onnx", onnx::model("Add"));
    for name in ["simd128", "import-onnx"] {
        run(0, &["plugin", "verify", plugin(name).to_str().unwrap()]);
    }
    let dropped = folder.path("dropped");
    fs::create_dir_all(&dropped).unwrap();
    let entry = format!("[[model]]\nname = \"tiny\"\npath = {model:?}\nchip = \"simd128\"\n");
    let config = folder.write("plugins.toml", format!("plugins_dir = {dropped:?}\n[server]\nport = 0\n{entry}"));
    let mut server = Server::start(&["--plugins", config.to_str().unwrap()]);
    server.until("told", |server| server.log().contains("could not be loaded"));
    fs::copy(plugin("import-onnx"), dropped.join("importer.wasm")).unwrap();
    fs::copy(plugin("simd128"), dropped.join("chip.wasm")).unwrap();
    server.until("taken", |server| server.log().matches("plugin loaded").count() == 2);
    let start = Instant::now();
    server.until("answered", |server| server.post("/v2/models/tiny/infer", ASK).0 == 200);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_plugin_whose_file_is_gone_frees_its_name() {
    let folder = Folder::new();
    let config = folder.config("");
    let mut server = Server::start(&["--plugins", config.to_str().unwrap()]);
    server.until("up", |server| server.log().contains("plugins are loaded"));
    fs::create_dir_all(folder.path("dropped")).unwrap();
    fs::copy(plugin("simd128"), folder.path("dropped/a.wasm")).unwrap();
    let lines = |server: &Server, what: &str, file: &str| {
        server.log().lines().filter(|line| line.contains(what) && line.contains(file)).count()
    };
    server.until("taken", |server| lines(server, "plugin loaded", "a.wasm") == 1);
    fs::copy(plugin("simd128"), folder.path("dropped/b.wasm")).unwrap();
    server.until("refused", |server| lines(server, "plugin refused", "b.wasm") == 1);
    fs::remove_file(folder.path("dropped/a.wasm")).unwrap();
    server.until("taken in its place", |server| lines(server, "plugin loaded", "b.wasm") == 2);
    assert_eq!(lines(&server, "plugin refused", "b.wasm"), 1);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn of_chips_that_nobody_ranked_auto_picks_the_one_with_the_widest_vectors() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("dropped")).unwrap();
    for name in ["portable", "simd128"] {
        fs::copy(plugin(name), folder.path("dropped").join(format!("{name}.wasm"))).unwrap();
    }
    let config = folder.write("plugins.toml", "plugins_dir = \"dropped\"\n");
    let (stdout, _) = run(0, &["plugin", "list", "--plugins", config.to_str().unwrap()]);
    assert!(stdout.starts_with("chip      simd128") && stdout.contains("chip      portable"), "{stdout}");
}

#[test]
fn a_component_of_a_wasi_toolchain_needs_the_grant_and_computes_with_it() {
    let folder = Folder::new();
    let guest = guest("guest-wasi");
    let (_, error) = run(1, &["plugin", "verify", guest.to_str().unwrap()]);
    assert!(error.contains("wasi = \"inert\""), "{error}");
    let config = folder.config(&format!(
        "[[plugin]]\nname = \"guest\"\npath = {guest:?}\nwasi = \"inert\"\n[[chip]]\nname = \"guest\"\nplugin = \"guest\"\n"
    ));
    let config = config.to_str().unwrap();
    let (stdout, _) = run(0, &["plugin", "list", "--plugins", config]);
    assert!(stdout.contains("chip      guest: wasi: 0 variables, clock stands still"), "{stdout}");
    let model = folder.write("tiny.onnx", onnx::model("Add"));
    let input = format!("x={}", folder.write("x.json", "[[1, 2, 3, 4]]").display());
    let arguments =
        ["infer", model.to_str().unwrap(), "--plugins", config, "--chip", "guest", "--fast-paths", "off", "--strict"];
    let (stdout, _) = run(0, &[&arguments[..], &["-i", &input]].concat());
    assert!(stdout.contains("values  2, 4, 6, 8"), "{stdout}");
}

#[test]
fn only_signed_plugins_are_taken_when_that_is_asked() {
    let folder = Folder::new();
    let key = folder.path("secret");
    let (line, _) = run(0, &["plugin", "keygen", "-o", key.to_str().unwrap()]);
    let (_, error) = run(1, &["plugin", "keygen", "-o", key.to_str().unwrap()]);
    assert!(error.contains("never written over"), "{error}");
    fs::create_dir_all(folder.path("dropped")).unwrap();
    let dropped = folder.path("dropped/portable.wasm");
    fs::copy(plugin("portable"), &dropped).unwrap();
    let config = folder.write("plugins.toml", format!("trust = \"signed\"\n{line}plugins_dir = \"dropped\"\n"));
    let list = || run(0, &["plugin", "list", "--plugins", config.to_str().unwrap()]).0;
    assert!(list().contains("portable.wasm.sig cannot be read"), "{}", list());
    let sign = ["plugin", "sign", dropped.to_str().unwrap(), "--key", key.to_str().unwrap()];
    run(0, &sign);
    assert!(list().starts_with("chip      portable"), "{}", list());
    fs::copy(plugin("simd128"), &dropped).unwrap();
    assert!(list().contains("it was changed after it was signed"), "{}", list());
}
