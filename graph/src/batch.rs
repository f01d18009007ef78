//! Whether a model treats the samples of a batch apart, so that a request of many can be computed as several of few.
//!
//! A value is *in samples* when its bytes are those of one sample after the other: its first axis is the batch, or the batch times something. An
//! operator keeps that when it works on each index of the first axis alone. [`samples_apart`] follows it from inputs to outputs, through one model
//! at two sizes of the batch: what is not in samples has to be the same at both, so that a size which a model computes with is seen.

use crate::infer::is_elementwise;
use crate::tensor::{read_integers, read_numbers};
use crate::{Attribute, Graph, Node, Role, Value, ValueId};

/// Where samples come together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Together {
    /// The node and its operator, or an output.
    pub place: String,
    /// What brings them together there, or may.
    pub why: &'static str,
}

/// For each input of `whole`, whether it is in samples; the rest goes to all of them alike. `part` is the same model made concrete for fewer samples.
/// All outputs are in samples.
pub fn samples_apart(whole: &Graph, part: &Graph) -> Result<Vec<bool>, Together> {
    let mut pair = Pair {
        whole,
        part,
        twins: vec![None; whole.values.len()],
        in_samples: vec![false; whole.values.len()],
        batches: (0, 0),
    };
    let inputs = pair.inputs().map_err(|why| Together { place: "inputs".to_owned(), why })?;
    if whole.nodes.len() != part.nodes.len() {
        return Err(Together { place: "graph".to_owned(), why: "it has other nodes for fewer samples" });
    }
    for (node, twin) in whole.nodes.iter().zip(&part.nodes) {
        let place = || format!("node {} ({})", node.label(), node.op);
        pair.node(node, twin).map_err(|why| Together { place: place(), why })?;
    }
    for (id, twin) in whole.outputs.iter().zip(&part.outputs) {
        if !pair.in_samples[id.index()] || pair.twins[id.index()] != Some(*twin) {
            let place = format!("output {}", crate::text::quoted(&whole.value(*id).name));
            return Err(Together { place, why: "it is not made of samples" });
        }
    }
    Ok(inputs)
}

/// The model at two sizes of the batch, as far as it was followed.
struct Pair<'a> {
    whole: &'a Graph,
    part: &'a Graph,
    /// By value of `whole`: the computed value or input of `part` that stands for it.
    twins: Vec<Option<ValueId>>,
    in_samples: Vec<bool>,
    /// Samples of both.
    batches: (u64, u64),
}

/// What a node reads.
struct Operand {
    in_samples: bool,
    shape: Vec<u64>,
    value: ValueId,
}

/// A rule's answer; why not, otherwise.
type Answer = Result<(), &'static str>;

