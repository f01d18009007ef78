//! `host package`: puts a model and the files that it refers to into one folder that can be checked as a whole.

use super::arguments;
use super::assemble::Assembled;
use super::failure::Failure;
use super::print;
use super::progress::during;
use crate::import::{ImportOptions, import};
use crate::package::{Contents, write};
use crate::session::LoadError;
use std::process::ExitCode;

/// Reads the model, so that nothing is packed that no importer takes, and writes the package.
pub(super) fn package(arguments: &arguments::Package) -> Result<ExitCode, Failure> {
    let assembled = Assembled::once(&arguments.common)?;
    let model = &arguments.model;
    assembled.needs_importer()?;
    let importers = assembled.host.registry.importers();
    let imported =
        during(&format!("reading {}", model.display()), || import(&importers, model, &ImportOptions::default()))
            .map_err(LoadError::from)?;
    let chip = arguments.common.chip_type.as_str();
    let contents = Contents {
        model,
        siblings: &imported.siblings,
        format: &imported.format,
        chip: (chip != "auto").then_some(chip),
    };
    let output = &arguments.output;
    let package = during(&format!("writing {}", output.display()), || write(output, &contents))?;
    let files = &package.manifest().files;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    print(&format!("{}: {} files, {bytes} bytes\n", output.display(), files.len()))?;
    Ok(ExitCode::SUCCESS)
}
