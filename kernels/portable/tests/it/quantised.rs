//! The operators that quantised graphs are fused into give the bits of the operators that they stand for.

use crate::harness::{Case, Tensor};
use crate::oracle::Seeded;

fn single(value: f32) -> Tensor {
    Tensor::f32(&[], &[value])
}

#[test]
fn a_quantised_sum_is_the_sum_of_what_was_dequantised() {
    let mut seeded = Seeded::new(90);
    let shape = [3, 5, 17];
    for (a_type, b_type, y_type) in [(2, 2, 2), (2, 3, 3), (3, 2, 2), (3, 3, 3)] {
        let a = Tensor { dtype: a_type, ..seeded.bytes(&shape) };
        let b = Tensor { dtype: b_type, ..seeded.bytes(&shape) };
        let [a_zero, b_zero, y_zero] = [a_type, b_type, y_type].map(|dtype| Tensor { dtype, ..seeded.bytes(&[]) });
        // With the second set of scales many sums lie in the middle between two bytes.
        for [a_scale, b_scale, y_scale] in [[0.021f32, 0.013, 0.03], [0.5, 1.0, 2.0]] {
            let real = |x: &Tensor, scale: f32, zero: &Tensor| {
                let case = Case::new("DequantizeLinear", 21).input(x.clone()).input(single(scale)).input(zero.clone());
                case.output(1, &shape).run().remove(0)
            };
            let (left, right) = (real(&a, a_scale, &a_zero), real(&b, b_scale, &b_zero));
            let sum = Case::new("Add", 14).input(left).input(right).output(1, &shape).run().remove(0);
            let wanted = Case::new("QuantizeLinear", 21).input(sum).input(single(y_scale)).input(y_zero.clone());
            let wanted = wanted.output(y_type, &shape).run().remove(0);
            let case = Case::new("sunmao.QAdd", 1).input(a.clone()).input(single(a_scale)).input(a_zero.clone());
            let case = case.input(b.clone()).input(single(b_scale)).input(b_zero.clone());
            let case = case.input(single(y_scale)).input(y_zero.clone()).output(y_type, &shape);
            assert_eq!(case.run()[0].bytes, wanted.bytes, "{a_type} {b_type} {y_type} {y_scale}");
        }
    }
}

#[test]
fn a_scaled_product_is_the_integer_product_times_the_scales() {
    let mut seeded = Seeded::new(91);
    for (m, n, k) in [(1, 20, 7), (6, 19, 33), (5, 70, 300)] {
        let (a, b) = (seeded.bytes(&[2, m, k]), Tensor { dtype: 3, ..seeded.bytes(&[k, n]) });
        let (a_zero, b_zero) = (seeded.bytes(&[]), Tensor { dtype: 3, ..seeded.bytes(&[n]) });
        let scales: Vec<f32> = (0..n).map(|j| 0.013 + j as f32 / 1000.0).collect();
        let bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.37 - 2.0).collect();
        let sums = Case::new("MatMulInteger", 10).input(a.clone()).input(b.clone());
        let sums = sums.input(a_zero.clone()).input(b_zero.clone()).output(6, &[2, m, n]).run()[0].to_i32();
        let wanted: Vec<f32> = sums
            .iter()
            .enumerate()
            .map(|(i, &sum)| (sum as f32 * (0.07 * scales[i % n]) + bias[i % n]).max(0.0))
            .collect();
        let case = Case::new("sunmao.MatMulIntegerToFloat", 1).input(a).input(b).input(single(0.07));
        let case = case.input(Tensor::f32(&[n], &scales)).input(a_zero).input(b_zero).input(Tensor::f32(&[n], &bias));
        assert_eq!(case.step("Relu", None, &[]).output(1, &[2, m, n]).run()[0].to_f32(), wanted);
    }
}
