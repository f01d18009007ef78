//! Plugins from plugins.toml and from the folder that is watched.

use crate::onnx;
use crate::support::{Folder, Server, plugin, run};
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
    let ask = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;
    assert_eq!(server.post("/v2/models/tiny/infer", ask).0, 200, "everything else goes on");
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
