//! `ConvInteger` and `QLinearConv` on the matrix units: 16 output channels at a time, sums in 32 bits, exact.

use crate::blocked::{BLOCK, Planes, wishes};
use crate::cost::Work;
use crate::operation::{Byte, Op, elements, lengths};
use crate::requantise::{Requantise, element};
use crate::window::Window;
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Input, Kernel, Output, Reader, Result, Writer};

/// Numbers of the operands that the two operators have at different places.
struct Inputs {
    x_zero: usize,
    w: usize,
    w_zero: usize,
    bias: Option<usize>,
}

const INTEGER: Inputs = Inputs { x_zero: 2, w: 1, w_zero: 3, bias: None };
const QUANTISED: Inputs = Inputs { x_zero: 2, w: 3, w_zero: 5, bias: Some(8) };

/// What both operators are.
#[derive(Clone, Copy)]
struct Shape {
    batches: usize,
    group: usize,
    /// Channels of the input and of the output that one group has.
    from: usize,
    to: usize,
    window: Window,
    x: Planes,
    y: Planes,
}

struct Conv {
    shape: Shape,
    inputs: &'static Inputs,
    quantised: bool,
    /// Weights come in blocks of output channels.
    packed: bool,
    types: [u16; 3],
    requirements: Requirements,
}

pub(crate) fn prepare(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let quantised = op.0.op == "QLinearConv";
    let inputs = if quantised { &QUANTISED } else { &INTEGER };
    let (x, w, y) = (op.input(0)?, op.input(inputs.w)?, op.output()?);
    let (from, weights, to) = (lengths(x), lengths(w), lengths(y));
    let group = usize::try_from(op.attributes().integer("group").unwrap_or(1)).unwrap_or(0);
    let fits = from.len() == weights.len()
        && from.len() == to.len()
        && from.len() >= 3
        && group > 0
        && from[0] == to[0]
        && weights[1].checked_mul(group) == Some(from[1])
        && weights[0] == to[1]
        && to[1].is_multiple_of(group);
    if !fits {
        return Err(op.invalid(format_args!("weights {weights:?} over {from:?} in {group} groups give no {to:?}")));
    }
    let each = |index: usize, count: usize| match op.optional(index).map(elements) {
        None | Some(1) => Ok(()),
        Some(given) if given == count => Ok(()),
        Some(given) => Err(op.invalid(format_args!("{given} elements where 1 or {count} belong")).at(index)),
    };
    each(inputs.x_zero, 1)?;
    each(inputs.w_zero, to[1])?;
    if quantised {
        each(4, to[1])?;
        [1, 6, 7].into_iter().try_for_each(|index| each(index, 1))?;
        if op.optional(8).is_some_and(|bias| elements(bias) != to[1]) {
            return Err(op.invalid("a bias that is not one for each channel").at(8));
        }
    }
    let window = Window::of(op, &from[2..], &to[2..], &weights[2..])?;
    let shape = Shape {
        batches: from[0],
        group,
        from: weights[1],
        to: to[1] / group,
        window,
        x: Planes::of(op, x)?,
        y: Planes::of(op, y)?,
    };
    let packed = w.constant && elements(w) > 0;
    let sums = (elements(y) as u64).saturating_mul((weights[1] * window.kernel()) as u64);
    let work = Work { bytes: op.bytes(), macs: sums, vector: elements(y) as u64 };
    let mut requirements = work.requirements(shape.tasks());
    requirements.workspace = (BLOCK * window.wide.output * size_of::<i32>()) as u32;
    if packed {
        let key = format!("blocks of {BLOCK} channels in {group} groups");
        let form = PackedConstant { input: inputs.w as u32, bytes: elements(w) as u32, align: 64, key };
        requirements.packed.push(form);
    }
    requirements.layouts = wishes([(0, x), (op.0.inputs.len(), y)]);
    let types = [x.dtype, w.dtype, y.dtype];
    Ok(Box::new(Conv { shape, inputs, quantised, packed, types, requirements }))
}

impl Shape {
    /// Blocks of output channels of one group.
    fn blocks(&self) -> usize {
        self.to.div_ceil(BLOCK)
    }

    /// A task is one row of one block of channels.
    fn tasks(&self) -> usize {
        self.batches * self.group * self.blocks() * self.window.high.output
    }

    /// Multiplications for one output.
    fn depth(&self) -> usize {
        self.from * self.window.kernel()
    }
}

impl Kernel for Conv {
    fn requirements(&self) -> Requirements {
        self.requirements.clone()
    }

