//! Operators between DequantizeLinear and QuantizeLinear become operators on the bytes: `QLinearConv`, `sunmao.QAdd`,
//! `sunmao.MatMulIntegerToFloat`, and moves and pools of bytes.
//!
//! Sums of products are exact integers then. Where the unfused graph rounds a dequantised sum once for each operation in f32, the fused one rounds
//! the exact sum once, so a result may be the neighbouring byte where the real number lies in the middle between two; nothing else differs, and
//! `sunmao.QAdd`, moves, pools, and products that were integer ones before keep every bit.

use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::error::GraphError;
use crate::tensor::Tensor;
use crate::{Attribute, DType, Node, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "quantise-without-activation", ops: &["QuantizeLinear"], apply: without_activation },
    Rule { name: "quantise-undoes-dequantise", ops: &["QuantizeLinear"], apply: undo },
    Rule { name: "quantise-before-move", ops: &["QuantizeLinear"], apply: before_move },
    Rule { name: "quantised-convolution", ops: &["QuantizeLinear"], apply: convolution },
    Rule { name: "quantised-sum", ops: &["QuantizeLinear"], apply: sum },
    Rule { name: "quantised-product", ops: &["MatMul", "Gemm"], apply: product },
    Rule { name: "scaled-integer-product", ops: &["Mul"], apply: scaled_product },
];

/// Scales outside these bounds could overflow or lose bits on the way to a real number and back.
const SCALES: std::ops::Range<f64> = 1e-30..1e30;
/// The longest sum of products of bytes that 32 bits are sure to hold.
const DEPTH_MAX: u64 = 33_000;
/// A bias beyond this leaves no room for the sum.
const BIAS_MAX: f64 = (1 << 30) as f64;

/// One scale and one zero point for a whole tensor of bytes.
#[derive(Clone, Copy)]
struct Linear {
    scale: ValueId,
    zero: Option<ValueId>,
    stored: DType,
    factor: f64,
    shift: i64,
}

impl Linear {
    /// Of a QuantizeLinear or DequantizeLinear between f32 and `stored`; both numbers must be constants.
    fn of(editor: &Editor<'_>, node: &Node, stored: Option<DType>) -> Result<Option<Self>, GraphError> {
        let plain = ["block_size", "precision"].iter().all(|key| node.integer(key).unwrap_or(0) == 0);
        let Some(stored) = stored.filter(|dtype| plain && matches!(dtype, DType::U8 | DType::I8)) else {
            return Ok(None);
        };
        let Some(scale) = editor.input_of(node, 1).filter(|scale| is_single(editor, *scale)) else { return Ok(None) };
        let factor = if editor.dtype(scale) == Some(DType::F32) { editor.scalar(scale)? } else { None };
        let Some(factor) = factor.filter(|factor| SCALES.contains(factor)) else { return Ok(None) };
        let zero = editor.input_of(node, 2);
        let shift = match zero {
            None => 0,
            Some(zero) if is_single(editor, zero) => match editor.integers(zero)?.as_deref() {
                Some([shift]) => *shift,
                _ => return Ok(None),
            },
            Some(_) => return Ok(None),
        };
        Ok(Some(Self { scale, zero, stored, factor, shift }))
    }

    fn equals(&self, other: &Self) -> bool {
        (self.stored, self.factor, self.shift) == (other.stored, other.factor, other.shift)
    }

    /// The byte nearest to a real number, before it is saturated.
    fn stored(&self, real: f64) -> f64 {
        f64::from((real as f32 / self.factor as f32).round_ties_even()) + self.shift as f64
    }

    /// The smallest and the largest byte.
    fn range(&self) -> (f64, f64) {
        if self.stored == DType::U8 { (0.0, 255.0) } else { (-128.0, 127.0) }
    }

    /// The zero point as a value, where it was left out too.
    fn zero(&self, editor: &mut Editor<'_>, like: ValueId) -> Option<ValueId> {
        match self.zero {
            Some(zero) => Some(zero),
            None => Some(editor.constant(Tensor::from_numbers(self.stored, vec![], &[0.0])?, like)),
        }
    }
}

