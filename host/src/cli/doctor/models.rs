//! Every model: imported, checked and, where its shapes are known, planned.

use super::super::arguments;
use super::super::assemble::{Assembled, options};
use super::super::failure::Failure;
use super::super::progress::during;
use super::Findings;
use crate::catalog::{Source, scan};
use crate::session::Options;

const AREA: &str = "models";

pub(super) fn check(findings: &mut Findings, assembled: &Assembled, arguments: &arguments::Doctor) {
    let mut sources: Vec<Source> = Vec::new();
    if let Some(path) = &arguments.model_path {
        match scan(path) {
            Ok((found, notes)) => {
                sources.extend(found);
                notes.into_iter().for_each(|note| {
                    findings.note(AREA, note, "see the layout of a repository: NAME/VERSION/model.onnx")
                });
            }
            Err(error) => findings.failed(AREA, &Failure::from(error)),
        }
    }
    for model in &assembled.installer.config.models {
        let chip = (!model.chip.is_empty()).then(|| model.chip.clone());
        let threads = usize::try_from(model.threads).ok().filter(|threads| *threads > 0);
        sources.push(Source {
            name: model.name.clone(),
            version: model.version,
            path: model.path.clone(),
            chip,
            threads,
        });
    }
    let usual = options(&arguments.common);
    for source in sources {
        let options = Options {
            chip: source.chip.unwrap_or_else(|| usual.chip.clone()),
            threads: source.threads.unwrap_or(usual.threads),
            ..usual.clone()
        };
        let loaded =
            during(&format!("checking {}", source.path.display()), || assembled.session(&source.path, options));
        match loaded {
            Ok(session) => {
                let planned =
                    if session.shapes_when_known().is_some() { "planned" } else { "its shapes come with the request" };
                findings.fine(
                    AREA,
                    format!(
                        "`{}`: {} nodes on chip {}, {planned}",
                        source.name,
                        session.graph().nodes.len(),
                        session.chip().name
                    ),
                );
            }
            Err(failure) => findings.failed(AREA, &failure.at(format!("`{}`", source.name))),
        }
    }
}
