//! Compares what a kernel wrote with what the oracle says.

use super::float::format;
use super::tensor::{bits, dtype};
use super::tolerance::Bound;
use super::{Answer, Content, Reals, Tensor};

/// How far a right result lies from the oracle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    /// Elements compared.
    pub elements: u64,
    /// Largest distance, in units in the last place of the output's element type.
    pub worst_ulp: f64,
}

/// The first element that is not right.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Place of the element in the output.
    pub element: usize,
    /// What is wrong, for a person.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "element {}: {}", self.element, self.what)
    }
}

/// Judges the bytes of one output: every element must be within each of the `bounds`.
/// `finite`: whether no input holds an infinity or a NaN.
pub fn judge(answer: &Answer, given: &[u8], bounds: &[Bound], finite: bool) -> Result<Distance, Fault> {
    let elements = answer.shape.iter().product::<usize>() as u64;
    if given.len() != answer.bytes() {
        let what = format!("{} bytes where {} belong", given.len(), answer.bytes());
        return Err(Fault { element: 0, what });
    }
    match &answer.content {
        Content::Bytes(expected) => judge_bytes(answer, expected, given),
        Content::Reals(reals) => judge_reals(answer, reals, given, bounds, finite),
    }
    .map(|worst_ulp| Distance { elements, worst_ulp })
}

fn judge_bytes(answer: &Answer, expected: &[u8], given: &[u8]) -> Result<f64, Fault> {
    let Some(at) = expected.iter().zip(given).position(|(a, b)| a != b) else { return Ok(0.0) };
    let element = at * 8 / bits(answer.dtype);
    let show = |bytes: &[u8]| {
        let tensor = Tensor { dtype: answer.dtype, shape: answer.shape.clone(), bytes: bytes.to_vec() };
        if tensor.is_float() { tensor.reals()[element].to_string() } else { tensor.wholes()[element].to_string() }
    };
    Err(Fault { element, what: format!("{} where {} belongs", show(given), show(expected)) })
}

fn judge_reals(answer: &Answer, reals: &Reals, given: &[u8], bounds: &[Bound], finite: bool) -> Result<f64, Fault> {
    let found = Tensor { dtype: answer.dtype, shape: answer.shape.clone(), bytes: given.to_vec() }.reals();
    let Some(format) = format(answer.dtype) else {
        return Err(Fault { element: 0, what: "the oracle has reals for an integer type".into() });
    };
    let largest =
        reals.values.iter().filter(|value| value.is_finite()).fold(0.0, |most: f64, value| most.max(value.abs()));
    // Half floats are accumulated in f32.
    let accumulator = if answer.dtype == dtype::F64 { format.epsilon() } else { f64::from(f32::EPSILON) };
    let mut worst = 0.0f64;
    for (element, (&wanted, &got)) in reals.values.iter().zip(&found).enumerate() {
        let wrong = |why: &str| {
            let rounded = format.decode(format.encode(wanted));
            Err(Fault { element, what: format!("{got:e} where {rounded:e} belongs: {why}") })
        };
        let rounded = format.decode(format.encode(wanted));
        if wanted.is_nan() || got.is_nan() {
            if wanted.is_nan() == got.is_nan() || reals.spreads && !finite && got.is_nan() {
                continue;
            }
            return wrong("a NaN on one side only");
        }
        if got == rounded {
            if got == 0.0 && reals.signed_zeros && got.is_sign_negative() != rounded.is_sign_negative() {
                return wrong("the sign of the zero");
            }
            continue;
        }
        if reals.spreads && !finite && got.is_infinite() {
            continue;
        }
        let magnitude = reals.magnitudes.get(element).copied().unwrap_or(wanted.abs());
        let step = format.step(rounded);
        let allowed = |bound: &Bound| match *bound {
            Bound::Exact => 0.0,
            Bound::Ulp(units) => (units * step).max(if units > 1.0 { format.epsilon() * largest } else { 0.0 }),
            Bound::Accumulate(factor) => factor * reals.terms as f64 * accumulator * magnitude + step / 2.0,
            Bound::Approximate(fraction) => fraction * largest + step / 2.0,
            Bound::Absolute(distance) => distance + step / 2.0,
        };
        // The oracle itself computes in f64: where that is the output's type, it may be off by as much as a kernel.
        let own = if answer.dtype == dtype::F64 && reals.terms + 1 > 1 {
            8.0 * reals.terms as f64 * format.epsilon() * magnitude
        } else {
            0.0
        };
        let allowed = bounds.iter().map(allowed).fold(f64::INFINITY, f64::min) * (1.0 + 1e-9) + own;
        if wanted.is_infinite() {
            return wrong("infinity belongs there");
        }
        if got.is_infinite() || rounded.is_infinite() {
            // At the edge of the range, what rounds to the largest number may as well overflow.
            if got.signum() == wanted.signum()
                && wanted.abs() + allowed >= format.largest()
                && (got.is_infinite() || got.abs() + allowed >= format.largest())
            {
                continue;
            }
            return wrong("an infinity on one side only");
        }
        let distance = (got - wanted).abs();
        if distance > allowed {
            return wrong(&format!("{:.3} ULP apart, {:.3} allowed", distance / step, allowed / step));
        }
        worst = worst.max(distance / step);
    }
    Ok(worst)
}
