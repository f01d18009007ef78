//! `sunmao.QMatMul`.

use crate::harness::{Case, Fill, Random, block, count, operand};
use sunmao_plugin_sdk::abi::Operand;

/// Code of a format, and where a block has its half floats.
struct Format {
    dtype: u16,
    halves: &'static [usize],
}

const FORMATS: [Format; 5] = [
    Format { dtype: 0x100, halves: &[0] },
    Format { dtype: 0x101, halves: &[0, 2] },
    Format { dtype: 0x102, halves: &[0, 2] },
    Format { dtype: 0x103, halves: &[208] },
    Format { dtype: 0x104, halves: &[0] },
];

impl Format {
    /// Elements and bytes of a block.
    fn block(&self) -> (usize, usize) {
        block(self.dtype).expect("a format of blocks")
    }

    /// Blocks of any bytes, with half floats of `scale`.
    fn weights(&self, random: &mut Random, count: usize, scale: impl Fn(&mut Random) -> u16) -> Vec<u8> {
        let (elements, length) = self.block();
        let mut bytes: Vec<u8> = (0..count / elements * length).map(|_| random.next() as u8).collect();
        for block in bytes.chunks_mut(length) {
            for &at in self.halves {
                block[at..at + 2].copy_from_slice(&scale(random).to_le_bytes());
            }
        }
        bytes
    }

    fn case(&self, x: &[usize], columns: usize, data: Vec<f32>, weights: &[u8]) -> Case {
        let depth = x[x.len() - 1];
        let output = [&x[..x.len() - 1], &[columns]].concat();
        let mut case = Case::new("sunmao.QMatMul", 1, &output).input(x, data);
        let operand = Operand { dtype: self.dtype, constant: true, ..operand(&[columns, depth]) };
        case.operation.inputs.push(Some(operand));
        case.data.push(words(weights));
        case
    }
}

/// Bytes as the bits of floats, filled up with zeros.
fn words(bytes: &[u8]) -> Vec<f32> {
    let word = |bytes: &[u8]| {
        let mut four = [0; 4];
        four[..bytes.len()].copy_from_slice(bytes);
        f32::from_le_bytes(four)
    };
    bytes.chunks(4).map(word).collect()
}

/// Half floats about 2^-8, of either sign.
fn usual(random: &mut Random) -> u16 {
    let bits = random.next() as u16;
    bits & 0x83FF | 7 << 10
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for block-quantised weights")]
fn few_and_many_rows_of_every_format_multiply_as_the_twin_does() {
    let mut random = Random::new(201);
    for format in &FORMATS {
        for rows in [0, 1, 2, 3, 4, 5, 12, 13, 31] {
            for columns in [0, 1, 7, 8, 9, 16, 23, 61] {
                let depth = format.block().0 * random.pick(&[0, 1, 2, 3, 5]);
                let weights = format.weights(&mut random, columns * depth, usual);
                let data = Fill::Real(1.0).values(&mut random, rows * depth);
                format.case(&[rows, depth], columns, data, &weights).check(1e-5);
            }
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for block-quantised weights")]
fn a_deep_row_multiplies_as_the_twin_does() {
    let mut random = Random::new(202);
    for format in &FORMATS {
        let (depth, columns) = (4096, 40);
        let weights = format.weights(&mut random, columns * depth, usual);
        // Elements of all sizes beside each other, and zeros.
        let data = (0..depth).map(|_| {
            let size = random.pick(&[0.0, 1.0, 1.0, 1.0, 1e-3, 1e3, 1e-9, 1e9]);
            Fill::Real(size).values(&mut random, 1)[0]
        });
        let data = data.collect();
        format.case(&[1, depth], columns, data, &weights).check(1e-5);
        let data = Fill::Real(3.0).values(&mut random, depth);
        format.case(&[1, depth], columns, data, &weights).check(1e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for block-quantised weights")]
fn a_large_element_that_meets_a_zero_hides_nobody() {
    let mut random = Random::new(203);
    for format in &FORMATS {
        let depth = 256;
        let mut weights = format.weights(&mut random, depth, usual);
        // The numbers of the first 32 are zero, and so are the minima.
        match format.dtype {
            0x100 => weights[2..18].fill(0x88),
            0x101 | 0x102 => {
                weights[2..4].fill(0);
                weights[16..].fill(0);
            }
            0x103 => continue,
            _ => weights[2..34].fill(0),
        }

        let mut data = Fill::Real(1e-6).values(&mut random, depth);
        data[0] = 1e6;
        if format.block().0 == 256 {
            // Every group has its large element where the weight is zero.
            (0..8).for_each(|group| data[group * 32] = 1e6);
        }
        let rows = format.case(&[1, depth], 1, data, &weights);
        rows.check(2e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for block-quantised weights")]
fn extreme_scales_and_special_numbers_go_where_the_twin_has_them() {
    let mut random = Random::new(204);
    const SCALES: [u16; 7] = [0, 0x8000, 1, 0x83FF, 0x0400, 0x7BFF, 0xFBFF];
    for format in &FORMATS {
        for rows in [1, 3, 14] {
            let depth = 512;
            for scale in SCALES {
                let weights = format.weights(&mut random, 11 * depth, |_| scale);
                let data = Fill::Real(1.0).values(&mut random, rows * depth);
                format.case(&[rows, depth], 11, data, &weights).check(1e-5);
            }
            let nan = |random: &mut Random| if random.chance(5) { 0x7E01 } else { usual(random) };
            let weights = format.weights(&mut random, 11 * depth, nan);
            let data = Fill::Real(1.0).values(&mut random, rows * depth);
            format.case(&[rows, depth], 11, data, &weights).check(1e-5);
            let weights = format.weights(&mut random, 11 * depth, usual);
            for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-38, 1e-44, 3e38] {
                let mut data = Fill::Real(1.0).values(&mut random, rows * depth);
                let at = random.below(depth);
                data[at] = special;
                format.case(&[rows, depth], 11, data, &weights).check(1e-5);
            }
            // All of it tiny or huge.
            for size in [1e-30, 1e-36, 1e30] {
                let data = Fill::Real(size).values(&mut random, rows * depth);
                format.case(&[rows, depth], 11, data, &weights).check(1e-5);
            }
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for block-quantised weights")]
fn a_bias_and_steps_follow() {
    let mut random = Random::new(205);
    for format in &FORMATS {
        for rows in [1, 2, 20] {
            let (depth, columns) = (512, 37);
            let weights = format.weights(&mut random, columns * depth, usual);
            let data = Fill::Real(1.0).values(&mut random, rows * depth);
            let bias = Fill::Real(5.0).values(&mut random, columns);
            let case = format.case(&[1, rows, depth], columns, data, &weights);
            case.input(&[columns], bias).check(1e-5);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for block-quantised weights")]
fn weights_that_are_no_constant_and_other_types_are_declined() {
    let mut random = Random::new(206);
    let format = &FORMATS[4];
    let weights = format.weights(&mut random, 8 * 64, usual);
    let data = Fill::Real(1.0).values(&mut random, count(&[2, 64]));
    let case = format.case(&[2, 64], 8, data, &weights);
    let mut open = case.clone();
    open.operation.inputs[1].as_mut().expect("there").constant = false;
    open.check_declined();
    let mut halves = case;
    halves.operation.inputs[0].as_mut().expect("there").dtype = 10;
    halves.check_declined();
}
