//! Joins operators into one: known patterns while the graph is made canonical, epilogues at the end, when it is concrete.
//!
//! An epilogue is computed on a result before it is stored. Only results that nobody else reads are joined. Nothing is
//! reassociated but what a pattern itself says (a LayerNormalization or a Gelu that was written out is the operator again).

mod attention;
mod epilogue;
mod one_hot;
mod patterns;
mod quantised;
mod root_mean_square;
mod transposes;

use crate::Graph;
use crate::edit::{Rule, Rules, apply};
use crate::error::GraphError;
use crate::fold::Weights;
use std::sync::LazyLock;

static PATTERNS: LazyLock<Rules> = LazyLock::new(|| Rules::new(patterns()));
static EPILOGUES: LazyLock<Rules> = LazyLock::new(|| Rules::new(epilogue::RULES));

fn patterns() -> impl Iterator<Item = &'static Rule> {
    [transposes::RULES, patterns::RULES, root_mean_square::RULES, attention::RULES, one_hot::RULES, quantised::RULES]
        .into_iter()
        .flatten()
}

/// Names of the pattern rules.
pub fn pattern_names() -> Vec<&'static str> {
    patterns().map(|rule| rule.name).collect()
}

/// Names of the epilogue rules.
pub fn epilogue_names() -> Vec<&'static str> {
    epilogue::RULES.iter().map(|rule| rule.name).collect()
}

/// Applies the pattern rules once; answers how many times one fired.
pub fn join_patterns(graph: &mut Graph, weights: &dyn Weights) -> Result<usize, GraphError> {
    apply(graph, weights, &PATTERNS)
}

/// Hangs epilogues on operators; answers how many.
pub fn join_epilogues(graph: &mut Graph, weights: &dyn Weights) -> Result<usize, GraphError> {
    apply(graph, weights, &EPILOGUES)
}

#[cfg(test)]
mod tests;
