//! `host doctor` finds what was put wrong, and names a remedy each time.

use crate::onnx;
use crate::support::{Folder, plugin, run};
use std::os::unix::fs::PermissionsExt;

#[track_caller]
fn wrong(arguments: &[&str], with: &str) {
    let mut line = vec!["doctor"];
    line.extend_from_slice(arguments);
    let (stdout, _) = run(1, &line);
    let lines: Vec<_> = stdout.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("wrong") && line.contains(with))
        .unwrap_or_else(|| panic!("{with}:\n{stdout}"));
    assert!(lines[at + 1].trim_start().starts_with("help: "), "{stdout}");
}

#[test]
fn a_machine_in_order_has_nothing_wrong() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (stdout, _) =
        run(0, &["doctor", "--plugins", config.to_str().unwrap(), "--model-path", model.to_str().unwrap()]);
    assert!(stdout.contains(" 0 wrong"), "{stdout}");
    for area in ["machine", "config", "cache", "plugins", "models"] {
        assert!(stdout.lines().any(|line| line.starts_with("ok") && line.contains(area)), "{area}\n{stdout}");
    }
}

#[test]
fn seeded_faults_are_found() {
    let folder = Folder::new();
    let check = |text: &str, with: &str| {
        let path = folder.write("plugins.toml", text);
        wrong(&["--plugins", path.to_str().unwrap()], with);
    };
    let (portable, importer) = (plugin("portable"), plugin("import-onnx"));
    let whole = format!(
        "plugins_dir = \"none\"\n[[plugin]]\nname = \"p\"\npath = {portable:?}\n[[plugin]]\nname = \"i\"\npath = {importer:?}\n"
    );
    check("[server]\nprot = 1", "unknown key `prot`");
    check("trust = \"signed\"", "without trusted_keys");
    check("trusted_keys = [\"abc\"]", "no public key");
    check("plugins_dir = \"none\"", "there is no folder");
    check(&format!("{whole}[[plugin]]\nname = \"q\"\npath = \"absent.wasm\"\n"), "absent.wasm");
    check(&whole.replacen("path", &format!("sha256 = \"{:064}\"\npath", 1), 1), "is not the one that is pinned");
    check(&format!("{whole}[[model]]\nname = \"m\"\npath = \"absent.onnx\"\n"), "absent.onnx");
    let cut = folder.write("cut.onnx", &onnx::model("Add")[..50]);
    check(&format!("{whole}[[model]]\nname = \"m\"\npath = {cut:?}\n"), "cut.onnx");
    let unknown = folder.write("unknown.onnx", onnx::model("Frobnicate"));
    check(&format!("{whole}[[model]]\nname = \"m\"\npath = {unknown:?}\n"), "Frobnicate");
    check(&whole.replace(importer.to_str().unwrap(), portable.to_str().unwrap()), "no importer is loaded");
    let garbage = folder.write("garbage.wasm", b"not a component");
    check(&format!("{whole}[[plugin]]\nname = \"g\"\npath = {garbage:?}\n"), "garbage.wasm was refused");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    check(&format!("{whole}[server]\nport = {port}\n"), "is taken by another process");
    let open = folder.path("open-to-all");
    std::fs::create_dir_all(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    check(&format!("cache_dir = {open:?}\n{whole}"), "others may write to");
    let path = folder.write("plugins.toml", &whole);
    wrong(&["--plugins", path.to_str().unwrap(), "--chip-type", "TYPE_C"], "no chip `TYPE_C`");
}
