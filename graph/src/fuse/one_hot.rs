//! Products of a one-hot tensor with a matrix, which look rows of the matrix up.

use super::patterns::made_by;
use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::error::GraphError;
use crate::tensor::Tensor;
use crate::{Attribute, DType, Dim, Node, ValueId};

pub(super) const RULES: &[Rule] = &[Rule { name: "one-hot-product", ops: &["MatMul"], apply: one_hot_product }];

/// Longest row of numbers that the indices are compared with.
const CLASSES_MAX: u64 = 1 << 20;

/// MatMul(Cast(x == [0, 1, .., n - 1]), w) is the rows of w at x. An index that is none of them finds a row of zeros: it is
/// brought to -1 or n first, and both name the row behind the last one.
fn one_hot_product(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(hot), Some(matrix)) = (node.input(0), node.input(1)) else { return Ok(None) };
    let Some(compared) = made_by(editor, hot, "Cast").and_then(|cast| editor.input_of(cast, 0)) else {
        return Ok(None);
    };
    if editor.dtype(hot) != Some(DType::F32) || editor.dtype(matrix) != Some(DType::F32) || !node.epilogue.is_empty() {
        return Ok(None);
    }
    let Some((index, numbers)) = made_by(editor, compared, "Equal")
        .and_then(|equal| Some((editor.input_of(equal, 0)?, editor.input_of(equal, 1)?)))
    else {
        return Ok(None);
    };
    let (index, numbers) = if editor.value(index).is_constant() { (numbers, index) } else { (index, numbers) };
    let Some(classes) = counting(editor, numbers)? else { return Ok(None) };
    let Some((source, dtype)) = before_classes(editor, index) else { return Ok(None) };
    // The comparison makes the last axis, and nothing but it, from one element.
    let (Some(shape), Some(hot_shape)) = (editor.shape(source), editor.shape(hot)) else { return Ok(None) };
    let axes = hot_shape.len();
    let one_for_each = shape.len() == axes
        && shape.last() == Some(&Dim::Known(1))
        && hot_shape.last() == Some(&Dim::Known(classes))
        && shape[..axes - 1] == hot_shape[..axes - 1]
        && !shape.contains(&Dim::Unknown);
    if !one_for_each {
        return Ok(None);
    }
    let Some(table) = with_zeros(editor, matrix, classes)? else { return Ok(None) };
    let table = editor.constant(table, matrix);
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let (Some(low), Some(high)) = (sketch.scalar(dtype, -1.0), sketch.scalar(dtype, classes as f64)) else {
        return Ok(None);
    };
    let index = sketch.op("Max", &[source, low], &[]);
    let index = sketch.op("Min", &[index, high], &[]);
    let last = sketch.vector(&[-1]);
    let index = sketch.op("Squeeze", &[index, last], &[]);
    sketch.finish("Gather", &[table, index], &[("axis", Attribute::Integer(0))])
}

/// How many numbers a constant has when they are 0, 1, 2 and so on along its last axis.
fn counting(editor: &Editor<'_>, id: ValueId) -> Result<Option<u64>, GraphError> {
    let Some(shape) = editor.concrete(id).filter(|_| editor.value(id).is_constant()) else { return Ok(None) };
    let Some((&classes, rest)) = shape.split_last() else { return Ok(None) };
    if rest.iter().any(|length| *length != 1) || !(2..=CLASSES_MAX).contains(&classes) {
        return Ok(None);
    }
    let numbers = editor.integers(id)?;
    Ok(numbers.is_some_and(|list| list.iter().copied().eq(0..classes as i64)).then_some(classes))
}

/// The indices in front of an expansion along the classes, if they are of a type that can say -1 as well.
fn before_classes(editor: &Editor<'_>, index: ValueId) -> Option<(ValueId, DType)> {
    let source = match made_by(editor, index, "Expand") {
        Some(expand) => editor.input_of(expand, 0)?,
        None => index,
    };
    let dtype = editor.dtype(source).filter(|dtype| matches!(dtype, DType::I32 | DType::I64))?;
    Some((source, dtype))
}

/// The matrix with a row of zeros behind it. Only numbers that are finite: zero times any other is not zero.
fn with_zeros(editor: &Editor<'_>, matrix: ValueId, classes: u64) -> Result<Option<Tensor>, GraphError> {
    let Some([rows, columns]) = editor.concrete(matrix).as_deref().and_then(|shape| <[u64; 2]>::try_from(shape).ok())
    else {
        return Ok(None);
    };
    let fits = rows == classes && (rows + 1).checked_mul(columns).is_some_and(|count| editor.affords(count));
    if !fits || !editor.value(matrix).is_constant() {
        return Ok(None);
    }
    let Some(tensor) = editor.tensor(matrix)? else { return Ok(None) };
    let finite = tensor.bytes.as_chunks().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite());
    let mut bytes = tensor.bytes.to_vec();
    bytes.resize(bytes.len() + columns as usize * 4, 0);
    Ok(finite.then(|| Tensor { dtype: tensor.dtype, shape: vec![rows + 1, columns], bytes: bytes.into() }))
}
