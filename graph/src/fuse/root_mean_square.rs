//! RMSNormalization that a model wrote out.

use super::patterns::{both_ways, inputs, made_by, mean_of_rows, row_constant, with_scalar};
use crate::edit::{Editor, Rewrite, Rule};
use crate::error::GraphError;
use crate::{Attribute, DType, Node, ValueId};

pub(super) const RULES: &[Rule] = &[Rule { name: "rms-normalization", ops: &["Mul"], apply: rms_normalization }];

/// x / sqrt(mean(x^2) + epsilon) * scale, the root divided by or its reciprocal multiplied with.
fn rms_normalization(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    for (normal, scale) in both_ways(node) {
        let (Some(normal), Some(scale)) = (normal, scale) else { continue };
        let Some((x, epsilon)) = normalised(editor, normal)? else { continue };
        let Some(scale) = row_constant(editor, scale, x) else { continue };
        let attributes = [("axis", Attribute::Integer(-1)), ("epsilon", Attribute::Number(epsilon))];
        let made = editor.node(node, "RMSNormalization", &[Some(x), Some(scale)], &[Some(output)], &attributes);
        return Ok(Some(vec![made]));
    }
    Ok(None)
}

fn normalised(editor: &Editor<'_>, id: ValueId) -> Result<Option<(ValueId, f64)>, GraphError> {
    let Some(node) = editor.producer(id) else { return Ok(None) };
    let candidates: Vec<(ValueId, ValueId)> = match (node.op.as_str(), inputs(editor, node)) {
        ("Div", Some((x, root))) => vec![(x, root)],
        ("Mul", Some((a, b))) => [(a, b), (b, a)]
            .into_iter()
            .filter_map(|(x, inverse)| {
                let reciprocal = made_by(editor, inverse, "Reciprocal")?;
                Some((x, editor.input_of(reciprocal, 0)?))
            })
            .collect(),
        _ => return Ok(None),
    };
    for (x, root) in candidates {
        let Some(sum) = made_by(editor, root, "Sqrt").and_then(|root| editor.input_of(root, 0)) else { continue };
        let Some((mean, epsilon)) = with_scalar(editor, sum, "Add")? else { continue };
        let Some(squares) = mean_of_rows(editor, mean)? else { continue };
        if is_square(editor, squares, x)? && editor.dtype(x) == Some(DType::F32) && epsilon > 0.0 {
            return Ok(Some((x, epsilon)));
        }
    }
    Ok(None)
}

fn is_square(editor: &Editor<'_>, id: ValueId, x: ValueId) -> Result<bool, GraphError> {
    if let Some(product) = made_by(editor, id, "Mul") {
        return Ok(inputs(editor, product) == Some((x, x)));
    }
    let Some((base, exponent)) = made_by(editor, id, "Pow").and_then(|power| inputs(editor, power)) else {
        return Ok(false);
    };
    Ok(base == x && editor.single_number(exponent)? == Some(2.0))
}
