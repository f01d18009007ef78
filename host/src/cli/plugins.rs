//! `host plugin list` and `host plugin verify`.

use super::arguments::{List, Verify};
use super::assemble::{Assembled, configuration, runtime};
use super::failure::Failure;
use super::install::Installer;
use super::print;
use crate::device::Registry;
use crate::plugin::{Kind, Plugin};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Lists what is loaded and what was refused.
pub(super) fn list(arguments: &List) -> Result<ExitCode, Failure> {
    let assembled = Assembled::once(&arguments.common)?;
    let registry = &assembled.host.registry;
    if arguments.json {
        let chips: Vec<Value> = registry
            .chips()
            .iter()
            .map(|chip| {
                json!({
                    "name": chip.name, "aliases": chip.aliases, "fast_paths": chip.fast_paths.to_string(), "faults": chip.faults(),
                    "broken_promises": chip.broken_promises(), "set_aside": chip.is_set_aside(), "plugin": facts(&chip.plugin),
                })
            })
            .collect();
        let importers: Vec<Value> = registry.importers().iter().map(|plugin| facts(plugin)).collect();
        let refused: Vec<Value> = registry
            .refused()
            .iter()
            .map(|refusal| json!({ "path": refusal.path, "reason": refusal.reason }))
            .collect();
        print(&format!("{:#}\n", json!({ "chips": chips, "importers": importers, "refused": refused })))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = String::new();
    for (index, chip) in registry.chips().iter().enumerate() {
        let Kind::Chip(facts) = chip.plugin.kind() else { continue };
        let aliases =
            if chip.aliases.is_empty() { String::new() } else { format!(" (also {})", chip.aliases.join(", ")) };
        let best = if index == 0 { ", `auto` picks it" } else { "" };
        let fast_paths = &chip.fast_paths;
        let _ = writeln!(
            out,
            "chip      {}{aliases}: {} {}, {}, {} operators, fast paths {fast_paths}{best}",
            chip.name,
            facts.info.name,
            facts.info.version,
            facts.info.isa,
            facts.operators.len()
        );
        let _ = writeln!(out, "          {}", chip.plugin.path().display());
    }
    for plugin in registry.importers() {
        let Kind::Importer(facts) = plugin.kind() else { continue };
        let formats: Vec<_> = facts
            .formats
            .iter()
            .map(|format| format!("{} ({}; {})", format.name, format.versions, format.extensions.join(", ")))
            .collect();
        let _ = writeln!(out, "importer  {}\n          {}", formats.join(", "), plugin.path().display());
    }
    for refusal in registry.refused() {
        let _ = writeln!(out, "refused   {}\n          {}", refusal.path.display(), refusal.reason);
    }
    if out.is_empty() {
        let _ = writeln!(out, "no plugins; put components into {}", assembled.installer.config.plugins_dir.display());
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks one component and prints what it is and how to pin it.
pub(super) fn verify(arguments: &Verify) -> Result<ExitCode, Failure> {
    let config = Arc::new(configuration(&arguments.common)?);
    let installer =
        Installer { runtime: runtime(&config)?, registry: Arc::new(Registry::default()), config, serving: false };
    let what = format!("checking {}", arguments.file.display());
    let plugin = super::progress::during(&what, || installer.load(&arguments.file))
        .map_err(|failure| failure.at(arguments.file.display()))?;
    if arguments.json {
        print(&format!("{:#}\n", facts(&plugin)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let compiled = plugin.compiled();
    let mut out = String::new();
    match plugin.kind() {
        Kind::Chip(facts) => {
            let info = &facts.info;
            let _ =
                writeln!(out, "chip `{}`: {} {} by {}, {}", info.id, info.name, info.version, info.vendor, info.isa);
            let mut operators: Vec<_> = facts.operators.iter().map(|row| row.op.as_str()).collect();
            operators.sort_unstable();
            operators.dedup();
            let _ = writeln!(
                out,
                "runs {} operators in {} rows: {}",
                operators.len(),
                facts.operators.len(),
                operators.join(" ")
            );
            let deterministic = if info.deterministic {
                "the same bits whatever the number of shards"
            } else {
                "bits may depend on the number of shards"
            };
            let _ = writeln!(out, "at most {} shards, alignment {}, {deterministic}", info.max_shards, info.alignment);
        }
        Kind::Importer(facts) => {
            for format in &facts.formats {
                let _ = writeln!(
                    out,
                    "importer of {} ({}): versions {}, files .{}",
                    format.name,
                    format.id,
                    format.versions,
                    format.extensions.join(" .")
                );
            }
        }
    }
    let how = if compiled.cached { "taken from the cache" } else { "compiled" };
    let _ = writeln!(out, "{} bytes, {how} in {:.1} ms", compiled.component_bytes, compiled.took.as_secs_f64() * 1e3);
    let _ = writeln!(out, "to pin it:\nsha256 = \"{}\"", plugin.digest());
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

fn facts(plugin: &Plugin) -> Value {
    let compiled = plugin.compiled();
    let mut facts = json!({
        "path": plugin.path(),
        "sha256": plugin.digest().to_string(),
        "bytes": compiled.component_bytes,
        "cached": compiled.cached,
        "compile_ms": compiled.took.as_secs_f64() * 1e3,
        "memory_mib": plugin.limits().memory_bytes >> 20,
        "deadline_ms": plugin.limits().deadline.as_millis() as u64,
    });
    facts["kind"] = match plugin.kind() {
        Kind::Chip(chip) => json!({ "chip": {
            "id": chip.info.id, "name": chip.info.name, "vendor": chip.info.vendor, "version": chip.info.version, "isa": chip.info.isa,
            "vector_bits": chip.info.vector_bits, "max_shards": chip.info.max_shards, "deterministic": chip.info.deterministic,
            "operators": chip.operators.iter().map(|row| json!({ "op": row.op, "revisions": [row.revision_min, row.revision_max], "epilogues": row.epilogues })).collect::<Vec<_>>(),
        } }),
        Kind::Importer(importer) => json!({ "importer": importer.formats.iter().map(|format| {
            json!({ "id": format.id, "name": format.name, "versions": format.versions, "extensions": format.extensions })
        }).collect::<Vec<_>>() }),
    };
    facts
}
