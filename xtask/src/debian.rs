//! Debian's package manager: the lists brought up to date once, packages installed as root.

use crate::process;
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Duration;

/// Brings the package lists up to date.
pub(crate) fn update() -> Result<()> {
    if process::find("apt-get").is_none() {
        bail!("this is no Debian system: there is no apt-get");
    }
    process::run_within(&mut as_root(&["apt-get", "update", "-qq"])?, Duration::from_secs(300))
}

/// Whether the package lists have this package.
pub(crate) fn knows(package: &str) -> bool {
    let found = process::output(Command::new("apt-cache").args(["show", "--no-all-versions", package]));
    found.is_ok_and(|text| !text.is_empty())
}

/// Installs packages, without those that are only recommended.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    // The front end is named on the command line because sudo drops the environment.
    let mut words =
        vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "-y", "--no-install-recommends"];
    words.extend(packages);
    process::run_within(&mut as_root(&words)?, Duration::from_secs(1200))
}

/// The command, through sudo if we are not root.
fn as_root(words: &[&str]) -> Result<Command> {
    let user = process::output(Command::new("id").arg("-u")).unwrap_or_default();
    if user == "0" {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        return Ok(command);
    }
    if process::find("sudo").is_none() {
        bail!("installing packages needs root: run `{}` as root, then try again", words.join(" "));
    }
    let mut command = Command::new("sudo");
    command.arg("--").args(words);
    Ok(command)
}
