//! Casts and quantised arithmetic, which is exact.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, indices};

#[test]
fn casts_saturate_floats_and_wrap_integers() {
    let x = Tensor::f32(&[6], &[-1.9, 300.7, -300.0, f32::NAN, f32::INFINITY, 0.0]);
    let cast = |x: &Tensor, to: u16| {
        Case::new("Cast", 13).integer("to", to.into()).input(x.clone()).output(to, &x.shape).run().remove(0)
    };
    assert_eq!(cast(&x, 3).to_i8(), [-1, 127, -128, 0, 127, 0]);
    assert_eq!(cast(&x, 2).to_u8(), [0, 255, 0, 0, 255, 0]);
    assert_eq!(cast(&x, 6).to_i32(), [-1, 300, -300, 0, i32::MAX, 0]);
    assert_eq!(cast(&x, 9).bytes, [1, 1, 1, 1, 1, 0]);
    let n = Tensor::i64(&[3], &[-1, 256, 1 << 40]);
    assert_eq!(cast(&n, 2).to_u8(), [255, 0, 0]);
    assert_eq!(cast(&n, 3).to_i8(), [-1, 0, 0]);
    assert_eq!(cast(&n, 1).to_f32(), [-1.0, 256.0, 1.099_511_6e12]);
    assert_eq!(cast(&Tensor::bool(&[2], &[true, false]), 1).to_f32(), [1.0, 0.0]);
    // Half floats keep what they can: 1 + 2^-11 lies half way and goes to the even one, 65520 goes to infinity.
    let halves = cast(&Tensor::f64(&[3], &[1.0 + 1.0 / 2048.0, 65520.0, 1.0 + 3.0 / 2048.0]), 10);
    assert_eq!(cast(&halves, 1).to_f32(), [1.0, f32::INFINITY, 1.0 + 4.0 / 2048.0]);
}

#[test]
fn quantising_rounds_half_to_even() {
    let x = Tensor::f32(&[6], &[0.5, 1.5, -0.5, 1000.0, -1000.0, 2.5]);
    let (scale, zero) = (Tensor::f32(&[], &[1.0]), Tensor::u8(&[], &[10]));
    let case = Case::new("QuantizeLinear", 13).integer("axis", 1).input(x).input(scale.clone()).input(zero.clone());
    let stored = case.output(2, &[6]).run().remove(0);
    assert_eq!(stored.to_u8(), [10, 12, 10, 255, 0, 12]);
    let case = Case::new("DequantizeLinear", 13).integer("axis", 1).input(stored).input(scale).input(zero);
    assert_eq!(case.output(1, &[6]).run()[0].to_f32(), [0.0, 2.0, 0.0, 245.0, -10.0, 2.0]);
}

#[test]
fn scales_by_axis_and_by_block() {
    let x = Tensor::i8(&[2, 4], &[1, 2, 3, 4, 5, 6, 7, 8]);
    let case = |axis: i64, block: i64, scale: Tensor| {
        Case::new("DequantizeLinear", 21)
            .integer("axis", axis)
            .integer("block_size", block)
            .input(x.clone())
            .input(scale)
            .output(1, &[2, 4])
            .run()[0]
            .to_f32()
    };
    let by_row = Tensor::f32(&[2], &[1.0, 10.0]);
    assert_eq!(case(0, 0, by_row), [1.0, 2.0, 3.0, 4.0, 50.0, 60.0, 70.0, 80.0]);
    let by_block = Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(case(1, 2, by_block), [1.0, 2.0, 6.0, 8.0, 15.0, 18.0, 28.0, 32.0]);
}

#[test]
fn dynamic_quantisation_covers_zero() {
    let x = Tensor::f32(&[6], &[0.0, 2.0, -3.0, -2.5, 1.34, 0.5]);
    let case = Case::new("DynamicQuantizeLinear", 11).input(x).output(2, &[6]).output(1, &[]).output(2, &[]);
    let got = case.run();
    assert_eq!(got[0].to_u8(), [153, 255, 0, 26, 221, 179]);
    assert_eq!(got[1].to_f32(), [5.0 / 255.0]);
    assert_eq!(got[2].to_u8(), [153]);
}

