//! The chapter `docs/bring-up-a-chip.md`: its commands, run as a reader would run them.

use crate::support::run;
use std::path::{Path, PathBuf};
use std::process::Command;

fn page(name: &str) -> String {
    std::fs::read_to_string(checkout().join("docs").join(name)).unwrap()
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The contents of the page's `sh` blocks, one behind the other.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect()
}

/// A folder outside of the checkout, as a vendor's is.
struct Chips(PathBuf);

impl Chips {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sunmao-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Chips {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_chapters_commands_run_from_a_new_project_to_a_served_chip() {
    let script = commands(&page("bring-up-a-chip.md"));
    assert!(script.contains("host plugin new") && script.contains("host plugin verify"), "{script}");
    let chips = Chips::new("chapter");
    let programs = Path::new(env!("CARGO_BIN_EXE_host")).parent().unwrap();
    let target = programs.parent().unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(checkout());
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    // What cargo set for this test is not the reader's.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CARGO_")) {
        shell.env_remove(name);
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it-home");
    shell.env("PATH", path).env("CHIPS", &chips.0).env("CARGO_TARGET_DIR", target).env("SUNMAO_HOME", home);
    let output = shell.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{stdout}\n{stderr}");
    assert!(stdout.contains("chip `my-chip`") && stdout.contains("Add Mul Relu Sub"), "{stdout}\n{stderr}");
    assert!(stdout.contains("good: unchanged"), "{stdout}\n{stderr}");
    for file in ["notes.npz", "report/report.html", "abi/certificate.json"] {
        assert!(chips.0.join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn both_languages_have_the_same_commands() {
    assert_eq!(commands(&page("bring-up-a-chip.md")), commands(&page("bring-up-a-chip.zh-CN.md")));
}

#[test]
fn a_project_is_not_written_over_another_one_or_without_the_sdk() {
    let chips = Chips::new("projects");
    let folder = chips.0.to_str().unwrap();
    let (stdout, _) = run(0, &["plugin", "new", "a-chip", "--dir", folder]);
    assert!(stdout.contains("a-chip") && chips.0.join("a-chip/src/lib.rs").is_file(), "{stdout}");
    let (_, error) = run(1, &["plugin", "new", "a-chip", "--dir", folder]);
    assert!(error.contains("is there already") && error.contains("--dir"), "{error}");
    let (_, error) = run(1, &["plugin", "new", "b-chip", "--dir", folder, "--sdk", folder]);
    assert!(error.contains("is not the plugin SDK") && error.contains("plugin-sdk"), "{error}");
    assert!(!chips.0.join("b-chip").exists());
    let (_, error) = run(2, &["plugin", "new", "../c", "--dir", folder]);
    assert!(error.contains("cannot be the name of a chip"), "{error}");
}