/// A constant of one element that has one axis or none.
fn is_single(editor: &Editor<'_>, id: ValueId) -> bool {
    editor.value(id).is_constant() && matches!(editor.concrete(id).as_deref(), Some([] | [1]))
}

/// The bytes behind a dequantised tensor, and their scale.
fn dequantised(editor: &Editor<'_>, id: ValueId) -> Result<Option<(ValueId, Linear)>, GraphError> {
    let Some(node) = editor.producer(id).filter(|node| node.op == "DequantizeLinear") else { return Ok(None) };
    let Some(bytes) = editor.input_of(node, 0).filter(|_| editor.dtype(id) == Some(DType::F32)) else {
        return Ok(None);
    };
    Ok(Linear::of(editor, node, editor.dtype(bytes))?.map(|linear| (bytes, linear)))
}

/// What a QuantizeLinear of f32 reads, and its scale.
fn quantiser(editor: &Editor<'_>, node: &Node) -> Result<Option<(ValueId, Linear)>, GraphError> {
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return Ok(None) };
    if editor.dtype(input) != Some(DType::F32) {
        return Ok(None);
    }
    Ok(Linear::of(editor, node, editor.dtype(output))?.map(|linear| (input, linear)))
}

/// An activation that only cuts off what the bytes cannot hold anyway.
fn without_activation(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, linear)) = quantiser(editor, node)? else { return Ok(None) };
    let Some(activation) = editor.producer(input).filter(|_| editor.is_private(input)) else { return Ok(None) };
    let bounds = match activation.op.as_str() {
        "Relu" => (Some(0.0), None),
        "Clip" => {
            let mut bounds = [None; 2];
            for (bound, index) in bounds.iter_mut().zip([1, 2]) {
                if let Some(id) = editor.input_of(activation, index) {
                    match editor.scalar(id)? {
                        Some(number) => *bound = Some(number),
                        None => return Ok(None),
                    }
                }
            }
            (bounds[0], bounds[1])
        }
        _ => return Ok(None),
    };
    let (least, most) = linear.range();
    let cuts = bounds.0.is_some_and(|low| linear.stored(low) > least)
        || bounds.1.is_some_and(|high| linear.stored(high) < most);
    let Some(source) = editor.input_of(activation, 0).filter(|_| !cuts) else { return Ok(None) };
    let mut quantise = node.clone();
    quantise.inputs[0] = Some(source);
    Ok(Some(vec![quantise]))
}

/// Bytes that were made real and are made bytes of the same scale again. The real number lies within a few units in the last place of a multiple
/// of the scale that is at most 255, so it is rounded back to it.
fn undo(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some((input, linear)), Some(output)) = (quantiser(editor, node)?, node.output(0)) else { return Ok(None) };
    let same = dequantised(editor, input)?.filter(|(_, from)| from.equals(&linear));
    Ok(same.filter(|(bytes, _)| editor.replace(output, *bytes)).map(|_| vec![]))
}

/// What moves elements, or picks the largest of some, may as well do it to bytes: rounding keeps their order.
fn before_move(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some((input, _)), Some(output)) = (quantiser(editor, node)?, node.output(0)) else { return Ok(None) };
    let Some(mover) = editor.producer(input).filter(|_| editor.is_private(input)) else { return Ok(None) };
    let moved = match mover.op.as_str() {
        "Reshape" | "Transpose" | "MaxPool" if mover.output(1).is_none() => 1,
        "Concat" => mover.inputs.len(),
        _ => return Ok(None),
    };
    let sources: Option<Vec<ValueId>> = (0..moved).map(|index| editor.input_of(mover, index)).collect();
    let Some(sources) = sources else { return Ok(None) };
    // More elements, or more of them one by one, are quantised then: only where that costs nothing in the end.
    if matches!(mover.op.as_str(), "MaxPool" | "Concat") {
        for source in &sources {
            if dequantised(editor, *source)?.is_none() {
                return Ok(None);
            }
        }
    }
    let Some(mut mover) = editor.take_producer(input) else { return Ok(None) };
    let mut nodes = Vec::with_capacity(moved + 1);
    for (index, source) in sources.into_iter().enumerate() {
        let bytes = editor.computed(output);
        let mut quantise = node.clone();
        quantise.inputs[0] = Some(source);
        quantise.outputs = vec![Some(bytes)];
        nodes.push(quantise);
        mover.inputs[index] = Some(bytes);
    }
    mover.outputs = vec![Some(output)];
    nodes.push(mover);
    Ok(Some(nodes))
}

