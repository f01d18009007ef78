//! Measures the peers that the figures are compared with: onnxruntime-web's wasm backend, in Node, on this machine.

use crate::{debian, models, process, workspace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Times every model, or the named ones, at each thread count.
pub(crate) fn run(names: &[String], threads: &[u32]) -> Result<()> {
    let folder = models::run(false)?;
    install_peers(&folder)?;
    let index = fs::read(folder.join("index.json")).context("cannot read the models' index.json")?;
    let index: Value = serde_json::from_slice(&index).context("the models' index.json is no JSON")?;
    let listed = index["models"].as_array().context("the models' index.json lists no models")?;
    let known: Vec<&str> = listed.iter().filter_map(|model| model["name"].as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no model is named `{unknown}`: the names are {}", known.join(", "));
    }

    println!(
        "{:<16} {:>7} {:>11} {:>11}  onnxruntime-web, wasm, first case of each model",
        "model", "threads", "median ms", "least ms"
    );
    for model in listed {
        let (Some(name), Some(file)) = (model["name"].as_str(), model["file"].as_str()) else { continue };
        let Some(inputs) = model["cases"][0]["inputs"].as_str() else { continue };
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        for &count in threads {
            let mut node = Command::new("node");
            node.arg(models::bench("peers/ortweb.mjs")).arg("--peers").arg(folder.join(".peers"));
            node.arg("--model").arg(folder.join(file)).arg("--inputs").arg(folder.join(inputs));
            node.args(["--threads", &count.to_string()]);
            let line = process::output(&mut node)?;
            let measured: Value = serde_json::from_str(&line).with_context(|| format!("the peer printed `{line}`"))?;
            let number = |key: &str| measured[key].as_f64().with_context(|| format!("the peer gave no {key}"));
            println!("{name:<16} {count:>7} {:>11.2} {:>11.2}", number("median_ms")?, number("min_ms")?);
        }
    }
    Ok(())
}

/// Installs the peers of `bench/peers/package.json` into `.peers` of the models' folder, once.
pub(crate) fn install_peers(models: &Path) -> Result<()> {
    let folder = models.join(".peers");
    let manifest = models::bench("peers/package.json");
    let wanted = fs::read(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let installed = folder.join("installed.json");
    if fs::read(&installed).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    if process::find("node").is_none() || process::find("npm").is_none() {
        debian::update()?;
        debian::install(&["nodejs", "npm"])?;
    }
    workspace::make(&folder)?;
    workspace::write_if_changed(&folder.join("package.json"), &wanted)?;
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]);
    process::run(&mut npm)?;
    workspace::write_if_changed(&installed, &wanted).map(drop)
}
