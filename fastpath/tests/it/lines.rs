//! `Softmax`, `LayerNormalization` and `RMSNormalization`.

use crate::harness::{Case, Fill, Random, count};

#[test]
fn softmax_along_the_last_axis_is_the_twins() {
    let mut random = Random::new(41);
    for shape in [&[1][..], &[5], &[8], &[3, 7], &[2, 3, 16], &[4, 33], &[7, 1000], &[0, 5], &[3, 0]] {
        for size in [1.0, 60.0] {
            let data = Fill::Real(size).values(&mut random, count(shape));
            Case::new("Softmax", 13, shape).integer("axis", -1).input(shape, data).check(2e-6);
        }
    }
    // The last axis but for axes of length 1.
    let data = Fill::Real(3.0).values(&mut random, 35);
    Case::new("Softmax", 13, &[5, 7, 1, 1]).integer("axis", 1).input(&[5, 7, 1, 1], data.clone()).check(2e-6);
    Case::new("Softmax", 13, &[5, 7]).integer("axis", 0).input(&[5, 7], data).check_declined();
}

#[test]
fn softmax_of_infinities_is_the_twins() {
    let mut random = Random::new(42);
    let mut data = Fill::Real(3.0).values(&mut random, 40);
    data[3] = f32::NEG_INFINITY;
    data[15] = f32::NAN;
    data[25] = f32::INFINITY;
    data[30..].fill(f32::NEG_INFINITY);
    Case::new("Softmax", 13, &[4, 10]).integer("axis", -1).input(&[4, 10], data).check(2e-6);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for normalisation")]
fn layer_normalisation_is_the_twins() {
    let mut random = Random::new(43);
    let shapes: &[(&[usize], i64)] = &[
        (&[3, 7], -1),
        (&[2, 5, 8], -1),
        (&[2, 5, 8], 1),
        (&[4, 385], 1),
        (&[3, 6, 2, 9], 2),
        (&[0, 6], -1),
        (&[5, 1], -1),
    ];
    for &(shape, axis) in shapes {
        let first = if axis < 0 { shape.len() - 1 } else { axis as usize };
        let line = &shape[first..];
        for bias in [false, true] {
            let mut values = |count: usize| Fill::Real(2.0).values(&mut random, count);
            let mut case = Case::new("LayerNormalization", 17, shape)
                .integer("axis", axis)
                .integer("stash_type", 1)
                .number("epsilon", 1e-5)
                .input(shape, values(count(shape)))
                .constant(line, values(count(line)));
            if bias {
                case = case.constant(line, values(count(line)));
            }
            case.check(1e-5);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for normalisation")]
fn rms_normalisation_is_the_twins() {
    let mut random = Random::new(44);
    for (shape, axis) in [(&[3, 7][..], -1), (&[2, 5, 8], 1), (&[4, 385], 1), (&[0, 6], -1), (&[5, 1], -1)] {
        let first = if axis < 0 { shape.len() - 1 } else { axis as usize };
        let line = &shape[first..];
        let mut values = |count: usize| Fill::Real(2.0).values(&mut random, count);
        Case::new("RMSNormalization", 23, shape)
            .integer("axis", axis)
            .integer("stash_type", 1)
            .number("epsilon", 1e-5)
            .input(shape, values(count(shape)))
            .constant(line, values(count(line)))
            .check(1e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for normalisation")]
fn layer_normalisation_that_tells_its_mean_is_declined() {
    let mut case =
        Case::new("LayerNormalization", 17, &[2, 4]).input(&[2, 4], vec![1.0; 8]).constant(&[4], vec![1.0; 4]);
    case.operation.outputs.push(Some(crate::harness::operand(&[2, 1])));
    case.check_declined();
}
