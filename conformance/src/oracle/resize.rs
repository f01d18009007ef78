//! `Resize` by nearest and linear interpolation; a tensor product over the axes, each worked out from its coordinate formula.

use super::index::{place, tuples};
use super::question::from_front;
use super::{Answer, Question, Reals, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    (question.op == "Resize").then(|| resize(question))
}

/// Where an output coordinate lies on the input axis.
fn coordinate(mode: &str, at: f64, scale: f64, from: f64, to: f64) -> Result<f64, Unknown> {
    Ok(match mode {
        "" | "half_pixel" => (at + 0.5) / scale - 0.5,
        "asymmetric" => at / scale,
        "align_corners" if to == 1.0 => 0.0,
        "align_corners" => at * (from - 1.0) / (to - 1.0),
        "pytorch_half_pixel" if to == 1.0 => 0.0,
        "pytorch_half_pixel" => (at + 0.5) / scale - 0.5,
        other => return Err(Unknown(format!("coordinates by {other}"))),
    })
}

fn resize(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let rank = x.shape.len();
    let attributes = question.attributes();
    if attributes.flag("antialias") || !matches!(attributes.text("keep_aspect_ratio_policy"), "" | "stretch") {
        return Err(Unknown("antialiasing and aspect ratios".into()));
    }
    let axes: Vec<usize> = match attributes.integers("axes") {
        Some(axes) if !axes.is_empty() => axes.iter().map(|&axis| from_front(axis, rank)).collect(),
        _ => (0..rank).collect(),
    };
    let (mut shape, mut scales) = (x.shape.clone(), vec![1.0; rank]);
    let given = question.optional(2).filter(|scales| scales.count() > 0);
    for (i, &axis) in axes.iter().enumerate() {
        let length = x.shape[axis] as f64;
        if let Some(given) = given {
            scales[axis] = given.reals()[i];
            shape[axis] = (length * scales[axis]).floor() as usize;
        } else {
            let sizes = question.list(3).ok_or_else(|| Unknown("Resize without scales or sizes".into()))?;
            shape[axis] = sizes[i] as usize;
            scales[axis] = sizes[i] as f64 / length;
        }
    }
    let mode = attributes.text("coordinate_transformation_mode");
    let linear = attributes.text("mode") == "linear";
    if !linear && !matches!(attributes.text("mode"), "" | "nearest") {
        return Err(Unknown(format!("Resize by {}", attributes.text("mode"))));
    }
    // For each axis and coordinate: the input indices and their weights.
    let mut taps: Vec<Vec<Vec<(usize, f64)>>> = Vec::new();
    for axis in 0..rank {
        let (from, to) = (x.shape[axis] as f64, shape[axis] as f64);
        let last = from - 1.0;
        let mut of_axis = Vec::new();
        for at in 0..shape[axis] {
            if scales[axis] == 1.0 && x.shape[axis] == shape[axis] {
                of_axis.push(vec![(at, 1.0)]);
                continue;
            }
            let source = coordinate(mode, at as f64, scales[axis], from, to)?;
            if linear {
                let share = source - source.floor();
                let ends = [(source.floor(), 1.0 - share), (source.floor() + 1.0, share)];
                of_axis.push(ends.iter().map(|&(i, weight)| (i.clamp(0.0, last) as usize, weight)).collect());
                continue;
            }
            let nearest = match attributes.text("nearest_mode") {
                "" | "round_prefer_floor" => (source - 0.5).ceil(),
                "round_prefer_ceil" => (source + 0.5).floor(),
                "floor" => source.floor(),
                "ceil" => source.ceil(),
                other => return Err(Unknown(format!("rounding by {other}"))),
            };
            of_axis.push(vec![(nearest.clamp(0.0, last) as usize, 1.0)]);
        }
        taps.push(of_axis);
    }
    if !linear {
        let from = |index: Vec<usize>| {
            let source: Vec<usize> = index.iter().enumerate().map(|(axis, &i)| taps[axis][i][0].0).collect();
            Some(place(&source, &x.shape))
        };
        return Ok(vec![Answer::stored(x.picked(&shape, tuples(&shape).map(from)))]);
    }
    let numbers = x.reals();
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for index in tuples(&shape) {
        let mut terms: Vec<(Vec<usize>, f64)> = vec![(Vec::new(), 1.0)];
        for (axis, &i) in index.iter().enumerate() {
            let longer = |(start, weight): &(Vec<usize>, f64)| {
                taps[axis][i]
                    .iter()
                    .map(|&(at, factor)| ([&start[..], &[at]].concat(), weight * factor))
                    .collect::<Vec<_>>()
            };
            terms = terms.iter().flat_map(longer).collect();
        }
        let parts = terms.iter().map(|(from, weight)| numbers[place(from, &x.shape)] * weight);
        let (sum, magnitude) = parts.fold((0.0, 0.0), |(sum, size): (f64, f64), part| (sum + part, size + part.abs()));
        values.push(sum);
        magnitudes.push(magnitude);
    }
    Ok(vec![Answer::reals(x.dtype, &shape, Reals::sums(values, magnitudes, 1 << axes.len().min(4)))])
}
