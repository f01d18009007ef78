//! `host infer --profile`: several measured runs of one request, and where their time goes.

use super::arguments;
use super::failure::Failure;
use super::print;
use super::progress::during;
use crate::engine::Trace;
use crate::profiling::{Profile, Setting};
use crate::session::{InferError, Session, Tensor};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs the request once unmeasured and then as often as the flags say; answers the last run's outputs.
pub(super) fn runs(
    session: &Session,
    inputs: Vec<(String, Tensor)>,
    arguments: &arguments::Infer,
) -> Result<(Vec<(String, Tensor)>, Profile), Failure> {
    let failed = |error: InferError| Failure::from(error).at(arguments.model.display());
    let mut traces = Vec::new();
    let mut outputs = during("warming up", || session.infer(inputs.clone(), &[])).map_err(failed)?;
    during("measuring", || {
        for _ in 0..arguments.repeat {
            let given = inputs.clone();
            let trace = Trace::begin();
            let start = Instant::now();
            outputs = session.infer_traced(given, &trace)?;
            traces.push((trace, u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)));
        }
        Ok::<(), InferError>(())
    })
    .map_err(failed)?;
    let model = arguments.model.file_name().unwrap_or(arguments.model.as_os_str());
    let setting = Setting {
        model: model.to_string_lossy().into_owned(),
        chip: session.chip().name.clone(),
        threads: session.threads(),
        isa: sunmao_fastpath::Isa::detect().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let profile = Profile::of(setting, &traces);
    Ok((outputs, profile.ok_or_else(|| Failure::usage("--repeat 0 measures nothing", "use at least 1"))?))
}

/// Prints the tables, and writes the page and the trace where the user wants them.
pub(super) fn report(profile: &Profile, file: Option<&Path>) -> Result<(), Failure> {
    print(&profile.to_string())?;
    let Some(file) = file else { return Ok(()) };
    for (path, text) in [(named(file, "html"), profile.page()), (named(file, "json"), profile.chrome())] {
        std::fs::write(&path, text)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display()), "check that the folder exists"))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// `FILE`, `FILE.html` and `FILE.json` all mean the same pair of files.
fn named(file: &Path, extension: &str) -> PathBuf {
    let known = file.extension().is_some_and(|extension| extension == "html" || extension == "json");
    let mut name = if known { file.with_extension("") } else { file.to_path_buf() }.into_os_string();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_makes_two_files() {
        for name in ["out/r50", "out/r50.html", "out/r50.json"] {
            assert_eq!(named(Path::new(name), "html"), Path::new("out/r50.html"));
        }
        assert_eq!(named(Path::new("v1.2"), "json"), Path::new("v1.2.json"));
    }
}