/// The weights of an operator as bytes, with a scale for all or one for each index along `axis`, and a zero point.
struct Weights {
    bytes: ValueId,
    scale: ValueId,
    zero: ValueId,
    factors: Vec<f64>,
}

fn weights(editor: &mut Editor<'_>, id: ValueId, axis: usize, like: ValueId) -> Result<Option<Weights>, GraphError> {
    let Some(node) = editor.producer(id).filter(|node| node.op == "DequantizeLinear").cloned() else {
        return Ok(None);
    };
    let (Some(bytes), Some(scale)) = (editor.input_of(&node, 0), editor.input_of(&node, 1)) else { return Ok(None) };
    let stored = editor.dtype(bytes).filter(|dtype| matches!(dtype, DType::U8 | DType::I8));
    let (Some(stored), Some(shape), Some(given)) = (stored, editor.concrete(bytes), editor.concrete(scale)) else {
        return Ok(None);
    };
    let along = node.integer("axis").unwrap_or(1);
    let along = if along < 0 { along + shape.len() as i64 } else { along };
    let fits = node.integer("block_size").unwrap_or(0) == 0
        && editor.dtype(id) == Some(DType::F32)
        && editor.dtype(scale) == Some(DType::F32)
        && editor.value(scale).is_constant()
        && (matches!(given[..], [] | [1]) || (along == axis as i64 && given == [shape[axis]]));
    let Some(factors) = (if fits { editor.numbers(scale)? } else { None }) else { return Ok(None) };
    if !factors.iter().all(|factor| SCALES.contains(factor)) {
        return Ok(None);
    }
    let zero = match editor.input_of(&node, 2) {
        Some(zero) if editor.value(zero).is_constant() && editor.concrete(zero) == Some(given) => zero,
        Some(_) => return Ok(None),
        None => match Tensor::from_numbers(stored, vec![], &[0.0]) {
            Some(zero) => editor.constant(zero, like),
            None => return Ok(None),
        },
    };
    Ok(Some(Weights { bytes, scale, zero, factors }))
}

/// A Conv between dequantised operands and a QuantizeLinear.
fn convolution(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some((input, to)), Some(output)) = (quantiser(editor, node)?, node.output(0)) else { return Ok(None) };
    let Some(conv) = editor
        .producer(input)
        .filter(|conv| conv.op == "Conv" && conv.epilogue.is_empty() && editor.is_private(input))
        .cloned()
    else {
        return Ok(None);
    };
    let (Some(x), Some(w)) = (editor.input_of(&conv, 0), editor.input_of(&conv, 1)) else { return Ok(None) };
    let Some((bytes, from)) = dequantised(editor, x)? else { return Ok(None) };
    let Some(w) = weights(editor, w, 0, output)? else { return Ok(None) };
    let Some(shape) = editor.concrete(w.bytes) else { return Ok(None) };
    if shape.get(1..).is_none_or(|taps| taps.iter().fold(1u64, |n, d| n.saturating_mul(*d)) > DEPTH_MAX) {
        return Ok(None);
    }
    let bias = match editor.input_of(&conv, 2) {
        None => None,
        Some(bias) => match integer_bias(editor, bias, from.factor, &w.factors, shape[0], output)? {
            Some(bias) => Some(bias),
            None => return Ok(None),
        },
    };
    let (Some(x_zero), Some(y_zero)) = (from.zero(editor, output), to.zero(editor, output)) else { return Ok(None) };
    let mut inputs: Vec<Option<ValueId>> =
        [bytes, from.scale, x_zero, w.bytes, w.scale, w.zero, to.scale, y_zero].map(Some).to_vec();
    inputs.extend(bias.map(Some));
    let attributes: Vec<(&str, Attribute)> =
        conv.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    Ok(Some(vec![editor.node(&conv, "QLinearConv", &inputs, &[Some(output)], &attributes)]))
}

