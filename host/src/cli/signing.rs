//! `host plugin keygen` and `host plugin sign`: what trust = "signed" asks for.

use super::arguments::{Keygen, Sign};
use super::failure::Failure;
use super::print;
use crate::plugin::{SecretKey, signature_path};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Makes a pair: the secret key into a file that only its owner reads, the public one to stdout as the line of plugins.toml.
pub(super) fn keygen(arguments: &Keygen) -> Result<ExitCode, Failure> {
    let path = &arguments.output;
    let failed = |error: io::Error| {
        let help = match error.kind() {
            ErrorKind::AlreadyExists => "a key is never written over: name another file, or remove that one",
            _ => "check the path, and that the folder may be written to",
        };
        Failure::new(format!("{}: {error}", path.display()), help)
    };
    let key = SecretKey::generate().map_err(failed)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key.text().as_bytes()).map_err(failed)?;
    print(&format!("trusted_keys = [\"{}\"]\n", key.public()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the signature of a component beside it.
pub(super) fn sign(arguments: &Sign) -> Result<ExitCode, Failure> {
    let unreadable =
        |path: &Path, error: io::Error| Failure::new(format!("{}: {error}", path.display()), "check the path");
    let text = fs::read_to_string(&arguments.key).map_err(|error| unreadable(&arguments.key, error))?;
    let key: SecretKey = text.parse().map_err(|error| {
        Failure::new(format!("{}: {error}", arguments.key.display()), "name the file that `host plugin keygen` wrote")
    })?;
    let component = fs::read(&arguments.file).map_err(|error| unreadable(&arguments.file, error))?;
    let target = signature_path(&arguments.file);
    fs::write(&target, key.sign(&component)).map_err(|error| {
        Failure::new(format!("{}: {error}", target.display()), "make the folder of the plugin writable")
    })?;
    print(&format!("{}\n", target.display()))?;
    Ok(ExitCode::SUCCESS)
}
