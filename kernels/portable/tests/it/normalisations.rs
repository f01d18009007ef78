//! Softmax and the normalisations.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close, indices, place, widened};

#[test]
fn softmax_along_any_axis() {
    let mut seeded = Seeded::new(50);
    for _ in 0..40 {
        let shape: Vec<usize> = (0..seeded.length(1, 4)).map(|_| seeded.length(1, 11)).collect();
        let axis = seeded.length(0, shape.len() - 1);
        let mut values = seeded.tensor(&shape).to_f32();
        values[0] = 80.0;
        let x = Tensor::f32(&shape, &values);
        let wide = widened(&values);
        let all = indices(&shape);
        let line = |index: &[usize]| -> f64 {
            let mut other = index.to_vec();
            let mut term = |i: usize| {
                other[axis] = i;
                wide[place(&shape, &other)].exp()
            };
            (0..shape[axis]).map(&mut term).sum()
        };
        let soft: Vec<f64> = all.iter().map(|index| wide[place(&shape, index)].exp() / line(index)).collect();
        let logs: Vec<f64> = all.iter().map(|index| wide[place(&shape, index)] - line(index).ln()).collect();
        for (name, wanted) in [("Softmax", soft), ("LogSoftmax", logs)] {
            let case = Case::new(name, 13).integer("axis", axis as i64 - shape.len() as i64).input(x.clone());
            assert_close(&case.output(1, &shape).run()[0].to_f32(), &wanted, 1e-6);
        }
    }
}

/// Every row of `length` values, normalised.
fn normalised(values: &[f64], length: usize, centred: bool, epsilon: f64) -> Vec<f64> {
    let row = |row: &[f64]| {
        let mean = if centred { row.iter().sum::<f64>() / length as f64 } else { 0.0 };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / length as f64;
        row.iter().map(|x| (x - mean) / (variance + epsilon).sqrt()).collect::<Vec<_>>()
    };
    values.chunks(length).flat_map(row).collect()
}

#[test]
fn layer_and_rms_normalisation() {
    let mut seeded = Seeded::new(51);
    for (shape, axis) in [(vec![3, 384], -1), (vec![2, 5, 7], 1), (vec![4, 1], 1), (vec![2, 3, 300], -2)] {
        let from = if axis < 0 { (shape.len() as i64 + axis) as usize } else { axis as usize };
        let (x, scale, shift) = (seeded.tensor(&shape), seeded.tensor(&shape[from..]), seeded.tensor(&shape[from..]));
        let length = shape[from..].iter().product();
        let (scales, shifts) = (scale.to_f32(), shift.to_f32());
        let affine = |values: Vec<f64>, shifted: bool| -> Vec<f64> {
            let with = |(i, x): (usize, f64)| {
                x * f64::from(scales[i % length]) + if shifted { f64::from(shifts[i % length]) } else { 0.0 }
            };
            values.into_iter().enumerate().map(with).collect()
        };
        let case = |name| {
            Case::new(name, 23).integer("axis", axis).number("epsilon", 1e-3).input(x.clone()).input(scale.clone())
        };
        let wide = widened(&x.to_f32());
        let wanted = affine(normalised(&wide, length, true, 1e-3), true);
        let got = case("LayerNormalization").input(shift.clone()).output(1, &shape).run();
        assert_close(&got[0].to_f32(), &wanted, 1e-6);
        let wanted = affine(normalised(&wide, length, false, 1e-3), false);
        assert_close(&case("RMSNormalization").output(1, &shape).run()[0].to_f32(), &wanted, 1e-6);
    }
}

#[test]
fn instance_group_and_batch_normalisation() {
    let mut seeded = Seeded::new(52);
    let shape = [2, 6, 5, 3];
    let plane = 15;
    let x = seeded.tensor(&shape);
    let (scale, shift, mean) = (seeded.tensor(&[6]), seeded.tensor(&[6]), seeded.tensor(&[6]));
    let spread = Tensor::f32(&[6], &seeded.tensor(&[6]).to_f32().iter().map(|x| x.abs()).collect::<Vec<_>>());
    let wide = widened(&x.to_f32());
    let channels = |tensor: &Tensor| -> Vec<f64> {
        let values = widened(&tensor.to_f32());
        (0..wide.len()).map(|i| values[i / plane % 6]).collect()
    };
    let (scales, shifts, means, spreads) = (channels(&scale), channels(&shift), channels(&mean), channels(&spread));
    let affine =
        |values: Vec<f64>| -> Vec<f64> { values.iter().enumerate().map(|(i, x)| x * scales[i] + shifts[i]).collect() };
    let case =
        |name| Case::new(name, 22).number("epsilon", 1e-5).input(x.clone()).input(scale.clone()).input(shift.clone());
    let got = case("InstanceNormalization").output(1, &shape).run();
    assert_close(&got[0].to_f32(), &affine(normalised(&wide, plane, true, 1e-5)), 1e-6);
    let got = case("GroupNormalization").integer("num_groups", 2).output(1, &shape).run();
    assert_close(&got[0].to_f32(), &affine(normalised(&wide, 3 * plane, true, 1e-5)), 1e-6);
    let standard = wide.iter().enumerate().map(|(i, x)| (x - means[i]) / (spreads[i] + 1e-5).sqrt());
    let got = case("BatchNormalization").input(mean.clone()).input(spread.clone()).output(1, &shape).run();
    assert_close(&got[0].to_f32(), &affine(standard.collect()), 1e-6);
}

#[test]
fn local_response_looks_at_neighbouring_channels() {
    let mut seeded = Seeded::new(53);
    for size in [1, 2, 3, 5, 40] {
        let shape = [2, 7, 4];
        let x = seeded.tensor(&shape);
        let wide = widened(&x.to_f32());
        let wanted: Vec<f64> = indices(&shape)
            .iter()
            .map(|at| {
                let (low, high) = (at[1] as i64 - (size - 1) / 2, at[1] as i64 + size / 2);
                let squares: f64 =
                    (low.max(0)..=high.min(6)).map(|c| wide[place(&shape, &[at[0], c as usize, at[2]])].powi(2)).sum();
                wide[place(&shape, at)] / (2.0 + 0.3 / size as f64 * squares).powf(0.6)
            })
            .collect();
        let case =
            Case::new("LRN", 13).integer("size", size).number("alpha", 0.3).number("beta", 0.6).number("bias", 2.0);
        assert_close(&case.input(x).output(1, &shape).run()[0].to_f32(), &wanted, 1e-6);
    }
}
