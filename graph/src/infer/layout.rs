//! Operators that move elements without computing: reshape, transpose, concat, split, slice, pad, expand, tile.

use super::elementwise::broadcast;
use super::numbers::as_dim;
use super::{Elem, Fact, Facts, Scope, axis_index, length, unify};
use crate::{Dim, SymbolId};

pub(super) fn covers(op: &str) -> bool {
    matches!(
        op,
        "Reshape"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Transpose"
            | "Concat"
            | "Split"
            | "Slice"
            | "Pad"
            | "Expand"
            | "Tile"
            | "DepthToSpace"
            | "SpaceToDepth"
            | "CenterCropPad"
            | "Trilu"
            | "ReverseSequence"
    )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let one = |shape: Option<Vec<Dim>>| Ok(vec![Fact::new(scope.dtype(0), shape)]);
    match scope.node.op.as_str() {
        "Concat" => {
            for index in 1..scope.node.own_inputs() {
                scope.same_dtype(0, index)?;
            }
            one(concat(scope)?)
        }
        "Split" => split(scope),
        // Its shape may follow from the target alone.
        "Reshape" => one(reshape(scope)?),
        op => {
            let Some(shape) = scope.shape(0) else { return one(None) };
            one(match op {
                "Flatten" => Some(flatten(scope, shape)?),
                "Squeeze" => squeeze(scope, shape)?,
                "Unsqueeze" => unsqueeze(scope, shape)?,
                "Transpose" => Some(transpose(scope, shape)?),
                "Slice" => slice(scope, shape)?,
                "Pad" => pad(scope, shape)?,
                "Expand" => expand(scope, shape)?,
                "Tile" => tile(scope, shape)?,
                "DepthToSpace" | "SpaceToDepth" => Some(depth_space(scope, shape)?),
                "CenterCropPad" => Some(center_crop(scope, shape)?),
                _ => Some(shape.to_vec()),
            })
        }
    }
}

/// A product of lengths: the numbers multiplied, the symbols counted, and whether anything else was in it.
struct Product {
    number: u64,
    symbols: Vec<SymbolId>,
    unknown: bool,
}

fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Result<Product, String> {
    let mut result = Product { number: 1, symbols: vec![], unknown: false };
    for dim in dims {
        match dim {
            Dim::Known(n) => result.number = result.number.checked_mul(*n).ok_or("has too many elements")?,
            Dim::Symbol(symbol) => result.symbols.push(*symbol),
            Dim::Unknown => result.unknown = true,
        }
    }
    result.symbols.sort_unstable();
    Ok(result)
}

/// The length that makes `rest` times it equal to `whole`, as far as it can be told.
fn quotient(whole: &Product, rest: &Product) -> Result<Dim, String> {
    if whole.unknown || rest.unknown {
        return Ok(Dim::Unknown);
    }
    let mut left = whole.symbols.clone();
    for symbol in &rest.symbols {
        match left.iter().position(|own| own == symbol) {
            Some(place) => {
                left.swap_remove(place);
            }
            None => return Ok(Dim::Unknown),
        }
    }
    match (left.as_slice(), rest.number) {
        ([], 0) | ([_], 0) => Ok(Dim::Unknown),
        ([], n) if whole.number.is_multiple_of(n) => Ok(Dim::Known(whole.number / n)),
        ([], n) => Err(format!("cannot divide {} elements into rows of {n}", whole.number)),
        ([symbol], n) if n == whole.number => Ok(Dim::Symbol(*symbol)),
        _ => Ok(Dim::Unknown),
    }
}

