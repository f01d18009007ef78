//! The two entry points of this crate: `prepare` when a model is loaded, `concrete` for each set of input shapes.
//!
//! Between the two a graph keeps its symbols; its values keep their numbers from `prepare` on, so that whoever packed a weight for one
//! shape knows it again at the next.

use crate::canonical::{canonicalise, compact, remove_dead, share_common};
use crate::error::GraphError;
use crate::fold::{self, Evaluator, Weights};
use crate::specialise::{Binding, bind, check_concrete};
use crate::{Graph, blocks, canonical, fuse, infer, validate};

/// Rounds of folding and rewriting after which a graph is taken as it is. Real models settle in three to six.
const ROUNDS_MAX: usize = 24;

/// Validates what an importer handed over and brings it to canonical form, as far as that is independent of input shapes.
pub fn prepare(raw: Graph, weights: &dyn Weights, evaluator: &mut dyn Evaluator) -> Result<Graph, GraphError> {
    let mut graph = validate::validate(raw)?;
    blocks::each_graph(&mut graph, &mut |graph| fold::load_small(graph, weights))?;
    // Numbers are free to change here: nobody has seen them yet.
    settle(&mut graph, weights, evaluator, compact)?;
    Ok(graph)
}

/// The prepared graph at those inputs: every shape known, folded, canonical, fused. Numbers of values stay as they are; new values come behind.
pub fn concrete(
    graph: &Graph,
    bindings: &[Binding],
    weights: &dyn Weights,
    evaluator: &mut dyn Evaluator,
) -> Result<Graph, GraphError> {
    let mut graph = bind(graph, bindings)?;
    settle(&mut graph, weights, evaluator, |_| ())?;
    check_concrete(&graph)?;
    // A second time for what the first one moved into reach.
    while fuse::join_epilogues(&mut graph, weights)? > 0 {}
    let inference = infer::run(&mut graph)?;
    fold::fold_dequantised(&mut graph, &inference, weights, evaluator)?;
    remove_dead(&mut graph);
    check_concrete(&graph)?;
    Ok(graph)
}

/// Infers, folds and rewrites until nothing changes; the types are those of the result.
fn settle(
    graph: &mut Graph,
    weights: &dyn Weights,
    evaluator: &mut dyn Evaluator,
    tidy: fn(&mut Graph),
) -> Result<(), GraphError> {
    for _ in 0..ROUNDS_MAX {
        let inference = infer::run(graph)?;
        let mut changes = fold::fold(graph, &inference, weights, evaluator)?;
        changes += blocks::choose_branches(graph)?;
        for node in graph.nodes.iter_mut().filter(|node| node.blocks().next().is_some()) {
            changes += blocks::absorb(&graph.values, node);
            for block in node.blocks_mut() {
                settle(block, weights, evaluator, tidy)?;
            }
            changes += blocks::drop_unused(node);
        }
        changes += fuse::join_patterns(graph, weights)?;
        // What a pattern leaves behind would count as a reader.
        remove_dead(graph);
        changes += canonicalise(graph, weights)?;
        changes += share_common(graph);
        remove_dead(graph);
        tidy(graph);
        if changes == 0 {
            return Ok(());
        }
    }
    infer::infer(graph)?;
    Ok(())
}

/// Every pass in order, for a person.
pub fn passes() -> Vec<String> {
    let mut passes: Vec<String> =
        ["validate", "upgrade", "infer", "fold", "choose-branches", "absorb-constants"].map(str::to_owned).into();
    passes.extend(fuse::pattern_names().into_iter().map(|rule| format!("fuse/{rule}")));
    passes.extend(canonical::rule_names().into_iter().map(|rule| format!("canonical/{rule}")));
    passes.extend(["share-common", "remove-dead", "specialise"].map(str::to_owned));
    passes.extend(fuse::epilogue_names().into_iter().map(|rule| format!("fuse/{rule}")));
    passes.push("fold-dequantised".to_owned());
    passes
}

#[cfg(test)]
mod tests;
