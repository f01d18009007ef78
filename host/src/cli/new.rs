//! `host plugin new`: writes a plugin project that builds and passes `host plugin verify` as it is.

use super::arguments::New;
use super::failure::Failure;
use super::print;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The files of a project, by their place in it.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("template/manifest.toml")),
    ("README.md", include_str!("template/readme.md")),
    ("src/lib.rs", include_str!("template/chip.rs")),
    ("src/tests.rs", include_str!("template/chip_tests.rs")),
    (".gitignore", "/target\n/*.wasm\n"),
];

/// Longest name: that of a chip's id.
const NAME_MAX_BYTES: usize = 64;
/// Names that cargo refuses for a library.
const RESERVED: &[&str] = &["alloc", "core", "proc-macro", "std", "test", "sunmao-plugin-sdk"];

/// Writes the project.
pub(super) fn new(arguments: &New) -> Result<ExitCode, Failure> {
    check_name(&arguments.name)?;
    let sdk = match &arguments.sdk {
        Some(path) => given_sdk(path)?,
        None => found_sdk()?,
    };
    let folder = arguments.dir.join(&arguments.name);
    fs::create_dir_all(&arguments.dir).and_then(|()| fs::create_dir(&folder)).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            format!("{} is there already", folder.display()),
            "choose another name, or another folder with --dir: nothing is overwritten",
        ),
        _ => Failure::new(format!("{}: {error}", folder.display()), "choose a folder that can be written with --dir"),
    })?;
    write_all(&folder, &arguments.name, &sdk).map_err(|error| {
        Failure::new(format!("{}: {error}", folder.display()), "remove what was written, make room, and try again")
    })?;
    print(&format!(
        "{}: a chip plugin with three operators\nnext, from the folder of the Sunmao checkout:\n  cargo xtask build-plugins --project {0}\n",
        folder.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn write_all(folder: &Path, name: &str, sdk: &Path) -> std::io::Result<()> {
    fs::create_dir(folder.join("src"))?;
    // A TOML string and a Rust one escape alike what a path may have.
    let quoted = format!("{:?}", sdk.display().to_string());
    for (place, text) in FILES {
        fs::write(folder.join(place), text.replace("{name}", name).replace("{sdk}", &quoted))?;
    }
    // The versions that the SDK was tested with; cargo drops the entries that the project does not need.
    let lock = sdk.with_file_name("Cargo.lock");
    if lock.is_file() {
        fs::copy(lock, folder.join("Cargo.lock"))?;
    }
    Ok(())
}

/// A name that can be a package, a file and the id of a chip.
fn check_name(name: &str) -> Result<(), Failure> {
    let sound = name.len() <= NAME_MAX_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.ends_with('-');
    if !sound {
        let help = "use a-z, 0-9 and -, a letter first, at most 64 in all, as in `my-chip`: it becomes the chip's id";
        return Err(Failure::usage(format!("`{}` cannot be the name of a chip", name.escape_debug()), help));
    }
    if RESERVED.contains(&name) {
        return Err(Failure::usage(
            format!("`{name}` is taken by the toolchain"),
            "choose another name, as in `my-chip`",
        ));
    }
    Ok(())
}

fn is_sdk(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file() && folder.join("wit").is_dir()
}

fn given_sdk(path: &Path) -> Result<PathBuf, Failure> {
    match path.canonicalize() {
        Ok(folder) if is_sdk(&folder) => Ok(folder),
        _ => Err(Failure::new(
            format!("{} is not the plugin SDK", path.display()),
            "name the folder `plugin-sdk` of a Sunmao checkout",
        )),
    }
}

/// The SDK of the checkout that this program was built in, or of the one that the working directory lies in.
fn found_sdk() -> Result<PathBuf, Failure> {
    let starts = [std::env::current_exe().and_then(|program| program.canonicalize()), std::env::current_dir()];
    let mut candidates =
        starts.iter().flatten().flat_map(|start| start.ancestors()).map(|folder| folder.join("plugin-sdk"));
    candidates.find(|folder| is_sdk(folder)).ok_or_else(|| {
        Failure::new(
            "the plugin SDK is neither beside this program nor above the working directory",
            "name it with --sdk: the folder `plugin-sdk` of a Sunmao checkout",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_a_chips_are_refused_with_a_remedy() {
        for name in ["", "My-Chip", "7up", "-x", "x-", "a b", "../x", "naïve", &"x".repeat(65), "core"] {
            let failure = check_name(name).expect_err(name);
            assert!(failure.code() == 2 && failure.help().contains("my-chip"), "{failure}");
        }
        check_name("npu-9000").expect("a sound name");
    }
}