fn reshape(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    let input = scope.shape(0);
    let Some(target) = scope.elems(1) else {
        // At least the rank may be known.
        return Ok(match scope.shape(1) {
            Some([Dim::Known(rank)]) if *rank <= 64 => Some(vec![Dim::Unknown; *rank as usize]),
            _ => None,
        });
    };
    let keeps_zero = scope.attribute("allowzero", 0) != 0;
    let mut shape = Vec::with_capacity(target.len());
    let mut inferred = None;
    for (axis, elem) in target.iter().enumerate() {
        shape.push(match elem {
            Elem::Int(-1) if inferred.is_some() => return Err("has two -1 in its target".to_owned()),
            Elem::Int(-1) => {
                inferred = Some(axis);
                Dim::Unknown
            }
            Elem::Int(0) if !keeps_zero => match input {
                Some(input) => {
                    *input.get(axis).ok_or_else(|| format!("copies axis {axis} of an input of rank {}", input.len()))?
                }
                None => Dim::Unknown,
            },
            other => as_dim(*other)?,
        });
    }
    if let Some(input) = input {
        let whole = product(input)?;
        let rest = product(shape.iter().enumerate().filter(|(axis, _)| Some(*axis) != inferred).map(|(_, dim)| dim))?;
        match inferred {
            Some(axis) => shape[axis] = quotient(&whole, &rest)?,
            None => {
                let settled = |product: &Product| !product.unknown && product.symbols.is_empty();
                if settled(&whole) && settled(&rest) && whole.number != rest.number {
                    return Err(format!("reshapes {} elements into {}", whole.number, rest.number));
                }
                // One length that is not known follows from the others.
                let open: Vec<usize> = (0..shape.len()).filter(|axis| shape[*axis] == Dim::Unknown).collect();
                if let [axis] = open[..] {
                    let others =
                        product(shape.iter().enumerate().filter(|(other, _)| *other != axis).map(|(_, dim)| dim))?;
                    shape[axis] = quotient(&whole, &others)?;
                }
            }
        }
    }
    Ok(Some(shape))
}

fn flatten(scope: &Scope<'_>, shape: &[Dim]) -> Result<Vec<Dim>, String> {
    let axis = scope.attribute("axis", 1);
    // Here axis == rank is allowed.
    let axis = if axis == shape.len() as i64 { shape.len() } else { axis_index(axis, shape.len().max(1))? };
    let join = |dims: &[Dim]| -> Result<Dim, String> { quotient(&product(dims)?, &product(&[])?) };
    Ok(vec![join(&shape[..axis])?, join(&shape[axis..])?])
}

fn squeeze(scope: &Scope<'_>, shape: &[Dim]) -> Result<Option<Vec<Dim>>, String> {
    let mut gone = vec![false; shape.len()];
    if scope.has(1) {
        let Some(axes) = scope.integers(1) else { return Ok(None) };
        for axis in axes {
            let axis = axis_index(axis, shape.len())?;
            if let Dim::Known(length) = shape[axis]
                && length != 1
            {
                return Err(format!("removes axis {axis}, which has length {length} and not 1"));
            }
            gone[axis] = true;
        }
    } else {
        for (axis, dim) in shape.iter().enumerate() {
            match dim {
                Dim::Known(length) => gone[axis] = *length == 1,
                _ => return Ok(None),
            }
        }
    }
    Ok(Some(shape.iter().zip(gone).filter(|(_, gone)| !gone).map(|(dim, _)| *dim).collect()))
}

fn unsqueeze(scope: &Scope<'_>, shape: &[Dim]) -> Result<Option<Vec<Dim>>, String> {
    let Some(axes) = scope.integers(1) else { return Ok(None) };
    let rank = shape.len() + axes.len();
    let mut fresh = vec![false; rank];
    for axis in axes {
        if std::mem::replace(&mut fresh[axis_index(axis, rank)?], true) {
            return Err(format!("names axis {axis} twice"));
        }
    }
    let mut old = shape.iter();
    Ok(Some(
        fresh
            .into_iter()
            .map(|fresh| if fresh { Dim::Known(1) } else { old.next().copied().unwrap_or(Dim::Known(1)) })
            .collect(),
    ))
}