/// A bias in units of a product of both scales: as it was stored, when it was stored so, else rounded to them.
fn integer_bias(
    editor: &mut Editor<'_>,
    bias: ValueId,
    from: f64,
    factors: &[f64],
    channels: u64,
    like: ValueId,
) -> Result<Option<ValueId>, GraphError> {
    let stored = editor.producer(bias).filter(|node| node.op == "DequantizeLinear").cloned();
    let (constant, reals) = match stored {
        None => (None, if editor.value(bias).is_constant() { editor.numbers(bias)? } else { None }),
        Some(node) => {
            let (Some(stored), Some(scale)) = (editor.input_of(&node, 0), editor.input_of(&node, 1)) else {
                return Ok(None);
            };
            let zeros = match editor.input_of(&node, 2) {
                Some(zero) if editor.value(zero).is_constant() => editor.integers(zero)?,
                Some(_) => return Ok(None),
                None => Some(vec![0]),
            };
            let plain = editor.dtype(stored) == Some(DType::I32)
                && editor.value(stored).is_constant()
                && editor.value(scale).is_constant()
                && zeros.is_some_and(|zeros| zeros.iter().all(|zero| *zero == 0));
            if !plain {
                return Ok(None);
            }
            let (Some(integers), Some(scales)) = (editor.integers(stored)?, editor.numbers(scale)?) else {
                return Ok(None);
            };
            let scale = |i: usize| if scales.len() == 1 { scales[0] } else { scales.get(i).copied().unwrap_or(0.0) };
            let reals = integers.iter().enumerate().map(|(i, integer)| *integer as f64 * scale(i)).collect();
            let own = (0..scales.len().max(factors.len())).all(|i| {
                let unit = from * factors[if factors.len() == 1 { 0 } else { i.min(factors.len() - 1) }];
                (scale(i) - unit).abs() <= 1e-6 * unit
            });
            (own.then_some(stored), Some(reals))
        }
    };
    let Some(reals) = reals.filter(|reals: &Vec<f64>| reals.len() as u64 == channels) else { return Ok(None) };
    let unit = |i: usize| from * factors[if factors.len() == 1 { 0 } else { i }];
    let integers: Vec<f64> = reals.iter().enumerate().map(|(i, real)| (real / unit(i)).round_ties_even()).collect();
    if !integers.iter().all(|integer| integer.abs() <= BIAS_MAX) {
        return Ok(None);
    }
    if let Some(constant) = constant.filter(|constant| editor.concrete(*constant) == Some(vec![channels])) {
        return Ok(Some(constant));
    }
    let tensor = Tensor::from_numbers(DType::I32, vec![channels], &integers);
    Ok(tensor.map(|tensor| editor.constant(tensor, like)))
}

/// An Add of two dequantised tensors of one shape before a QuantizeLinear.
fn sum(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some((input, to)), Some(output)) = (quantiser(editor, node)?, node.output(0)) else { return Ok(None) };
    let Some(add) = editor
        .producer(input)
        .filter(|add| add.op == "Add" && add.epilogue.is_empty() && editor.is_private(input))
        .cloned()
    else {
        return Ok(None);
    };
    let (Some(left), Some(right)) = (editor.input_of(&add, 0), editor.input_of(&add, 1)) else { return Ok(None) };
    if !editor.same_shape(left, right) || !editor.same_shape(left, input) {
        return Ok(None);
    }
    let (Some((a, a_from)), Some((b, b_from))) = (dequantised(editor, left)?, dequantised(editor, right)?) else {
        return Ok(None);
    };
    let zeros = [a_from, b_from, to].map(|linear| linear.zero(editor, output));
    let [Some(a_zero), Some(b_zero), Some(y_zero)] = zeros else { return Ok(None) };
    let inputs = [a, a_from.scale, a_zero, b, b_from.scale, b_zero, to.scale, y_zero].map(Some);
    Ok(Some(vec![editor.node(&add, "sunmao.QAdd", &inputs, &[Some(output)], &[])]))
}

