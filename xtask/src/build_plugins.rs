//! Builds components: each plugin by a cargo call of its own, then its core module becomes a component.
//!
//! One call for each, because cargo unites the features of everything that it builds at once, and a plugin that shared the SDK with an
//! importer would export both worlds.

use crate::setup::{self, Toolchain};
use crate::{componentise, process, workspace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a component goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// `plugins/`: the server loads it.
    Plugins,
    /// `target/guests/`: tests load it.
    Guests,
}

/// One component and how it is built.
struct Component {
    /// Name of the file, without `.wasm`.
    name: &'static str,
    package: &'static str,
    features: &'static [&'static str],
    /// Compiler flags for the target.
    flags: &'static [&'static str],
    place: Place,
}

/// What the chip `simd128` may use.
pub(crate) const SIMD: &[&str] = &["-Ctarget-feature=+simd128,+relaxed-simd"];

const COMPONENTS: &[Component] = &[
    Component {
        name: "portable",
        package: "sunmao-portable",
        features: &["plugin"],
        flags: &[],
        place: Place::Plugins,
    },
    Component { name: "simd128", package: "sunmao-simd128", features: &[], flags: SIMD, place: Place::Plugins },
    Component { name: "npu-sim", package: "sunmao-npu-sim", features: &[], flags: &[], place: Place::Plugins },
    Component { name: "import-onnx", package: "sunmao-import-onnx", features: &[], flags: &[], place: Place::Plugins },
    Component { name: "minimal", package: "kernel-minimal", features: &[], flags: &[], place: Place::Guests },
    Component { name: "guest", package: "sunmao-guests", features: &[], flags: &[], place: Place::Guests },
    Component {
        name: "guest-importer",
        package: "sunmao-guest-importer",
        features: &[],
        flags: &[],
        place: Place::Guests,
    },
    Component { name: "mutants", package: "sunmao-mutants", features: &[], flags: &[], place: Place::Guests },
    Component { name: "guest-wasi", package: "sunmao-guests", features: &["wasi"], flags: &[], place: Place::Guests },
];

impl Component {
    fn path(&self) -> PathBuf {
        let folder = match self.place {
            Place::Plugins => workspace::plugins(),
            Place::Guests => workspace::guests(),
        };
        folder.join(format!("{}.wasm", self.name))
    }
}

/// Builds the named components; without names the plugins, or all of them.
pub(crate) fn run(names: &[String], all: bool) -> Result<()> {
    let chosen = choose(names, all)?;
    let toolchain = setup::wasm_toolchain()?;
    let mut broken = Vec::new();
    for component in chosen {
        if let Err(error) = build(component, toolchain) {
            eprintln!("error: {error:#}");
            broken.push(component.name);
        }
    }
    if !broken.is_empty() {
        bail!("these components were not built: {}", broken.join(", "));
    }
    Ok(())
}

fn choose(names: &[String], all: bool) -> Result<Vec<&'static Component>> {
    if names.is_empty() {
        return Ok(COMPONENTS.iter().filter(|component| all || component.place == Place::Plugins).collect());
    }
    let known = || COMPONENTS.iter().map(|component| component.name).collect::<Vec<_>>().join(", ");
    let find = |name: &String| match COMPONENTS.iter().find(|component| component.name == name) {
        Some(component) => Ok(component),
        None => bail!("no component is named `{name}`: the names are {}", known()),
    };
    names.iter().map(find).collect()
}

fn build(component: &Component, toolchain: Toolchain) -> Result<()> {
    let mut cargo = toolchain.cargo_build();
    cargo.args(["--package", component.package]).args(process::lock_arguments());
    if !component.features.is_empty() {
        cargo.args(["--features", &component.features.join(",")]);
    }
    compile(cargo, toolchain, component.flags, component.package, &component.path())
}

/// Builds the plugin project of a folder that need not be in this workspace; its profile `plugin` is used, as ours is.
pub(crate) fn project(folder: &Path, output: Option<&Path>) -> Result<()> {
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest.canonicalize().with_context(|| {
        format!("{}: name the folder of a plugin project; `host plugin new` writes one", manifest.display())
    })?;
    let mut metadata = process::cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"]).arg(&manifest);
    let metadata: Value =
        serde_json::from_str(&process::output(&mut metadata)?).context("cargo metadata printed no JSON")?;
    let package = metadata["packages"][0]["name"].as_str().context("the project has no package")?;
    let beside = manifest.with_file_name(format!("{package}.wasm"));
    let toolchain = setup::wasm_toolchain()?;
    let mut cargo = toolchain.cargo_build();
    cargo.arg("--manifest-path").arg(&manifest);
    compile(cargo, toolchain, &[], package, output.unwrap_or(&beside))
}

/// Runs a prepared `cargo build` for wasm32, and makes the module that it leaves a component at `path`.
fn compile(mut cargo: Command, toolchain: Toolchain, flags: &[&str], package: &str, path: &Path) -> Result<()> {
    let target_dir = toolchain.target_dir();
    cargo.args(["--quiet", "--profile", "plugin"]).arg("--target-dir").arg(&target_dir);
    // Set for every component, so that flags in the caller's environment do not leak into one.
    cargo.env("RUSTFLAGS", flags.join(" ")).env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::run(&mut cargo)?;

    let file = format!("{}.wasm", package.replace('-', "_"));
    let module = target_dir.join("wasm32-unknown-unknown/plugin").join(file);
    let module = fs::read(&module).with_context(|| format!("the build left no {}", workspace::shown(&module)))?;
    let bytes = componentise::encode(&module)?;
    let changed = workspace::write_if_changed(path, &bytes)?;
    let note = if changed { "" } else { "  (unchanged)" };
    println!("{}  {} bytes  sha256 {}{note}", workspace::shown(path), bytes.len(), componentise::digest(&bytes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chosen: Vec<&Component>) -> Vec<&'static str> {
        chosen.iter().map(|component| component.name).collect()
    }

    #[test]
    fn without_names_the_plugins_are_built_and_the_guests_are_not() {
        assert_eq!(names(choose(&[], false).expect("chooses")), ["portable", "simd128", "npu-sim", "import-onnx"]);
        assert_eq!(choose(&[], true).expect("chooses").len(), COMPONENTS.len());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = choose(&["simd".to_owned()], false).err().expect("is unknown").to_string();
        assert!(error.contains("`simd`") && error.contains("simd128"), "{error}");
    }
}