fn transpose(scope: &Scope<'_>, shape: &[Dim]) -> Result<Vec<Dim>, String> {
    match scope.node.integers("perm") {
        None => Ok(shape.iter().rev().copied().collect()),
        Some(perm) => {
            let mut seen = vec![false; shape.len()];
            if perm.len() != shape.len() {
                return Err(format!("permutes {} axes of a tensor of rank {}", perm.len(), shape.len()));
            }
            perm.iter()
                .map(|axis| {
                    let axis = axis_index(*axis, shape.len())?;
                    if std::mem::replace(&mut seen[axis], true) {
                        return Err(format!("names axis {axis} twice"));
                    }
                    Ok(shape[axis])
                })
                .collect()
        }
    }
}

fn concat(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    let mut result: Option<Vec<Dim>> = None;
    for index in 0..scope.node.own_inputs() {
        let Some(shape) = scope.shape(index) else { return Ok(None) };
        let axis = axis_index(scope.attribute("axis", 0), shape.len())?;
        let Some(so_far) = &mut result else {
            result = Some(shape.to_vec());
            continue;
        };
        if so_far.len() != shape.len() {
            return Err(format!("joins tensors of rank {} and {}", so_far.len(), shape.len()));
        }
        for (at, (mine, other)) in so_far.iter_mut().zip(shape).enumerate() {
            *mine = if at == axis {
                match (*mine, *other) {
                    (Dim::Known(a), Dim::Known(b)) => Dim::Known(a.checked_add(b).ok_or("has too long a result")?),
                    (Dim::Known(0), b) => b,
                    (a, Dim::Known(0)) => a,
                    _ => Dim::Unknown,
                }
            } else {
                unify(*mine, *other)
                    .map_err(|(x, y)| format!("joins tensors whose axis {at} has length {x} and {y}"))?
            };
        }
    }
    Ok(result)
}

fn split(scope: &Scope<'_>) -> Facts {
    let count = scope.node.outputs.len();
    let Some(shape) = scope.shape(0) else {
        return Ok(vec![Fact::new(scope.dtype(0), None); count]);
    };
    let axis = axis_index(scope.attribute("axis", 0), shape.len())?;
    let parts: Vec<Dim> = if scope.has(1) {
        match scope.elems(1) {
            Some(parts) => {
                let parts: Vec<Dim> = parts.iter().map(|part| as_dim(*part)).collect::<Result<_, _>>()?;
                if parts.len() != count {
                    return Err(format!("splits into {} parts for {count} outputs", parts.len()));
                }
                let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.known()?));
                if let (Some(sum), Dim::Known(whole)) = (sum, shape[axis])
                    && sum != whole
                {
                    return Err(format!("splits {whole} elements into parts of {sum} together"));
                }
                parts
            }
            None => vec![Dim::Unknown; count],
        }
    } else {
        match shape[axis] {
            Dim::Known(whole) => even_parts(whole, count)?.into_iter().map(Dim::Known).collect(),
            _ => vec![Dim::Unknown; count],
        }
    };
    Ok(parts
        .into_iter()
        .map(|part| {
            let mut shape = shape.to_vec();
            shape[axis] = part;
            Fact::new(scope.dtype(0), Some(shape))
        })
        .collect())
}

/// Equal parts, the last one smaller when the length does not divide.
pub(crate) fn even_parts(whole: u64, count: usize) -> Result<Vec<u64>, String> {
    let count = count as u64;
    let part = whole.div_ceil(count.max(1));
    (0..count)
        .map(|index| {
            let start = part.checked_mul(index).ok_or("has too many parts")?;
            Ok(part.min(whole.saturating_sub(start)))
        })
        .collect()
}

