//! Operators that the host runs between planned segments. Sequences and optional values have no facts of their own: what comes out of
//! them is known once they have been run.

use super::{Fact, Facts, Scope, axis_index, broadcast, length};
use crate::{DType, Dim};

pub(super) fn covers(op: &str) -> bool {
    matches!(
        op,
        "Unique"
            | "SequenceLength"
            | "OptionalHasElement"
            | "OptionalGetElement"
            | "StringConcat"
            | "StringSplit"
            | "StringNormalizer"
            | "RegexFullMatch"
            | "TfIdfVectorizer"
            | "ImageDecoder"
            | "ai.onnx.ml.ArrayFeatureExtractor"
            | "ai.onnx.ml.Binarizer"
            | "ai.onnx.ml.LabelEncoder"
            | "ai.onnx.ml.TreeEnsemble"
            | "ai.onnx.preview.training.Adagrad"
            | "ai.onnx.preview.training.Adam"
            | "ai.onnx.preview.training.Momentum"
    )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let shape = || scope.shape(0).map(<[Dim]>::to_vec);
    let fact = |dtype, shape| Ok(vec![Fact::new(dtype, shape)]);
    match scope.node.op.as_str() {
        "Unique" => unique(scope),
        "SequenceLength" => fact(Some(DType::I64), Some(vec![])),
        "OptionalHasElement" => fact(Some(DType::Bool), Some(vec![])),
        "OptionalGetElement" => fact(scope.dtype(0), shape()),
        "StringConcat" => {
            want_strings(scope, 2)?;
            let shape = match (scope.shape(0), scope.shape(1)) {
                (Some(left), Some(right)) => Some(broadcast(left, right)?),
                _ => None,
            };
            fact(Some(DType::String), shape)
        }
        "StringSplit" => {
            want_strings(scope, 1)?;
            let parts = shape().map(|mut shape| {
                shape.push(Dim::Unknown);
                shape
            });
            Ok(vec![Fact::new(Some(DType::String), parts), Fact::new(Some(DType::I64), shape())])
        }
        "StringNormalizer" => {
            want_strings(scope, 1)?;
            scope.want_rank(0, 1, 2)?;
            let shape = shape().map(|mut shape| {
                if let Some(last) = shape.last_mut() {
                    *last = Dim::Unknown;
                }
                shape
            });
            fact(Some(DType::String), shape)
        }
        "RegexFullMatch" => {
            want_strings(scope, 1)?;
            fact(Some(DType::Bool), shape())
        }
        "TfIdfVectorizer" => {
            scope.want_rank(0, 1, 2)?;
            let columns = scope.node.integers("ngram_indexes").unwrap_or_default().iter().max();
            let columns = length(columns.map_or(0, |most| most.saturating_add(1)), "ngram_indexes")?;
            let shape = shape().map(|mut shape| {
                if let Some(last) = shape.last_mut() {
                    *last = Dim::Known(columns);
                }
                shape
            });
            fact(Some(DType::F32), shape)
        }
        "ImageDecoder" => {
            scope.want_rank(0, 1, 1)?;
            let channels = if scope.node.text("pixel_format") == Some("Grayscale") { 1 } else { 3 };
            fact(Some(DType::U8), Some(vec![Dim::Unknown, Dim::Unknown, Dim::Known(channels)]))
        }
        "ai.onnx.ml.ArrayFeatureExtractor" => fact(scope.dtype(0), extracted(scope)),
        "ai.onnx.ml.LabelEncoder" => fact(label_type(scope), shape()),
        "ai.onnx.ml.TreeEnsemble" => {
            scope.want_rank(0, 2, 2)?;
            let targets = Dim::Known(length(scope.attribute("n_targets", 1), "n_targets")?);
            fact(scope.dtype(0), scope.shape(0).and_then(|shape| Some(vec![*shape.first()?, targets])))
        }
        op if op.starts_with("ai.onnx.preview.training.") => trained(scope),
        // Binarizer.
        _ => fact(scope.dtype(0), shape()),
    }
}

fn want_strings(scope: &Scope<'_>, inputs: usize) -> Result<(), String> {
    for index in 0..inputs {
        if let Some(dtype) = scope.dtype(index).filter(|dtype| *dtype != DType::String) {
            return Err(format!("works on strings and got {dtype} as input {index}"));
        }
    }
    Ok(())
}

fn unique(scope: &Scope<'_>) -> Facts {
    let (shape, places) = match (scope.node.integer("axis"), scope.shape(0)) {
        (None, shape) => (Some(vec![Dim::Unknown]), shape.map_or(Dim::Unknown, count)),
        (Some(_), None) => (None, Dim::Unknown),
        (Some(axis), Some(shape)) => {
            let axis = axis_index(axis, shape.len())?;
            let mut kept = shape.to_vec();
            kept[axis] = Dim::Unknown;
            (Some(kept), shape[axis])
        }
    };
    let list = |length| Fact::new(Some(DType::I64), Some(vec![length]));
    Ok(vec![Fact::new(scope.dtype(0), shape), list(Dim::Unknown), list(places), list(Dim::Unknown)])
}

fn count(shape: &[Dim]) -> Dim {
    super::count_of(shape).map_or(Dim::Unknown, Dim::Known)
}

/// The last axis becomes as long as the list of indices; a vector counts as a row.
fn extracted(scope: &Scope<'_>) -> Option<Vec<Dim>> {
    let picked = count(scope.shape(1)?);
    match scope.shape(0)? {
        [] => None,
        [_] => Some(vec![Dim::Known(1), picked]),
        [front @ .., _] => Some([front, &[picked]].concat()),
    }
}

fn label_type(scope: &Scope<'_>) -> Option<DType> {
    let lists = [("values_floats", DType::F32), ("values_int64s", DType::I64), ("values_strings", DType::String)];
    let list = lists.into_iter().find(|(key, _)| scope.node.attributes.contains_key(*key)).map(|(_, dtype)| dtype);
    list.or(scope.dtype(2))
}

/// Inputs: learning rate, step, then the tensors, gradients and one or two states of each; outputs: the tensors and states.
fn trained(scope: &Scope<'_>) -> Facts {
    let groups = if scope.node.op.ends_with(".Adam") { 4 } else { 3 };
    let operands = scope.node.own_inputs().saturating_sub(2);
    if operands == 0 || !operands.is_multiple_of(groups) {
        return Err(format!("needs {groups} inputs for each tensor behind the first two and got {operands} in all"));
    }
    let tensors = operands / groups;
    let fact = |index: usize| Fact::new(scope.dtype(index), scope.shape(index).map(<[Dim]>::to_vec));
    // All groups but the gradients.
    Ok((0..groups)
        .filter(|group| *group != 1)
        .flat_map(|group| (0..tensors).map(move |i| 2 + group * tensors + i))
        .map(fact)
        .collect())
}
