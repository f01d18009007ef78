//! Scales and shifts by channel: batch normalisation, and Mul, Add, Sub, Div by constants, go into the weights before them.

use super::node_facts::float;
use crate::edit::{Editor, Rewrite, Rule};
use crate::error::GraphError;
use crate::tensor::{Tensor, elements, read_numbers};
use crate::{Attribute, DType, Node, ValueId};
use std::sync::Arc;

pub(super) const RULES: &[Rule] = &[
    Rule { name: "fold-batch-normalization", ops: &["BatchNormalization"], apply: fold_batch_normalization },
    Rule { name: "fold-affine", ops: &["Mul", "Add", "Sub", "Div", "Neg"], apply: fold_affine },
    Rule { name: "fold-affine-forwards", ops: &["Conv"], apply: fold_forwards },
    Rule { name: "merge-affine", ops: &["Mul", "Add", "Sub", "Div"], apply: merge_affine },
    Rule { name: "batch-normalization-to-affine", ops: &["BatchNormalization"], apply: batch_normalization_to_affine },
];

/// y = scale * x + shift, by channel; a single element holds for all.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Affine {
    fn at(list: &[f64], channel: usize) -> f64 {
        list[if list.len() == 1 { 0 } else { channel }]
    }

    /// This step, then another one.
    fn then(&self, next: &Affine) -> Affine {
        let count = [&self.scale, &self.shift, &next.scale, &next.shift].into_iter().map(Vec::len).max().unwrap_or(1);
        Affine {
            scale: (0..count).map(|channel| Self::at(&self.scale, channel) * Self::at(&next.scale, channel)).collect(),
            shift: (0..count)
                .map(|channel| {
                    Self::at(&self.shift, channel) * Self::at(&next.scale, channel) + Self::at(&next.shift, channel)
                })
                .collect(),
        }
    }

    fn only_shifts(&self) -> bool {
        self.scale.iter().all(|scale| *scale == 1.0)
    }
}

fn fold_batch_normalization(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(_)) = (node.input(0), node.output(0)) else { return Ok(None) };
    if !can_absorb(editor, input, false) {
        return Ok(None);
    }
    let Some(affine) = of_batch_normalization(editor, node)? else { return Ok(None) };
    absorb(editor, node, input, &affine)
}

fn of_batch_normalization(editor: &Editor<'_>, node: &Node) -> Result<Option<Affine>, GraphError> {
    if node.integer("training_mode").unwrap_or(0) != 0 {
        return Ok(None);
    }
    let mut lists = Vec::with_capacity(4);
    for index in 1..5 {
        match node.input(index) {
            Some(id) => match editor.numbers(id)? {
                Some(list) => lists.push(list),
                None => return Ok(None),
            },
            None => return Ok(None),
        }
    }
    let [gamma, beta, mean, variance] = lists.as_slice() else { return Ok(None) };
    let channels = gamma.len();
    if channels == 0 || lists.iter().any(|list| list.len() != channels) {
        return Ok(None);
    }
    let epsilon = node.number("epsilon").unwrap_or(1e-5);
    let scale: Vec<f64> =
        gamma.iter().zip(variance).map(|(gamma, variance)| gamma / (variance + epsilon).sqrt()).collect();
    let shift = (0..channels).map(|channel| beta[channel] - mean[channel] * scale[channel]).collect();
    Ok(Some(Affine { scale, shift }))
}

