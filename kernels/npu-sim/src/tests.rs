//! The kernels natively, as the host would run them, against plain loops; in every layout and number of shards.

mod harness;

use crate::NpuSim;
use crate::blocked::BLOCKED;
use harness::{Case, Tensor};
use sunmao_plugin_sdk::Chip;

/// Numbers that look random and are the same each time.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn bytes(shape: &[usize], seed: u64) -> Tensor {
    Tensor::u8(shape, &noise(shape.iter().product(), seed))
}

fn floats(shape: &[usize], seed: u64) -> Tensor {
    let values: Vec<f32> = noise(shape.iter().product(), seed).iter().map(|&b| (f32::from(b) - 128.0) / 16.0).collect();
    Tensor::f32(shape, &values)
}

/// Runs the case with the operands of `free` (numbers over inputs and then outputs) in every combination of layouts, and as 1 and 3 shards.
#[track_caller]
fn in_every_layout(case: &Case, free: &[usize]) -> Tensor {
    let plain = case.run(&[], 1);
    for choice in 0..1u32 << free.len() {
        let blocked: Vec<(usize, u16)> =
            free.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, &at)| (at, BLOCKED)).collect();
        for shards in [1, 3] {
            assert_eq!(case.run(&blocked, shards), plain, "layouts {blocked:?}, {shards} shards");
        }
    }
    plain
}

struct Geometry {
    from: [usize; 4],
    weights: [usize; 4],
    group: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
}

impl Geometry {
    fn output(&self) -> [usize; 4] {
        let length = |axis: usize| {
            let reach = (self.weights[axis] - 1) * self.dilation + 1;
            (self.from[axis] + 2 * self.pad - reach) / self.stride + 1
        };
        [self.from[0], self.weights[0], length(2), length(3)]
    }

    /// Sums as the operator's definition has them.
    fn sums(&self, x: &[i32], w: &[i32]) -> Vec<i32> {
        let [batches, channels, high, wide] = self.output();
        let [_, from, in_high, in_wide] = self.from;
        let [_, depth, k_high, k_wide] = self.weights;
        let mut sums = Vec::new();
        for (n, o) in (0..batches).flat_map(|n| (0..channels).map(move |o| (n, o))) {
            let group = o / (channels / self.group);
            for (y, z) in (0..high).flat_map(|y| (0..wide).map(move |z| (y, z))) {
                let mut sum = 0;
                for (c, i, j) in (0..depth).flat_map(|c| (0..k_high * k_wide).map(move |t| (c, t / k_wide, t % k_wide)))
                {
                    let row = (y * self.stride + i * self.dilation).wrapping_sub(self.pad);
                    let column = (z * self.stride + j * self.dilation).wrapping_sub(self.pad);
                    if row < in_high && column < in_wide {
                        let at = ((n * from + group * depth + c) * in_high + row) * in_wide + column;
                        sum += x[at] * w[((o * depth + c) * k_high + i) * k_wide + j];
                    }
                }
                sums.push(sum);
            }
        }
        sums
    }

    fn case(&self, op: &str) -> Case {
        let (stride, dilation, pad) = (self.stride as i64, self.dilation as i64, self.pad as i64);
        let case = Case::new(op, 10).integers("strides", &[stride; 2]).integers("dilations", &[dilation; 2]);
        case.integers("pads", &[pad; 4]).integer("group", self.group as i64)
    }
}

const GEOMETRIES: &[Geometry] = &[
    Geometry { from: [2, 5, 7, 6], weights: [19, 5, 3, 3], group: 1, stride: 1, dilation: 1, pad: 1 },
    Geometry { from: [1, 34, 9, 8], weights: [34, 17, 3, 2], group: 2, stride: 2, dilation: 2, pad: 1 },
    Geometry { from: [1, 18, 5, 5], weights: [18, 1, 3, 3], group: 18, stride: 1, dilation: 1, pad: 0 },
];