impl Pair<'_> {
    fn inputs(&mut self) -> Result<Vec<bool>, &'static str> {
        let (whole, part) = (self.whole, self.part);
        if whole.inputs.len() != part.inputs.len() {
            return Err("they are others for fewer samples");
        }
        let mut answer = Vec::with_capacity(whole.inputs.len());
        for (id, twin) in whole.inputs.iter().zip(&part.inputs) {
            let (shape, other) = (shape_of(whole.value(*id))?, shape_of(part.value(*twin))?);
            let varies = shape != other;
            if varies && self.batches == (0, 0) {
                self.batches = (shape.first().copied().unwrap_or(0), other.first().copied().unwrap_or(0));
            }
            if varies && !self.is_scaled(&shape, &other) {
                return Err("they do not vary by the first axis alone");
            }
            self.twins[id.index()] = Some(*twin);
            self.in_samples[id.index()] = varies;
            answer.push(varies);
        }
        if answer.contains(&true) { Ok(answer) } else { Err("none of them is in samples") }
    }

    /// Whether two shapes differ by the size of the batch alone, as a factor of the first axis.
    fn is_scaled(&self, whole: &[u64], part: &[u64]) -> bool {
        let ((Some(first), Some(other)), (batch, fewer)) = ((whole.first(), part.first()), self.batches) else {
            return false;
        };
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        whole[1..] == part[1..] && *first > 0 && product(*first, fewer) == product(*other, batch) && batch > 0
    }

    fn node(&mut self, node: &Node, twin: &Node) -> Answer {
        if node.op != twin.op
            || node.attributes != twin.attributes
            || node.epilogue != twin.epilogue
            || node.inputs.len() != twin.inputs.len()
            || node.outputs.len() != twin.outputs.len()
        {
            return Err("it is another for fewer samples");
        }
        let operands = node.inputs.iter().zip(&twin.inputs).enumerate();
        let operands: Vec<Option<Operand>> =
            operands.map(|(index, ids)| self.operand(node, index, ids)).collect::<Result<_, _>>()?;
        let varies = operands.iter().flatten().any(|operand| operand.in_samples);
        let result = node.output(0).map(|id| shape_of(self.whole.value(id))).transpose()?.unwrap_or_default();
        let rule = rule(node).ok_or("the operator may bring samples together")?;
        if varies {
            let own = node.own_inputs();
            rule(&Call { node, graph: self.whole, operands: &operands[..own], result: &result })?;
            for step in &node.epilogue {
                let operand = step.input.and_then(|index| operands[index].as_ref());
                // A bias goes along the channels.
                if let Some(operand) = operand.filter(|operand| operand.in_samples || step.op != "bias") {
                    broadcasts(operand, &result)?;
                }
            }
        }
        for (id, other) in node.outputs.iter().zip(&twin.outputs) {
            let (id, other) = match (id, other) {
                (Some(id), Some(other)) => (*id, *other),
                (None, None) => continue,
                _ => return Err("it has other results for fewer samples"),
            };
            let (shape, fewer) = (shape_of(self.whole.value(id))?, shape_of(self.part.value(other))?);
            if if varies { !self.is_scaled(&shape, &fewer) } else { shape != fewer } {
                return Err("its results do not grow with the number of samples");
            }
            self.twins[id.index()] = Some(other);
            self.in_samples[id.index()] = varies;
        }
        Ok(())
    }

    fn operand(
        &self,
        node: &Node,
        index: usize,
        ids: (&Option<ValueId>, &Option<ValueId>),
    ) -> Result<Option<Operand>, &'static str> {
        let (id, twin) = match ids {
            (None, None) => return Ok(None),
            (Some(id), Some(twin)) => (*id, *twin),
            _ => return Err("it has other operands for fewer samples"),
        };
        let (value, other) = (self.whole.value(id), self.part.value(twin));
        let is_same = match (&value.role, &other.role) {
            (Role::Constant(content), Role::Constant(other)) => content == other || names_the_batch(&node.op, index),
            (Role::Constant(_), _) | (_, Role::Constant(_)) => false,
            _ => self.twins[id.index()] == Some(twin),
        };
        if !is_same {
            return Err("it computes with the number of samples");
        }
        Ok(Some(Operand { in_samples: self.in_samples[id.index()], shape: shape_of(value)?, value: id }))
    }
}

/// Whether an operand gives the shape of the result, so that the number of samples may stand in it; how the result differs is looked at.
fn names_the_batch(op: &str, index: usize) -> bool {
    matches!((op, index), ("Reshape" | "Expand", 1) | ("Resize", 3))
}

fn shape_of(value: &Value) -> Result<Vec<u64>, &'static str> {
    value.concrete().ok_or("a shape is not known")
}

/// A node at least one of whose operands is in samples.
struct Call<'a> {
    node: &'a Node,
    graph: &'a Graph,
    /// The operator's own.
    operands: &'a [Option<Operand>],
    /// Shape of the first result.
    result: &'a [u64],
}

