//! Judges values against what was expected.
//!
//! Whatever is moved, counted, compared or spelled must be exact. Floating-point results are judged by their distance in units in the last place
//! (ULP) of the output's element type against the [`Bound`] of the operator; NaN equals NaN, zeros of both signs are equal, infinities must be met.
//! Near zero a distance in ULP means little, so a difference of at most `floor` is good as well.

mod chance;
mod elements;
mod tolerance;

pub use chance::{Chance, judge_by_chance};
pub use tolerance::{Tolerance, epsilon, terms, tolerance};

use crate::{CaseValue, Comparison};
use elements::{Elements, NaN};
use sunmao_graph::{DType, Tensor};

/// How far a floating-point result may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bound {
    /// Distance in ULP of the expected value.
    pub ulp: f64,
    /// Absolute difference that is good whatever the distance in ULP.
    pub floor: f64,
    /// Relative and absolute tolerance that the case grants by itself: a difference within `absolute + relative * |expected|` is good too.
    pub granted: Option<(f64, f64)>,
}

impl Bound {
    /// Nothing may differ.
    pub const EXACT: Bound = Bound { ulp: 0.0, floor: 0.0, granted: None };

    fn text(&self) -> String {
        match self.granted {
            None if *self == Bound::EXACT => "exact".to_owned(),
            None => format!("{} ULP", self.ulp),
            Some((relative, absolute)) => format!("{} ULP, or {relative} relative + {absolute}", self.ulp),
        }
    }
}

/// Compares one value; adds to `seen` what was compared. The error says where the first difference is.
pub fn judge(expected: &CaseValue, actual: &CaseValue, bound: &Bound, seen: &mut Comparison) -> Result<(), String> {
    match (expected, actual) {
        (CaseValue::Tensor(expected), CaseValue::Tensor(actual)) => judge_tensor(expected, actual, bound, seen),
        (CaseValue::Sequence(expected), CaseValue::Sequence(actual)) => {
            if expected.len() != actual.len() {
                return Err(format!("a sequence of {} values where {} are expected", actual.len(), expected.len()));
            }
            // An empty sequence is compared, too: by being one.
            seen.values += u64::from(expected.is_empty());
            for (at, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                judge(expected, actual, bound, seen).map_err(|what| format!("value {at} of the sequence: {what}"))?;
            }
            Ok(())
        }
        (CaseValue::Optional(None), CaseValue::Optional(None)) => {
            seen.values += 1;
            Ok(())
        }
        (CaseValue::Optional(Some(expected)), CaseValue::Optional(Some(actual))) => {
            judge(expected, actual, bound, seen)
        }
        (expected, actual) => Err(format!("{} where {} is expected", kind(actual), kind(expected))),
    }
}

fn kind(value: &CaseValue) -> &'static str {
    match value {
        CaseValue::Tensor(_) => "a tensor",
        CaseValue::Sequence(_) => "a sequence",
        CaseValue::Optional(None) => "an empty optional",
        CaseValue::Optional(Some(_)) => "a filled optional",
    }
}

fn judge_tensor(expected: &Tensor, actual: &Tensor, bound: &Bound, seen: &mut Comparison) -> Result<(), String> {
    check_kind(expected, actual)?;
    seen.values += 1;
    let wanted = Elements::read(expected).ok_or("the expected value is damaged")?;
    let got = Elements::read(actual).ok_or("the bytes of the value do not fit its shape")?;
    seen.elements += wanted.len() as u64;
    match (&wanted, &got) {
        (Elements::Numbers(wanted), Elements::Numbers(got)) => {
            seen.rule = bound.text();
            judge_numbers(expected.dtype, wanted, got, bound, seen).map_err(|what| located(what, &expected.shape))
        }
        _ => {
            seen.rule = "exact".to_owned();
            let count = (0..wanted.len()).filter(|&at| !wanted.same(&got, at)).count();
            match (0..wanted.len()).find(|&at| !wanted.same(&got, at)) {
                None => Ok(()),
                Some(at) => {
                    seen.as_peers = Some(false);
                    let what =
                        format!("{} instead of {} ({count} of {} differ)", got.text(at), wanted.text(at), wanted.len());
                    Err(located((at, what), &expected.shape))
                }
            }
        }
    }
}

