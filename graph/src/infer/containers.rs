//! Which values are sequences or optional values, and of what element type their tensors are.

use super::{Fact, Scope};
use crate::Container;

/// Adds containers to the facts of a node. What comes out of a container is a tensor of a shape that only running tells.
pub(super) fn follow(scope: &Scope<'_>, mut facts: Vec<Fact>) -> Vec<Fact> {
    let given = scope.value(0).map_or(Container::Tensor, |value| value.container);
    let container = match scope.node.op.as_str() {
        "SequenceConstruct" | "SequenceEmpty" | "SequenceInsert" | "SequenceErase" | "SplitToSequence" => {
            Container::Sequence
        }
        "Identity" => given,
        "Optional" if given == Container::Sequence => Container::OptionalSequence,
        "Optional" => Container::Optional,
        "OptionalGetElement" if matches!(given, Container::Sequence | Container::OptionalSequence) => {
            Container::Sequence
        }
        "OptionalGetElement" | "SequenceAt" | "ConcatFromSequence" => Container::Tensor,
        _ => return facts,
    };
    if facts.is_empty() {
        facts.push(Fact::default());
    }
    let fact = &mut facts[0];
    fact.container = container;
    if scope.node.op == "SequenceEmpty" {
        let code = u16::try_from(scope.attribute("dtype", 1)).ok();
        fact.dtype = code.and_then(crate::DType::from_code);
    }
    fact.dtype = fact.dtype.or(scope.dtype(0));
    if container != Container::Tensor || given != Container::Tensor {
        // Tensors of a sequence need not be of one shape.
        fact.shape = None;
    }
    facts
}
