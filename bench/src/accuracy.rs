//! Whether outputs equal ONNX Runtime's, on every model, chip and thread count.

use crate::figure::{Goal, Report};
use crate::models::{Case, Files, Index, Model, Tensors};
use crate::rig::{Paths, Rig};
use anyhow::{Context, Result, bail};
use sunmao_graph::DType;

/// The largest deviation allowed, as a fraction of the largest value of the output; 1e-6 comes on top.
const LIMIT: f64 = 1e-4;
const FLOOR: f64 = 1e-6;

/// One line for each model, chip and thread count.
pub(crate) fn measure(report: &mut Report<'_>, rig: &Rig, index: &Index, quick: bool) -> Result<()> {
    for model in &index.models {
        let names: Vec<&Files> = model.cases.iter().take(if quick { 1 } else { usize::MAX }).collect();
        let cases = names.iter().map(|name| index.case(name)).collect::<Result<Vec<_>>>()?;
        for chip in ["simd128", "portable"] {
            for threads in [1, 2] {
                let name = format!("accuracy.{}.{chip}.t{threads}", model.name);
                if !report.wants(&name) || (quick && chip == "portable" && threads == 1) {
                    continue;
                }
                match worst(rig, index, model, chip, threads, &cases) {
                    Ok(value) => report.line(&name, value, "", Goal::AtMost(LIMIT), cases.len()),
                    Err(error) => report.missing(&name, &format!("{error:#}")),
                }
            }
        }
    }
    Ok(())
}

fn worst(rig: &Rig, index: &Index, model: &Model, chip: &str, threads: usize, cases: &[Case]) -> Result<f64> {
    let session = rig.session(chip, threads, &index.file(model), Paths::Plugin)?;
    let mut worst = 0f64;
    for case in cases {
        let outputs = session.infer(case.inputs.clone(), &[]).with_context(|| case.name.clone())?;
        worst = worst.max(deviation(&outputs, &case.expected).with_context(|| case.name.clone())?);
    }
    Ok(worst)
}

/// The largest deviation over all outputs, each as a fraction of its largest value, the floor taken off.
pub(crate) fn deviation(outputs: &Tensors, expected: &Tensors) -> Result<f64> {
    let mut worst = 0f64;
    for (name, want) in expected {
        let (_, got) = outputs.iter().find(|(other, _)| other == name).with_context(|| format!("no output {name}"))?;
        if got.shape != want.shape || got.dtype != want.dtype {
            bail!("output {name} is {} {:?}, expected {} {:?}", got.dtype, got.shape, want.dtype, want.shape);
        }
        if want.dtype != DType::F32 {
            if got.data != want.data {
                bail!("output {name} ({}) differs", want.dtype);
            }
            continue;
        }
        let numbers = |bytes: &[u8]| -> Vec<f64> {
            bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
        };
        let (got, want) = (numbers(&got.data), numbers(&want.data));
        let largest = want.iter().fold(0f64, |largest, x| largest.max(x.abs()));
        let off = got.iter().zip(&want).map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() });
        // A NaN where a number is due must not hide behind `max`.
        let off = off.fold(0f64, |worst, off| if off.is_nan() { f64::INFINITY } else { worst.max(off) });
        worst = worst.max((off - FLOOR).max(0.0) / largest.max(f64::MIN_POSITIVE));
    }
    if expected.is_empty() {
        bail!("no expected outputs");
    }
    Ok(worst)
}
