//! Losses of classifiers: scores by class on axis 1, and the class that is right for each place.

use super::{Fact, Facts, Scope, unify};
use crate::{DType, Dim};

pub(super) fn covers(op: &str) -> bool {
    matches!(op, "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss")
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let scores = scope.shape(0).map(<[Dim]>::to_vec);
    scope.want_rank(0, 2, super::RANK_MAX)?;
    let places = places(scope)?;
    let loss = match scope.node.text("reduction") {
        Some("none") => places,
        Some("sum" | "mean") => Some(vec![]),
        other => return Err(format!("has the reduction {other:?}; known are none, sum and mean")),
    };
    // The second one is SoftmaxCrossEntropyLoss's: the logarithms of the probabilities.
    Ok(vec![Fact::new(scope.dtype(0), loss), Fact::new(scope.dtype(0), scores)])
}

/// The shape of the labels: that of the scores without the axis of the classes.
fn places(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    if let Some(labels) = scope.dtype(1).filter(|labels| !matches!(labels, DType::I32 | DType::I64)) {
        return Err(format!("needs labels of i32 or i64 and got {labels}"));
    }
    let Some(scores) = scope.shape(0) else { return Ok(scope.shape(1).map(<[Dim]>::to_vec)) };
    if let (Some([weights]), Some(classes)) = (scope.shape(2), scores.get(1)) {
        unify(*weights, *classes).map_err(|(given, classes)| format!("has {given} weights for {classes} classes"))?;
    }
    let own: Vec<Dim> = [&scores[..1], &scores[2..]].concat();
    let Some(labels) = scope.shape(1) else { return Ok(Some(own)) };
    if labels.len() != own.len() {
        return Err(format!("needs labels of rank {} and got rank {}", own.len(), labels.len()));
    }
    own.iter()
        .zip(labels)
        .map(|(own, label)| unify(*own, *label).map_err(|(x, y)| format!("has {y} labels on an axis of {x} scores")))
        .collect::<Result<_, _>>()
        .map(Some)
}
