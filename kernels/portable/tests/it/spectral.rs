//! Fourier transforms against the sum that defines them.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close};

fn scalar(value: i64) -> Tensor {
    Tensor::i64(&[], &[value])
}

/// The sum over `x` (real and imaginary parts side by side).
fn sum(x: &[f32], length: usize, k: usize, sign: f64) -> [f64; 2] {
    let mut result = [0.0, 0.0];
    for at in 0..length.min(x.len() / 2) {
        let angle = sign * 2.0 * std::f64::consts::PI * (at * k % length) as f64 / length as f64;
        let (real, imaginary) = (f64::from(x[2 * at]), f64::from(x[2 * at + 1]));
        result[0] += real * angle.cos() - imaginary * angle.sin();
        result[1] += real * angle.sin() + imaginary * angle.cos();
    }
    result
}

#[test]
fn every_length_is_the_sum_that_defines_it() {
    let mut random = Seeded::new(5);
    for length in [1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 30, 49, 64, 101] {
        let x = random.tensor(&[1, 9, 2]);
        for (inverse, sign, scale) in [(0, -1.0, 1.0), (1, 1.0, 1.0 / length as f64)] {
            let case = Case::new("DFT", 20).integer("inverse", inverse).input(x.clone());
            let case = case.constant(scalar(length)).constant(scalar(1)).output(1, &[1, length as usize, 2]);
            let wanted: Vec<f64> = (0..length as usize)
                .flat_map(|k| sum(&x.to_f32(), length as usize, k, sign).map(|part| part * scale))
                .collect();
            assert_close(&case.run()[0].to_f32(), &wanted, 1e-7);
        }
    }
}

#[test]
fn half_a_spectrum_gives_the_signal_back_along_any_axis() {
    let mut random = Seeded::new(6);
    for length in [6, 7] {
        let x = random.tensor(&[2, length, 3, 1]);
        let half = length / 2 + 1;
        let case = Case::new("DFT", 20).integer("onesided", 1).input(x.clone()).absent().constant(scalar(1));
        let spectrum = case.output(1, &[2, half, 3, 2]).run().remove(0);
        let case = Case::new("DFT", 20).integer("onesided", 1).integer("inverse", 1).input(spectrum);
        let case = case.constant(scalar(length as i64)).constant(scalar(-3)).output(1, &[2, length, 3, 1]);
        let wanted: Vec<f64> = x.to_f32().iter().map(|&x| x.into()).collect();
        assert_close(&case.run()[0].to_f32(), &wanted, 1e-6);
    }
}

#[test]
fn windows_of_a_signal_are_weighted_and_transformed() {
    let mut random = Seeded::new(7);
    let (samples, length, step) = (20, 8, 5);
    let (x, window) = (random.tensor(&[2, samples, 1]), random.tensor(&[length]));
    let case = Case::new("STFT", 17).integer("onesided", 1).input(x.clone()).constant(scalar(step as i64));
    let outputs = case.input(window.clone()).constant(scalar(length as i64)).output(1, &[2, 3, 5, 2]).run();
    let (x, window) = (x.to_f32(), window.to_f32());
    let mut wanted = Vec::new();
    for start in (0..2).flat_map(|batch| (0..3).map(move |frame| batch * samples + frame * step)) {
        let frame: Vec<f32> = (0..length).flat_map(|at| [x[start + at] * window[at], 0.0]).collect();
        wanted.extend((0..5).flat_map(|k| sum(&frame, length, k, -1.0)));
    }
    assert_close(&outputs[0].to_f32(), &wanted, 1e-6);
}
