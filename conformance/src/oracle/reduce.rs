//! Reductions and running sums.

use super::index::{place, tuples};
use super::question::from_front;
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "CumSum" | "CumProd" => cumulate(question),
        "GlobalAveragePool" => pooled(question, "ReduceMean"),
        "GlobalMaxPool" => pooled(question, "ReduceMax"),
        name if name.starts_with("Reduce") => reduce(question, name),
        _ => return None,
    })
}

fn pooled(question: &Question, name: &str) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    over(x, &(2..x.shape.len()).collect::<Vec<_>>(), true, name)
}

fn reduce(question: &Question, name: &str) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let rank = x.shape.len();
    let given = question.attributes().integers("axes").map(<[i64]>::to_vec).or_else(|| question.list(1));
    let axes: Vec<usize> = match given {
        Some(axes) if !axes.is_empty() => axes.iter().map(|&axis| from_front(axis, rank)).collect(),
        _ if question.whole("noop_with_empty_axes", 0) != 0 => Vec::new(),
        _ => (0..rank).collect(),
    };
    over(x, &axes, question.whole("keepdims", 1) != 0, name)
}

fn over(x: &Tensor, axes: &[usize], keep: bool, name: &str) -> Result<Vec<Answer>, Unknown> {
    // The places that fall together, by the place of their result with all axes kept.
    let kept: Vec<usize> =
        x.shape.iter().enumerate().map(|(axis, &dim)| if axes.contains(&axis) { 1 } else { dim }).collect();
    let mut groups = vec![Vec::new(); kept.iter().product()];
    for (at, index) in tuples(&x.shape).enumerate() {
        let to: Vec<usize> = index.iter().zip(&kept).map(|(&i, &dim)| if dim == 1 { 0 } else { i }).collect();
        groups[place(&to, &kept)].push(at);
    }
    let shape: Vec<usize> = if keep {
        kept
    } else {
        (0..x.shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| x.shape[axis]).collect()
    };
    let terms = axes.iter().map(|&axis| x.shape[axis]).product::<usize>();
    if !x.is_float() {
        let numbers = x.wholes();
        let (low, high) = super::tensor::range(x.dtype);
        let fold = |group: &Vec<usize>| -> Result<i128, Unknown> {
            let terms = group.iter().map(|&at| numbers[at]);
            Ok(match name {
                "ReduceSum" => terms.sum(),
                "ReduceProd" => terms.fold(1, i128::wrapping_mul),
                "ReduceL1" => terms.map(i128::abs).sum(),
                "ReduceSumSquare" => terms.map(|x| x.wrapping_mul(x)).fold(0, i128::wrapping_add),
                "ReduceMax" => terms.max().unwrap_or(low),
                "ReduceMin" => terms.min().unwrap_or(high),
                other => return Err(Unknown(format!("{other} of integers"))),
            })
        };
        let values: Vec<i128> = groups.iter().map(fold).collect::<Result<_, _>>()?;
        return Ok(vec![Answer::stored(Tensor::of_wholes(x.dtype, &shape, &values))]);
    }
    let numbers = x.reals();
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for group in &groups {
        let terms: Vec<f64> = group.iter().map(|&at| numbers[at]).collect();
        let (value, magnitude) = fold(name, &terms)?;
        values.push(value);
        magnitudes.push(magnitude);
    }
    let reals = match name {
        "ReduceMax" | "ReduceMin" => Reals::plain(values),
        _ => Reals::sums(values, magnitudes, terms + 1),
    };
    Ok(vec![Answer::reals(x.dtype, &shape, reals)])
}

/// The result and the sum of its terms' magnitudes.
fn fold(name: &str, terms: &[f64]) -> Result<(f64, f64), Unknown> {
    let total = |map: fn(f64) -> f64| terms.iter().map(|&x| map(x)).sum::<f64>();
    let count = terms.len() as f64;
    let extreme = |start: f64, better: fn(f64, f64) -> bool| {
        terms.iter().fold(start, |a, &b| if a.is_nan() || !b.is_nan() && !better(b, a) { a } else { b })
    };
    let both = |value: f64| (value, value.abs());
    Ok(match name {
        "ReduceSum" => (total(|x| x), total(f64::abs)),
        "ReduceMean" => (total(|x| x) / count, total(f64::abs) / count),
        "ReduceProd" => both(terms.iter().product()),
        "ReduceL1" => both(total(f64::abs)),
        "ReduceL2" => both(total(|x| x * x).sqrt()),
        "ReduceSumSquare" => both(total(|x| x * x)),
        "ReduceLogSum" => both(total(|x| x).ln()),
        "ReduceLogSumExp" => {
            let largest = extreme(f64::NEG_INFINITY, |a, b| a > b);
            let against = if largest.is_finite() { largest } else { 0.0 };
            both(against + terms.iter().map(|x| (x - against).exp()).sum::<f64>().ln())
        }
        "ReduceMax" => both(extreme(f64::NEG_INFINITY, |a, b| a > b)),
        "ReduceMin" => both(extreme(f64::INFINITY, |a, b| a < b)),
        other => return Err(Unknown(other.to_owned())),
    })
}

fn cumulate(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let axis = question
        .list(1)
        .and_then(|axis| axis.first().copied())
        .ok_or_else(|| Unknown("a running sum without an axis".into()))?;
    let axis = from_front(axis, x.shape.len());
    let (exclusive, reverse) = (question.whole("exclusive", 0) != 0, question.whole("reverse", 0) != 0);
    let product = question.op == "CumProd";
    let length = x.shape[axis];
    // The places whose elements make result `index`.
    let behind = |index: &[usize]| {
        let at = index[axis];
        let range = match (reverse, exclusive) {
            (false, false) => 0..at + 1,
            (false, true) => 0..at,
            (true, false) => at..length,
            (true, true) => at + 1..length,
        };
        let index = index.to_vec();
        let shape = x.shape.clone();
        range.map(move |i| {
            let mut from = index.clone();
            from[axis] = i;
            place(&from, &shape)
        })
    };
    if !x.is_float() {
        let numbers = x.wholes();
        let fold = |index: Vec<usize>| {
            let terms = behind(&index).map(|at| numbers[at]);
            if product { terms.fold(1, |a: i128, b| a.wrapping_mul(b)) } else { terms.sum() }
        };
        let values: Vec<i128> = tuples(&x.shape).map(fold).collect();
        return Ok(vec![Answer::stored(Tensor::of_wholes(x.dtype, &x.shape, &values))]);
    }
    let numbers = x.reals();
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for index in tuples(&x.shape) {
        let terms: Vec<f64> = behind(&index).map(|at| numbers[at]).collect();
        let value: f64 = if product { terms.iter().product() } else { terms.iter().sum() };
        values.push(value);
        magnitudes.push(if product { value.abs() } else { terms.iter().map(|x| x.abs()).sum() });
    }
    Ok(vec![Answer::reals(x.dtype, &x.shape, Reals::sums(values, magnitudes, length + 1))])
}