#[test]
fn conv_integer_is_exact_in_every_layout_packed_or_not() {
    for geometry in GEOMETRIES {
        let (x, w) = (bytes(&geometry.from, 1), bytes(&geometry.weights, 2));
        let zeros = noise(geometry.weights[0], 3);
        let depth = geometry.weights[1..].iter().product::<usize>();
        let x_numbers: Vec<i32> = x.bytes.iter().map(|&b| i32::from(b) - 7).collect();
        let w_numbers: Vec<i32> =
            w.bytes.iter().enumerate().map(|(i, &b)| i32::from(b as i8) - i32::from(zeros[i / depth] as i8)).collect();
        let expected = Tensor::i32(&geometry.output(), &geometry.sums(&x_numbers, &w_numbers));
        for constant in [false, true] {
            let case = geometry.case("ConvInteger").input(x.clone()).weights(w.clone().signed(), constant);
            let case = case.input(Tensor::u8(&[], &[7])).input(Tensor::u8(&[zeros.len()], &zeros).signed());
            let case = case.output(&expected);
            assert_eq!(in_every_layout(&case, &[0, 4]), expected);
        }
    }
}

#[test]
fn a_quantised_conv_rounds_half_to_even_and_saturates() {
    let geometry = &GEOMETRIES[0];
    let (x, w) = (bytes(&geometry.from, 4), bytes(&geometry.weights, 5));
    let channels = geometry.weights[0];
    let scales: Vec<f32> = (0..channels).map(|o| 0.125 * (1 + o % 5) as f32).collect();
    let bias: Vec<i32> = (0..channels as i32).map(|o| o * 100 - 900).collect();
    let x_numbers: Vec<i32> = x.bytes.iter().map(|&b| i32::from(b) - 128).collect();
    let w_numbers: Vec<i32> = w.bytes.iter().map(|&b| i32::from(b as i8)).collect();
    let plane = geometry.output()[2] * geometry.output()[3];
    let sums = geometry.sums(&x_numbers, &w_numbers);
    let expected: Vec<u8> = sums
        .iter()
        .enumerate()
        .map(|(at, sum)| {
            let channel = at / plane % channels;
            let real = f64::from(sum + bias[channel]) * f64::from(0.5 * scales[channel] / 32.0);
            (real.round_ties_even() + 3.0).clamp(-128.0, 127.0) as i8 as u8
        })
        .collect();
    assert!(expected.contains(&0x80) && expected.contains(&0x7f), "both ends are reached");
    let expected = Tensor::u8(&geometry.output(), &expected).signed();
    let case = geometry.case("QLinearConv").input(x).input(Tensor::f32(&[], &[0.5])).input(Tensor::u8(&[], &[128]));
    let case = case.weights(w.signed(), true).input(Tensor::f32(&[channels], &scales));
    let case = case.input(Tensor::u8(&[], &[0]).signed()).input(Tensor::f32(&[], &[32.0]));
    let case = case.input(Tensor::u8(&[], &[3]).signed()).input(Tensor::i32(&[channels], &bias)).output(&expected);
    assert_eq!(in_every_layout(&case, &[0, 9]), expected);
}

#[test]
fn integer_products_broadcast_stacks_and_have_zeros_by_row_and_column() {
    let (a, b) = (bytes(&[2, 1, 3, 5], 6), bytes(&[3, 5, 18], 7));
    let (rows, columns) = (noise(3, 8), noise(18, 9));
    let mut expected = Vec::new();
    for (stack, row, column) in (0..6).flat_map(|s| (0..3).flat_map(move |r| (0..18).map(move |c| (s, r, c)))) {
        let (left, right) = (stack / 3, stack % 3);
        let product = |k: usize| {
            let x = i32::from(a.bytes[(left * 3 + row) * 5 + k]) - i32::from(rows[row]);
            x * (i32::from(b.bytes[(right * 5 + k) * 18 + column] as i8) - i32::from(columns[column] as i8))
        };
        expected.push((0..5).map(product).sum());
    }
    let expected = Tensor::i32(&[2, 3, 3, 18], &expected);
    for constant in [false, true] {
        let case = Case::new("MatMulInteger", 10).input(a.clone()).weights(b.clone().signed(), constant);
        let case = case.input(Tensor::u8(&[3], &rows)).input(Tensor::u8(&[18], &columns).signed()).output(&expected);
        assert_eq!(in_every_layout(&case, &[]), expected);
    }
}

