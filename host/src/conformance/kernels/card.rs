//! The performance card: how fast each operator is at a shape that models have, against the portable plugin and the host's fast path.

use super::bench::{Bench, Device, Failure};
use crate::device::{Place, covers};
use crate::plugin::Plugin;
use std::sync::Arc;
use std::time::Duration;
use sunmao_conformance::oracle::{Question, Tensor, answer, dtype};
use sunmao_conformance::property::Draw;
use sunmao_graph::DType;

/// How long one operator is measured on one device.
const TIME: Duration = Duration::from_millis(60);
/// Runs at least.
const LEAST: usize = 3;

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Floating-point or integer operations: a product and a sum are two.
    GigaOperations,
    /// Bytes read and written once.
    GigaBytes,
}

impl Unit {
    /// As reports spell it, by the second.
    pub fn name(self) -> &'static str {
        match self {
            Unit::GigaOperations => "Gop/s",
            Unit::GigaBytes => "GB/s",
        }
    }
}

/// One line of the card.
#[derive(Clone, Debug)]
pub struct Line {
    /// The operator.
    pub op: String,
    /// Short name of the element type.
    pub dtype: String,
    /// Sizes, for a person.
    pub sizes: String,
    /// What the rate counts.
    pub unit: Unit,
    /// The chip's median rate on one thread.
    pub rate: f64,
    /// The chip's rate over that of the portable plugin; none where that one does not run it.
    pub against_portable: Option<f64>,
    /// The chip's rate over that of the host's fast path; none where there is none.
    pub against_fast_path: Option<f64>,
}

/// An operation that is measured.
struct Load {
    question: Question,
    sizes: &'static str,
    unit: Unit,
    /// Operations or bytes of one run.
    amount: f64,
}

/// Measures every operator of the card that `chip` covers. `portable` is the portable plugin, to compare with.
pub fn card(chip: &Arc<Plugin>, portable: &Arc<Plugin>) -> Vec<Line> {
    let Some(facts) = chip.chip() else { return Vec::new() };
    let mut lines = Vec::new();
    for load in loads() {
        let Ok(answers) = answer(&load.question) else { continue };
        if covers(&facts.operators, &load.question.operation(&answers)).is_err() {
            continue;
        }
        let seconds = |device: Device| -> Result<f64, Failure> {
            let mut spent = 0.0;
            let mut runs = 0;
            let mut times = Bench::new(&device, &load.question, &answers, &[])?.time(|seconds| {
                spent += seconds;
                runs += 1;
                runs >= LEAST && spent >= TIME.as_secs_f64()
            })?;
            times.sort_by(f64::total_cmp);
            Ok(times[times.len() / 2])
        };
        let Ok(own) = seconds(Device::Chip(chip.clone())) else { continue };
        let ratio = |other: Result<f64, Failure>| other.ok().map(|other| other / own);
        lines.push(Line {
            op: load.question.op.clone(),
            dtype: DType::from_code(load.question.outputs[0]).map_or_else(String::new, |dtype| dtype.to_string()),
            sizes: load.sizes.to_owned(),
            unit: load.unit,
            rate: load.amount / own / 1e9,
            against_portable: ratio(seconds(Device::Chip(portable.clone()))),
            // The best stands first among those of an operator.
            against_fast_path: sunmao_fastpath::registered()
                .iter()
                .filter(|entry| entry.operator == load.question.op)
                .find_map(|entry| ratio(seconds(Device::Native(Place::FastPath(entry.path))))),
        });
    }
    lines
}

