//! The cache folder: compiled plugins are machine code that the host will run, so nobody else may write there.

use super::Findings;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const AREA: &str = "cache";

pub(super) fn check(findings: &mut Findings, folder: &Path) {
    let shown = folder.display();
    if let Err(error) = fs::create_dir_all(folder) {
        findings.wrong(
            AREA,
            format!("{shown} cannot be made: {error}"),
            "set `cache_dir` in plugins.toml, or SUNMAO_HOME, to a folder that can be written to",
        );
        return;
    }
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    if let Err(error) = fs::write(&probe, b"x") {
        findings.wrong(
            AREA,
            format!("{shown} cannot be written to: {error}"),
            "make it writable for the host's user, or set `cache_dir` in plugins.toml",
        );
    }
    let _ = fs::remove_file(&probe);
    // Who this process is, without asking in an unsafe way.
    let own = fs::metadata("/proc/self").map(|facts| facts.uid()).ok();
    for folder in [folder.to_path_buf(), folder.join("compiled"), folder.join("models")] {
        let Ok(facts) = fs::metadata(&folder) else { continue };
        let shown = folder.display();
        if own.is_some_and(|own| own != facts.uid()) {
            findings.wrong(
                AREA,
                format!("{shown} belongs to another user (uid {})", facts.uid()),
                format!("`chown -R` it to the host's user, or remove it: `rm -r {shown}`"),
            );
        } else if facts.mode() & 0o022 != 0 {
            findings.wrong(
                AREA,
                format!("others may write to {shown} (mode {:o})", facts.mode() & 0o7777),
                format!("`chmod -R go-w {shown}`: who can write there can have the host run code"),
            );
        } else {
            findings.fine(AREA, format!("{shown} is this user's alone to write (mode {:o})", facts.mode() & 0o7777));
        }
    }
}
