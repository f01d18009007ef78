//! The vector units: Relu, Clip, Add, Sub and Mul on f32, and the way between f32 and quantised numbers.

use crate::blocked::wishes;
use crate::cost::Work;
use crate::operation::{Byte, F32, I32, Op, elements, lengths};
use crate::walk::{Grid, Walk};
use sunmao_plugin_sdk::abi::{Alias, Operand, Operation, Requirements};
use sunmao_plugin_sdk::{Attributes, Bindings, Call, Dispatch, Input, Kernel, Output, Result};

/// Bounds that are applied to a result before it is stored, in order: what Relu and Clip are.
#[derive(Clone, Default)]
pub(crate) struct Bounds(Vec<(f32, f32)>);

/// Epilogue steps that [`Bounds`] knows.
pub(crate) const STEPS: &[&str] = &["Relu", "Clip"];

impl Bounds {
    pub(crate) fn of(operation: &Operation) -> Self {
        let bounds = |step: &sunmao_plugin_sdk::abi::EpilogueStep| match step.op.as_str() {
            "Clip" => {
                let bound = |key: &str| Attributes(&step.attributes).number(key).map(|bound| bound as f32);
                (bound("min").unwrap_or(f32::NEG_INFINITY), bound("max").unwrap_or(f32::INFINITY))
            }
            _ => (0.0, f32::INFINITY),
        };
        Self(operation.epilogue.iter().map(bounds).collect())
    }

    pub(crate) fn apply(&self, value: f32) -> f32 {
        self.0.iter().fold(value, |value, &(low, high)| limit(value, low, high))
    }
}