fn floats(draw: &mut Draw, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let unit = |draw: &mut Draw| (draw.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    let values: Vec<f64> = (0..count).map(|_| unit(draw)).collect();
    Tensor::of_reals(dtype::F32, shape, &values)
}

fn wholes(draw: &mut Draw, dtype: u16, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<i128> = (0..count).map(|_| i128::from(draw.next() as i8)).collect();
    Tensor::of_wholes(dtype, shape, &values)
}

/// The operations of the card, at sizes that finish within milliseconds on a scalar kernel and do not fit into the smallest cache.
fn loads() -> Vec<Load> {
    let draw = &mut Draw::new("card", 1, 0);
    let mut loads = Vec::new();
    products(draw, &mut loads);
    windows(draw, &mut loads);
    let plane = [1, 64, 56, 56];
    let elements: f64 = plane.iter().product::<usize>() as f64;
    let bytes = |tensors: f64| tensors * elements * 4.0;
    for (op, revision) in
        [("Relu", 14), ("Sigmoid", 13), ("Tanh", 13), ("Exp", 13), ("Gelu", 20), ("Erf", 13), ("Sqrt", 13)]
    {
        let question =
            Question::new(op, revision).text("approximate", "none").input(floats(draw, &plane)).output(dtype::F32);
        loads.push(Load { question, sizes: "64x56x56", unit: Unit::GigaBytes, amount: bytes(2.0) });
    }
    for op in ["Add", "Mul", "Div", "Max"] {
        let question = Question::new(op, if op == "Max" { 13 } else { 14 });
        let question = question.input(floats(draw, &plane)).input(floats(draw, &plane)).output(dtype::F32);
        loads.push(Load { question, sizes: "64x56x56, no broadcast", unit: Unit::GigaBytes, amount: bytes(3.0) });
    }
    let question =
        Question::new("Transpose", 13).integers("perm", &[0, 2, 3, 1]).input(floats(draw, &plane)).output(dtype::F32);
    loads.push(Load { question, sizes: "64x56x56 to channels last", unit: Unit::GigaBytes, amount: bytes(2.0) });
    let half = [1, 32, 56, 56];
    let question = Question::new("Concat", 13).integer("axis", 1).input(floats(draw, &half)).input(floats(draw, &half));
    loads.push(Load {
        question: question.output(dtype::F32),
        sizes: "2 of 32x56x56",
        unit: Unit::GigaBytes,
        amount: bytes(2.0),
    });
    for op in ["ReduceSum", "ReduceMax"] {
        let question = Question::new(op, if op == "ReduceSum" { 13 } else { 18 })
            .integer("keepdims", 1)
            .integer("noop_with_empty_axes", 0)
            .input(floats(draw, &plane))
            .operand(Tensor::list(&[-1]), true)
            .output(dtype::F32);
        loads.push(Load { question, sizes: "64x56x56 over the last axis", unit: Unit::GigaBytes, amount: bytes(1.0) });
    }
    rows(draw, &mut loads);
    loads
}

fn products(draw: &mut Draw, loads: &mut Vec<Load>) {
    for (m, k, n, sizes) in [(128, 256, 256, "128x256 by 256x256"), (1, 1024, 1024, "1x1024 by 1024x1024")] {
        let amount = 2.0 * (m * k * n) as f64;
        let question = Question::new("MatMul", 13)
            .input(floats(draw, &[m, k]))
            .operand(floats(draw, &[k, n]), true)
            .output(dtype::F32);
        loads.push(Load { question, sizes, unit: Unit::GigaOperations, amount });
        let question = Question::new("Gemm", 13)
            .number("alpha", 1.0)
            .number("beta", 1.0)
            .integer("transA", 0)
            .integer("transB", 1)
            .input(floats(draw, &[m, k]))
            .operand(floats(draw, &[n, k]), true)
            .operand(floats(draw, &[n]), true)
            .output(dtype::F32);
        loads.push(Load { question, sizes, unit: Unit::GigaOperations, amount });
        let question = Question::new("MatMulInteger", 10)
            .input(wholes(draw, dtype::U8, &[m, k]))
            .operand(wholes(draw, dtype::I8, &[k, n]), true)
            .output(dtype::I32);
        loads.push(Load { question, sizes, unit: Unit::GigaOperations, amount });
    }
}

fn windows(draw: &mut Draw, loads: &mut Vec<Load>) {
    let conv = |op: &str, kernel: i64, group: i64| {
        let pad = kernel / 2;
        Question::new(op, 11)
            .text("auto_pad", "NOTSET")
            .integers("kernel_shape", &[kernel; 2])
            .integers("strides", &[1, 1])
            .integers("dilations", &[1, 1])
            .integers("pads", &[pad; 4])
            .integer("group", group)
    };
    let x = [1, 32, 28, 28];
    let outputs = 32.0 * 28.0 * 28.0;
    for (kernel, group, sizes) in
        [(3, 1, "32 of 28x28, 3x3"), (1, 1, "32 of 28x28, 1x1"), (3, 32, "32 of 28x28, 3x3 depthwise")]
    {
        let each = 32 / group as usize;
        let w = floats(draw, &[32, each, kernel as usize, kernel as usize]);
        let question =
            conv("Conv", kernel, group).input(floats(draw, &x)).operand(w, true).operand(floats(draw, &[32]), true);
        let amount = 2.0 * outputs * (each as i64 * kernel * kernel) as f64;
        loads.push(Load { question: question.output(dtype::F32), sizes, unit: Unit::GigaOperations, amount });
    }
    let w = floats(draw, &[32, 32, 3, 3]);
    let question =
        conv("ConvTranspose", 3, 1).integers("output_padding", &[0, 0]).input(floats(draw, &x)).operand(w, true);
    let amount = 2.0 * outputs * 288.0;
    loads.push(Load {
        question: question.output(dtype::F32),
        sizes: "32 of 28x28, 3x3",
        unit: Unit::GigaOperations,
        amount,
    });
    for (op, revision) in [("MaxPool", 12), ("AveragePool", 19)] {
        let question = Question::new(op, revision)
            .text("auto_pad", "NOTSET")
            .integers("kernel_shape", &[2, 2])
            .integers("strides", &[2, 2])
            .integers("dilations", &[1, 1])
            .integers("pads", &[0; 4])
            .integer("ceil_mode", 0)
            .input(floats(draw, &[1, 64, 56, 56]))
            .output(dtype::F32);
        let amount = 64.0 * 56.0 * 56.0 * 5.0;
        loads.push(Load { question, sizes: "64x56x56, 2x2", unit: Unit::GigaBytes, amount });
    }
}

fn rows(draw: &mut Draw, loads: &mut Vec<Load>) {
    let shape = [128, 768];
    let amount = (128 * 768 * 8) as f64;
    let question = Question::new("Softmax", 13).integer("axis", -1).input(floats(draw, &shape)).output(dtype::F32);
    loads.push(Load { question, sizes: "128 rows of 768", unit: Unit::GigaBytes, amount });
    for (op, revision) in [("LayerNormalization", 17), ("RMSNormalization", 23)] {
        let question = Question::new(op, revision)
            .integer("axis", -1)
            .number("epsilon", 1e-5)
            .integer("stash_type", 1)
            .input(floats(draw, &shape))
            .operand(floats(draw, &shape[1..]), true)
            .output(dtype::F32);
        loads.push(Load { question, sizes: "128 rows of 768", unit: Unit::GigaBytes, amount });
    }
    let one = |value: f64| Tensor::of_reals(dtype::F32, &[], &[value]);
    let zero = Tensor::of_wholes(dtype::U8, &[], &[128]);
    let question = Question::new("QuantizeLinear", 23)
        .integer("axis", 1)
        .integer("block_size", 0)
        .integer("output_dtype", 0)
        .integer("precision", 0)
        .integer("saturate", 1)
        .input(floats(draw, &shape))
        .operand(one(0.01), true)
        .operand(zero.clone(), true)
        .output(dtype::U8);
    loads.push(Load { question, sizes: "128x768", unit: Unit::GigaBytes, amount: (128 * 768 * 5) as f64 });
    let question = Question::new("DequantizeLinear", 23)
        .integer("axis", 1)
        .integer("block_size", 0)
        .integer("output_dtype", 0)
        .input(wholes(draw, dtype::U8, &shape))
        .operand(one(0.01), true)
        .operand(zero, true)
        .output(dtype::F32);
    loads.push(Load { question, sizes: "128x768", unit: Unit::GigaBytes, amount: (128 * 768 * 5) as f64 });
}
