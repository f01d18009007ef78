//! Products of 8-bit floats: their quantised form is the plain product between conversions, for there is no exact integer one.

use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::{Attribute, DType, Node, ValueId};

pub(super) const RULES: &[Rule] =
    &[Rule { name: "quantised-float-product-to-core", ops: &["QLinearMatMul"], apply: float_product }];

fn float_product(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let [Some(a), Some(a_scale), Some(a_zero), Some(b), Some(b_scale), Some(b_zero), Some(y_scale), Some(y_zero)] =
        node.inputs[..]
    else {
        return Ok(None);
    };
    if ![a, b, y_zero].iter().any(|id| editor.dtype(*id).is_some_and(DType::is_float)) {
        return Ok(None);
    }
    let ranks = [a, b].map(|id| editor.shape(id).map(<[_]>::len));
    let [Some(a_rank), Some(b_rank)] = ranks.map(|rank| rank.filter(|rank| *rank >= 2)) else { return Ok(None) };
    // A vector of scales goes by row on the left, by column on the right and in the result.
    let axis = |axis: usize| [("axis", Attribute::Integer(axis as i64))];
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let mut real = |x: ValueId, scale: ValueId, zero: ValueId, along: usize| {
        sketch.op("DequantizeLinear", &[x, scale, zero], &axis(along))
    };
    let left = real(a, a_scale, a_zero, a_rank - 2);
    let right = real(b, b_scale, b_zero, b_rank - 1);
    let product = sketch.op("MatMul", &[left, right], &[]);
    sketch.finish("QuantizeLinear", &[product, y_scale, y_zero], &axis(a_rank.max(b_rank) - 1))
}
