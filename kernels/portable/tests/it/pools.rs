//! Pools.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close, indices, place};

struct Pool {
    input: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
    ceil: bool,
}

impl Pool {
    fn random(seeded: &mut Seeded) -> Self {
        let rank = seeded.length(1, 3);
        let mut list = |low, high, n| (0..n).map(|_| seeded.length(low, high)).collect::<Vec<_>>();
        let kernel = list(1, 4, rank);
        let pads = [&kernel[..], &kernel].concat().iter().map(|&k| list(0, k - 1, 1)[0]).collect();
        Self {
            input: [list(1, 3, 2), list(3, [0, 300, 10, 5][rank], rank)].concat(),
            strides: list(1, 3, rank),
            dilations: list(1, 2, rank),
            ceil: list(0, 1, 1)[0] == 1,
            kernel,
            pads,
        }
    }

    fn output(&self) -> Option<Vec<usize>> {
        let rank = self.kernel.len();
        let mut shape = self.input[..2].to_vec();
        for axis in 0..rank {
            let padded = self.input[2 + axis] + self.pads[axis] + self.pads[rank + axis];
            let room = padded.checked_sub((self.kernel[axis] - 1) * self.dilations[axis] + 1)?;
            let mut count = room / self.strides[axis] + 1;
            if self.ceil
                && room % self.strides[axis] != 0
                && count * self.strides[axis] < self.input[2 + axis] + self.pads[axis]
            {
                count += 1;
            }
            shape.push(count);
        }
        Some(shape)
    }

    fn case(&self, op: &str) -> Case {
        let list = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
        Case::new(op, 22)
            .integers("kernel_shape", &list(&self.kernel))
            .integers("strides", &list(&self.strides))
            .integers("dilations", &list(&self.dilations))
            .integers("pads", &list(&self.pads))
            .integer("ceil_mode", self.ceil.into())
    }

    /// For every output: the places that its window holds, and how many of its elements lie in the padded input.
    fn windows(&self, output: &[usize]) -> Vec<(Vec<usize>, usize)> {
        let rank = self.kernel.len();
        let window = |out: &Vec<usize>| {
            let (mut places, mut padded) = (Vec::new(), 0);
            for tap in indices(&self.kernel) {
                let at: Vec<_> = (0..rank).map(|i| out[2 + i] * self.strides[i] + tap[i] * self.dilations[i]).collect();
                if (0..rank).all(|i| at[i] < self.input[2 + i] + self.pads[i] + self.pads[rank + i]) {
                    padded += 1;
                }
                if (0..rank).all(|i| at[i] >= self.pads[i] && at[i] - self.pads[i] < self.input[2 + i]) {
                    let source = [&out[..2], &(0..rank).map(|i| at[i] - self.pads[i]).collect::<Vec<_>>()].concat();
                    places.push(place(&self.input, &source));
                }
            }
            (places, padded)
        };
        indices(output).iter().map(window).collect()
    }
}

#[test]
fn pools_agree_with_their_windows() {
    let mut seeded = Seeded::new(30);
    let mut tried = 0;
    while tried < 100 {
        let pool = Pool::random(&mut seeded);
        let Some(output) = pool.output() else { continue };
        let windows = pool.windows(&output);
        if windows.iter().any(|window| window.0.is_empty()) {
            continue;
        }
        tried += 1;
        let x = seeded.tensor(&pool.input);
        let values: Vec<f64> = x.to_f32().iter().map(|&x| x.into()).collect();
        let over = |f: &dyn Fn(&[f64], usize) -> f64| -> Vec<f64> {
            windows
                .iter()
                .map(|(places, padded)| f(&places.iter().map(|&i| values[i]).collect::<Vec<_>>(), *padded))
                .collect()
        };
        let largest = over(&|window, _| window.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        let got = pool.case("MaxPool").input(x.clone()).output(1, &output).output(7, &output).run();
        assert_close(&got[0].to_f32(), &largest, 0.0);
        for (&at, &wanted) in got[1].to_i64().iter().zip(&largest) {
            assert_eq!(values[at as usize], wanted);
        }
        let alone = pool.case("MaxPool").input(x.clone()).output(1, &output).run();
        assert_eq!(alone[0], got[0]);
        for with_pads in [false, true] {
            let mean = over(&|window, padded| {
                window.iter().sum::<f64>() / if with_pads { padded } else { window.len() } as f64
            });
            let case = pool.case("AveragePool").integer("count_include_pad", with_pads.into());
            assert_close(&case.input(x.clone()).output(1, &output).run()[0].to_f32(), &mean, 1e-6);
        }
        let length = over(&|window, _| window.iter().map(|x| x * x).sum::<f64>().sqrt());
        let got = pool.case("LpPool").integer("p", 2).input(x.clone()).output(1, &output).run();
        assert_close(&got[0].to_f32(), &length, 1e-6);
    }
}

#[test]
fn bytes_pool_exactly() {
    let x = Tensor::u8(&[1, 1, 4], &[3, 255, 0, 7]);
    let case = Case::new("MaxPool", 12).integers("kernel_shape", &[2]).integers("strides", &[2]);
    assert_eq!(case.input(x).output(2, &[1, 1, 2]).run()[0].to_u8(), [255, 7]);
}