/// Type and shape must be right before anything else is looked at.
fn check_kind(expected: &Tensor, actual: &Tensor) -> Result<(), String> {
    if actual.dtype != expected.dtype {
        return Err(format!("element type {} instead of {}", actual.dtype, expected.dtype));
    }
    if actual.shape != expected.shape {
        return Err(format!("shape {:?} instead of {:?}", actual.shape, expected.shape));
    }
    Ok(())
}

fn judge_numbers(
    dtype: DType,
    wanted: &[f64],
    got: &[f64],
    bound: &Bound,
    seen: &mut Comparison,
) -> Result<(), (usize, String)> {
    let mut worst: Option<(f64, usize)> = None;
    let mut bad = 0usize;
    let mut as_peers = true;
    for (at, (&want, &got)) in wanted.iter().zip(got).enumerate() {
        let distance = distance(dtype, want, got);
        seen.worst_ulp = seen.worst_ulp.max(distance);
        let granted = bound.granted.is_some_and(|(relative, absolute)| within(want, got, relative, absolute));
        as_peers &= distance == 0.0 || granted;
        let good = distance <= bound.ulp || (want - got).abs() <= bound.floor || granted;
        if !good {
            bad += 1;
            if worst.is_none_or(|(other, _)| distance > other) {
                worst = Some((distance, at));
            }
        }
    }
    if bound.granted.is_some() {
        seen.as_peers = Some(seen.as_peers.unwrap_or(true) && as_peers);
    }
    let Some((distance, at)) = worst else { return Ok(()) };
    let off = if distance.is_finite() {
        format!("{distance:.3} ULP off")
    } else {
        "no number where one is expected, or the reverse".to_owned()
    };
    let what =
        format!("{} instead of {} ({off}; {bad} of {} beyond {})", got[at], wanted[at], wanted.len(), bound.text());
    Err((at, what))
}

fn within(want: f64, got: f64, relative: f64, absolute: f64) -> bool {
    want.is_finite() && got.is_finite() && (want - got).abs() <= absolute + relative * want.abs()
}

/// Distance in ULP of the expected value: 0 for equal ones (NaN and NaN, both zeros), infinite where one of the two is not finite and they differ.
pub fn distance(dtype: DType, expected: f64, actual: f64) -> f64 {
    if expected == actual || (expected.is_nan() && actual.is_nan()) {
        return 0.0;
    }
    if !expected.is_finite() || !actual.is_finite() {
        return f64::INFINITY;
    }
    (expected - actual).abs() / elements::spacing(dtype, expected)
}

fn located((at, what): (usize, String), shape: &[u64]) -> String {
    let (mut rest, mut index) = (at as u64, vec![0; shape.len()]);
    for (axis, length) in shape.iter().enumerate().rev() {
        index[axis] = rest % length.max(&1);
        rest /= length.max(&1);
    }
    format!("element {index:?}: {what}")
}

/// The first `limit` elements as texts; none where the bytes do not fit the shape.
pub(crate) fn first_elements(tensor: &Tensor, limit: usize) -> Vec<String> {
    Elements::read(tensor).map_or_else(Vec::new, |all| (0..all.len().min(limit)).map(|at| all.text(at)).collect())
}

/// The largest finite magnitude among the elements of a float tensor, of all tensors in a container; 0 where there is none.
pub fn largest(value: &CaseValue) -> f64 {
    match value {
        CaseValue::Tensor(tensor) => match Elements::read(tensor) {
            Some(Elements::Numbers(numbers)) => {
                numbers.iter().map(|number| number.abs()).filter(|number| number.is_finite()).fold(0.0, f64::max)
            }
            _ => 0.0,
        },
        CaseValue::Sequence(items) => items.iter().map(largest).fold(0.0, f64::max),
        CaseValue::Optional(item) => item.as_deref().map_or(0.0, largest),
    }
}

/// Whether a byte of a small float is no number.
pub(crate) fn is_nan(dtype: DType, byte: u8) -> bool {
    NaN::of(dtype).is_some_and(|pattern| pattern.fits(byte))
}

#[cfg(test)]
mod tests;
