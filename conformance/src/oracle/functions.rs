//! Operators of one input, element by element.

use super::tensor::dtype;
use super::{Answer, Question, Reals, Tensor, Unknown};
use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

type Function = Box<dyn Fn(f64) -> f64>;

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    let name = question.op.as_str();
    let whole = whole_function(name);
    let real = function(name, &|key, default| question.real(key, default), question.attributes().text("approximate"));
    if real.is_none() && whole.is_none() && !matches!(name, "Not" | "IsNaN" | "IsInf" | "Clip") {
        return None;
    }
    Some(question.tensor(0).and_then(|x| {
        let shape = &x.shape;
        let stored = |values: Vec<i128>, dtype| Ok(vec![Answer::stored(Tensor::of_wholes(dtype, shape, &values))]);
        match (name, x.is_float(), real, whole) {
            ("Not", ..) => stored(x.wholes().iter().map(|&x| i128::from(x == 0)).collect(), dtype::BOOL),
            ("IsNaN", ..) => stored(x.reals().iter().map(|x| i128::from(x.is_nan())).collect(), dtype::BOOL),
            ("IsInf", ..) => {
                let (up, down) = (question.whole("detect_positive", 1), question.whole("detect_negative", 1));
                let is = |x: &f64| x.is_infinite() && if *x > 0.0 { up != 0 } else { down != 0 };
                stored(x.reals().iter().map(|x| i128::from(is(x))).collect(), dtype::BOOL)
            }
            ("Clip", ..) => clip(question, x),
            (_, true, Some(function), _) => {
                let values: Vec<f64> = x.reals().into_iter().map(function).collect();
                let signed_zeros = matches!(name, "Abs" | "Neg" | "Floor" | "Ceil" | "Round" | "Sqrt" | "Reciprocal");
                Ok(vec![Answer::reals(x.dtype, shape, Reals { signed_zeros, ..Reals::plain(values) })])
            }
            (_, false, _, Some(whole)) => stored(x.wholes().into_iter().map(whole).collect(), x.dtype),
            _ => Err(Unknown(format!("{name} of element type {}", x.dtype))),
        }
    }))
}

/// Cut to the bounds; the upper one wins where they cross, and a NaN stays.
fn clip(question: &Question, x: &Tensor) -> Result<Vec<Answer>, Unknown> {
    let (low, high) = (question.optional(1), question.optional(2));
    if x.is_float() {
        let bound = |bound: Option<&Tensor>| bound.map(|bound| bound.reals()[0]);
        let (low, high) = (bound(low), bound(high));
        let cut = |x: f64| {
            let x = if low.is_some_and(|low| x < low) { low.unwrap_or(x) } else { x };
            if high.is_some_and(|high| x > high) { high.unwrap_or(x) } else { x }
        };
        let values = x.reals().into_iter().map(cut).collect();
        return Ok(vec![Answer::reals(x.dtype, &x.shape, Reals::plain(values))]);
    }
    let bound = |bound: Option<&Tensor>, none| bound.map_or(none, |bound| bound.wholes()[0]);
    let (low, high) = (bound(low, i128::MIN), bound(high, i128::MAX));
    let values: Vec<i128> = x.wholes().into_iter().map(|x| x.max(low).min(high)).collect();
    Ok(vec![Answer::stored(Tensor::of_wholes(x.dtype, &x.shape, &values))])
}

fn whole_function(name: &str) -> Option<fn(i128) -> i128> {
    Some(match name {
        "Abs" => i128::abs,
        "Neg" => |x| -x,
        "Sign" => i128::signum,
        "Relu" => |x| x.max(0),
        "BitwiseNot" => |x| !x,
        _ => return None,
    })
}