/// One axis of a Slice, clamped as the specification says: start, step, count.
pub(super) fn slice_axis(size: u64, start: i64, end: i64, step: i64) -> Result<(i64, i64, u64), String> {
    if step == 0 {
        return Err("has a step of 0".to_owned());
    }
    let size = i64::try_from(size).map_err(|_| "has too long an axis")?;
    let wrap = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (start, end) = if step > 0 {
        (wrap(start).clamp(0, size), wrap(end).clamp(0, size))
    } else {
        // An end that is still negative means: down to and with element 0.
        let end = if end < 0 { end.saturating_add(size).max(-1) } else { end.min(size - 1) };
        (wrap(start).clamp(-1, size - 1).max(if size == 0 { -1 } else { 0 }), end)
    };
    let distance = if step > 0 { end - start } else { start - end };
    let count = if distance <= 0 { 0 } else { distance.unsigned_abs().div_ceil(step.unsigned_abs()) };
    Ok((start, step, count))
}

fn slice(scope: &Scope<'_>, shape: &[Dim]) -> Result<Option<Vec<Dim>>, String> {
    let mut result = shape.to_vec();
    let axes = if scope.has(3) {
        match scope.integers(3) {
            Some(axes) => axes,
            None => return Ok(Some(vec![Dim::Unknown; shape.len()])),
        }
    } else {
        match scope.shape(1) {
            Some([Dim::Known(count)]) if *count <= shape.len() as u64 => (0..*count as i64).collect(),
            Some([Dim::Known(count)]) => {
                return Err(format!("slices {count} axes of a tensor of rank {}", shape.len()));
            }
            _ => return Ok(Some(vec![Dim::Unknown; shape.len()])),
        }
    };
    let steps = if scope.has(4) { scope.integers(4) } else { Some(vec![1; axes.len()]) };
    let (starts, ends) = (scope.elems(1), scope.elems(2));
    for (index, axis) in axes.iter().enumerate() {
        let axis = axis_index(*axis, shape.len())?;
        let known = |list: Option<&[Elem]>| match list {
            None => Ok(None),
            Some(list) => list.get(index).copied().map(Some).ok_or_else(|| "has lists of different lengths".to_owned()),
        };
        let (start, end) = (known(starts)?, known(ends)?);
        let step = match &steps {
            None => None,
            Some(steps) => Some(*steps.get(index).ok_or("has lists of different lengths")?),
        };
        result[axis] = match (start, end, step, shape[axis]) {
            (Some(Elem::Int(start)), Some(Elem::Int(end)), Some(step), Dim::Known(size)) => {
                Dim::Known(slice_axis(size, start, end, step)?.2)
            }
            // The whole axis, or up to the symbol that it has.
            (Some(Elem::Int(0)), Some(Elem::Int(end)), Some(1), dim) if end >= i64::from(i32::MAX) => dim,
            (Some(Elem::Int(0)), Some(Elem::Symbol(end)), Some(1), Dim::Symbol(size)) if end == size => {
                Dim::Symbol(size)
            }
            (_, _, Some(0), _) => return Err("has a step of 0".to_owned()),
            _ => Dim::Unknown,
        };
    }
    Ok(Some(result))
}

fn pad(scope: &Scope<'_>, shape: &[Dim]) -> Result<Option<Vec<Dim>>, String> {
    let mut result = shape.to_vec();
    let axes = if scope.has(3) {
        match scope.integers(3) {
            Some(axes) => axes,
            None => return Ok(Some(vec![Dim::Unknown; shape.len()])),
        }
    } else {
        (0..shape.len() as i64).collect()
    };
    let Some(pads) = scope.elems(1) else {
        return Ok(Some(vec![Dim::Unknown; shape.len()]));
    };
    if pads.len() != axes.len() * 2 {
        return Err(format!("has {} pads for {} axes", pads.len(), axes.len()));
    }
    for (index, axis) in axes.iter().enumerate() {
        let axis = axis_index(*axis, shape.len())?;
        result[axis] = match (pads[index], pads[index + axes.len()], shape[axis]) {
            (Elem::Int(0), Elem::Int(0), dim) => dim,
            (Elem::Int(begin), Elem::Int(end), Dim::Known(size)) => {
                let padded = i64::try_from(size).ok().and_then(|size| size.checked_add(begin)?.checked_add(end));
                Dim::Known(length(padded.ok_or("has too much padding")?, "padded length")?)
            }
            _ => Dim::Unknown,
        };
    }
    Ok(Some(result))
}