/// Without weights before it, a batch normalisation is a Mul and an Add.
fn batch_normalization_to_affine(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return Ok(None) };
    let (Some(dtype), Some(rank)) = (float(editor, input), editor.shape(input).map(<[_]>::len)) else {
        return Ok(None);
    };
    if rank < 2 {
        return Ok(None);
    }
    let Some(affine) = of_batch_normalization(editor, node)? else { return Ok(None) };
    let mut shape = vec![1; rank - 1];
    shape[0] = affine.scale.len() as u64;
    let (Some(scale), Some(shift)) =
        (Tensor::from_numbers(dtype, shape.clone(), &affine.scale), Tensor::from_numbers(dtype, shape, &affine.shift))
    else {
        return Ok(None);
    };
    let (scale, shift) = (editor.constant(scale, output), editor.constant(shift, output));
    let scaled = editor.computed(output);
    let mul = editor.node(node, "Mul", &[Some(input), Some(scale)], &[Some(scaled)], &[]);
    let add = editor.node(node, "Add", &[Some(scaled), Some(shift)], &[Some(output)], &[]);
    Ok(Some(vec![mul, add]))
}

/// A node that scales or shifts by a constant: what it works on, and how.
fn affine_of(editor: &Editor<'_>, node: &Node) -> Result<Option<(ValueId, Affine)>, GraphError> {
    let Some(left) = node.input(0).map(|id| editor.resolve(id)) else { return Ok(None) };
    if node.op == "Neg" {
        return Ok(float(editor, left).map(|_| (left, Affine { scale: vec![-1.0], shift: vec![0.0] })));
    }
    let Some(right) = node.input(1).map(|id| editor.resolve(id)) else { return Ok(None) };
    let (data, constant, flipped) = match (editor.value(left).is_constant(), editor.value(right).is_constant()) {
        (false, true) => (left, right, false),
        (true, false) => (right, left, true),
        _ => return Ok(None),
    };
    if float(editor, data).is_none() || !editor.same_rank(data, node.output(0).unwrap_or(data)) {
        return Ok(None);
    }
    let Some(list) = by_channel(editor, data, constant)? else { return Ok(None) };
    let negated = |list: &[f64]| list.iter().map(|value| -value).collect();
    Ok(match (node.op.as_str(), flipped) {
        ("Mul", _) => Some(Affine { scale: list, shift: vec![0.0] }),
        ("Add", _) => Some(Affine { scale: vec![1.0], shift: list }),
        ("Sub", false) => Some(Affine { scale: vec![1.0], shift: negated(&list) }),
        ("Sub", true) => Some(Affine { scale: vec![-1.0], shift: list }),
        ("Div", false) if list.iter().all(|value| *value != 0.0) => {
            Some(Affine { scale: list.iter().map(|value| 1.0 / value).collect(), shift: vec![0.0] })
        }
        _ => None,
    }
    .map(|affine| (data, affine)))
}

fn fold_affine(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    // The cheap question first: most such nodes have no weights before them.
    let only_shifts = matches!(node.op.as_str(), "Add" | "Sub");
    if !node.inputs.iter().flatten().any(|input| can_absorb(editor, *input, only_shifts)) {
        return Ok(None);
    }
    let Some((data, affine)) = affine_of(editor, node)? else { return Ok(None) };
    if !can_absorb(editor, data, affine.only_shifts()) {
        return Ok(None);
    }
    absorb(editor, node, data, &affine)
}

/// Several scales and shifts in a row are one Mul and one Add.
fn merge_affine(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    let Some((mut data, mut whole)) = affine_of(editor, node)? else { return Ok(None) };
    let mut steps = 1;
    while editor.is_private(data) {
        let Some(before) = editor.producer(data).cloned() else { break };
        if !matches!(before.op.as_str(), "Mul" | "Add" | "Sub" | "Div") {
            break;
        }
        let Some((source, step)) = affine_of(editor, &before)? else { break };
        whole = step.then(&whole);
        data = source;
        steps += 1;
    }
    let plain = whole.only_shifts() || whole.shift.iter().all(|shift| *shift == 0.0);
    // Masks are made with the largest numbers there are: those are left as they were written.
    let tame = whole.scale.iter().chain(&whole.shift).all(|value| value.abs() < 1e30);
    if steps < 2 || steps == 2 && !plain || !tame {
        return Ok(None);
    }
    let (Some(dtype), Some(rank)) = (float(editor, data), editor.shape(data).map(<[_]>::len)) else { return Ok(None) };
    let tensor = |list: &[f64]| {
        let mut shape = vec![1; rank.saturating_sub(1)];
        match list.len() {
            1 => shape.clear(),
            channels => shape[0] = channels as u64,
        }
        Tensor::from_numbers(dtype, shape, list)
    };
    let (Some(scale), Some(shift)) = (tensor(&whole.scale), tensor(&whole.shift)) else { return Ok(None) };
    let mut made = vec![];
    let mut last = data;
    if !whole.only_shifts() {
        let scale = editor.constant(scale, output);
        let target = if plain { output } else { editor.computed(output) };
        made.push(editor.node(node, "Mul", &[Some(last), Some(scale)], &[Some(target)], &[]));
        last = target;
    }
    if last != output {
        let shift = editor.constant(shift, output);
        made.push(editor.node(node, "Add", &[Some(last), Some(shift)], &[Some(output)], &[]));
    }
    Ok(Some(made))
}