type Rule = fn(&Call<'_>) -> Answer;

/// How to tell whether an operator works on each index of the first axis alone; none: it is not known to.
fn rule(node: &Node) -> Option<Rule> {
    let op = node.op.as_str();
    if is_elementwise(op) && op != "Dropout" {
        return Some(elements);
    }
    Some(match op {
        // The results' shapes, which have been compared, say all.
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => |call| call.first_alone(),
        "Conv"
        | "ConvTranspose"
        | "ConvInteger"
        | "QLinearConv"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "LRN"
        | "DepthToSpace"
        | "SpaceToDepth"
        | "GlobalAveragePool"
        | "GlobalMaxPool" => images,
        // Further results: places counted through the whole batch, statistics over it.
        "AveragePool" | "MaxPool" | "LpPool" | "BatchNormalization" => |call| match call.node.outputs.len() {
            1 => images(call),
            _ => Err("its further results are of the whole batch"),
        },
        "Trilu" => images,
        "Softmax" | "LogSoftmax" | "Hardmax" | "LpNormalization" | "LayerNormalization" | "RMSNormalization" => {
            |call| call.first_alone().and(call.axis_is_inner(-1))
        }
        "ArgMax" | "ArgMin" => |call| call.first_alone().and(call.axis_is_inner(0)),
        "TopK" => |call| call.first_alone().and(call.axis_is_inner(-1)),
        "Split" => |call| call.first_alone().and(call.axis_is_inner(0)),
        "CumSum" | "CumProd" => |call| call.first_alone().and(call.all_inner(call.integers(1))),
        "Concat" => |call| match call.operands.iter().flatten().all(|operand| operand.in_samples) {
            true => call.axis_is_inner(0),
            false => Err("it joins samples with what is the same for all"),
        },
        "Transpose" => |call| match call.node.integers("perm") {
            Some([0, ..]) => Ok(()),
            _ => Err("it moves the first axis"),
        },
        "QuantizeLinear" | "DequantizeLinear" => quantisation,
        "sunmao.QAdd" => elements,
        "MatMul" | "MatMulInteger" | "QLinearMatMul" | "sunmao.MatMulIntegerToFloat" | "sunmao.QMatMul" => product,
        "Gemm" => |call| match call.node.integer("transA") {
            Some(0) => call.first_alone().and(call.operand(2).map_or(Ok(()), |bias| broadcasts(bias, call.result))),
            _ => Err("it sums over the first axis"),
        },
        "Gather" => gather,
        "Slice" => slice,
        "Pad" => pad,
        "Expand" => |call| broadcasts(call.operand(0).ok_or(MISSING)?, call.result),
        "Tile" => |call| match (call.first_alone(), call.integers(1)?.first()) {
            (Ok(()), Some(1)) => Ok(()),
            _ => Err("it repeats samples"),
        },
        "Resize" => resize,
        "Attention" => attention,
        _ if op.starts_with("Reduce") => reduction,
        _ => return None,
    })
}

const MISSING: &str = "an operand is missing";
const MIXES: &str = "it works along the first axis";

impl Call<'_> {
    fn operand(&self, index: usize) -> Option<&Operand> {
        self.operands.get(index)?.as_ref()
    }

    /// Operand 0 is in samples, and no other one is.
    fn first_alone(&self) -> Answer {
        let in_samples = |operand: &Option<Operand>| operand.as_ref().is_some_and(|operand| operand.in_samples);
        match self.operands.split_first() {
            Some((first, others)) if in_samples(first) && !others.iter().any(in_samples) => Ok(()),
            _ => Err("others of its operands than the first are in samples"),
        }
    }

    fn rank(&self) -> i64 {
        self.operand(0).map_or(0, |operand| operand.shape.len() as i64)
    }

    /// The attribute `axis` is none of operand 0's first.
    fn axis_is_inner(&self, default: i64) -> Answer {
        self.is_inner(self.node.integer("axis").unwrap_or(default))
    }

    fn is_inner(&self, axis: i64) -> Answer {
        let rank = self.rank();
        if if axis < 0 { axis + rank > 0 } else { axis > 0 } { Ok(()) } else { Err(MIXES) }
    }

    fn all_inner(&self, axes: Result<Vec<i64>, &'static str>) -> Answer {
        axes?.into_iter().try_for_each(|axis| self.is_inner(axis))
    }

    /// The elements of an operand that is a constant.
    fn integers(&self, index: usize) -> Result<Vec<i64>, &'static str> {
        let value = self.graph.value(self.operand(index).ok_or(MISSING)?.value);
        let read = value.dtype.zip(value.bytes()).and_then(|(dtype, bytes)| read_integers(dtype, bytes));
        read.ok_or("an operand that decides shapes is not known")
    }

    /// The first axis is as long behind it as before.
    fn keeps_length(&self) -> Answer {
        match self.operand(0).map(|operand| operand.shape.first()) {
            Some(first) if first == self.result.first() => Ok(()),
            _ => Err("it changes the first axis"),
        }
    }
}

/// An operand that meets the result element by element has the same first axis when it is in samples, and none otherwise.
fn broadcasts(operand: &Operand, result: &[u64]) -> Answer {
    let has_rank = operand.shape.len() == result.len();
    match operand.in_samples {
        true if has_rank && operand.shape.first() == result.first() => Ok(()),
        false if !has_rank || operand.shape.first() == Some(&1) => Ok(()),
        _ => Err("an operand does not go along with the samples"),
    }
}

fn elements(call: &Call<'_>) -> Answer {
    call.operands.iter().flatten().try_for_each(|operand| broadcasts(operand, call.result))
}

/// Works on `[samples, channels, ...]` by sample.
fn images(call: &Call<'_>) -> Answer {
    if call.rank() < 3 { Err("its first axis may not be the samples") } else { call.first_alone() }
}

fn quantisation(call: &Call<'_>) -> Answer {
    let is_one = |operand: &Operand| operand.shape.iter().product::<u64>() == 1;
    if !call.operands[1..].iter().flatten().all(is_one) {
        // A scale for each index of an axis, or for each block.
        call.axis_is_inner(1)?;
        if call.operand(1).is_some_and(|scale| scale.shape.len() != 1) {
            return Err("its scales may differ from sample to sample");
        }
    }
    call.first_alone()
}

