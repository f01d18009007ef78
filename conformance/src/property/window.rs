//! Convolutions and pools over one to three spatial axes.

use super::draw::{Draw, FLOATS};
use super::product::with_epilogue;
use crate::oracle::{Question, Tensor, dtype};
use dtype::{BF16, F16, F32, F64, I8, I32, I64, U8};

pub(super) const OPERATORS: &[&str] =
    &["Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"];

/// Pairs of factors in one case, at most.
const WORK: usize = 60_000;

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    match op {
        "Conv" => conv(draw),
        "ConvTranspose" => transposed(draw),
        "ConvInteger" | "QLinearConv" => integers(op, draw),
        _ => pool(op, draw),
    }
}

/// Sizes of a convolution.
struct Sizes {
    batch: usize,
    group: usize,
    /// Of the input, and of the result, for each group.
    from: usize,
    to: usize,
    spatial: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
}

fn sizes(draw: &mut Draw) -> Sizes {
    loop {
        let rank = draw.pick(&[1, 2, 2, 2, 2, 3]);
        let square = draw.chance(50);
        let side = draw.pick(&[1, 1, 2, 3, 3, 3, 5]);
        let kernel: Vec<usize> = (0..rank).map(|_| if square { side } else { draw.pick(&[1, 2, 3, 4, 5]) }).collect();
        let stride = draw.pick(&[1, 1, 1, 2, 3]);
        let dilation = draw.pick(&[1, 1, 1, 2]);
        let most = if rank == 3 { 6 } else { 18 };
        let grow = if draw.large { 2 } else { 1 };
        let spatial = (0..rank).map(|_| draw.between(1, most) as usize * grow).collect();
        let pads = (0..2 * rank).map(|axis| draw.between(0, kernel[axis % rank] as i64 / 2 + 1)).collect();
        let depthwise = draw.chance(20);
        let group = if depthwise { draw.pick(&[2, 3, 8, 9, 16]) } else { draw.pick(&[1, 1, 1, 2, 3]) };
        let channels = |draw: &mut Draw| draw.pick(&[1, 2, 3, 4, 5, 7, 8, 9, 16, 17]);
        let (from, to) = if depthwise { (1, draw.pick(&[1, 1, 2])) } else { (channels(draw), channels(draw)) };
        let sizes = Sizes {
            batch: if draw.empty && draw.chance(40) { 0 } else { draw.between(1, 2) as usize },
            group,
            from,
            to,
            spatial,
            kernel,
            strides: vec![stride; rank],
            dilations: vec![dilation; rank],
            pads,
        };
        let space: usize = sizes.spatial.iter().product();
        let taps: usize = sizes.kernel.iter().product();
        let work = space * taps * from * to * group * sizes.batch / (stride * stride) as usize;
        let fits = (0..rank).all(|axis| {
            let reach = sizes.dilations[axis] * (sizes.kernel[axis] as i64 - 1) + 1;
            sizes.spatial[axis] as i64 + sizes.pads[axis] + sizes.pads[rank + axis] >= reach
        });
        if fits && work <= WORK * if draw.large { 6 } else { 1 } && (!draw.large || work > WORK) {
            return sizes;
        }
    }
}

fn with_window(question: Question, sizes: &Sizes) -> Question {
    let kernel: Vec<i64> = sizes.kernel.iter().map(|&n| n as i64).collect();
    question
        .integers("kernel_shape", &kernel)
        .integers("strides", &sizes.strides)
        .integers("dilations", &sizes.dilations)
        .integer("group", sizes.group as i64)
}

fn padded(question: Question, draw: &mut Draw, sizes: &Sizes) -> Question {
    match draw.below(8) {
        0 => question.text("auto_pad", "SAME_UPPER"),
        1 => question.text("auto_pad", "SAME_LOWER"),
        _ => question.text("auto_pad", "NOTSET").integers("pads", &sizes.pads),
    }
}

fn conv(draw: &mut Draw) -> Question {
    let sizes = sizes(draw);
    let dtype = draw.pick(&[F32, F32, F32, F32, F32, F16, BF16, F64]);
    let (channels, result) = (sizes.from * sizes.group, sizes.to * sizes.group);
    let constant = draw.chance(75);
    let x = draw.tensor(dtype, &[&[sizes.batch, channels], &sizes.spatial[..]].concat());
    let w = draw.finite(dtype, &[&[result, sizes.from], &sizes.kernel[..]].concat());
    let question = with_window(Question::new("Conv", 11), &sizes);
    let mut question = padded(question, draw, &sizes).input(x).operand(w, constant);
    if draw.chance(60) {
        question = question.operand(draw.finite(dtype, &[result]), constant);
    }
    let question = question.output(dtype);
    if dtype == F32 { with_epilogue(question, draw, result) } else { question }
}

