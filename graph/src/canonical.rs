//! The canonical form: the small core of operators that devices run, in the plainest way to say each thing.
//!
//! Every rewrite is a named rule. Rules hold at any shape that is known far enough for them; what waits for numbers fires when a
//! request has brought them. Rewrites keep results to the last bit, except where they compute a weight once instead of a result
//! each time (batch normalisation, affine steps): those weights are rounded once, from f64. `fuse` joins operators; `fold` computes constants.

mod affine;
mod algebra;
mod decompose;
mod einsum;
mod language;
mod loss;
mod neutral;
mod node_facts;
mod packed;
mod pooling;
mod quantised;
mod sharing;
mod spectral;
mod views;
mod windows;

use crate::Graph;
use crate::edit::{Rule, Rules, apply};
use crate::error::GraphError;
use crate::fold::Weights;
use std::sync::LazyLock;

pub use sharing::{compact, remove_dead, share_common};
pub(crate) use views::reshape;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::new(all()));

fn all() -> impl Iterator<Item = &'static Rule> {
    // Cheapest and most often useful first: the first rule that fires ends a node's turn in a pass.
    [
        neutral::RULES,
        views::RULES,
        windows::RULES,
        pooling::RULES,
        affine::RULES,
        algebra::RULES,
        decompose::RULES,
        loss::RULES,
        packed::RULES,
        quantised::RULES,
        einsum::RULES,
        language::RULES,
        spectral::RULES,
    ]
    .into_iter()
    .flatten()
}

/// Names of the rules, in the order in which they are tried.
pub fn rule_names() -> Vec<&'static str> {
    all().map(|rule| rule.name).collect()
}

/// Whether a rule rewrites the operator, at least in some of its forms.
pub fn rewrites(op: &str) -> bool {
    all().any(|rule| rule.ops.contains(&op))
}

/// Applies every rule once to every node and answers how many times one fired. Types must have been inferred before, and must be inferred again after.
pub fn canonicalise(graph: &mut Graph, weights: &dyn Weights) -> Result<usize, GraphError> {
    apply(graph, weights, &RULES)
}

#[cfg(test)]
mod tests;
