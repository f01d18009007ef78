//! Whether outputs are right: a speed counts only then.

use crate::accuracy::deviation;
use crate::models::{Case, Kind, Tensors};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use sunmao_graph::DType;

/// The largest deviation of floats, as `accuracy::deviation` gives it.
const FLOATS: f64 = 1e-4;
/// Distances of an int8 model's answer from the exact one, in those that f32 rounding in front of the quantisers makes.
const NOISES: f64 = 1.5;
/// What is left where f32 rounding happens to move nothing.
const QUIET: f64 = 1e-3;

/// How far outputs are from what is expected, and how far they may be.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) off: f64,
    pub(crate) allowed: f64,
}

impl Verdict {
    pub(crate) fn is_right(self) -> bool {
        self.off <= self.allowed
    }
}

/// Judges outputs. Floats are compared one by one. A quantised model rounds again and again, so its answer is compared as a whole, and may be as far off as
/// the same model is from itself when f32 rounds otherwise, and half of that again. Where nothing but integers is computed nothing may differ.
pub(crate) fn judge(kind: Kind, case: &Case, outputs: &Tensors) -> Result<Verdict> {
    Ok(match kind {
        Kind::F32 | Kind::Small => Verdict { off: deviation(outputs, &case.expected)?, allowed: FLOATS },
        Kind::Exact => Verdict { off: deviation(outputs, &case.expected)?, allowed: 0.0 },
        Kind::Int8 => {
            let noise = case.noise.context("the case has no noise to compare with: run `cargo xtask models`")?;
            Verdict { off: distance(outputs, &case.expected)?, allowed: (NOISES * noise).max(QUIET) }
        }
    })
}

/// Root mean square of the difference over that of what is expected; the largest of all outputs.
fn distance(outputs: &Tensors, expected: &Tensors) -> Result<f64> {
    let mut worst = 0f64;
    for (name, want) in expected {
        let (_, got) = outputs.iter().find(|(other, _)| other == name).with_context(|| format!("no output {name}"))?;
        if got.shape != want.shape || got.dtype != want.dtype || want.dtype != DType::F32 {
            bail!("output {name} is {} {:?}, expected {} {:?}", got.dtype, got.shape, want.dtype, want.shape);
        }
        let numbers = |bytes: &[u8]| -> Vec<f64> {
            bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
        };
        let (got, want) = (numbers(&got.data), numbers(&want.data));
        let apart: f64 = got.iter().zip(&want).map(|(a, b)| (a - b) * (a - b)).sum();
        let size: f64 = want.iter().map(|x| x * x).sum();
        let ratio = (apart / size.max(f64::MIN_POSITIVE)).sqrt();
        // A NaN where a number is due must not hide behind `max`.
        worst = if ratio.is_nan() { f64::INFINITY } else { worst.max(ratio) };
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sunmao_host::session::Tensor;

    fn tensors(values: &[f32]) -> Tensors {
        let data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        vec![("y".into(), Tensor { dtype: DType::F32, shape: vec![values.len() as u64], data })]
    }

    fn case(values: &[f32], noise: f64) -> Case {
        Case { name: "c".into(), inputs: Vec::new(), expected: tensors(values), noise: Some(noise) }
    }

    #[track_caller]
    fn check(kind: Kind, outputs: &[f32], right: bool) {
        let verdict = judge(kind, &case(&[3.0, 4.0], 0.01), &tensors(outputs)).expect("comparable");
        assert_eq!(verdict.is_right(), right, "{verdict:?}");
    }

    #[test]
    fn each_kind_has_its_own_measure() {
        check(Kind::F32, &[3.0, 4.000_2], true);
        check(Kind::F32, &[3.0, 4.01], false);
        // 0.075 of 5 is one and a half times the noise.
        check(Kind::Int8, &[3.0, 4.074], true);
        check(Kind::Int8, &[3.0, 4.08], false);
        check(Kind::Exact, &[3.0, 4.0], true);
        check(Kind::Exact, &[3.0, 4.000_1], false);
    }

    #[test]
    fn what_is_no_number_is_wrong() {
        for kind in [Kind::F32, Kind::Int8, Kind::Exact] {
            check(kind, &[3.0, f32::NAN], false);
        }
    }
}