/// A matrix product of dequantised operands: the product of the bytes, made real.
fn product(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(left), Some(right), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    let gemm = node.op == "Gemm";
    let plain = node.epilogue.is_empty()
        && node.integer("transA").unwrap_or(0) == 0
        && ["alpha", "beta"].iter().all(|key| node.number(key).is_none_or(|factor| factor == 1.0));
    let turned = node.integer("transB").unwrap_or(0) != 0;
    let rank = editor.shape(right).map_or(0, <[_]>::len);
    if !plain || rank < 2 || editor.shape(left).is_none_or(|shape| shape.len() < 2) {
        return Ok(None);
    }
    let Some((a, from)) = dequantised(editor, left)? else { return Ok(None) };
    let column = if turned { 0 } else { rank - 1 };
    let Some(b) = weights(editor, right, column, output)? else { return Ok(None) };
    let Some(shape) = editor.concrete(b.bytes) else { return Ok(None) };
    let (depth, columns) = if turned { (shape[1], shape[0]) } else { (shape[rank - 2], shape[rank - 1]) };
    // Matrices of a stack share the scales of their columns.
    if depth > DEPTH_MAX || (b.factors.len() > 1 && rank > 2) {
        return Ok(None);
    }
    let bias = if gemm { editor.input_of(node, 2) } else { None };
    if bias.is_some_and(|bias| editor.concrete(bias) != Some(vec![columns])) {
        return Ok(None);
    }
    let Some(a_zero) = from.zero(editor, output) else { return Ok(None) };
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let bytes =
        if turned { sketch.op("Transpose", &[b.bytes], &[("perm", Attribute::Integers(vec![1, 0]))]) } else { b.bytes };
    let mut inputs = vec![a, bytes, from.scale, b.scale, a_zero, b.zero];
    inputs.extend(bias);
    sketch.finish("sunmao.MatMulIntegerToFloat", &inputs, &[])
}

/// What dynamic quantisation makes: an integer product as floats, times the scale of the left side, times that of the right one.
fn scaled_product(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(one), Some(other), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    for (sums, scales) in [(one, other), (other, one)] {
        let cast = editor
            .producer(sums)
            .filter(|cast| cast.op == "Cast" && editor.is_private(sums) && editor.dtype(sums) == Some(DType::F32));
        let Some(integers) = cast.and_then(|cast| editor.input_of(cast, 0)) else { continue };
        let Some(product) = editor
            .producer(integers)
            .filter(|product| product.op == "MatMulInteger" && editor.is_private(integers))
            .cloned()
        else {
            continue;
        };
        let Some(factors) =
            editor.producer(scales).filter(|factors| factors.op == "Mul" && factors.epilogue.is_empty())
        else {
            continue;
        };
        let (Some(first), Some(second)) = (editor.input_of(factors, 0), editor.input_of(factors, 1)) else { continue };
        let (Some(a), Some(b)) = (editor.input_of(&product, 0), editor.input_of(&product, 1)) else { continue };
        let single = |id: ValueId| matches!(editor.concrete(id).as_deref(), Some([] | [1]));
        let rank = |id: ValueId| editor.shape(id).map_or(0, <[_]>::len);
        let columns = editor.shape(b).and_then(|shape| shape.last()?.known());
        let by_column =
            |id: ValueId| single(id) || (columns.is_some() && editor.concrete(id) == columns.map(|n| vec![n]));
        let (a_scale, b_scale) = if single(first) && by_column(second) {
            (first, second)
        } else if single(second) && by_column(first) {
            (second, first)
        } else {
            continue;
        };
        let fits = [a_scale, b_scale].iter().all(|scale| editor.dtype(*scale) == Some(DType::F32))
            && editor.input_of(&product, 2).is_none_or(single)
            && editor.input_of(&product, 3).is_none_or(by_column)
            && rank(a) >= 2
            && rank(b) >= 2
            && editor.same_rank(sums, output);
        if !fits {
            continue;
        }
        let zeros = [2, 3].map(|index| editor.input_of(&product, index));
        let inputs = [Some(a), Some(b), Some(a_scale), Some(b_scale), zeros[0], zeros[1]];
        let made = editor.node(&product, "sunmao.MatMulIntegerToFloat", &inputs, &[Some(output)], &[]);
        return Ok(Some(vec![made]));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