/// Matrices stand on the last two axes: rows are samples where there are no others.
fn product(call: &Call<'_>) -> Answer {
    // Places of both matrices, and of what goes with rows of the first one or may.
    let (second, of_rows): (usize, &[usize]) = match call.node.op.as_str() {
        "QLinearMatMul" => (3, &[1, 2, 6, 7]),
        "MatMulInteger" => (1, &[2]),
        "sunmao.MatMulIntegerToFloat" => (1, &[2, 4]),
        _ => (1, &[]),
    };
    let (Some(a), Some(b)) = (call.operand(0), call.operand(second)) else { return Err(MISSING) };
    let others = || call.operands.iter().enumerate().filter(|(index, _)| *index != 0 && *index != second);
    if others().any(|(_, operand)| operand.as_ref().is_some_and(|operand| operand.in_samples)) {
        return Err("a scale or a zero point is in samples");
    }
    let is_one = |index: &usize| call.operand(*index).is_none_or(|o| o.shape.iter().product::<u64>() == 1);
    if !of_rows.iter().all(is_one) {
        return Err("rows have scales or zero points of their own");
    }
    let rank = call.result.len();
    let stands = |operand: &Operand| operand.shape.len() == rank && operand.shape.first() == call.result.first();
    let is_alike = |operand: &Operand| operand.shape.len() < rank || operand.shape.first() == Some(&1);
    match (a.in_samples, b.in_samples) {
        (true, false) if rank == 2 && a.shape.len() == 2 => Ok(()),
        (true, false) if rank > 2 && stands(a) && is_alike(b) => Ok(()),
        (false, true) if rank > 2 && stands(b) && is_alike(a) => Ok(()),
        (true, true) if rank > 2 && stands(a) && stands(b) => Ok(()),
        _ => Err("a product sums over samples, or pairs them"),
    }
}

fn gather(call: &Call<'_>) -> Answer {
    let axis = call.node.integer("axis").unwrap_or(0);
    match (call.operand(0), call.operand(1)) {
        (Some(data), Some(at)) if data.in_samples && !at.in_samples => call.is_inner(axis),
        (Some(data), Some(at)) if at.in_samples && !data.in_samples => match axis == 0 || axis + call.rank() == 0 {
            true => Ok(()),
            false => Err(MIXES),
        },
        _ => Err("it takes samples by number"),
    }
}

fn slice(call: &Call<'_>) -> Answer {
    call.first_alone()?;
    let axes = match call.operand(3) {
        Some(_) => call.integers(3)?,
        None => (0..call.integers(1)?.len() as i64).collect(),
    };
    match axes.iter().position(|axis| call.is_inner(*axis).is_err()) {
        None => Ok(()),
        // All of the first axis, in order, where forward steps leave it as long as it was.
        Some(at) if call.operand(4).is_none() || call.integers(4)?.get(at).is_some_and(|step| *step > 0) => {
            call.keeps_length()
        }
        Some(_) => Err(MIXES),
    }
}

fn pad(call: &Call<'_>) -> Answer {
    call.first_alone()?;
    match call.operand(3) {
        Some(_) => call.all_inner(call.integers(3)),
        None => {
            let pads = call.integers(1)?;
            let of_first = [pads.first(), pads.get(pads.len() / 2)];
            if of_first == [Some(&0), Some(&0)] { Ok(()) } else { Err("it pads the first axis") }
        }
    }
}

fn resize(call: &Call<'_>) -> Answer {
    call.first_alone()?;
    if call.node.text("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
        return Err("it may cut out samples");
    }
    if let Some(axes) = call.node.integers("axes") {
        return call.all_inner(Ok(axes.to_vec()));
    }
    if let Some(scales) = call.operand(2).filter(|scales| !scales.shape.contains(&0)) {
        let value = call.graph.value(scales.value);
        let read = value.dtype.zip(value.bytes()).and_then(|(dtype, bytes)| read_numbers(dtype, bytes));
        if read.and_then(|scales| scales.first().copied()) != Some(1.0) {
            return Err("it scales the first axis");
        }
    }
    call.keeps_length()
}

fn reduction(call: &Call<'_>) -> Answer {
    call.first_alone()?;
    let axes = if call.operand(1).is_some() { call.integers(1)? } else { Vec::new() };
    match axes.is_empty() {
        true if call.node.attributes.get("noop_with_empty_axes") == Some(&Attribute::Integer(1)) => Ok(()),
        true => Err(MIXES),
        false => call.all_inner(Ok(axes)),
    }
}

/// Queries, keys, values and caches by sample; the mask goes along with `[samples, heads, queries, keys]`.
fn attention(call: &Call<'_>) -> Answer {
    let length = call.operand(0).and_then(|operand| operand.shape.first().copied());
    for (index, operand) in call.operands.iter().enumerate() {
        let Some(operand) = operand else { continue };
        let first = operand.shape.first().copied();
        match (index, operand.in_samples) {
            (3, false) if operand.shape.len() < 4 || first == Some(1) => {}
            (3, true) if operand.shape.len() == 4 && first == length => {}
            (0..=2 | 4.., true) if first == length => {}
            _ => return Err("an operand does not go along with the samples"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
