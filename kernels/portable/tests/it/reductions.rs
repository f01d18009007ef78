//! Reductions, running sums, extrema and their places.

use crate::harness::{Case, Tensor};
use crate::oracle::{Functions, Seeded, assert_close, indices, place};

#[test]
fn reductions_over_any_axes() {
    let rules: &Functions<fn(&[f64]) -> f64> = &[
        ("ReduceSum", |x| x.iter().sum()),
        ("ReduceMean", |x| x.iter().sum::<f64>() / x.len() as f64),
        ("ReduceProd", |x| x.iter().product()),
        ("ReduceL1", |x| x.iter().map(|x| x.abs()).sum()),
        ("ReduceL2", |x| x.iter().map(|x| x * x).sum::<f64>().sqrt()),
        ("ReduceSumSquare", |x| x.iter().map(|x| x * x).sum()),
        ("ReduceLogSum", |x| x.iter().sum::<f64>().ln()),
        ("ReduceLogSumExp", |x| x.iter().map(|x| x.exp()).sum::<f64>().ln()),
        ("ReduceMax", |x| x.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        ("ReduceMin", |x| x.iter().copied().fold(f64::INFINITY, f64::min)),
    ];
    let mut seeded = Seeded::new(40);
    for round in 0..60 {
        let rank = seeded.length(1, 5);
        let shape: Vec<usize> =
            (0..rank).map(|_| seeded.length(if round % 9 == 0 { 0 } else { 1 }, [0, 600, 30, 9, 6, 5][rank])).collect();
        let mut axes: Vec<i64> = (0..rank as i64).filter(|_| seeded.within(0, 1) == 1).collect();
        if round % 2 == 0 {
            axes.iter_mut().for_each(|axis| *axis -= rank as i64);
        }
        let gone: Vec<usize> = axes.iter().map(|axis| axis.rem_euclid(rank as i64) as usize).collect();
        let gone = if gone.is_empty() { (0..rank).collect() } else { gone };
        let keep = round % 3 == 0;
        let x = seeded.tensor(&shape);
        let values = x.to_f32();
        let kept: Vec<usize> = (0..rank).map(|i| if gone.contains(&i) { 1 } else { shape[i] }).collect();
        let mut groups = vec![Vec::new(); kept.iter().product()];
        for index in indices(&shape) {
            let to: Vec<usize> = (0..rank).map(|i| if gone.contains(&i) { 0 } else { index[i] }).collect();
            groups[place(&kept, &to)].push(f64::from(values[place(&shape, &index)]));
        }
        let out: Vec<usize> =
            if keep { kept.clone() } else { (0..rank).filter(|i| !gone.contains(i)).map(|i| shape[i]).collect() };
        for &(name, rule) in rules {
            let case = Case::new(name, 18).integer("keepdims", keep.into()).input(x.clone());
            let got = case.constant(Tensor::i64(&[axes.len()], &axes)).output(1, &out).run();
            let wanted: Vec<f64> = groups.iter().map(|group| rule(group)).collect();
            assert_close(&got[0].to_f32(), &wanted, 1e-5);
        }
    }
}

#[test]
fn integer_sums_wrap_and_means_cut() {
    let x = Tensor::i32(&[3], &[i32::MAX, 1, 1]);
    let got = Case::new("ReduceSum", 13).integer("keepdims", 0).input(x).absent().output(6, &[]).run();
    assert_eq!(got[0].to_i32(), [i32::MIN + 1]);
    let x = Tensor::i32(&[2, 2], &[1, 2, -1, -2]);
    let axes = Tensor::i64(&[1], &[1]);
    let got = Case::new("ReduceMean", 18).integer("keepdims", 0).input(x).constant(axes).output(6, &[2]).run();
    assert_eq!(got[0].to_i32(), [1, -1]);
    let nothing = Tensor::i32(&[0], &[]);
    let got = Case::new("ReduceMax", 18).integer("keepdims", 0).input(nothing).absent().output(6, &[]).run();
    assert_eq!(got[0].to_i32(), [i32::MIN]);
}

#[test]
fn no_axes_may_mean_none() {
    let x = Tensor::f32(&[2], &[3.0, -4.0]);
    let case = Case::new("ReduceSum", 13).integer("noop_with_empty_axes", 1).input(x.clone()).absent();
    assert_eq!(case.output(1, &[2]).run()[0], x);
}

#[test]
fn a_nan_is_the_largest_and_the_smallest() {
    let x = Tensor::f32(&[3], &[1.0, f32::NAN, 2.0]);
    for name in ["ReduceMax", "ReduceMin"] {
        let got = Case::new(name, 18).integer("keepdims", 0).input(x.clone()).absent().output(1, &[]).run();
        assert!(got[0].to_f32()[0].is_nan());
    }
}

#[test]
fn running_sums_go_both_ways() {
    let x = Tensor::f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let sums = |axis: i64, exclusive: i64, reverse: i64| {
        Case::new("CumSum", 14)
            .integer("exclusive", exclusive)
            .integer("reverse", reverse)
            .input(x.clone())
            .constant(Tensor::i64(&[], &[axis]))
            .output(1, &[2, 3])
            .run()[0]
            .to_f32()
    };
    assert_eq!(sums(1, 0, 0), [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
    assert_eq!(sums(-1, 1, 0), [0.0, 1.0, 3.0, 0.0, 4.0, 9.0]);
    assert_eq!(sums(1, 0, 1), [6.0, 5.0, 3.0, 15.0, 11.0, 6.0]);
    assert_eq!(sums(0, 1, 1), [4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
}

#[test]
fn top_k_is_the_front_of_a_stable_sort() {
    let mut seeded = Seeded::new(41);
    for round in 0..40 {
        let shape = [seeded.length(1, 3), seeded.length(1, 40), seeded.length(1, 3)];
        let axis = seeded.length(0, 2);
        let k = seeded.length(0, shape[axis]);
        // Few distinct values, so that there are ties.
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| seeded.within(-5, 5) as f32).collect();
        let mut out = shape.to_vec();
        out[axis] = k;
        let largest = round % 2 == 0;
        let got = Case::new("TopK", 11)
            .integer("axis", axis as i64 - if round % 3 == 0 { 3 } else { 0 })
            .integer("largest", largest.into())
            .integer("sorted", 1)
            .input(Tensor::f32(&shape, &values))
            .constant(Tensor::i64(&[1], &[k as i64]))
            .output(1, &out)
            .output(7, &out)
            .run();
        let (best, from_places) = (got[0].to_f32(), got[1].to_i64());
        for index in indices(&out) {
            let mut line: Vec<(f32, usize)> = (0..shape[axis])
                .map(|i| {
                    let mut at = index.clone();
                    at[axis] = i;
                    (values[place(&shape, &at)], i)
                })
                .collect();
            line.sort_by(|a, b| if largest { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) });
            let (value, from) = line[index[axis]];
            assert_eq!(best[place(&out, &index)], value);
            assert_eq!(from_places[place(&out, &index)], from as i64);
        }
    }
}

#[test]
fn places_of_extrema() {
    let x = Tensor::f32(&[2, 3], &[1.0, 5.0, 5.0, -2.0, f32::NAN, 7.0]);
    let place = |name: &str, last: i64| {
        Case::new(name, 13)
            .integer("axis", -1)
            .integer("keepdims", 0)
            .integer("select_last_index", last)
            .input(x.clone())
            .output(7, &[2])
            .run()[0]
            .to_i64()
    };
    assert_eq!(place("ArgMax", 0), [1, 1]);
    assert_eq!(place("ArgMax", 1), [2, 1]);
    assert_eq!(place("ArgMin", 0), [0, 1]);
}