#[test]
fn integer_products_are_exact() {
    let mut seeded = Seeded::new(80);
    // The sum that saturating instructions get wrong.
    let (a, b) = (Tensor::u8(&[1, 64], &[255; 64]), Tensor::i8(&[64, 1], &[127; 64]));
    let got = Case::new("MatMulInteger", 10).input(a).input(b).output(6, &[1, 1]).run();
    assert_eq!(got[0].to_i32(), [2_072_640]);
    for (m, n, k) in [(1, 9, 30), (5, 40, 33), (9, 3, 1)] {
        let (a, b) = (seeded.bytes(&[m, k]), seeded.bytes(&[k, n]));
        let b = Tensor { dtype: 3, ..b };
        let (a_zero, b_zero) = (seeded.bytes(&[]), Tensor { dtype: 3, ..seeded.bytes(&[n]) });
        let (x, y, zx, zy) = (a.to_u8(), b.to_i8(), a_zero.to_u8()[0], b_zero.to_i8());
        let wanted: Vec<i32> = indices(&[m, n])
            .iter()
            .map(|at| {
                let term = |l: usize| {
                    (i32::from(x[at[0] * k + l]) - i32::from(zx)) * (i32::from(y[l * n + at[1]]) - i32::from(zy[at[1]]))
                };
                (0..k).map(term).sum()
            })
            .collect();
        let case = Case::new("MatMulInteger", 10).input(a).input(b).input(a_zero).input(b_zero);
        assert_eq!(case.output(6, &[m, n]).run()[0].to_i32(), wanted);
    }
}

#[test]
fn integer_convolution_pads_with_the_zero_point() {
    for outputs in [1, 4] {
        let x = Tensor::u8(&[1, 1, 3, 3], &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let w = Tensor::u8(&[outputs, 1, 2, 2], &vec![1; 4 * outputs]);
        let case =
            Case::new("ConvInteger", 10).integers("pads", &[1; 4]).input(x).input(w).input(Tensor::u8(&[], &[1]));
        let got = case.output(6, &[1, outputs, 4, 4]).run()[0].to_i32();
        let plane = [1, 3, 5, 3, 5, 12, 16, 9, 11, 24, 28, 15, 7, 15, 17, 9];
        assert_eq!(got, plane.repeat(outputs));
    }
}

/// Scaled in f32, rounded half to even, shifted and saturated.
fn requantised(sum: i32, factor: f32, zero: i32) -> u8 {
    ((sum as f32 * factor).round_ties_even() as i32 + zero).clamp(0, 255) as u8
}

#[test]
fn quantised_products_are_scaled_in_f32() {
    let mut seeded = Seeded::new(81);
    for (m, n, k) in [(1, 20, 7), (6, 19, 33)] {
        let (a, b) = (seeded.bytes(&[m, k]), Tensor { dtype: 3, ..seeded.bytes(&[k, n]) });
        let scales: Vec<f32> = (0..n).map(|j| 0.01 + j as f32 / 1024.0).collect();
        let (x, y) = (a.to_u8(), b.to_i8());
        let wanted: Vec<u8> = indices(&[m, n])
            .iter()
            .map(|at| {
                let term = |l: usize| (i32::from(x[at[0] * k + l]) - 100) * i32::from(y[l * n + at[1]]);
                requantised((0..k).map(term).sum(), 0.5f32 * scales[at[1]] / 3.0, 128)
            })
            .collect();
        let case = Case::new("QLinearMatMul", 21)
            .input(a)
            .input(Tensor::f32(&[], &[0.5]))
            .input(Tensor::u8(&[], &[100]))
            .input(b)
            .input(Tensor::f32(&[n], &scales))
            .input(Tensor::i8(&[], &[0]))
            .input(Tensor::f32(&[], &[3.0]))
            .input(Tensor::u8(&[], &[128]));
        assert_eq!(case.output(2, &[m, n]).run()[0].to_u8(), wanted);
    }
}

#[test]
fn quantised_convolutions_have_scales_by_channel_and_a_bias() {
    for outputs in [1, 4] {
        let x = Tensor::u8(&[1, 1, 3, 3], &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let w = Tensor::u8(&[outputs, 1, 2, 2], &vec![1; 4 * outputs]);
        let scales: Vec<f32> = (1..=outputs).map(|channel| channel as f32 * 0.125).collect();
        let bias: Vec<i32> = (0..outputs as i32).map(|channel| channel * 100 - 3).collect();
        let case = Case::new("QLinearConv", 10)
            .input(x)
            .input(Tensor::f32(&[], &[2.0]))
            .input(Tensor::u8(&[], &[1]))
            .input(w)
            .input(Tensor::f32(&[outputs], &scales))
            .input(Tensor::u8(&[], &[0]))
            .input(Tensor::f32(&[], &[0.5]))
            .input(Tensor::u8(&[], &[7]))
            .input(Tensor::i32(&[outputs], &bias));
        let wanted: Vec<u8> = (0..outputs)
            .flat_map(|channel| {
                let factor = 2.0 * scales[channel] / 0.5;
                let bias = bias[channel];
                [12, 16, 24, 28].map(move |sum| requantised(sum + bias, factor, 7))
            })
            .collect();
        assert_eq!(case.output(2, &[1, outputs, 2, 2]).run()[0].to_u8(), wanted);
    }
}
