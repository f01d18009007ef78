//! Convolutions and their transposes, in one to three dimensions.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close, indices, place};

/// A convolution's shapes and attributes.
struct Shape {
    input: Vec<usize>,
    weights: Vec<usize>,
    group: usize,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
}

impl Shape {
    fn random(seeded: &mut Seeded, transposed: bool) -> Self {
        let rank = seeded.length(1, 3);
        let largest = [0, 40, 12, 5][rank];
        let group = [1, 1, 2, 5][seeded.length(0, 3)];
        let (inputs, outputs) = (seeded.length(1, 4), seeded.length(1, 7));
        let mut list = |low, high, n| (0..n).map(|_| seeded.length(low, high)).collect::<Vec<_>>();
        let (spatial, kernel) = (list(4, largest, rank), list(1, 4, rank));
        let (strides, dilations, pads) = (list(1, 3, rank), list(1, 2, rank), list(0, 2, 2 * rank));
        let batch = list(1, 2, 1)[0];
        let channels = if transposed { [inputs * group, outputs] } else { [outputs * group, inputs] };
        Self {
            input: [&[batch, inputs * group][..], &spatial].concat(),
            weights: [&channels[..], &kernel].concat(),
            group,
            strides,
            dilations,
            pads,
        }
    }

    fn case(&self, op: &str) -> Case {
        let list = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
        Case::new(op, 11)
            .text("auto_pad", "NOTSET")
            .integers("kernel_shape", &list(&self.weights[2..]))
            .integers("strides", &list(&self.strides))
            .integers("dilations", &list(&self.dilations))
            .integers("pads", &list(&self.pads))
            .integer("group", self.group as i64)
    }

    fn extent(&self, axis: usize) -> usize {
        (self.weights[2 + axis] - 1) * self.dilations[axis] + 1
    }

    /// None where the window is larger than the padded input.
    fn output(&self) -> Option<Vec<usize>> {
        let rank = self.strides.len();
        let mut shape = vec![self.input[0], self.weights[0]];
        for axis in 0..rank {
            let padded = self.input[2 + axis] + self.pads[axis] + self.pads[rank + axis];
            shape.push(padded.checked_sub(self.extent(axis))? / self.strides[axis] + 1);
        }
        Some(shape)
    }

    /// Every output as a sum over all weights.
    fn convolved(&self, x: &[f64], w: &[f64], output: &[usize]) -> Vec<f64> {
        let (per_group, channels) = (self.weights[0] / self.group, self.weights[1]);
        let taps = indices(&self.weights[1..]);
        let at = |out: &Vec<usize>| {
            let mut sum = 0.0;
            for tap in &taps {
                let mut source = vec![out[0], out[1] / per_group * channels + tap[0]];
                let inside = (0..self.strides.len()).all(|axis| {
                    let at = out[2 + axis] * self.strides[axis] + tap[1 + axis] * self.dilations[axis];
                    source.push(at.wrapping_sub(self.pads[axis]));
                    at >= self.pads[axis] && source[2 + axis] < self.input[2 + axis]
                });
                if inside {
                    let weight = [&out[1..2], tap].concat();
                    sum += x[place(&self.input, &source)] * w[place(&self.weights, &weight)];
                }
            }
            sum
        };
        indices(output).iter().map(at).collect()
    }
}

fn wide(tensor: &Tensor) -> Vec<f64> {
    tensor.to_f32().iter().map(|&x| x.into()).collect()
}

#[test]
fn conv_agrees_with_a_sum_over_all_weights() {
    let mut seeded = Seeded::new(20);
    let mut tried = 0;
    while tried < 120 {
        let shape = Shape::random(&mut seeded, false);
        let Some(output) = shape.output() else { continue };
        tried += 1;
        let (x, w) = (seeded.tensor(&shape.input), seeded.tensor(&shape.weights));
        let mut wanted = shape.convolved(&wide(&x), &wide(&w), &output);
        let mut case = shape.case("Conv").input(x).input(w);
        if tried % 2 == 0 {
            let bias = seeded.tensor(&output[1..2]);
            let biases = wide(&bias);
            for (i, at) in indices(&output).iter().enumerate() {
                wanted[i] += biases[at[1]];
            }
            case = case.input(bias);
        }
        let got = case.output(1, &output).run();
        assert_close(&got[0].to_f32(), &wanted, 1e-5);
    }
}

