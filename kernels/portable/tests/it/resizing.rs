//! `Resize`, against formulas evaluated point by point.

use crate::harness::{Case, Tensor};
use crate::oracle::{Functions, Seeded, assert_close, indices, place, widened};

fn resize(x: &Tensor, mode: &str, transformation: &str, nearest: &str, out: &[usize]) -> Case {
    let sizes: Vec<i64> = out.iter().map(|&dim| dim as i64).collect();
    Case::new("Resize", 19)
        .text("mode", mode)
        .text("coordinate_transformation_mode", transformation)
        .text("nearest_mode", nearest)
        .number("cubic_coeff_a", -0.75)
        .input(x.clone())
        .absent()
        .absent()
        .constant(Tensor::i64(&[out.len()], &sizes))
        .output(1, out)
}

fn source(transformation: &str, at: usize, from: usize, to: usize) -> f64 {
    let (at, scale) = (at as f64, to as f64 / from as f64);
    match transformation {
        "asymmetric" => at / scale,
        "align_corners" if to == 1 => 0.0,
        "align_corners" => at * (from as f64 - 1.0) / (to as f64 - 1.0),
        "pytorch_half_pixel" if to == 1 => 0.0,
        _ => (at + 0.5) / scale - 0.5,
    }
}

#[test]
fn nearest_picks_one_element() {
    let mut seeded = Seeded::new(90);
    let x = seeded.tensor(&[1, 2, 5, 4]);
    let values = x.to_f32();
    for transformation in ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"] {
        for nearest in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"] {
            for (high, wide) in [(10, 8), (3, 7), (5, 4), (1, 1), (15, 2)] {
                let out = [1, 2, high, wide];
                let got = resize(&x, "nearest", transformation, nearest, &out).run()[0].to_f32();
                for (i, at) in indices(&out).iter().enumerate() {
                    let axis = |axis: usize, from: usize| {
                        let source = source(transformation, at[axis], from, out[axis]);
                        let rounded = match nearest {
                            "floor" => source.floor(),
                            "ceil" => source.ceil(),
                            "round_prefer_floor" => (source - 0.5).ceil(),
                            _ => (source + 0.5).floor(),
                        };
                        rounded.clamp(0.0, from as f64 - 1.0) as usize
                    };
                    let from = [at[0], at[1], axis(2, 5), axis(3, 4)];
                    assert_eq!(got[i], values[place(&[1, 2, 5, 4], &from)]);
                }
            }
        }
    }
}

#[test]
fn linear_and_cubic_weigh_their_neighbours() {
    let mut seeded = Seeded::new(91);
    let shape = [1, 2, 5, 4];
    let x = seeded.tensor(&shape);
    let values = widened(&x.to_f32());
    let kernels: &Functions<fn(f64) -> f64> = &[
        ("linear", |x| (1.0 - x.abs()).max(0.0)),
        ("cubic", |x| {
            let (a, x) = (-0.75, x.abs());
            if x <= 1.0 {
                (a + 2.0) * x.powi(3) - (a + 3.0) * x.powi(2) + 1.0
            } else if x < 2.0 {
                a * x.powi(3) - 5.0 * a * x.powi(2) + 8.0 * a * x - 4.0 * a
            } else {
                0.0
            }
        }),
    ];
    for &(mode, kernel) in kernels {
        for transformation in ["asymmetric", "half_pixel", "align_corners"] {
            for (high, wide) in [(10, 300), (3, 7), (1, 1)] {
                let out = [1, 2, high, wide];
                let got = resize(&x, mode, transformation, "floor", &out).run()[0].to_f32();
                let wanted: Vec<f64> = indices(&out)
                    .iter()
                    .map(|at| {
                        let (y, x) = (source(transformation, at[2], 5, high), source(transformation, at[3], 4, wide));
                        let mut sum = 0.0;
                        for i in -3..9i64 {
                            for j in -3..8i64 {
                                let from = [at[0], at[1], i.clamp(0, 4) as usize, j.clamp(0, 3) as usize];
                                sum += kernel(y - i as f64) * kernel(x - j as f64) * values[place(&shape, &from)];
                            }
                        }
                        sum
                    })
                    .collect();
                assert_close(&got, &wanted, 1e-6);
            }
        }
    }
}
