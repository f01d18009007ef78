//! Reductions, normalisations, scans, TopK.

use super::{Fact, Facts, Scope, axis_index, length};
use crate::{DType, Dim};

pub(super) fn covers(op: &str) -> bool {
    op.starts_with("Reduce")
        || matches!(
            op,
            "ArgMax"
                | "ArgMin"
                | "CumSum"
                | "CumProd"
                | "Softmax"
                | "LogSoftmax"
                | "Hardmax"
                | "LayerNormalization"
                | "RMSNormalization"
                | "GroupNormalization"
                | "InstanceNormalization"
                | "BatchNormalization"
                | "MeanVarianceNormalization"
                | "LpNormalization"
                | "LRN"
                | "TopK"
        )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let same = || Fact::new(scope.dtype(0), scope.shape(0).map(<[Dim]>::to_vec));
    let check_axis = |default: i64| match scope.rank(0) {
        Some(rank) => axis_index(scope.attribute("axis", default), rank.max(1)).map(|_| ()),
        None => Ok(()),
    };
    match scope.node.op.as_str() {
        "ArgMax" | "ArgMin" => Ok(vec![Fact::new(Some(DType::I64), arg_shape(scope)?)]),
        "Softmax" | "LogSoftmax" | "Hardmax" | "LpNormalization" => {
            check_axis(-1)?;
            Ok(vec![same()])
        }
        "LayerNormalization" => layer_normalization(scope),
        "RMSNormalization" => {
            check_axis(-1)?;
            Ok(vec![same()])
        }
        "BatchNormalization" => {
            let channels = scope.shape(0).and_then(|shape| shape.get(1)).copied();
            for index in 1..5 {
                per_channel(scope, index, channels)?;
            }
            let statistic = || Fact::new(scope.dtype(3), scope.shape(3).map(<[Dim]>::to_vec));
            Ok(vec![same(), statistic(), statistic()])
        }
        "InstanceNormalization" | "GroupNormalization" => {
            let channels = scope.shape(0).and_then(|shape| shape.get(1)).copied();
            per_channel(scope, 1, channels)?;
            per_channel(scope, 2, channels)?;
            Ok(vec![same()])
        }
        "TopK" => top_k(scope),
        op if op.starts_with("Reduce") => Ok(vec![Fact::new(scope.dtype(0), reduced(scope)?)]),
        _ => Ok(vec![same()]),
    }
}

fn per_channel(scope: &Scope<'_>, index: usize, channels: Option<Dim>) -> Result<(), String> {
    scope.want_rank(index, 1, 1)?;
    match (channels, scope.shape(index).and_then(|shape| shape.first())) {
        (Some(Dim::Known(channels)), Some(Dim::Known(given))) if channels != *given => {
            Err(format!("has {given} elements in input {index} for {channels} channels"))
        }
        _ => Ok(()),
    }
}

fn layer_normalization(scope: &Scope<'_>) -> Facts {
    let Some(shape) = scope.shape(0) else {
        return Ok(vec![Fact::new(scope.dtype(0), None)]);
    };
    let axis = axis_index(scope.attribute("axis", -1), shape.len())?;
    let statistic: Vec<Dim> =
        shape.iter().enumerate().map(|(index, dim)| if index < axis { *dim } else { Dim::Known(1) }).collect();
    let stash = u16::try_from(scope.attribute("stash_type", 1)).ok().and_then(DType::from_code);
    Ok(vec![
        Fact::new(scope.dtype(0), Some(shape.to_vec())),
        Fact::new(stash, Some(statistic.clone())),
        Fact::new(stash, Some(statistic)),
    ])
}

fn arg_shape(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    let Some(shape) = scope.shape(0) else { return Ok(None) };
    let axis = axis_index(scope.attribute("axis", 0), shape.len())?;
    let mut result = shape.to_vec();
    if scope.attribute("keepdims", 1) != 0 {
        result[axis] = Dim::Known(1);
    } else {
        result.remove(axis);
    }
    Ok(Some(result))
}

fn reduced(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    let Some(shape) = scope.shape(0) else { return Ok(None) };
    let keep = scope.attribute("keepdims", 1) != 0;
    let no_axes = !scope.has(1) || scope.shape(1) == Some(&[Dim::Known(0)]);
    let hit: Vec<bool> = if no_axes {
        if scope.attribute("noop_with_empty_axes", 0) != 0 {
            return Ok(Some(shape.to_vec()));
        }
        vec![true; shape.len()]
    } else if let Some(axes) = scope.integers(1) {
        let mut hit = vec![false; shape.len()];
        for axis in axes {
            hit[axis_index(axis, shape.len())?] = true;
        }
        hit
    } else {
        // Axes are not constant: with kept axes the rank at least is known.
        return Ok(keep.then(|| vec![Dim::Unknown; shape.len()]));
    };
    Ok(Some(
        shape
            .iter()
            .zip(hit)
            .filter_map(|(dim, hit)| if hit { keep.then_some(Dim::Known(1)) } else { Some(*dim) })
            .collect(),
    ))
}

fn top_k(scope: &Scope<'_>) -> Facts {
    let shape = match scope.shape(0) {
        None => None,
        Some(shape) => {
            let axis = axis_index(scope.attribute("axis", -1), shape.len())?;
            let mut result = shape.to_vec();
            result[axis] = match (scope.integer(1), shape[axis]) {
                (Some(k), have) => {
                    let k = length(k, "k")?;
                    if let Dim::Known(have) = have
                        && k > have
                    {
                        return Err(format!("wants the top {k} of {have} elements"));
                    }
                    Dim::Known(k)
                }
                (None, _) => Dim::Unknown,
            };
            Some(result)
        }
    };
    Ok(vec![Fact::new(scope.dtype(0), shape.clone()), Fact::new(Some(DType::I64), shape)])
}