#[test]
fn wide_rows_and_long_sums_cross_the_strips() {
    let mut seeded = Seeded::new(21);
    for (inputs, outputs, group, side, kernel) in
        [(3, 5, 1, 600, 3), (520, 4, 1, 30, 3), (2, 2, 2, 700, 5), (4, 9, 1, 521, 1)]
    {
        let shape = Shape {
            input: vec![1, inputs, side],
            weights: vec![outputs, inputs / group, kernel],
            group,
            strides: vec![1],
            dilations: vec![1],
            pads: vec![kernel / 2; 2],
        };
        let output = shape.output().unwrap();
        let (x, w) = (seeded.tensor(&shape.input), seeded.tensor(&shape.weights));
        let wanted = shape.convolved(&wide(&x), &wide(&w), &output);
        let got = shape.case("Conv").input(x).input(w).output(1, &output).run();
        assert_close(&got[0].to_f32(), &wanted, 1e-5);
    }
}

#[test]
fn conv_adds_a_tensor_and_activates_before_it_stores() {
    let mut seeded = Seeded::new(22);
    for group in [1, 6] {
        let shape = Shape {
            input: vec![2, 6, 9, 9],
            weights: vec![6, 6 / group, 3, 3],
            group,
            strides: vec![2, 2],
            dilations: vec![1, 1],
            pads: vec![1; 4],
        };
        let output = shape.output().unwrap();
        let (x, w, bias, sum) =
            (seeded.tensor(&shape.input), seeded.tensor(&shape.weights), seeded.tensor(&[6]), seeded.tensor(&output));
        let mut wanted = shape.convolved(&wide(&x), &wide(&w), &output);
        let (biases, sums) = (wide(&bias), wide(&sum));
        for (i, at) in indices(&output).iter().enumerate() {
            wanted[i] = (wanted[i] + biases[at[1]] + sums[i]).max(0.0);
        }
        let case = shape.case("Conv").input(x).input(w).input(bias).input(sum).output(1, &output);
        let got = case.step("add", Some(3), &[]).step("Relu", None, &[]).run();
        assert_close(&got[0].to_f32(), &wanted, 1e-5);
    }
}

#[test]
fn conv_transpose_scatters_what_conv_gathers() {
    let mut seeded = Seeded::new(23);
    let mut tried = 0;
    while tried < 120 {
        let shape = Shape::random(&mut seeded, true);
        let rank = shape.strides.len();
        let extra: Vec<usize> = shape.strides.iter().map(|&stride| seeded.length(0, stride - 1)).collect();
        let mut output = vec![shape.input[0], shape.weights[1] * shape.group];
        let full = |axis: usize| (shape.input[2 + axis] - 1) * shape.strides[axis] + shape.extent(axis) + extra[axis];
        if (0..rank).any(|axis| full(axis) <= shape.pads[axis] + shape.pads[rank + axis]) {
            continue;
        }
        tried += 1;
        output.extend((0..rank).map(|axis| full(axis) - shape.pads[axis] - shape.pads[rank + axis]));
        let (x, w, bias) = (seeded.tensor(&shape.input), seeded.tensor(&shape.weights), seeded.tensor(&output[1..2]));
        let mut wanted: Vec<f64> = indices(&output).iter().map(|at| bias.to_f32()[at[1]].into()).collect();
        let (inputs, outputs) = (shape.input[1] / shape.group, shape.weights[1]);
        let (x_wide, w_wide) = (wide(&x), wide(&w));
        let taps = indices(&shape.weights[1..]);
        for from in indices(&shape.input) {
            for tap in &taps {
                let mut to = vec![from[0], from[1] / inputs * outputs + tap[0]];
                let inside = (0..rank).all(|axis| {
                    let at = from[2 + axis] * shape.strides[axis] + tap[1 + axis] * shape.dilations[axis];
                    to.push(at.wrapping_sub(shape.pads[axis]));
                    at >= shape.pads[axis] && to[2 + axis] < output[2 + axis]
                });
                if inside {
                    let weight = [&from[1..2], tap].concat();
                    let product = x_wide[place(&shape.input, &from)] * w_wide[place(&shape.weights, &weight)];
                    wanted[place(&output, &to)] += product;
                }
            }
        }
        let extra: Vec<i64> = extra.iter().map(|&n| n as i64).collect();
        let case = shape.case("ConvTranspose").integers("output_padding", &extra);
        let got = case.input(x).input(w).input(bias).output(1, &output).run();
        assert_close(&got[0].to_f32(), &wanted, 1e-5);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let case = |output: &[usize]| {
        let shape = Shape {
            input: vec![1, 2, 5, 5],
            weights: vec![3, 2, 3, 3],
            group: 1,
            strides: vec![1, 1],
            dilations: vec![1, 1],
            pads: vec![0; 4],
        };
        let mut seeded = Seeded::new(24);
        let (x, w) = (seeded.tensor(&shape.input), seeded.tensor(&shape.weights));
        shape.case("Conv").input(x).input(w).output(1, output).try_run()
    };
    assert!(case(&[1, 3, 3, 3]).is_ok());
    for output in [&[1, 3, 3, 4][..], &[1, 2, 3, 3], &[1, 3, 3], &[2, 3, 3, 3]] {
        assert!(case(output).is_err());
    }
}
