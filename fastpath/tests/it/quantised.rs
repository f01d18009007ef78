//! Quantised operators: the twin's bits, whatever the bytes.

use crate::bytes::{Case, F32, I8, I32, U8, any_bytes, floats, integers};
use crate::harness::{Random, count};
use sunmao_plugin_sdk::abi::Attribute;

/// A convolution's shapes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    images: usize,
    inputs: usize,
    outputs: usize,
    groups: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
}

const PLAIN: Shape = Shape {
    images: 1,
    inputs: 8,
    outputs: 8,
    groups: 1,
    size: [7, 9],
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    pads: [1, 1, 1, 1],
};

/// Weights of which all, none or a few are large, counted from their zero point: that decides how products are packed.
fn weights(random: &mut Random, dtype: u16, zero: u8, count: usize) -> Vec<u8> {
    let large = random.pick(&[0, 3, 100]);
    let one = |random: &mut Random| {
        let near = random.below(129) as i32 - 64;
        match random.chance(large) {
            true => any_bytes(random, 1)[0],
            false if dtype == I8 => (i32::from(zero as i8) + near).clamp(-128, 127) as u8,
            false => (i32::from(zero) + near).clamp(0, 255) as u8,
        }
    };
    (0..count).map(|_| one(random)).collect()
}