fn transposed(draw: &mut Draw) -> Question {
    let sizes = sizes(draw);
    let rank = sizes.kernel.len();
    let dtype = draw.pick(&[F32, F32, F32, F32, F16, BF16, F64]);
    let (channels, result) = (sizes.from * sizes.group, sizes.to * sizes.group);
    let constant = draw.chance(75);
    let x = draw.tensor(dtype, &[&[sizes.batch, channels], &sizes.spatial[..]].concat());
    let w = draw.finite(dtype, &[&[channels, sizes.to], &sizes.kernel[..]].concat());
    // More padding than the window reaches would leave nothing.
    let pads: Vec<i64> = sizes.pads.iter().map(|&pad| pad.min(1)).collect();
    let extra: Vec<i64> =
        (0..rank).map(|axis| if draw.chance(30) { draw.between(0, sizes.strides[axis] - 1) } else { 0 }).collect();
    let mut question = with_window(Question::new("ConvTranspose", 11), &sizes)
        .text("auto_pad", "NOTSET")
        .integers("pads", &pads)
        .integers("output_padding", &extra)
        .input(x)
        .operand(w, constant);
    if draw.chance(60) {
        question = question.operand(draw.finite(dtype, &[result]), constant);
    }
    let question = question.output(dtype);
    if dtype == F32 { with_epilogue(question, draw, result) } else { question }
}

fn integers(op: &str, draw: &mut Draw) -> Question {
    let sizes = sizes(draw);
    let (from, weights, to) = (draw.pick(&[U8, I8]), draw.pick(&[U8, I8]), draw.pick(&[U8, I8]));
    let result = sizes.to * sizes.group;
    let x = draw.tensor(from, &[&[sizes.batch, sizes.from * sizes.group], &sizes.spatial[..]].concat());
    let w = draw.tensor(weights, &[&[result, sizes.from], &sizes.kernel[..]].concat());
    let question = with_window(Question::new(op, 10), &sizes).text("auto_pad", "NOTSET").integers("pads", &sizes.pads);
    if op == "ConvInteger" {
        let mut question = question.input(x).operand(w, true);
        if draw.chance(70) {
            question = question.operand(draw.tensor(from, &[]), true);
            let each = draw.chance(30);
            let zero = if each { vec![result] } else { vec![] };
            question = if draw.chance(60) { question.operand(draw.tensor(weights, &zero), true) } else { question };
        }
        return question.output(I32);
    }
    let scale = |power: i64| Tensor::of_reals(F32, &[], &[2f64.powi(power as i32)]);
    let mut question = question
        .input(x)
        .operand(scale(draw.between(-7, -4)), true)
        .operand(draw.tensor(from, &[]), true)
        .operand(w, true)
        .operand(scale(draw.between(-7, -4)), true)
        .operand(draw.tensor(weights, &[]), true)
        .operand(scale(draw.between(-2, 3)), true)
        .operand(draw.tensor(to, &[]), true);
    if draw.chance(50) {
        question = question.operand(draw.wholes_within(I32, &[result], -5000, 5000), true);
    }
    question.output(to)
}

fn pool(op: &str, draw: &mut Draw) -> Question {
    let rank = draw.pick(&[1, 2, 2, 2, 3]);
    let kernel: Vec<usize> = (0..rank).map(|_| draw.pick(&[1, 2, 2, 3, 3, 4, 5])).collect();
    let most = if rank == 3 { 7 } else { 17 };
    let grow = if draw.large { 4 } else { 1 };
    let spatial: Vec<usize> = (0..rank).map(|_| draw.between(2, most) as usize * grow).collect();
    let batch = if draw.empty { 0 } else { draw.between(1, 2) as usize };
    let channels = if draw.large { 16 } else { draw.between(1, 9) as usize };
    let shape = [&[batch, channels], &spatial[..]].concat();
    let dtype = if op == "MaxPool" { draw.pick(&[F32, F32, F32, F16, BF16, F64, U8, I8]) } else { draw.pick(FLOATS) };
    let list = |values: Vec<usize>| values.iter().map(|&n| n as i64).collect::<Vec<_>>();
    let pads: Vec<i64> = (0..2 * rank).map(|axis| draw.between(0, (kernel[axis % rank] as i64 - 1).min(2))).collect();
    let strides: Vec<i64> = (0..rank).map(|_| draw.between(1, 3)).collect();
    let dilations: Vec<i64> = vec![draw.pick(&[1, 1, 1, 2]); rank];
    let mut question = Question::new(
        op,
        match op {
            "MaxPool" => 12,
            "AveragePool" => 19,
            _ => 18,
        },
    )
    .integers("kernel_shape", &list(kernel))
    .integers("strides", &strides)
    .integers("dilations", &dilations)
    .integer("ceil_mode", draw.between(0, 1));
    question = match draw.below(8) {
        0 => question.text("auto_pad", "SAME_UPPER"),
        1 => question.text("auto_pad", "SAME_LOWER"),
        _ => question.text("auto_pad", "NOTSET").integers("pads", &pads),
    };
    match op {
        "AveragePool" => {
            question.integer("count_include_pad", draw.between(0, 1)).input(draw.tensor(dtype, &shape)).output(dtype)
        }
        "LpPool" => question.integer("p", draw.between(1, 3)).input(draw.finite(dtype, &shape)).output(dtype),
        _ => {
            let with_places = draw.chance(40);
            let x = if with_places { draw.finite(dtype, &shape) } else { draw.tensor(dtype, &shape) };
            let question = question.integer("storage_order", draw.between(0, 1)).input(x).output(dtype);
            if with_places { question.output(I64) } else { question }
        }
    }
}
