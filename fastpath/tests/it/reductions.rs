//! Sums, means and extrema over axes, and the global pools.

use crate::harness::{Case, Fill, Random, count};

const REDUCTIONS: &[&str] = &["ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "ReduceMax", "ReduceMin"];

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for reductions")]
fn reductions_over_neighbouring_axes_are_the_twins() {
    let mut random = Random::new(91);
    let cases: &[(&[usize], &[i64])] = &[
        (&[7], &[0]),
        (&[5, 33], &[-1]),
        (&[5, 100], &[0]),
        (&[3, 40, 70], &[1]),
        (&[3, 40, 7], &[1, 2]),
        (&[3, 4, 5, 64], &[0, 1]),
        (&[2, 1, 6, 1, 9], &[2, 3]),
        (&[4, 131], &[1]),
        (&[2, 9], &[]),
    ];
    for op in REDUCTIONS {
        for &(shape, axes) in cases {
            for keeps in [false, true] {
                let rank = shape.len() as i64;
                let goes = |axis: usize| axes.is_empty() || axes.iter().any(|a| a.rem_euclid(rank) == axis as i64);
                let output: Vec<usize> = (0..shape.len())
                    .filter(|&axis| keeps || !goes(axis))
                    .map(|axis| if goes(axis) { 1 } else { shape[axis] })
                    .collect();
                for fill in [Fill::Whole, Fill::Real(2.0)] {
                    let data = fill.values(&mut random, count(shape));
                    let mut case = Case::new(op, 18, &output).integer("keepdims", keeps.into()).input(shape, data);
                    if !axes.is_empty() {
                        case = case.numbers(axes);
                    }
                    case.check(if fill == Fill::Whole && *op != "ReduceL2" && *op != "ReduceMean" {
                        0.0
                    } else {
                        1e-6
                    });
                }
            }
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for reductions")]
fn global_pools_are_the_twins() {
    let mut random = Random::new(92);
    for op in ["GlobalAveragePool", "GlobalMaxPool"] {
        for shape in [&[2, 5, 7, 7][..], &[1, 3, 40], &[1, 64, 1, 1], &[2, 3, 16, 20]] {
            let mut output = shape.to_vec();
            output[2..].fill(1);
            let data = Fill::Real(2.0).values(&mut random, count(shape));
            let case = Case::new(op, 1, &output).input(shape, data);
            // Planes of one element are left to others: there is nothing to reduce.
            if shape[2..] == [1, 1] { case.check_declined() } else { case.check(1e-6) }
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for reductions")]
fn a_nan_wins_everywhere() {
    let mut random = Random::new(93);
    for op in ["ReduceMax", "ReduceMin", "ReduceSum"] {
        for at in [0, 5, 37, 64, 99] {
            let mut data = Fill::Real(2.0).values(&mut random, 200);
            data[at] = f32::NAN;
            Case::new(op, 18, &[2]).integer("keepdims", 0).input(&[2, 100], data.clone()).numbers(&[1]).check(1e-6);
            Case::new(op, 18, &[1, 100]).integer("keepdims", 1).input(&[2, 100], data).numbers(&[0]).check(1e-6);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for reductions")]
fn axes_that_lie_apart_and_open_ones_are_declined() {
    let case = Case::new("ReduceSum", 18, &[4]).integer("keepdims", 0).input(&[3, 4, 5], vec![1.0; 60]);
    case.numbers(&[0, 2]).check_declined();
    let case = Case::new("ReduceSum", 18, &[3, 4]).integer("keepdims", 0).input(&[3, 4, 5], vec![1.0; 60]);
    case.input(&[1], vec![0.0]).check_declined();
    let case = Case::new("ReduceSum", 18, &[3]).integer("noop_with_empty_axes", 1).input(&[3], vec![1.0; 3]);
    case.check_declined();
}