    /// [O, I, taps] becomes groups, blocks of O, I and taps, O in the block.
    fn pack(&self, _input: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let (depth, to) = (self.shape.depth(), self.shape.to);
        for channel in 0..self.shape.group * to {
            let (group, place) = (channel / to, channel % to);
            let first = place / BLOCK * BLOCK;
            let lanes = BLOCK.min(to - first);
            let block = (group * to + first) * depth + place - first;
            for step in 0..depth {
                packed.set(block + step * lanes, source.get(channel * depth + step));
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let inputs = self.inputs;
        let zero = |index: usize| bindings.has_input(index).then(|| bindings.input_bits::<u8>(index)).transpose();
        let bound = Bound {
            shape: self.shape,
            packed: self.packed,
            bytes: [Byte::of(self.types[0]), Byte::of(self.types[1])],
            x: bindings.input_bits(0)?,
            w: if self.packed { bindings.packed(inputs.w)? } else { bindings.input_bits(inputs.w)? },
            x_zero: zero(inputs.x_zero)?,
            w_zero: zero(inputs.w_zero)?,
        };
        if !self.quantised {
            let y: Output<i32> = bindings.output(0)?;
            return Ok(Box::new(move |call: &Call| {
                let y = call.write(&y);
                bound.run(call, |at, sum, _| y.set(at, sum));
                Ok(())
            }));
        }
        let y: Output<u8> = bindings.output_bits(0)?;
        let requantise = Requantise::bind(bindings, [1, 4, 6, 7], self.types[2])?;
        let scales = bindings.input::<f32>(4)?.len();
        let bias = match inputs.bias {
            Some(index) if bindings.has_input(index) => Some(bindings.input::<i32>(index)?),
            _ => None,
        };
        Ok(Box::new(move |call: &Call| {
            let (y, requantiser) = (call.write(&y), requantise.open(call));
            let bias = bias.as_ref().map(|bias| call.read(bias));
            bound.run(call, |at, sum, channel| {
                let sum = sum.wrapping_add(bias.as_ref().map_or(0, |bias| bias.get(channel)));
                y.set(at, requantiser.byte(sum, 0, element(scales, channel)));
            });
            Ok(())
        }))
    }
}

/// The operands that both operators read.
struct Bound {
    shape: Shape,
    packed: bool,
    bytes: [Byte; 2],
    x: Input<u8>,
    w: Input<u8>,
    x_zero: Option<Input<u8>>,
    w_zero: Option<Input<u8>>,
}

impl Bound {
    /// Does this shard's rows; `store` takes the place in the output, the sum and the output channel.
    fn run(&self, call: &Call, store: impl Fn(usize, i32, usize)) {
        let (shape, [x_byte, w_byte]) = (&self.shape, self.bytes);
        let (x, w, sums) = (call.read(&self.x), call.read(&self.w), call.workspace::<i32>());
        let x_zero = self.x_zero.as_ref().map_or(0, |zero| x_byte.number(call.read(zero).get(0)));
        let w_zeros = self.w_zero.as_ref().map(|zero| call.read(zero));
        let w_zero = |channel: usize| {
            w_zeros.as_ref().map_or(0, |zeros| w_byte.number(zeros.get(element(zeros.len(), channel))))
        };
        let (rows, width, depth) = (shape.window.high.output, shape.window.wide.output, shape.depth());
        for task in call.share(shape.tasks(), 1) {
            let (row, block) = (task % rows, task / rows);
            let (block, group) = (block % shape.blocks(), block / shape.blocks());
            let (group, batch) = (group % shape.group, group / shape.group);
            let lanes = BLOCK.min(shape.to - block * BLOCK);
            let first = group * shape.to + block * BLOCK;
            let mut zeros = [0; BLOCK];
            (0..lanes).for_each(|lane| zeros[lane] = w_zero(first + lane));
            (0..lanes * width).for_each(|at| sums.set(at, 0));
            for channel in 0..shape.from {
                let (plane, step) = shape.x.start(batch, group * shape.from + channel);
                for column in 0..width {
                    for (tap, place) in shape.window.taps(row, column) {
                        let factor = x_byte.number(x.get(plane + place * step)) - x_zero;
                        let deep = channel * shape.window.kernel() + tap;
                        let (weight, apart) =
                            if self.packed { (first * depth + deep * lanes, 1) } else { (first * depth + deep, depth) };
                        for (lane, zero) in zeros.iter().enumerate().take(lanes) {
                            let product = factor * (w_byte.number(w.get(weight + lane * apart)) - zero);
                            let at = column * lanes + lane;
                            sums.set(at, sums.get(at).wrapping_add(product));
                        }
                    }
                }
            }
            for lane in 0..lanes {
                let (plane, step) = shape.y.start(batch, first + lane);
                for column in 0..width {
                    store(plane + (row * width + column) * step, sums.get(column * lanes + lane), first + lane);
                }
            }
        }
    }
}