fn expand(scope: &Scope<'_>, shape: &[Dim]) -> Result<Option<Vec<Dim>>, String> {
    match scope.elems(1) {
        Some(target) => {
            let target: Vec<Dim> = target.iter().map(|elem| as_dim(*elem)).collect::<Result<_, _>>()?;
            broadcast(shape, &target).map(Some)
        }
        None => Ok(match scope.shape(1) {
            Some([Dim::Known(rank)]) if *rank <= 64 => Some(vec![Dim::Unknown; shape.len().max(*rank as usize)]),
            _ => None,
        }),
    }
}

fn tile(scope: &Scope<'_>, shape: &[Dim]) -> Result<Option<Vec<Dim>>, String> {
    let Some(repeats) = scope.elems(1) else { return Ok(Some(vec![Dim::Unknown; shape.len()])) };
    if repeats.len() != shape.len() {
        return Err(format!("has {} repeats for a tensor of rank {}", repeats.len(), shape.len()));
    }
    shape
        .iter()
        .zip(repeats)
        .map(|(dim, repeat)| match (*dim, as_dim(*repeat)?) {
            (dim, Dim::Known(1)) => Ok(dim),
            (Dim::Known(1), repeat) => Ok(repeat),
            (Dim::Known(size), Dim::Known(repeat)) => {
                size.checked_mul(repeat).map(Dim::Known).ok_or_else(|| "has too long a result".to_owned())
            }
            _ => Ok(Dim::Unknown),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn depth_space(scope: &Scope<'_>, shape: &[Dim]) -> Result<Vec<Dim>, String> {
    let [batch, channels, height, width] = *shape else {
        return Err(format!("needs rank 4 and got rank {}", shape.len()));
    };
    let block = length(scope.attribute("blocksize", 1), "blocksize")?;
    let area = block.checked_mul(block).filter(|area| *area > 0).ok_or("has a bad blocksize")?;
    let grow = |dim: Dim, by: u64| match dim {
        Dim::Known(n) => n.checked_mul(by).map(Dim::Known).ok_or_else(|| "has too long a result".to_owned()),
        _ => Ok(if by == 1 { dim } else { Dim::Unknown }),
    };
    let shrink = |dim: Dim, by: u64| match dim {
        Dim::Known(n) if n % by != 0 => Err(format!("cannot divide length {n} by {by}")),
        Dim::Known(n) => Ok(Dim::Known(n / by)),
        _ => Ok(if by == 1 { dim } else { Dim::Unknown }),
    };
    if scope.node.op == "DepthToSpace" {
        Ok(vec![batch, shrink(channels, area)?, grow(height, block)?, grow(width, block)?])
    } else {
        Ok(vec![batch, grow(channels, area)?, shrink(height, block)?, shrink(width, block)?])
    }
}

fn center_crop(scope: &Scope<'_>, shape: &[Dim]) -> Result<Vec<Dim>, String> {
    let axes: Vec<usize> = match scope.node.integers("axes") {
        Some(axes) => axes.iter().map(|axis| axis_index(*axis, shape.len())).collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect(),
    };
    let mut result = shape.to_vec();
    match scope.elems(1) {
        Some(target) if target.len() == axes.len() => {
            for (axis, elem) in axes.iter().zip(target) {
                result[*axis] = as_dim(*elem)?;
            }
        }
        Some(target) => return Err(format!("has {} lengths for {} axes", target.len(), axes.len())),
        None => axes.iter().for_each(|axis| result[*axis] = Dim::Unknown),
    }
    Ok(result)
}
