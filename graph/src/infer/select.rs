//! Operators that pick, scatter or make elements, and those of quantisation.

use super::numbers::as_dim;
use super::{Elem, Fact, Facts, Scope, axis_index, length, unify};
use crate::{Attribute, DType, Dim};

pub(super) fn covers(op: &str) -> bool {
    matches!(
        op,
        "Gather"
            | "GatherElements"
            | "GatherND"
            | "ScatterElements"
            | "ScatterND"
            | "NonZero"
            | "Compress"
            | "Range"
            | "Shape"
            | "Size"
            | "ConstantOfShape"
            | "EyeLike"
            | "OneHot"
            | "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear"
            | "sunmao.QAdd"
            | "NonMaxSuppression"
            | "HannWindow"
            | "HammingWindow"
            | "BlackmanWindow"
            | "RandomNormal"
            | "RandomUniform"
            | "RandomNormalLike"
            | "RandomUniformLike"
            | "Bernoulli"
            | "Multinomial"
    )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let shape = || scope.shape(0).map(<[Dim]>::to_vec);
    let fact = |dtype, shape| Ok(vec![Fact::new(dtype, shape)]);
    match scope.node.op.as_str() {
        "Gather" => fact(scope.dtype(0), gather(scope)?),
        "GatherElements" => {
            elementwise_ranks(scope, 1)?;
            fact(scope.dtype(0), scope.shape(1).map(<[Dim]>::to_vec))
        }
        "GatherND" => fact(scope.dtype(0), gather_nd(scope)?),
        "ScatterElements" => {
            elementwise_ranks(scope, 1)?;
            fact(scope.dtype(0), shape())
        }
        "ScatterND" => fact(scope.dtype(0), shape()),
        "NonZero" => fact(Some(DType::I64), scope.rank(0).map(|rank| vec![Dim::Known(rank as u64), Dim::Unknown])),
        "Compress" => fact(
            scope.dtype(0),
            match scope.node.integer("axis") {
                None => Some(vec![Dim::Unknown]),
                Some(axis) => match shape() {
                    None => None,
                    Some(mut shape) => {
                        let axis = axis_index(axis, shape.len())?;
                        shape[axis] = Dim::Unknown;
                        Some(shape)
                    }
                },
            },
        ),
        "Range" => {
            scope.same_dtype(0, 1)?;
            scope.same_dtype(0, 2)?;
            fact(scope.dtype(0), Some(vec![range_length(scope)?]))
        }
        "Shape" => {
            let count = match scope.shape(0) {
                Some(shape) => Dim::Known(shape_window(scope, shape.len()).len() as u64),
                None => Dim::Unknown,
            };
            fact(Some(DType::I64), Some(vec![count]))
        }
        "Size" => fact(Some(DType::I64), Some(vec![])),
        "ConstantOfShape" => {
            let dtype = match scope.node.attributes.get("value") {
                Some(Attribute::Value(id)) => scope.values.get(id.index()).and_then(|value| value.dtype),
                _ => Some(DType::F32),
            };
            fact(dtype, shape_from_elems(scope, 0)?)
        }
        "EyeLike" => {
            scope.want_rank(0, 2, 2)?;
            fact(dtype_attribute(scope, "dtype")?.or(scope.dtype(0)), shape())
        }
        "OneHot" => fact(scope.dtype(2), one_hot(scope)?),
        "QuantizeLinear" => {
            let dtype = match (scope.has(2), dtype_attribute(scope, "output_dtype")?) {
                (true, _) => scope.dtype(2),
                (false, Some(dtype)) => Some(dtype),
                (false, None) => Some(DType::U8),
            };
            quantisation_fits(scope)?;
            fact(dtype, shape())
        }
        "DequantizeLinear" => {
            quantisation_fits(scope)?;
            fact(dtype_attribute(scope, "output_dtype")?.or(scope.dtype(1)), shape())
        }
        "DynamicQuantizeLinear" => Ok(vec![
            Fact::new(Some(DType::U8), shape()),
            Fact::new(Some(DType::F32), Some(vec![])),
            Fact::new(Some(DType::U8), Some(vec![])),
        ]),
        "sunmao.QAdd" => fact(scope.dtype(7), shape()),
        "NonMaxSuppression" => fact(Some(DType::I64), Some(vec![Dim::Unknown, Dim::Known(3)])),
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => {
            let count = match scope.elems(0) {
                Some([elem]) => as_dim(*elem)?,
                _ => Dim::Unknown,
            };
            fact(dtype_attribute(scope, "output_datatype")?, Some(vec![count]))
        }
        "RandomNormal" | "RandomUniform" => {
            let dims = scope.node.integers("shape").unwrap_or_default();
            let dims = dims.iter().map(|dim| length(*dim, "shape").map(Dim::Known)).collect::<Result<_, _>>()?;
            fact(dtype_attribute(scope, "dtype")?, Some(dims))
        }
        "Multinomial" => {
            let shape = match scope.shape(0) {
                Some([batch, _]) => {
                    Some(vec![*batch, Dim::Known(length(scope.attribute("sample_size", 1), "sample_size")?)])
                }
                _ => None,
            };
            fact(dtype_attribute(scope, "dtype")?, shape)
        }
        // The random operators that look like their input.
        _ => fact(dtype_attribute(scope, "dtype")?.or(scope.dtype(0)), shape()),
    }
}

