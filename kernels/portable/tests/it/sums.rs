//! Einsum, block-quantised products, determinants, and pictures put together from blocks.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close, widened};

#[test]
fn names_are_summed_repeated_and_broadcast() {
    let mut random = Seeded::new(8);
    let (a, b) = (random.tensor(&[2, 3, 4]), random.tensor(&[4, 5]));
    let case = Case::new("Einsum", 12).text("equation", "...ij, jk -> ...ki").input(a.clone()).input(b.clone());
    let got = case.output(1, &[2, 5, 3]).run();
    let (a, b) = (a.to_f32(), b.to_f32());
    let mut wanted = Vec::new();
    for (batch, k, i) in (0..2).flat_map(|n| (0..5).flat_map(move |k| (0..3).map(move |i| (n, k, i)))) {
        let term = |j: usize| f64::from(a[(batch * 3 + i) * 4 + j]) * f64::from(b[j * 5 + k]);
        wanted.push((0..4).map(term).sum());
    }
    assert_close(&got[0].to_f32(), &wanted, 1e-7);

    let diagonal =
        Case::new("Einsum", 12).text("equation", "bii").input(Tensor::i32(&[2, 2, 2], &[1, 9, 9, 2, 3, 9, 9, 4]));
    assert_eq!(diagonal.output(6, &[2]).run()[0].to_i32(), [3, 7]);
}

#[test]
fn blocks_multiply_as_the_numbers_that_they_stand_for() {
    // Scale 0.5; the first sixteen numbers are 9 - 8, the others 3 - 8.
    let block = [&[0x00, 0x38][..], &[0x39; 16]].concat();
    let weights = Tensor { dtype: 0x100, shape: vec![2, 64], bytes: block.repeat(4) };
    let x = Seeded::new(9).tensor(&[3, 64]);
    let case = Case::new("sunmao.QMatMul", 1).input(x.clone()).constant(weights).input(Tensor::f32(&[2], &[0.0, 1.0]));
    let got = case.output(1, &[3, 2]).run();
    let rows = x.to_f32();
    let sum = |row: &[f32]| -> f64 {
        row.iter().enumerate().map(|(at, &x)| f64::from(x) * if at % 32 < 16 { 0.5 } else { -2.5 }).sum()
    };
    let wanted: Vec<f64> = rows.chunks(64).flat_map(|row| [sum(row), sum(row) + 1.0]).collect();
    assert_close(&got[0].to_f32(), &wanted, 1e-7);
}

#[test]
fn rows_change_places_in_a_determinant() {
    let x = Tensor::f32(&[2, 3, 3], &[0., 2., 0., 3., 0., 0., 0., 0., 4., 1., 2., 3., 2., 4., 6., 0., 1., 5.]);
    let got = Case::new("Det", 11).input(x).output(1, &[2]).run();
    assert_close(&got[0].to_f32(), &widened(&[-24.0, 0.0]), 1e-7);
}

#[test]
fn blocks_that_overlap_add_up() {
    let x = Tensor::f32(&[1, 2, 3], &[1., 2., 3., 10., 20., 30.]);
    let case =
        Case::new("Col2Im", 18).input(x).constant(Tensor::i64(&[2], &[1, 4])).constant(Tensor::i64(&[2], &[1, 2]));
    assert_eq!(case.output(1, &[1, 1, 1, 4]).run()[0].to_f32(), [1., 12., 23., 30.]);
}
