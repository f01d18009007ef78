//! `Cast` and `CastLike` between numbers and booleans.

use super::tensor::dtype;
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    if !matches!(question.op.as_str(), "Cast" | "CastLike") {
        return None;
    }
    Some(question.tensor(0).and_then(|x| {
        let to = match question.op.as_str() {
            "Cast" => question.whole("to", 0) as u16,
            _ => question.tensor(1)?.dtype,
        };
        Ok(vec![cast(x, to)])
    }))
}

fn cast(x: &Tensor, to: u16) -> Answer {
    let floats = x.is_float();
    if to == dtype::BOOL {
        let truth: Vec<i128> = match floats {
            true => x.reals().iter().map(|&x| i128::from(x != 0.0)).collect(),
            false => x.wholes().iter().map(|&x| i128::from(x != 0)).collect(),
        };
        return Answer::stored(Tensor::of_wholes(to, &x.shape, &truth));
    }
    let to_float = super::float::format(to).is_some();
    match (floats, to_float) {
        // Integers beyond 53 bits are rounded once on the way to f64 and once more by the target; cases keep clear of where that shows.
        (_, true) => Answer::reals(to, &x.shape, Reals::exact(x.reals())),
        // Cases keep to what the integer type holds: beyond that ONNX leaves it open.
        (true, false) => Answer::stored(Tensor::of_reals(to, &x.shape, &x.reals())),
        (false, false) => Answer::stored(Tensor::of_wholes(to, &x.shape, &x.wholes())),
    }
}