/// A scale before a convolution goes into its weights, and a shift into its bias, where no padding would see it.
fn fold_forwards(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(weight)) = (node.input(0), node.input(1)) else { return Ok(None) };
    if !editor.is_private(input) || !editor.value(weight).is_constant() {
        return Ok(None);
    }
    let Some(before) =
        editor.producer(input).filter(|before| matches!(before.op.as_str(), "Mul" | "Add" | "Sub" | "Div")).cloned()
    else {
        return Ok(None);
    };
    let padded = node.text("auto_pad").is_some_and(|mode| mode.starts_with("SAME"))
        || node.integers("pads").is_some_and(|pads| pads.iter().any(|pad| *pad != 0));
    if padded && matches!(before.op.as_str(), "Add" | "Sub") {
        return Ok(None);
    }
    let Some((data, affine)) = affine_of(editor, &before)? else { return Ok(None) };
    if !editor.concrete(weight).and_then(|shape| elements(&shape)).is_some_and(|count| editor.affords(count)) {
        return Ok(None);
    }
    let Some(tensor) = editor.tensor(weight)?.filter(|tensor| tensor.dtype == DType::F32) else { return Ok(None) };
    let (Some(weights), &[filters, per_group, ..]) =
        (read_numbers(tensor.dtype, &tensor.bytes), tensor.shape.as_slice())
    else {
        return Ok(None);
    };
    let group = u64::try_from(node.integer("group").unwrap_or(1)).unwrap_or(1).max(1);
    let (Ok(filters), Ok(per_group), Ok(group)) =
        (usize::try_from(filters), usize::try_from(per_group), usize::try_from(group))
    else {
        return Ok(None);
    };
    let fits = |list: &[f64]| list.len() == 1 || per_group.checked_mul(group) == Some(list.len());
    if weights.is_empty() || filters % group != 0 || !fits(&affine.scale) || !fits(&affine.shift) {
        return Ok(None);
    }
    let old = match node.input(2) {
        None => vec![0.0; filters],
        Some(bias) => match editor.numbers(bias)? {
            Some(list) if list.len() == filters => list,
            _ => return Ok(None),
        },
    };
    let window = weights.len() / filters / per_group;
    let mut bias = old;
    let mut scaled = Vec::with_capacity(weights.len());
    for (run, taps) in weights.chunks(window).enumerate() {
        let (filter, channel) = (run / per_group, run / per_group / (filters / group) * per_group + run % per_group);
        let (scale, shift) = (Affine::at(&affine.scale, channel), Affine::at(&affine.shift, channel));
        bias[filter] += taps.iter().sum::<f64>() * shift;
        scaled.extend(taps.iter().map(|tap| tap * scale));
    }
    let mut made = node.clone();
    made.inputs[0] = Some(data);
    if !affine.only_shifts() {
        let Some(tensor) = Tensor::from_numbers(tensor.dtype, tensor.shape.clone(), &scaled) else { return Ok(None) };
        made.inputs[1] = Some(editor.constant(tensor, weight));
    }
    if affine.shift.iter().any(|shift| *shift != 0.0) {
        let Some(tensor) = Tensor::from_numbers(tensor.dtype, vec![filters as u64], &bias) else { return Ok(None) };
        made.inputs.resize(3, None);
        made.inputs[2] = Some(editor.constant(tensor, weight));
    }
    Ok(Some(vec![made]))
}