fn dtype_attribute(scope: &Scope<'_>, key: &str) -> Result<Option<DType>, String> {
    match scope.node.integer(key) {
        None | Some(0) => Ok(None),
        Some(code) => match u16::try_from(code).ok().and_then(DType::from_code) {
            Some(dtype) => Ok(Some(dtype)),
            None => Err(format!("names the unknown element type {code} in `{key}`")),
        },
    }
}

fn elementwise_ranks(scope: &Scope<'_>, other: usize) -> Result<(), String> {
    match (scope.rank(0), scope.rank(other)) {
        (Some(data), Some(indices)) if data != indices => {
            Err(format!("needs indices of the data's rank {data} and got rank {indices}"))
        }
        (Some(rank), _) => axis_index(scope.attribute("axis", 0), rank).map(|_| ()),
        _ => Ok(()),
    }
}

fn gather(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    let (Some(data), Some(indices)) = (scope.shape(0), scope.shape(1)) else { return Ok(None) };
    let axis = axis_index(scope.attribute("axis", 0), data.len())?;
    if let (Dim::Known(size), Some(wanted)) = (data[axis], scope.integers(1)) {
        let size = i64::try_from(size).map_err(|_| "has too long an axis")?;
        if let Some(bad) = wanted.iter().find(|index| **index < -size || **index >= size) {
            return Err(format!("picks element {bad} of an axis of length {size}"));
        }
    }
    Ok(Some([&data[..axis], indices, &data[axis + 1..]].concat()))
}

fn gather_nd(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    let (Some(data), Some(indices)) = (scope.shape(0), scope.shape(1)) else { return Ok(None) };
    let batch = usize::try_from(scope.attribute("batch_dims", 0)).map_err(|_| "has a negative batch_dims")?;
    let Some((Dim::Known(depth), front)) = indices.split_last() else { return Ok(None) };
    let used = usize::try_from(*depth).ok().and_then(|depth| depth.checked_add(batch));
    match used {
        Some(used) if used <= data.len() && batch <= front.len() => Ok(Some([front, &data[used..]].concat())),
        _ => Err(format!("indexes {depth} axes behind {batch} batch axes of a tensor of rank {}", data.len())),
    }
}

/// The axes that a Shape operator reports.
pub(super) fn shape_window(scope: &Scope<'_>, rank: usize) -> std::ops::Range<usize> {
    let rank_signed = rank as i64;
    let clamp = |at: i64| (if at < 0 { at.saturating_add(rank_signed) } else { at }).clamp(0, rank_signed) as usize;
    let start = clamp(scope.attribute("start", 0));
    let end = clamp(scope.attribute("end", rank_signed));
    start..end.max(start)
}

fn shape_from_elems(scope: &Scope<'_>, index: usize) -> Result<Option<Vec<Dim>>, String> {
    match scope.elems(index) {
        Some(elems) => elems.iter().map(|elem| as_dim(*elem)).collect::<Result<_, _>>().map(Some),
        None => Ok(match scope.shape(index) {
            Some([Dim::Known(rank)]) if *rank <= 64 => Some(vec![Dim::Unknown; *rank as usize]),
            _ => None,
        }),
    }
}

fn range_length(scope: &Scope<'_>) -> Result<Dim, String> {
    let single = |index: usize| scope.elems(index).and_then(|elems| elems.first().copied());
    Ok(match (single(0), single(1), single(2)) {
        (_, _, Some(Elem::Int(0))) => return Err("has a step of 0".to_owned()),
        (Some(Elem::Int(start)), Some(Elem::Int(limit)), Some(Elem::Int(step))) => {
            let (start, limit, step) = (i128::from(start), i128::from(limit), i128::from(step));
            let distance = if step > 0 { limit - start } else { start - limit };
            let count = if distance <= 0 { 0 } else { (distance + step.abs() - 1) / step.abs() };
            Dim::Known(u64::try_from(count).map_err(|_| "has too many elements")?)
        }
        (Some(Elem::Float(start)), Some(Elem::Float(limit)), Some(Elem::Float(step))) => {
            // NaN counts as none.
            let count = ((limit - start) / step).ceil().max(0.0);
            if count > super::AXIS_MAX as f64 {
                return Err("has too many elements".to_owned());
            }
            Dim::Known(count as u64)
        }
        (Some(Elem::Int(0)), Some(limit @ Elem::Symbol(_)), Some(Elem::Int(1))) => as_dim(limit)?,
        _ => Dim::Unknown,
    })
}

fn one_hot(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    let Some(indices) = scope.shape(0) else { return Ok(None) };
    let depth = match scope.elems(1) {
        Some([Elem::Float(depth)]) if *depth >= 0.0 && *depth <= super::AXIS_MAX as f64 => Dim::Known(*depth as u64),
        Some([elem]) => as_dim(*elem)?,
        _ => Dim::Unknown,
    };
    let axis = axis_index(scope.attribute("axis", -1), indices.len() + 1)?;
    let mut shape = indices.to_vec();
    shape.insert(axis, depth);
    Ok(Some(shape))
}

/// A scale vector has one element for each index of the axis, or for each block.
fn quantisation_fits(scope: &Scope<'_>) -> Result<(), String> {
    let (Some(shape), Some([scale])) = (scope.shape(0), scope.shape(1)) else { return Ok(()) };
    if *scale == Dim::Known(1) || scope.attribute("block_size", 0) != 0 {
        return Ok(());
    }
    let axis = axis_index(scope.attribute("axis", 1), shape.len())?;
    unify(shape[axis], *scale)
        .map(|_| ())
        .map_err(|(have, given)| format!("has {given} scales for an axis of length {have}"))
}