/// The nearest number between the bounds; the upper one wins where they cross, and NaN stays.
fn limit(value: f32, low: f32, high: f32) -> f32 {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// What an element of the result is, by the operator's name.
#[derive(Clone, Copy)]
enum Function {
    Relu,
    Clip,
    Binary(fn(f32, f32) -> f32),
    Quantise(Byte),
    Dequantise(Stored),
}

/// How quantised numbers are stored.
#[derive(Clone, Copy)]
enum Stored {
    Bytes(Byte),
    Words,
}

struct Vector {
    function: Function,
    grid: Grid,
    /// One for each operand that is walked: inputs, then the result.
    walks: Vec<Walk>,
    bounds: Bounds,
    requirements: Requirements,
}

pub(crate) fn prepare(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (op.input(0)?, op.output()?);
    let function = match op.0.op.as_str() {
        "Relu" => Function::Relu,
        "Clip" => Function::Clip,
        "Add" => Function::Binary(|a, b| a + b),
        "Sub" => Function::Binary(|a, b| a - b),
        "Mul" => Function::Binary(|a, b| a * b),
        "QuantizeLinear" => Function::Quantise(Byte::of(y.dtype)),
        _ if x.dtype == I32 => Function::Dequantise(Stored::Words),
        _ => Function::Dequantise(Stored::Bytes(Byte::of(x.dtype))),
    };
    let shape = lengths(y);
    let scaled = matches!(function, Function::Quantise(_) | Function::Dequantise(_));
    let same = |operand: &Operand| operand.shape == y.shape && operand.layout == y.layout;
    // Scales, zero points and bounds are walked beside the tensors.
    let mut operands: Vec<(usize, Operand)> = vec![(0, x.clone())];
    match function {
        Function::Binary(_) => operands.push((1, op.input(1)?.clone())),
        Function::Quantise(_) | Function::Dequantise(_) => {
            for index in [1, 2] {
                if let Some(parameter) = op.optional(index) {
                    operands.push((index, along_axis(op, index, parameter, &shape)?));
                }
            }
        }
        Function::Relu | Function::Clip => {}
    }
    let whole = |operand: &Operand| same(operand) || (scaled && elements(operand) == 1);
    let flat = operands.iter().all(|(_, operand)| whole(operand));
    let walk = |index: usize, operand: &Operand| match flat {
        true if same(operand) => Ok(Walk::FLAT),
        true => Ok(Walk::Strided([0; 4])),
        false => Walk::new(op, index, operand, &shape),
    };
    let mut walks = operands.iter().map(|(index, operand)| walk(*index, operand)).collect::<Result<Vec<_>>>()?;
    walks.push(walk(op.0.inputs.len(), y)?);
    let grid = Grid::new(&shape, flat);
    let work = Work { bytes: op.bytes(), vector: elements(y) as u64, ..Work::default() };
    let mut requirements = work.requirements(if flat { elements(y) / 64 } else { grid.rows() });
    let tensors = if matches!(function, Function::Binary(_)) { 2 } else { 1 };
    requirements.in_place = (0..tensors)
        .filter(|&input| op.optional(input).is_some_and(|operand| same(operand) && operand.dtype == y.dtype))
        .map(|input| Alias { output: 0, input: input as u32 })
        .collect();
    let inputs = (0..tensors).filter_map(|input| op.optional(input).map(|operand| (input, operand)));
    requirements.layouts = wishes(inputs.chain([(op.0.inputs.len(), y)]));
    Ok(Box::new(Vector { function, grid, walks, bounds: Bounds::of(op.0), requirements }))
}

/// A scale or zero point, seen as a tensor that the result broadcasts: one number, or one for each index of the axis.
fn along_axis(op: Op<'_>, index: usize, parameter: &Operand, shape: &[usize]) -> Result<Operand> {
    let mut seen = parameter.clone();
    seen.shape = match elements(parameter) {
        1 => Vec::new(),
        count => {
            let axis = op.attributes().integer("axis").unwrap_or(1);
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            let fits = usize::try_from(axis).ok().filter(|&axis| shape.get(axis) == Some(&count));
            let Some(axis) = fits.filter(|_| parameter.shape.len() == 1) else {
                return Err(op.unsupported(format_args!("a scale of {:?} for {shape:?}", parameter.shape)).at(index));
            };
            (0..shape.len()).map(|i| if i == axis { count as u32 } else { 1 }).collect()
        }
    };
    Ok(seen)
}

impl Kernel for Vector {
    fn requirements(&self) -> Requirements {
        self.requirements.clone()
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let rows = Rows { grid: self.grid, walks: self.walks.clone() };
        let optional = |index: usize| bindings.has_input(index).then(|| bindings.input::<f32>(index)).transpose();
        Ok(match self.function {
            Function::Relu | Function::Clip => {
                let (x, y): (Input<f32>, Output<f32>) = (bindings.input(0)?, bindings.output(0)?);
                let clip = matches!(self.function, Function::Clip);
                let (low, high) = if clip { (optional(1)?, optional(2)?) } else { (None, None) };
                Box::new(move |call: &Call| {
                    let (x, y) = (call.read(&x), call.write(&y));
                    let bound = |bound: &Option<Input<f32>>, none: f32| {
                        bound.as_ref().map_or(none, |bound| call.read(bound).get(0))
                    };
                    let low = if clip { bound(&low, f32::NEG_INFINITY) } else { 0.0 };
                    let high = bound(&high, f32::INFINITY);
                    rows.run(call, |at| y.set(at[1], limit(x.get(at[0]), low, high)));
                    Ok(())
                })
            }
            Function::Binary(combine) => {
                let (a, b, y) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?, bindings.output::<f32>(0)?);
                let bounds = self.bounds.clone();
                Box::new(move |call: &Call| {
                    let (a, b, y) = (call.read(&a), call.read(&b), call.write(&y));
                    rows.run(call, |at| y.set(at[2], bounds.apply(combine(a.get(at[0]), b.get(at[1])))));
                    Ok(())
                })
            }
            Function::Quantise(byte) => {
                let (x, scale) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?);
                let zero = bindings.has_input(2).then(|| bindings.input_bits::<u8>(2)).transpose()?;
                let y: Output<u8> = bindings.output_bits(0)?;
                Box::new(move |call: &Call| {
                    let (x, scale, y) = (call.read(&x), call.read(&scale), call.write(&y));
                    let zeros = zero.as_ref().map(|zero| call.read(zero));
                    rows.run(call, |at| {
                        let zero = zeros.as_ref().map_or(0, |zeros| byte.number(zeros.get(at[2])));
                        let to = if zeros.is_some() { at[3] } else { at[2] };
                        let number = (x.get(at[0]) / scale.get(at[1])).round_ties_even();
                        y.set(to, byte.saturated(f64::from(number) + f64::from(zero)));
                    });
                    Ok(())
                })
            }
            Function::Dequantise(Stored::Bytes(byte)) => {
                let x: Input<u8> = bindings.input_bits(0)?;
                let zero = bindings.has_input(2).then(|| bindings.input_bits::<u8>(2)).transpose()?;
                let (scale, y) = (bindings.input::<f32>(1)?, bindings.output::<f32>(0)?);
                Box::new(move |call: &Call| {
                    let (x, scale, y) = (call.read(&x), call.read(&scale), call.write(&y));
                    let zeros = zero.as_ref().map(|zero| call.read(zero));
                    rows.run(call, |at| {
                        let zero = zeros.as_ref().map_or(0, |zeros| byte.number(zeros.get(at[2])));
                        let to = if zeros.is_some() { at[3] } else { at[2] };
                        y.set(to, (byte.number(x.get(at[0])) - zero) as f32 * scale.get(at[1]));
                    });
                    Ok(())
                })
            }
            Function::Dequantise(Stored::Words) => {
                let (x, scale, y) = (bindings.input::<i32>(0)?, bindings.input::<f32>(1)?, bindings.output::<f32>(0)?);
                let zero = bindings.has_input(2).then(|| bindings.input::<i32>(2)).transpose()?;
                Box::new(move |call: &Call| {
                    let (x, scale, y) = (call.read(&x), call.read(&scale), call.write(&y));
                    let zeros = zero.as_ref().map(|zero| call.read(zero));
                    rows.run(call, |at| {
                        let zero = zeros.as_ref().map_or(0, |zeros| zeros.get(at[2]));
                        let to = if zeros.is_some() { at[3] } else { at[2] };
                        y.set(to, (i64::from(x.get(at[0])) - i64::from(zero)) as f32 * scale.get(at[1]));
                    });
                    Ok(())
                })
            }
        })
    }
}

const _: () = assert!(F32 == 1, "`Bindings::input::<f32>` checks for this code");

/// The rows of a grid, walked in step over all operands.
struct Rows {
    grid: Grid,
    walks: Vec<Walk>,
}

impl Rows {
    /// Calls `step` for each element of this shard's part, with the place of each operand's element.
    fn run(&self, call: &Call, step: impl Fn(&[usize; 4])) {
        let (rows, width) = (self.grid.rows(), self.grid.width());
        // A flat grid is one row, which is shared by elements.
        let (rows, columns) = match rows {
            1 => (0..1, call.share(width, 64)),
            _ => (call.share(rows, 1), 0..width),
        };
        for row in rows {
            let (mut at, mut steps) = ([0; 4], [0; 4]);
            for (operand, walk) in self.walks.iter().enumerate() {
                let (start, step) = walk.row(&self.grid, row);
                (at[operand], steps[operand]) = (start + columns.start * step, step);
            }
            for _ in columns.clone() {
                step(&at);
                (0..4).for_each(|operand| at[operand] += steps[operand]);
            }
        }
    }
}
