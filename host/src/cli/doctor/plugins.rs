//! Every plugin: that it loads, and that the chip that is asked for is among them.

use super::super::arguments::Common;
use super::super::assemble::{Assembled, threads};
use super::super::failure::Failure;
use super::Findings;
use crate::config::Config;
use std::sync::Arc;

const AREA: &str = "plugins";

pub(super) fn check(findings: &mut Findings, config: Arc<Config>, common: &Common) -> Option<Assembled> {
    let assembled = match Assembled::new(config, threads(common), 1) {
        Ok(assembled) => assembled,
        Err(failure) => {
            findings.failed(AREA, &failure);
            return None;
        }
    };
    let registry = &assembled.host.registry;
    for chip in registry.chips() {
        let compiled = chip.plugin.compiled();
        let how = if compiled.cached { "from the cache" } else { "compiled" };
        findings.fine(
            AREA,
            format!(
                "chip `{}` ({}): {how} in {} ms",
                chip.name,
                chip.plugin.path().display(),
                compiled.took.as_millis()
            ),
        );
    }
    for plugin in registry.importers() {
        findings.fine(AREA, format!("importer of {} ({})", plugin.id(), plugin.path().display()));
    }
    for refusal in registry.refused() {
        findings.wrong(
            AREA,
            format!("{} was refused: {}", refusal.path.display(), refusal.reason),
            "do what the reason says, or remove the file; `host plugin verify FILE` checks it again",
        );
    }
    let folder = assembled.installer.config.plugins_dir.display().to_string();
    if registry.importers().is_empty() {
        findings.wrong(
            AREA,
            "no importer is loaded: no model file can be read",
            format!("put import-onnx.wasm into {folder}; `cargo xtask build-plugins` builds it"),
        );
    }
    if let Err(error) = registry.chip(&common.chip_type) {
        findings.failed(AREA, &Failure::from(error));
    }
    Some(assembled)
}