/// A function of a real number by its operator's name. `number` gives attributes.
pub(super) fn function(name: &str, number: &dyn Fn(&str, f64) -> f64, approximate: &str) -> Option<Function> {
    let alpha = |default: f64| number("alpha", default);
    Some(match name {
        "Abs" => Box::new(f64::abs),
        "Neg" => Box::new(|x| -x),
        "Sign" => Box::new(|x: f64| if x == 0.0 || x.is_nan() { x } else { x.signum() }),
        "Floor" => Box::new(f64::floor),
        "Ceil" => Box::new(f64::ceil),
        "Round" => Box::new(f64::round_ties_even),
        "Sqrt" => Box::new(f64::sqrt),
        "Reciprocal" => Box::new(|x| 1.0 / x),
        "Exp" => Box::new(f64::exp),
        "Log" => Box::new(f64::ln),
        "Sin" => Box::new(f64::sin),
        "Cos" => Box::new(f64::cos),
        "Tan" => Box::new(f64::tan),
        "Asin" => Box::new(f64::asin),
        "Acos" => Box::new(f64::acos),
        "Atan" => Box::new(f64::atan),
        "Sinh" => Box::new(f64::sinh),
        "Cosh" => Box::new(f64::cosh),
        "Tanh" => Box::new(f64::tanh),
        "Asinh" => Box::new(f64::asinh),
        "Acosh" => Box::new(f64::acosh),
        "Atanh" => Box::new(f64::atanh),
        "Erf" => Box::new(erf),
        "Sigmoid" => Box::new(sigmoid),
        "Relu" => Box::new(|x| if x < 0.0 { 0.0 } else { x }),
        "LeakyRelu" => {
            let alpha = alpha(0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "ThresholdedRelu" => {
            let alpha = alpha(1.0);
            Box::new(move |x| if x > alpha || x.is_nan() { x } else { 0.0 })
        }
        "Elu" => {
            let alpha = alpha(1.0);
            Box::new(move |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        "Celu" => {
            let alpha = alpha(1.0);
            Box::new(move |x| if x < 0.0 { alpha * (x / alpha).exp_m1() } else { x })
        }
        "Selu" => {
            let (alpha, gamma) = (alpha(1.673_263_192_176_818_8), number("gamma", 1.050_701_022_148_132_3));
            Box::new(move |x| gamma * if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        "Gelu" if approximate == "tanh" => Box::new(|x| {
            let inner = (2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3));
            if x == f64::NEG_INFINITY { f64::NAN } else { 0.5 * x * (1.0 + inner.tanh()) }
        }),
        "Gelu" => Box::new(|x| x * 0.5 * erfc(-x / SQRT_2)),
        "Swish" => {
            let alpha = alpha(1.0);
            Box::new(move |x| x * sigmoid(alpha * x))
        }
        "Softplus" => Box::new(softplus),
        "Softsign" => Box::new(|x| x / (1.0 + x.abs())),
        "Mish" => Box::new(|x| x * softplus(x).tanh()),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), number("beta", 0.5));
            Box::new(move |x| between(alpha * x + beta, 0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * between(x / 6.0 + 0.5, 0.0, 1.0)),
        "Shrink" => {
            let (bias, lambda) = (number("bias", 0.0), number("lambd", 0.5));
            Box::new(move |x| {
                if x < -lambda {
                    x + bias
                } else if x > lambda {
                    x - bias
                } else {
                    0.0
                }
            })
        }
        _ => return None,
    })
}

/// `x` cut to `low..=high`; a NaN stays.
pub(super) fn between(x: f64, low: f64, high: f64) -> f64 {
    if x < low {
        low
    } else if x > high {
        high
    } else {
        x
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

pub(super) fn softplus(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

/// The error function: its Maclaurin series near zero, else one less the complement.
pub(super) fn erf(x: f64) -> f64 {
    if x.abs() > 2.5 {
        return if x < 0.0 { erfc(-x) - 1.0 } else { 1.0 - erfc(x) };
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..80 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    FRAC_2_SQRT_PI * sum
}

/// The complement of the error function: Lentz's continued fraction away from zero (Abramowitz and Stegun 7.1.14).
pub(super) fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.0 {
        return 1.0 - erf(x);
    }
    let mut tail = x;
    for n in (1..120).rev() {
        tail = x + f64::from(n) / 2.0 / tail;
    }
    (-x * x).exp() / PI.sqrt() / tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_meets_its_table() {
        // Abramowitz and Stegun, table 7.1 and 7.2.
        for (x, value) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (-1.0, -0.842_700_792_949_714_9),
        ] {
            assert!((erf(x) - value).abs() < 2e-15, "erf({x}) = {}", erf(x));
        }
        assert!((erfc(3.0) / 2.209_049_699_858_544e-5 - 1.0).abs() < 1e-12);
        assert!(erf(f64::INFINITY) == 1.0 && erf(f64::NAN).is_nan());
    }
}