/// The elements of a constant that has one for each channel of `data`, or one for all.
fn by_channel(editor: &Editor<'_>, data: ValueId, constant: ValueId) -> Result<Option<Vec<f64>>, GraphError> {
    let (Some(shape), Some(factor)) = (editor.shape(data), editor.concrete(constant)) else { return Ok(None) };
    if factor.len() > shape.len() {
        return Ok(None);
    }
    let skip = shape.len() - factor.len();
    let fits = factor
        .iter()
        .enumerate()
        .all(|(axis, length)| *length == 1 || axis + skip == 1 && shape[1].known() == Some(*length));
    if fits { editor.numbers(constant) } else { Ok(None) }
}

/// Whether the value comes from an operator with constant weights that nobody else reads.
fn can_absorb(editor: &Editor<'_>, id: ValueId, only_shifts: bool) -> bool {
    let Some(producer) = editor.producer(id).filter(|_| editor.is_private(id)) else { return false };
    if !producer.epilogue.is_empty() {
        return false;
    }
    let constant = |index: usize| {
        producer.input(index).is_some_and(|id| {
            let id = editor.resolve(id);
            editor.value(id).is_constant() && float(editor, id).is_some()
        })
    };
    let bias_fits = producer.input(2).is_none() || constant(2);
    let weight_fits = (only_shifts || constant(1))
        && producer.input(1).is_some_and(|id| editor.concrete(editor.resolve(id)).is_some());
    matches!(producer.op.as_str(), "Conv" | "ConvTranspose" | "Gemm") && bias_fits && weight_fits
}

/// Gives the producer of `data` back with the step in its weights; it makes the node's output from now on.
fn absorb(editor: &mut Editor<'_>, node: &Node, data: ValueId, affine: &Affine) -> Rewrite {
    let Some(producer) = editor.producer(data) else { return Ok(None) };
    let (op, group, columns_first) =
        (producer.op.clone(), producer.integer("group").unwrap_or(1), producer.integer("transB").unwrap_or(0) != 0);
    let beta = producer.number("beta").unwrap_or(1.0);
    let (Some(weight), bias) = (editor.input_of(producer, 1), editor.input_of(producer, 2)) else { return Ok(None) };
    let (Some(shape), Some(dtype)) = (editor.concrete(weight), float(editor, weight)) else { return Ok(None) };
    let Some(map) = ChannelMap::new(&op, &shape, group, columns_first) else { return Ok(None) };
    if !elements(&shape).is_some_and(|count| editor.affords(count)) {
        return Ok(None);
    }
    let fits = |list: &[f64]| list.len() == 1 || list.len() == map.channels;
    if !fits(&affine.scale) || !fits(&affine.shift) {
        return Ok(None);
    }
    // The new bias, from the old one.
    let old = match bias {
        None => vec![0.0],
        Some(bias) => {
            // C of a Gemm may be a matrix; then it is left alone.
            let Some(lengths) = editor.concrete(bias) else { return Ok(None) };
            let columns = lengths.split_last().is_none_or(|(_, rest)| rest.iter().all(|length| *length == 1));
            match editor.numbers(bias)? {
                Some(list) if columns && fits(&list) => list,
                _ => return Ok(None),
            }
        }
    };
    let beta = if op == "Gemm" { beta } else { 1.0 };
    let new: Vec<f64> = (0..map.channels)
        .map(|channel| {
            Affine::at(&old, channel) * beta * Affine::at(&affine.scale, channel) + Affine::at(&affine.shift, channel)
        })
        .collect();
    let Some(new_bias) = Tensor::from_numbers(dtype, vec![map.channels as u64], &new) else { return Ok(None) };
    let new_weight = if affine.only_shifts() {
        None
    } else {
        match editor.tensor(weight)?.and_then(|tensor| scaled(tensor, &map, &affine.scale)) {
            Some(tensor) => Some(tensor),
            None => return Ok(None),
        }
    };
    let has_bias = bias.is_some() || new.iter().any(|value| *value != 0.0);
    let Some(mut producer) = editor.take_producer(data) else { return Ok(None) };
    if let Some(tensor) = new_weight {
        producer.inputs[1] = Some(editor.constant(tensor, weight));
    }
    if has_bias {
        producer.inputs.resize(3, None);
        producer.inputs[2] = Some(editor.constant(new_bias, bias.unwrap_or(weight)));
        if op == "Gemm" {
            producer.attributes.insert("beta".to_owned(), Attribute::Number(1.0));
        }
    }
    producer.outputs = vec![node.output(0)];
    Ok(Some(vec![producer]))
}

