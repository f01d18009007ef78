//! Resident memory of a second instance, and how tight activation arenas are.

use crate::figure::{Goal, Report};
use crate::models::Index;
use crate::rig::{Paths, Rig};
use anyhow::{Context, Result};
use std::process::Command;
use sunmao_host::memory::pss_bytes;

/// The environment variable that makes this program a child which loads one model and prints its memory.
const CHILD: &str = "SUNMAO_BENCH_PSS";

/// Whether this process is such a child, and with how many threads.
pub(crate) fn is_child() -> Option<usize> {
    std::env::var(CHILD).ok()?.parse().ok()
}

/// The memory figures.
pub(crate) fn measure(report: &mut Report<'_>, rig: &Rig, index: &Index, quick: bool) -> Result<()> {
    if report.wants("memory.instances") {
        let (one, two) = (grandchild(1)?, grandchild(2)?);
        report.line("memory.instances.resnet50.t2", two / one, "x", Goal::AtMost(1.1), 2);
    }
    for model in index.models.iter().take(if quick { 3 } else { usize::MAX }) {
        let name = format!("memory.arena.{}", model.name);
        let session = rig.session("simd128", 2, &index.file(model), Paths::Plugin)?;
        let mut worst = 0f64;
        let mut cases = 0;
        for case in &model.cases {
            let case = index.case(case)?;
            let shapes: Option<Vec<Vec<u64>>> = session
                .inputs()
                .iter()
                .map(|spec| case.inputs.iter().find(|(name, _)| *name == spec.name).map(|(_, t)| t.shape.clone()))
                .collect();
            let plan = session.plan(&shapes.context("a case lacks an input")?)?;
            worst = worst.max(plan.memory.slot as f64 / plan.memory.live.max(1) as f64);
            cases += 1;
        }
        report.line(&name, worst, "x", Goal::AtMost(1.05), cases);
    }
    Ok(())
}

/// Loads the model in a process of its own, so that nothing else counts.
fn grandchild(threads: usize) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(CHILD, threads.to_string())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("pss "));
    line.and_then(|bytes| bytes.parse().ok())
        .with_context(|| format!("the child printed no figure: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Loads and runs one model, and prints what this process has resident.
pub(crate) fn child(rig: &Rig, index: &Index, threads: usize) -> Result<()> {
    let model = index.model("resnet50")?;
    let session = rig.session("simd128", threads, &index.file(model), Paths::Plugin)?;
    let case = index.case(model.cases.first().context("resnet50 has no case")?)?;
    for _ in 0..3 {
        session.infer(case.inputs.clone(), &[])?;
    }
    println!("pss {}", pss_bytes()?);
    Ok(())
}