/// A case with scales that spread the results over all bytes, and some beyond.
fn conv(random: &mut Random, shape: Shape, types: [u16; 3]) -> Case {
    let Shape { images, inputs, outputs, groups, size, kernel, stride, dilation, pads } = shape;
    let out = |axis: usize| {
        (size[axis] + pads[axis] + pads[axis + 2] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1
    };
    let [x, w, y] = types;
    let x_shape = [images, inputs, size[0], size[1]];
    let w_shape = [outputs, inputs / groups, kernel[0], kernel[1]];
    let depth = (count(&w_shape[1..]) as f32).sqrt();
    let each = random.chance(50);
    let scales: Vec<f32> = (0..if each { outputs } else { 1 }).map(|_| 0.5 + random.below(100) as f32 / 77.0).collect();
    let case = Case::new("QLinearConv", 10)
        .attribute("group", Attribute::Integer(groups as i64))
        .attribute("auto_pad", Attribute::Text("NOTSET".into()))
        .integers("kernel_shape", &kernel)
        .integers("strides", &stride)
        .integers("dilations", &dilation)
        .integers("pads", &pads);
    let zero = |random: &mut Random| any_bytes(random, 1)[0];
    let (x_zero, y_zero) = (zero(random), zero(random));
    let w_zero = if random.chance(70) { 0 } else { zero(random) };
    let case = case.input(x, &x_shape, any_bytes(random, count(&x_shape))).scale(0.37).zero(x, x_zero);
    let case = case.constant(w, &w_shape, weights(random, w, w_zero, count(&w_shape)));
    let scale_shape = if each { vec![outputs] } else { vec![] };
    let case = case.constant(F32, &scale_shape, floats(&scales)).zero(w, w_zero);
    let case = case.scale(40.0 * depth).zero(y, y_zero);
    let case = if random.chance(70) {
        let bias: Vec<i32> = (0..outputs).map(|_| random.below(200_000) as i32 - 100_000).collect();
        case.constant(I32, &[outputs], integers(&bias))
    } else {
        case
    };
    case.output(y, &[images, outputs, out(0), out(1)])
}

const TYPES: &[[u16; 3]] = &[[U8, I8, U8], [U8, U8, U8], [I8, I8, I8], [I8, U8, U8], [U8, I8, I8]];

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn convolutions_give_the_twins_bytes() {
    let mut random = Random::new(20);
    for round in 0..160 {
        let groups = if random.chance(80) { 1 } else { random.pick(&[2, 3]) };
        let shape = Shape {
            images: 1 + random.below(2),
            inputs: groups * random.pick(&[1, 2, 3, 5, 8, 17]),
            outputs: groups * random.pick(&[4, 5, 6, 7, 12, 13, 20]),
            groups,
            size: [random.pick(&[1, 3, 4, 7, 8, 14]), random.pick(&[3, 4, 7, 9, 14, 17, 33])],
            kernel: [1 + random.below(3), 1 + random.below(3)],
            stride: [1 + random.below(3), 1 + random.below(3)],
            dilation: [1 + random.below(2), 1 + random.below(2)],
            pads: [2, 2, 2, 2],
        };
        let pads = std::array::from_fn(|_| random.below(3));
        let shape = Shape { pads, ..shape };
        let fits = (0..2).all(|i| shape.size[i] + pads[i] + pads[i + 2] > (shape.kernel[i] - 1) * shape.dilation[i]);
        if fits {
            conv(&mut random, shape, TYPES[round % TYPES.len()]).check();
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn pointwise_and_large_convolutions_are_cut_into_blocks() {
    let mut random = Random::new(21);
    let pointwise = Shape { kernel: [1, 1], pads: [0; 4], ..PLAIN };
    for shape in [
        Shape { inputs: 64, outputs: 70, size: [40, 53], ..pointwise },
        Shape { inputs: 1100, outputs: 100, size: [7, 7], ..pointwise },
        Shape { inputs: 24, outputs: 130, size: [14, 14], stride: [2, 2], ..pointwise },
        Shape { inputs: 300, outputs: 20, size: [14, 14], ..PLAIN },
        Shape { inputs: 3, outputs: 32, size: [50, 50], kernel: [7, 7], stride: [2, 2], pads: [3; 4], ..PLAIN },
        Shape { inputs: 6, outputs: 7, size: [1, 100], kernel: [1, 5], pads: [0, 2, 0, 2], ..PLAIN },
    ] {
        conv(&mut random, shape, [U8, I8, U8]).check();
        conv(&mut random, shape, [I8, I8, I8]).check();
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn convolutions_after_winograd_are_exact() {
    let mut random = Random::new(28);
    for round in 0..40 {
        let shape = Shape {
            images: 1 + random.below(2),
            inputs: random.pick(&[24, 25, 32, 47]),
            outputs: random.pick(&[24, 29, 64]),
            size: [random.pick(&[2, 3, 7, 8, 14]), random.pick(&[2, 4, 7, 9, 14, 33, 40])],
            pads: std::array::from_fn(|_| random.below(3)),
            ..PLAIN
        };
        let fits = (0..2).all(|i| shape.size[i] + shape.pads[i] + shape.pads[i + 2] >= 4);
        if fits {
            conv(&mut random, shape, TYPES[round % TYPES.len()]).check();
        }
    }
    let large = Shape { inputs: 640, outputs: 40, size: [9, 8], ..PLAIN };
    for types in TYPES {
        conv(&mut random, large, *types).check();
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn depthwise_convolutions_give_the_twins_bytes() {
    let mut random = Random::new(22);
    for round in 0..120 {
        let (groups, times) = (random.pick(&[2, 3, 5]), random.pick(&[1, 1, 1, 2, 3]));
        let pads = std::array::from_fn(|_| random.below(4));
        let shape = Shape {
            images: 1 + random.below(2),
            inputs: groups,
            outputs: groups * times,
            groups,
            size: [random.pick(&[1, 5, 7, 20]), random.pick(&[1, 7, 8, 15, 16, 17, 33, 70])],
            kernel: [1 + random.below(5), 1 + random.below(5)],
            stride: [1 + random.below(3), 1 + random.below(3)],
            dilation: [1 + random.below(2), 1 + random.below(2)],
            pads,
        };
        let fits = (0..2).all(|i| shape.size[i] + pads[i] + pads[i + 2] > (shape.kernel[i] - 1) * shape.dilation[i]);
        if fits {
            conv(&mut random, shape, TYPES[round % TYPES.len()]).check();
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn the_largest_bytes_do_not_saturate_in_between() {
    let shape = Shape { inputs: 64, outputs: 8, size: [5, 5], ..PLAIN };
    let case = Case::new("QLinearConv", 10).integers("pads", &shape.pads).integers("kernel_shape", &shape.kernel);
    let case = case.input(U8, &[1, 64, 5, 5], vec![255; 1600]).scale(1.0).zero(U8, 0);
    let case = case.constant(I8, &[8, 64, 3, 3], vec![127; 8 * 576]).scale(1.0).zero(I8, 0);
    case.scale(73_152.0).zero(U8, 0).output(U8, &[1, 8, 5, 5]).check();
}

#[test]
fn the_largest_bytes_of_a_product_do_not_saturate_in_between() {
    let case = Case::new("MatMulInteger", 10).input(U8, &[3, 64], vec![255; 192]);
    case.constant(I8, &[64, 20], vec![128; 1280]).output(I32, &[3, 20]).check();
}

/// Pairs of weights of which the products with the largest bytes add up to just what 16 bits hold, and to more.
const LIMITS: [i8; 16] = [64, 64, 1, 127, -64, -64, -128, 0, -1, -127, 127, -128, 65, 64, -65, -64];
/// Along the depth they stand in groups of four that hold each pair beside each other one.
const LIMITS_DEPTH: usize = 4 * LIMITS.len();

fn at_the_limit(row: usize, at: usize) -> u8 {
    let (pair, other) = (at / 4 % 8, (at / 4 + row) % 8);
    LIMITS[2 * if at % 4 < 2 { pair } else { other } + at % 2] as u8
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn pairs_of_weights_at_the_limit_do_not_saturate_in_between() {
    let depth = LIMITS_DEPTH;
    for outputs in [1, 6, 16, 17] {
        let rows: Vec<u8> = (0..outputs * depth).map(|i| at_the_limit(i / depth, i % depth)).collect();
        let case = Case::new("QLinearConv", 10).integers("kernel_shape", &[1, 1]);
        let case = case.input(U8, &[1, depth, 3, 3], vec![255; 9 * depth]).scale(1.0).zero(U8, 0);
        let case = case.constant(I8, &[outputs, depth, 1, 1], rows).scale(1.0).zero(I8, 0);
        case.scale(1000.0).zero(U8, 128).output(U8, &[1, outputs, 3, 3]).check();
    }
}

#[test]
fn pairs_of_weights_of_a_product_at_the_limit_do_not_saturate_in_between() {
    let depth = LIMITS_DEPTH;
    for outputs in [1, 6, 16, 17] {
        let columns: Vec<u8> = (0..outputs * depth).map(|i| at_the_limit(i % outputs, i / outputs)).collect();
        let case = Case::new("MatMulInteger", 10).input(U8, &[7, depth], vec![255; 7 * depth]);
        case.constant(I8, &[depth, outputs], columns).output(I32, &[7, outputs]).check();
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn scales_that_are_no_numbers_give_the_twins_bytes() {
    let mut random = Random::new(30);
    for scale in [f32::INFINITY, f32::NAN, 0.0, 1e-38, -1.0] {
        for (groups, outputs) in [(1, 7), (4, 4)] {
            let shape = [outputs, 4 / groups, 3, 3];
            let case = Case::new("QLinearConv", 10).integers("kernel_shape", &[3, 3]).integers("pads", &[1; 4]);
            let case = case.attribute("group", Attribute::Integer(groups as i64));
            let case = case.input(U8, &[1, 4, 5, 5], any_bytes(&mut random, 100)).scale(1.0).zero(U8, 3);
            let case = case.constant(I8, &shape, any_bytes(&mut random, count(&shape))).scale(1.0).zero(I8, 0);
            case.scale(scale).zero(U8, 9).output(U8, &[1, outputs, 5, 5]).check();
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn zero_points_of_weights_that_differ_are_left_to_others() {
    let case = Case::new("QLinearConv", 10).integers("kernel_shape", &[1, 1]);
    let case = case.input(U8, &[1, 4, 2, 2], vec![1; 16]).scale(1.0).zero(U8, 0);
    let case = case.constant(I8, &[4, 4, 1, 1], vec![1; 16]).scale(1.0).constant(I8, &[4], vec![0, 1, 0, 0]);
    case.scale(1.0).zero(U8, 0).output(U8, &[1, 4, 2, 2]).check_declined();
}

const PRODUCTS: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 40, 33),
    (5, 17, 8),
    (6, 16, 2),
    (7, 8, 31),
    (13, 300, 64),
    (128, 24, 100),
    (20, 530, 7),
    (9, 33, 1000),
];

#[test]
fn integer_products_give_the_twins_sums() {
    let mut random = Random::new(23);
    for &(m, n, k) in PRODUCTS {
        for [a, b, _] in TYPES {
            let case = Case::new("MatMulInteger", 10).input(*a, &[2, m, k], any_bytes(&mut random, 2 * m * k));
            let zeros = any_bytes(&mut random, 2);
            let case = case.constant(*b, &[k, n], weights(&mut random, *b, zeros[1], k * n));
            let case = if random.chance(60) { case.input(*a, &[], vec![zeros[0]]).zero(*b, zeros[1]) } else { case };
            case.output(I32, &[2, m, n]).check();
        }
    }
}

#[test]
fn scaled_products_give_the_twins_floats() {
    let mut random = Random::new(24);
    for &(m, n, k) in PRODUCTS {
        for [a, b, _] in TYPES {
            let case = Case::new("sunmao.MatMulIntegerToFloat", 1).input(*a, &[m, k], any_bytes(&mut random, m * k));
            let zeros = any_bytes(&mut random, 2);
            let case = case.constant(*b, &[k, n], weights(&mut random, *b, zeros[1], k * n)).scale(0.013);
            let each = random.chance(50);
            let scales: Vec<f32> = (0..if each { n } else { 1 }).map(|j| 0.02 + j as f32 / 999.0).collect();
            let scale_shape = if each { vec![n] } else { vec![] };
            let case = case.constant(F32, &scale_shape, floats(&scales));
            let case = case.input(*a, &[], vec![zeros[0]]).zero(*b, zeros[1]);
            let bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.7 - 9.0).collect();
            let case = if random.chance(60) { case.input(F32, &[n], floats(&bias)) } else { case };
            let case = if random.chance(50) { case.step("Relu") } else { case };
            case.output(F32, &[m, n]).check();
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn quantised_sums_give_the_twins_bytes() {
    let mut random = Random::new(25);
    for round in 0..40 {
        let [a, b, y] = TYPES[round % TYPES.len()];
        let n = random.pick(&[1, 15, 16, 17, 64, 1000]);
        let zeros = any_bytes(&mut random, 3);
        let (left, right) = (any_bytes(&mut random, n), any_bytes(&mut random, n));
        let scales = random.pick(&[[0.02f32, 0.013, 0.03], [0.5, 1.0, 2.0], [1.0, 1.0, 1e-30]]);
        let case = Case::new("sunmao.QAdd", 1).input(a, &[n], left).scale(scales[0]).zero(a, zeros[0]);
        let case = case.input(b, &[n], right).scale(scales[1]).zero(b, zeros[1]);
        case.scale(scales[2]).zero(y, zeros[2]).output(y, &[n]).check();
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn numbers_are_quantised_and_back_as_the_twin_does() {
    let mut random = Random::new(26);
    for dtype in [U8, I8] {
        for n in [1, 7, 8, 9, 16, 33, 500] {
            let zero = any_bytes(&mut random, 1)[0];
            let mut values: Vec<f32> = (0..n).map(|_| random.below(4000) as f32 / 8.0 - 250.0).collect();
            values[n / 2] = random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e30]);
            let case = Case::new("QuantizeLinear", 21).input(F32, &[n], floats(&values)).scale(0.75);
            case.clone().zero(dtype, zero).output(dtype, &[n]).check();
            if dtype == U8 {
                case.output(U8, &[n]).check();
                Case::new("DynamicQuantizeLinear", 11)
                    .input(F32, &[n], floats(&values.iter().map(|v| v.clamp(-90.0, 300.0)).collect::<Vec<_>>()))
                    .output(U8, &[n])
                    .output(F32, &[])
                    .output(U8, &[])
                    .check();
            }
            let case = Case::new("DequantizeLinear", 21).input(dtype, &[n], any_bytes(&mut random, n)).scale(0.3);
            case.clone().zero(dtype, zero).output(F32, &[n]).check();
            case.output(F32, &[n]).check();
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for this operator on bytes")]
fn bytes_are_pooled_as_the_twin_does() {
    let mut random = Random::new(27);
    for round in 0..80 {
        let dtype = [U8, I8][round % 2];
        let size = [random.pick(&[2, 5, 9]), random.pick(&[2, 7, 31, 32, 33, 70])];
        let kernel = [1 + random.below(3), 1 + random.below(3)];
        let stride = [1 + random.below(3), 1 + random.below(3)];
        let pads: [usize; 4] = std::array::from_fn(|i| random.below(kernel[i % 2]));
        let fits = (0..2).all(|i| size[i] + pads[i] + pads[i + 2] >= kernel[i]);
        if !fits {
            continue;
        }
        let out = |i: usize| (size[i] + pads[i] + pads[i + 2] - kernel[i]) / stride[i] + 1;
        Case::new("MaxPool", 12)
            .integers("kernel_shape", &kernel)
            .integers("strides", &stride)
            .integers("pads", &pads)
            .input(dtype, &[2, 3, size[0], size[1]], any_bytes(&mut random, 6 * count(&size)))
            .output(dtype, &[2, 3, out(0), out(1)])
            .check();
    }
}