/// Which output channel an element of a weight belongs to: `element / inner % per_row`, plus the row's group.
struct ChannelMap {
    channels: usize,
    /// Elements behind one channel index.
    inner: usize,
    /// Channels that one row of the weight has.
    per_row: usize,
    /// Rows that share a group (transposed convolutions).
    rows_per_group: usize,
}

impl ChannelMap {
    fn new(op: &str, shape: &[u64], group: i64, columns_first: bool) -> Option<Self> {
        let lengths: Vec<usize> = shape.iter().map(|length| usize::try_from(*length).ok()).collect::<Option<_>>()?;
        let product =
            |lengths: &[usize]| lengths.iter().try_fold(1usize, |product, length| product.checked_mul(*length));
        let total = product(&lengths)?;
        if total == 0 || lengths.len() < 2 {
            return None;
        }
        let group = usize::try_from(group).ok().filter(|group| *group > 0)?;
        Some(match op {
            "Conv" => ChannelMap {
                channels: lengths[0],
                inner: product(&lengths[1..])?,
                per_row: lengths[0],
                rows_per_group: usize::MAX,
            },
            "Gemm" if columns_first => {
                ChannelMap { channels: lengths[0], inner: lengths[1], per_row: lengths[0], rows_per_group: usize::MAX }
            }
            "Gemm" => ChannelMap { channels: lengths[1], inner: 1, per_row: lengths[1], rows_per_group: usize::MAX },
            "ConvTranspose" => ChannelMap {
                channels: lengths[1].checked_mul(group)?,
                inner: product(&lengths[2..])?,
                per_row: lengths[1],
                rows_per_group: (lengths[0] / group).max(1),
            },
            _ => return None,
        })
    }

    fn channel(&self, element: usize) -> usize {
        let index = element / self.inner;
        index % self.per_row + index / self.per_row / self.rows_per_group * self.per_row
    }
}

fn scaled(mut tensor: Tensor, map: &ChannelMap, scale: &[f64]) -> Option<Tensor> {
    if tensor.dtype == DType::F32 {
        // Large ones: without a copy in f64, and where they lie unless others hold them. Runs of `inner` elements share a channel.
        let run_bytes = map.inner.checked_mul(4)?;
        for (run, chunk) in Arc::make_mut(&mut tensor.bytes).chunks_mut(run_bytes).enumerate() {
            let factor = Affine::at(scale, map.channel(run * map.inner));
            for element in chunk.as_chunks_mut().0 {
                *element = ((f64::from(f32::from_le_bytes(*element)) * factor) as f32).to_le_bytes();
            }
        }
        return Some(tensor);
    }
    let mut numbers = read_numbers(tensor.dtype, &tensor.bytes)?;
    for (element, number) in numbers.iter_mut().enumerate() {
        *number *= Affine::at(scale, map.channel(element));
    }
    Tensor::from_numbers(tensor.dtype, tensor.shape, &numbers)
}
