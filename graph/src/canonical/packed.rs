//! Moves of elements that share a byte: kernels move whole bytes, so 4-bit and 2-bit elements are spread out before and packed after.

use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::{Attribute, DType, Node, ValueId};

pub(super) const RULES: &[Rule] =
    &[Rule { name: "move-packed-as-bytes", ops: &["Transpose", "Pad", "Expand", "TensorScatter"], apply: as_bytes }];

/// The type whose elements have the same bits and count as integers, and the byte that holds one of them.
fn spread(dtype: DType) -> Option<(DType, DType)> {
    match dtype {
        DType::U4 | DType::F4E2M1 => Some((DType::U4, DType::U8)),
        DType::I4 => Some((DType::I4, DType::I8)),
        DType::U2 => Some((DType::U2, DType::U8)),
        DType::I2 => Some((DType::I2, DType::I8)),
        _ => None,
    }
}

fn as_bytes(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(input) = node.input(0) else { return Ok(None) };
    let Some((dtype, (integer, byte))) = editor.dtype(input).and_then(|dtype| Some((dtype, spread(dtype)?))) else {
        return Ok(None);
    };
    let packed: Vec<bool> =
        node.inputs.iter().map(|input| input.is_some_and(|id| editor.dtype(id) == Some(dtype))).collect();
    let to = |dtype: DType| [("to", Attribute::Integer(dtype.code().into()))];
    let (inputs, attributes) = (node.inputs.clone(), node.attributes.clone());
    let op = node.op.clone();
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let mut loose: Vec<Option<ValueId>> = Vec::with_capacity(inputs.len());
    for (input, packed) in inputs.into_iter().zip(packed) {
        loose.push(match input.filter(|_| packed) {
            None => input,
            Some(id) => {
                let id = if integer == dtype { id } else { sketch.op("BitCast", &[id], &to(integer)) };
                Some(sketch.op("Cast", &[id], &to(byte)))
            }
        });
    }
    let attributes: Vec<(&str, Attribute)> =
        attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let moved = sketch.op_with_gaps(&op, &loose, &attributes);
    if integer == dtype {
        return sketch.finish("Cast", &[moved], &to(integer));
    }
    let narrow = sketch.op("Cast", &[moved], &to(integer));
    sketch.finish("BitCast", &[narrow], &to(dtype))
}
