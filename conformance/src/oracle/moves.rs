//! Operators that move elements and look at none: each output element is one input element, or zero.

use super::index::{place, tuples, under};
use super::question::from_front;
use super::{Answer, Question, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "Identity" => question.tensor(0).map(|x| vec![Answer::stored(x.clone())]),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => reshape(question),
        "Transpose" => transpose(question),
        "DepthToSpace" => depth_to_space(question),
        "SpaceToDepth" => space_to_depth(question),
        "Concat" => concat(question),
        "Split" => split(question),
        "Slice" => slice(question),
        "Pad" => pad(question),
        "Expand" => expand(question),
        "Tile" => tile(question),
        "Trilu" => triangle(question),
        _ => return None,
    })
}

/// The tensor of `shape` whose element at an index is that of `x` at the place that `from` gives; none: zero.
fn moved(x: &Tensor, shape: &[usize], from: impl Fn(&[usize]) -> Option<usize>) -> Answer {
    Answer::stored(x.picked(shape, tuples(shape).map(|index| from(&index))))
}

fn reshape(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let rank = x.shape.len();
    let axes = question.list(1);
    let shape: Vec<usize> = match question.op.as_str() {
        "Flatten" => {
            let axis = question.whole("axis", 1);
            let axis = if axis < 0 { axis + rank as i64 } else { axis } as usize;
            vec![x.shape[..axis].iter().product(), x.shape[axis..].iter().product()]
        }
        "Squeeze" => {
            let gone: Option<Vec<usize>> = axes.map(|axes| axes.iter().map(|&axis| from_front(axis, rank)).collect());
            let stays = |axis: &usize| gone.as_ref().map_or(x.shape[*axis] != 1, |gone| !gone.contains(axis));
            (0..rank).filter(stays).map(|axis| x.shape[axis]).collect()
        }
        "Unsqueeze" => {
            let axes = axes.unwrap_or_default();
            let out = rank + axes.len();
            let fresh: Vec<usize> = axes.iter().map(|&axis| from_front(axis, out)).collect();
            let mut rest = x.shape.iter();
            (0..out).map(|axis| if fresh.contains(&axis) { 1 } else { *rest.next().unwrap_or(&1) }).collect()
        }
        _ => {
            let wanted = axes.unwrap_or_default();
            let kept = |axis: usize, n: i64| {
                if n == 0 && question.whole("allowzero", 0) == 0 { x.shape[axis] as i64 } else { n }
            };
            let dims: Vec<i64> = wanted.iter().enumerate().map(|(axis, &n)| kept(axis, n)).collect();
            let known: i64 = dims.iter().filter(|&&n| n >= 0).product();
            dims.iter().map(|&n| if n < 0 { x.count() / known.max(1) as usize } else { n as usize }).collect()
        }
    };
    if shape.iter().product::<usize>() != x.count() {
        return Err(Unknown(format!("{:?} as {shape:?}", x.shape)));
    }
    Ok(vec![Answer::stored(Tensor { shape, ..x.clone() })])
}

fn transpose(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let rank = x.shape.len();
    let order: Vec<usize> = match question.attributes().integers("perm") {
        Some(perm) if !perm.is_empty() => perm.iter().map(|&axis| axis as usize).collect(),
        _ => (0..rank).rev().collect(),
    };
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape[axis]).collect();
    let from = |index: &[usize]| {
        let mut source = vec![0; rank];
        order.iter().zip(index).for_each(|(&axis, &i)| source[axis] = i);
        Some(place(&source, &x.shape))
    };
    Ok(vec![moved(x, &shape, from)])
}

fn depth_to_space(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let block = question.whole("blocksize", 1) as usize;
    let &[n, c, h, w] = &x.shape[..] else { return Err(Unknown("DepthToSpace of other than four axes".into())) };
    let depth = c / block / block;
    let column_first = question.attributes().text("mode") == "CRD";
    let from = |index: &[usize]| {
        let (dy, dx) = (index[2] % block, index[3] % block);
        let channel =
            if column_first { (index[1] * block + dy) * block + dx } else { (dy * block + dx) * depth + index[1] };
        Some(place(&[index[0], channel, index[2] / block, index[3] / block], &x.shape))
    };
    Ok(vec![moved(x, &[n, depth, h * block, w * block], from)])
}

fn space_to_depth(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let block = question.whole("blocksize", 1) as usize;
    let &[n, c, h, w] = &x.shape[..] else { return Err(Unknown("SpaceToDepth of other than four axes".into())) };
    let from = |index: &[usize]| {
        let (shift, channel) = (index[1] / c, index[1] % c);
        Some(place(&[index[0], channel, index[2] * block + shift / block, index[3] * block + shift % block], &x.shape))
    };
    Ok(vec![moved(x, &[n, c * block * block, h / block, w / block], from)])
}

fn concat(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let parts: Vec<&Tensor> = (0..question.own()).map(|i| question.tensor(i)).collect::<Result<_, _>>()?;
    let axis = question.axis("axis", 0, parts[0].shape.len());
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    let numbers: Vec<Vec<i128>> = parts.iter().map(|part| part.wholes()).collect();
    let value = |mut index: Vec<usize>| {
        let mut part = 0;
        while index[axis] >= parts[part].shape[axis] {
            index[axis] -= parts[part].shape[axis];
            part += 1;
        }
        numbers[part][place(&index, &parts[part].shape)]
    };
    let values: Vec<i128> = tuples(&shape).map(value).collect();
    Ok(vec![Answer::stored(Tensor::of_wholes(parts[0].dtype, &shape, &values))])
}

