//! Products of matrices.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close, broadcast_place, indices, place};

#[test]
fn matmul_broadcasts_its_batches() {
    let mut seeded = Seeded::new(10);
    let sizes = [0, 1, 2, 3, 5, 8, 17, 67];
    for round in 0..80 {
        let mut size = || sizes[seeded.length(if round % 8 == 0 { 0 } else { 1 }, sizes.len() - 1)];
        let (rows, depth, columns) = (size(), size(), size());
        let stacks: [(&[usize], &[usize], &[usize]); 6] = [
            (&[], &[], &[]),
            (&[3], &[], &[3]),
            (&[], &[2], &[2]),
            (&[2, 1], &[3], &[2, 3]),
            (&[2, 3], &[2, 3], &[2, 3]),
            (&[1, 2], &[1, 1], &[1, 2]),
        ];
        let (a_stack, b_stack, stack) = stacks[round % stacks.len()];
        let shape = |stack: &[usize], m: usize, n: usize| [stack, &[m, n]].concat();
        let (a, b) = (seeded.tensor(&shape(a_stack, rows, depth)), seeded.tensor(&shape(b_stack, depth, columns)));
        let out = shape(stack, rows, columns);
        let (x, y) = (a.to_f32(), b.to_f32());
        let wanted: Vec<f64> = indices(&out)
            .iter()
            .map(|i| {
                let (stacked, cell) = i.split_at(stack.len());
                let (at_a, at_b) = (broadcast_place(a_stack, stacked), broadcast_place(b_stack, stacked));
                let term = |k: usize| {
                    f64::from(x[(at_a * rows + cell[0]) * depth + k])
                        * f64::from(y[(at_b * depth + k) * columns + cell[1]])
                };
                (0..depth).map(term).sum()
            })
            .collect();
        let got = Case::new("MatMul", 13).input(a).input(b).output(1, &out).run();
        assert_close(&got[0].to_f32(), &wanted, 1e-5);
    }
}

#[test]
fn vectors_multiply_as_matrices_of_one_row_or_column() {
    let a = Tensor::f32(&[3], &[1.0, 2.0, 3.0]);
    let b = Tensor::f32(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let got = Case::new("MatMul", 13).input(a.clone()).input(b.clone()).output(1, &[2]).run();
    assert_eq!(got[0].to_f32(), [22.0, 28.0]);
    let got = Case::new("MatMul", 13).input(a.clone()).input(a.clone()).output(1, &[]).run();
    assert_eq!(got[0].to_f32(), [14.0]);
    let turned = Tensor::f32(&[2, 3], &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    let case = Case::new("MatMul", 13).input(turned).input(a).input(Tensor::f32(&[2], &[10.0, 20.0])).output(1, &[2]);
    assert_eq!(case.step("bias", Some(2), &[]).run()[0].to_f32(), [32.0, 48.0]);
}

#[test]
fn gemm_turns_scales_and_adds() {
    let mut seeded = Seeded::new(11);
    for round in 0..60 {
        let (m, n, k) = (seeded.length(1, 19), seeded.length(1, 40), seeded.length(1, 33));
        let (turn_a, turn_b) = (round & 1 != 0, round & 2 != 0);
        let a_shape = if turn_a { [k, m] } else { [m, k] };
        let b_shape = if turn_b { [n, k] } else { [k, n] };
        let (a, b) = (seeded.tensor(&a_shape), seeded.tensor(&b_shape));
        let c_shapes = [vec![], vec![n], vec![1, n], vec![m, 1], vec![m, n]];
        let c_shape = &c_shapes[round % 5];
        let c = seeded.tensor(c_shape);
        let (alpha, beta) = if round % 3 == 0 { (1.0, 1.0) } else { (0.5, -2.0) };
        let (x, y, z) = (a.to_f32(), b.to_f32(), c.to_f32());
        let wanted: Vec<f64> = indices(&[m, n])
            .iter()
            .map(|at| {
                let term = |l: usize| {
                    let i = if turn_a { [l, at[0]] } else { [at[0], l] };
                    let j = if turn_b { [at[1], l] } else { [l, at[1]] };
                    f64::from(x[place(&a_shape, &i)]) * f64::from(y[place(&b_shape, &j)])
                };
                alpha * (0..k).map(term).sum::<f64>() + beta * f64::from(z[broadcast_place(c_shape, at)])
            })
            .collect();
        let case = Case::new("Gemm", 13)
            .integer("transA", turn_a.into())
            .integer("transB", turn_b.into())
            .number("alpha", alpha)
            .number("beta", beta)
            .input(a)
            .input(b)
            .input(c)
            .output(1, &[m, n]);
        assert_close(&case.run()[0].to_f32(), &wanted, 1e-5);
    }
}

#[test]
fn epilogue_steps_apply_in_order() {
    let mut seeded = Seeded::new(12);
    for (m, n) in [(1, 40), (7, 300)] {
        let (a, b) = (seeded.tensor(&[m, 6]), seeded.tensor(&[6, n]));
        let (bias, sum) = (seeded.tensor(&[n]), seeded.tensor(&[m, n]));
        let plain = Case::new("MatMul", 13).input(a.clone()).input(b.clone()).output(1, &[m, n]).run()[0].to_f32();
        let case = Case::new("MatMul", 13)
            .input(a)
            .input(b)
            .input(bias.clone())
            .input(sum.clone())
            .output(1, &[m, n])
            .step("bias", Some(2), &[])
            .step("Relu", None, &[])
            .step("add", Some(3), &[])
            .step("Clip", None, &[("min", -0.5), ("max", 1.5)]);
        let (bias, sum) = (bias.to_f32(), sum.to_f32());
        let wanted: Vec<f64> =
            (0..m * n).map(|i| ((plain[i] + bias[i % n]).max(0.0) + sum[i]).clamp(-0.5, 1.5).into()).collect();
        assert_close(&case.run()[0].to_f32(), &wanted, 1e-6);
    }
}
