//! `host tune`: measures the operations of models by everybody who runs them, into a file that plans are then made by.

use super::arguments::{self, Common};
use super::assemble::{Assembled, options, threads};
use super::failure::Failure;
use super::inspect::shapes;
use super::progress::during;
use crate::device::Costs;
use crate::tune::{Tuner, origin};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Largest file of costs that is read, bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Measures what the file does not know yet, and writes it.
pub(super) fn tune(arguments: &arguments::Tune) -> Result<ExitCode, Failure> {
    let assembled = Assembled::once(&arguments.common)?;
    let here = origin(threads(&arguments.common));
    let mut costs = match arguments.output.exists() {
        true => read(&arguments.output, &arguments.common)?,
        false => Costs::new(here.clone()),
    };
    for model in &arguments.model {
        let name = model.display();
        let session = during(&format!("loading {name}"), || assembled.session(model, options(&arguments.common)))?;
        let Some(shapes) = shapes(&session, &arguments.shape)? else {
            tracing::warn!(model = %name, "its shapes are open or it runs in several steps, so there is no plan to measure; shapes are given with --shape NAME=1x3x224x224");
            continue;
        };
        let plan =
            during("planning", || session.plan(&shapes)).map_err(|error| Failure::from(error).at(model.display()))?;
        let tuner = Tuner { chip: session.chip(), team: &assembled.host.team, threads: here.threads };
        let measured = during(&format!("measuring {name}"), || tuner.measure_plan(&plan, &mut costs));
        eprintln!("{name}: {measured} operations measured, {} known", costs.len());
        // After each model, so that an end before the last one loses little.
        write(&arguments.output, &costs)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The costs of the file that `--tune` names.
pub(super) fn given(common: &Common) -> Result<Option<Arc<Costs>>, Failure> {
    common.tune.as_deref().map(|path| read(path, common).map(Arc::new)).transpose()
}

fn read(path: &Path, common: &Common) -> Result<Costs, Failure> {
    let unreadable = |error: String| Failure::new(format!("{}: {error}", path.display()), "`host tune` writes it");
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("{size} bytes, at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    Costs::read(&text, &origin(threads(common))).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()), "measure again on this machine with `host tune`")
    })
}

fn write(path: &Path, costs: &Costs) -> Result<(), Failure> {
    // Whole or not at all: a half-written file would be refused by the next start.
    let beside = path.with_extension("part");
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()), "check where -o points");
    std::fs::write(&beside, costs.text()).and_then(|()| std::fs::rename(&beside, path)).map_err(failed)
}