fn split(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let axis = question.axis("axis", 0, x.shape.len());
    let count = question.outputs.len();
    let each = x.shape[axis].div_ceil(count);
    let lengths: Vec<usize> = match question.list(1) {
        Some(lengths) => lengths.iter().map(|&n| n as usize).collect(),
        None => (0..count).map(|i| each.min(x.shape[axis] - (i * each).min(x.shape[axis]))).collect(),
    };
    let mut start = 0;
    let mut parts = Vec::new();
    for length in lengths {
        let mut shape = x.shape.clone();
        shape[axis] = length;
        parts.push(moved(x, &shape, |index| {
            let mut from = index.to_vec();
            from[axis] += start;
            Some(place(&from, &x.shape))
        }));
        start += length;
    }
    Ok(parts)
}

fn slice(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let rank = x.shape.len();
    let missing = || Unknown("Slice without bounds".into());
    let (starts, ends) = (question.list(1).ok_or_else(missing)?, question.list(2).ok_or_else(missing)?);
    let axes = question.list(3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = question.list(4).unwrap_or_else(|| vec![1; starts.len()]);
    let mut shape = x.shape.clone();
    let mut walk = vec![(0i64, 1i64); rank];
    for i in 0..starts.len() {
        let axis = from_front(axes[i], rank);
        let n = x.shape[axis] as i64;
        let wrapped = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let (start, end, step) = (wrapped(starts[i]), wrapped(ends[i]), steps[i]);
        let (start, end) = if step > 0 {
            (start.clamp(0, n), end.clamp(0, n))
        } else {
            (start.clamp(0, (n - 1).max(0)), end.clamp(-1, n - 1))
        };
        let length = if step > 0 {
            (end - start + step - 1).div_euclid(step)
        } else {
            (start - end - step - 1).div_euclid(-step)
        };
        shape[axis] = if n == 0 { 0 } else { length.max(0) as usize };
        walk[axis] = (start, step);
    }
    let from = |index: &[usize]| {
        let source: Vec<usize> =
            index.iter().zip(&walk).map(|(&i, &(start, step))| (start + i as i64 * step) as usize).collect();
        Some(place(&source, &x.shape))
    };
    Ok(vec![moved(x, &shape, from)])
}

fn pad(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let rank = x.shape.len();
    let pads = question.list(1).ok_or_else(|| Unknown("Pad without pads".into()))?;
    let axes: Vec<usize> = match question.list(3) {
        Some(axes) => axes.iter().map(|&axis| from_front(axis, rank)).collect(),
        None => (0..rank).collect(),
    };
    let (mut begin, mut shape) = (vec![0; rank], x.shape.clone());
    for (i, &axis) in axes.iter().enumerate() {
        begin[axis] = pads[i];
        shape[axis] = (x.shape[axis] as i64 + pads[i] + pads[axes.len() + i]) as usize;
    }
    let mode = question.attributes().text("mode").to_owned();
    let value = question.optional(2).map_or(0, |value| value.wholes()[0]);
    let numbers = x.wholes();
    let element = |index: Vec<usize>| {
        let mut from = Vec::new();
        for (axis, &i) in index.iter().enumerate() {
            let (n, at) = (x.shape[axis] as i64, i as i64 - begin[axis]);
            let period = (2 * (n - 1)).max(1);
            from.push(match mode.as_str() {
                "edge" => at.clamp(0, n - 1),
                "wrap" => at.rem_euclid(n),
                "reflect" => (n - 1) - ((n - 1) - at.rem_euclid(period)).abs(),
                _ if (0..n).contains(&at) => at,
                _ => return value,
            } as usize);
        }
        numbers[place(&from, &x.shape)]
    };
    let values: Vec<i128> = tuples(&shape).map(element).collect();
    Ok(vec![Answer::stored(Tensor::of_wholes(x.dtype, &shape, &values))])
}

fn expand(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let wanted: Vec<usize> = question.list(1).unwrap_or_default().iter().map(|&n| n as usize).collect();
    let shape =
        super::index::broadcast(&[&x.shape, &wanted]).ok_or_else(|| Unknown(format!("{:?} as {wanted:?}", x.shape)))?;
    Ok(vec![moved(x, &shape, |index| Some(under(index, &x.shape)))])
}

fn tile(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let repeats = question.list(1).unwrap_or_default();
    let shape: Vec<usize> = x.shape.iter().zip(&repeats).map(|(&dim, &n)| dim * n as usize).collect();
    let from = |index: &[usize]| {
        let source: Vec<usize> = index.iter().zip(&x.shape).map(|(&i, &dim)| i % dim).collect();
        Some(place(&source, &x.shape))
    };
    Ok(vec![moved(x, &shape, from)])
}

fn triangle(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let rank = x.shape.len();
    let k = question.list(1).and_then(|k| k.first().copied()).unwrap_or(0);
    let upper = question.whole("upper", 1) != 0;
    let keeps = |index: &[usize]| {
        let beyond = index[rank - 1] as i64 - index[rank - 2] as i64 - k;
        if upper { beyond >= 0 } else { beyond <= 0 }
    };
    Ok(vec![moved(x, &x.shape, |index| keeps(index).then(|| place(index, &x.shape)))])
}