#[test]
fn vectors_are_rows_and_columns() {
    let case = Case::new("MatMulInteger", 10).input(Tensor::u8(&[3], &[1, 2, 3])).input(Tensor::u8(&[3], &[4, 5, 6]));
    let expected = Tensor::i32(&[], &[32]);
    assert_eq!(case.output(&expected).run(&[], 1), expected);
}

#[test]
fn a_quantised_product_has_one_rounding() {
    // Sums 1, 3, 5 and 200 at a scale of 3/2, and 1 as zero point: ties go to the even number, and what is too large saturates.
    let scalar = |number: f32| Tensor::f32(&[], &[number]);
    let zero = || Tensor::u8(&[], &[0]);
    let expected = Tensor::u8(&[4, 1], &[3, 5, 9, 255]);
    let case = Case::new("QLinearMatMul", 21).input(Tensor::u8(&[4, 1], &[1, 3, 5, 200])).input(scalar(1.0));
    let case = case.input(zero()).input(Tensor::u8(&[1, 1], &[3])).input(scalar(1.5)).input(Tensor::u8(&[], &[2]));
    let case = case.input(scalar(1.0)).input(Tensor::u8(&[], &[1])).output(&expected);
    assert_eq!(in_every_layout(&case, &[]), expected);
}

#[test]
fn pools_are_the_same_in_blocks() {
    let x = floats(&[2, 20, 6, 7], 10);
    let pool = |op: &str| {
        let case = Case::new(op, 12).integers("kernel_shape", &[3, 2]).integers("strides", &[2, 1]);
        case.integers("pads", &[1, 1, 1, 0]).input(x.clone()).output(&Tensor::f32(&[2, 20, 3, 7], &[0.0; 840]))
    };
    let window = |n: usize, c: usize, y: usize, z: usize| {
        let rows = (y * 2).saturating_sub(1)..(y * 2 + 2).min(6);
        let all = x.to_f32();
        rows.flat_map(move |r| (z.saturating_sub(1)..z + 1).map(move |s| (r, s)))
            .map(|(r, s)| all[((n * 20 + c) * 6 + r) * 7 + s])
            .collect::<Vec<f32>>()
    };
    let places = || (0..840).map(|at| (at / 420, at / 21 % 20, at / 7 % 3, at % 7));
    let largest: Vec<f32> =
        places().map(|(n, c, y, z)| window(n, c, y, z).into_iter().fold(f32::MIN, f32::max)).collect();
    assert_eq!(in_every_layout(&pool("MaxPool"), &[0, 1]).to_f32(), largest);
    let mean = |values: Vec<f32>, count: usize| values.iter().sum::<f32>() / count as f32;
    let average: Vec<f32> = places()
        .map(|(n, c, y, z)| {
            let window = window(n, c, y, z);
            let count = window.len();
            mean(window, count)
        })
        .collect();
    assert_eq!(in_every_layout(&pool("AveragePool"), &[0, 1]).to_f32(), average);
    let padded: Vec<f32> = places().map(|(n, c, y, z)| mean(window(n, c, y, z), 6)).collect();
    let case = pool("AveragePool").integer("count_include_pad", 1);
    assert_eq!(in_every_layout(&case, &[0, 1]).to_f32(), padded);
    let bounded: Vec<f32> = largest.iter().map(|x| x.clamp(0.0, 2.0)).collect();
    let case = pool("MaxPool").step("Relu", &[]).step("Clip", &[("max", 2.0)]);
    assert_eq!(in_every_layout(&case, &[0, 1]).to_f32(), bounded);
}

#[test]
fn sums_broadcast_in_every_layout() {
    let (a, b) = (floats(&[2, 20, 3, 4], 11), floats(&[1, 20, 1, 4], 12));
    let (x, y) = (a.to_f32(), b.to_f32());
    let sums: Vec<f32> = (0..480).map(|at| x[at] - y[at / 12 % 20 * 4 + at % 4]).collect();
    let case = Case::new("Sub", 14).input(a.clone()).input(b).output(&a);
    assert_eq!(in_every_layout(&case, &[0, 1, 2]).to_f32(), sums);
    let case = Case::new("Add", 14).input(a.clone()).input(a.clone()).output(&a);
    let doubled: Vec<f32> = x.iter().map(|x| x + x).collect();
    assert_eq!(in_every_layout(&case, &[0, 1, 2]).to_f32(), doubled);
}

#[test]
fn quantising_goes_there_and_back_along_an_axis() {
    let scales: Vec<f32> = (0..20).map(|c| 0.25 * (c + 1) as f32).collect();
    let zeros = noise(20, 13);
    let x = floats(&[2, 20, 3, 4], 14);
    let stored: Vec<u8> = x
        .to_f32()
        .iter()
        .enumerate()
        .map(|(at, x)| {
            let channel = at / 12 % 20;
            ((x / scales[channel]).round_ties_even() + f32::from(zeros[channel])).clamp(0.0, 255.0) as u8
        })
        .collect();
    let stored = Tensor::u8(&[2, 20, 3, 4], &stored);
    let parameters = |case: Case| case.input(Tensor::f32(&[20], &scales)).input(Tensor::u8(&[20], &zeros));
    let case = parameters(Case::new("QuantizeLinear", 13).input(x.clone())).integer("axis", 1).output(&stored);
    assert_eq!(in_every_layout(&case, &[0, 3]), stored);
    let back: Vec<f32> = (stored.bytes.iter().enumerate())
        .map(|(at, &q)| (i32::from(q) - i32::from(zeros[at / 12 % 20])) as f32 * scales[at / 12 % 20])
        .collect();
    let case = parameters(Case::new("DequantizeLinear", 13).input(stored)).integer("axis", -3).output(&x);
    assert_eq!(in_every_layout(&case, &[0, 3]).to_f32(), back);
}

#[test]
fn bounds_keep_nan() {
    let x = Tensor::f32(&[4], &[f32::NAN, -1.0, 0.5, 9.0]);
    let relu = Case::new("Relu", 14).input(x.clone()).output(&x).run(&[], 1).to_f32();
    assert!(relu[0].is_nan() && relu[1..] == [0.0, 0.5, 9.0]);
    let clip = Case::new("Clip", 13).input(x.clone()).input(Tensor::f32(&[], &[0.0])).output(&x).run(&[], 1).to_f32();
    assert!(clip[0].is_nan() && clip[1..] == [0.0, 0.5, 9.0]);
}

#[test]
fn what_the_chip_does_not_have_is_declined() {
    let x = floats(&[1, 16, 4, 4], 15);
    let conv = Case::new("Conv", 11).input(x.clone()).input(floats(&[8, 16, 1, 1], 16)).output(&x);
    assert!(conv.prepare(&[]).err().is_some_and(|error| error.message.contains("not on this chip")));
    let places = Case::new("MaxPool", 12).integers("kernel_shape", &[2, 2]).input(x.clone()).output(&x);
    let wrong = places.clone().integer("storage_order", 1);
    assert!(wrong.prepare(&[]).is_err(), "column-major places");
    assert!(places.prepare(&[(0, 0x8001)]).is_err(), "a layout that is not this chip's");
}

#[test]
fn what_the_chip_says_about_itself_is_sound() {
    let info = NpuSim::describe();
    assert!(info.alignment.is_power_of_two() && info.units.len() == 3);
    let x = bytes(&[1, 32, 8, 8], 17);
    let y = Tensor::i32(&[1, 32, 8, 8], &[0; 2048]);
    let w = bytes(&[32, 32, 1, 1], 18);
    let case = Case::new("ConvInteger", 10).input(x).weights(w, true).output(&y);
    let needs = case.prepare(&[]).expect("a row covers it").requirements();
    assert_eq!(needs.layouts.iter().map(|choice| choice.operand).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((needs.packed.len(), needs.packed[0].bytes), (1, 1024));
    assert!(needs.workspace > 0 && needs.estimated_ns > 2_000);
}
