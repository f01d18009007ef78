//! `Transpose`, `Slice`, `Expand`, `Pad` and `Concat`.

use crate::harness::{Case, Fill, Random, count};

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for moves")]
fn axes_change_places() {
    let mut random = Random::new(81);
    let cases: &[(&[usize], &[usize])] = &[
        (&[7], &[0]),
        (&[3, 5], &[1, 0]),
        (&[17, 40], &[1, 0]),
        (&[8, 8], &[1, 0]),
        (&[16, 24], &[1, 0]),
        (&[2, 9, 3, 8], &[0, 2, 1, 3]),
        (&[2, 9, 12, 33], &[0, 2, 3, 1]),
        (&[2, 33, 12, 9], &[3, 1, 0, 2]),
        (&[3, 4, 5, 6, 2], &[4, 2, 0, 3, 1]),
        (&[2, 1, 30, 1, 20], &[3, 4, 1, 2, 0]),
        (&[4, 0, 3], &[2, 1, 0]),
        (&[1, 1], &[1, 0]),
    ];
    for &(shape, order) in cases {
        let output: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let data = Fill::Real(9.0).values(&mut random, count(shape));
        Case::new("Transpose", 13, &output).integers("perm", order).input(shape, data).check(0.0);
    }
    let data = Fill::Real(9.0).values(&mut random, 24);
    Case::new("Transpose", 13, &[4, 3, 2]).input(&[2, 3, 4], data.clone()).check(0.0);
    Case::new("Transpose", 13, &[2, 3, 4]).integers("perm", &[0, 0, 1]).input(&[2, 3, 4], data).check_declined();
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for moves")]
fn long_copies_are_shared_out() {
    let mut random = Random::new(82);
    let data = Fill::Real(9.0).values(&mut random, 120 * 301);
    Case::new("Transpose", 13, &[301, 120]).integers("perm", &[1, 0]).input(&[120, 301], data.clone()).check(0.0);
    Case::new("Transpose", 13, &[43, 120, 7]).integers("perm", &[1, 0, 2]).input(&[120, 43, 7], data).check(0.0);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for moves")]
fn slices_take_what_the_specification_says() {
    let mut random = Random::new(83);
    // Shape, starts, ends, axes, steps, output.
    type Cut = (&'static [usize], &'static [i64], &'static [i64], &'static [i64], &'static [i64], &'static [usize]);
    let cuts: &[Cut] = &[
        (&[10], &[2], &[7], &[0], &[1], &[5]),
        (&[4, 10, 3], &[1], &[-1], &[1], &[1], &[4, 8, 3]),
        (&[4, 10, 3], &[0, 9], &[4, 0], &[0, 1], &[2, -3], &[2, 3, 3]),
        (&[4, 40], &[i64::MAX], &[i64::MIN], &[-1], &[-1], &[4, 40]),
        (&[4, 40], &[5], &[5], &[1], &[1], &[4, 0]),
        (&[3, 120], &[40], &[80], &[1], &[1], &[3, 40]),
        (&[5], &[-99], &[99], &[0], &[1], &[5]),
        (&[0, 5], &[0], &[3], &[0], &[1], &[0, 5]),
    ];
    for &(shape, starts, ends, axes, steps, output) in cuts {
        let data = Fill::Real(9.0).values(&mut random, count(shape));
        let case = Case::new("Slice", 13, output).input(shape, data).numbers(starts).numbers(ends).numbers(axes);
        case.numbers(steps).check(0.0);
    }
    let data = Fill::Real(9.0).values(&mut random, 30);
    let case = Case::new("Slice", 13, &[2, 3]).input(&[3, 10], data);
    case.clone().numbers(&[1, 2]).numbers(&[3, 5]).check(0.0);
    case.numbers(&[1, 2]).numbers(&[3, 6]).check_declined();
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for moves")]
fn expansions_repeat() {
    let mut random = Random::new(84);
    let shapes: &[(&[usize], &[usize])] = &[
        (&[1], &[37]),
        (&[3, 1], &[3, 20]),
        (&[20], &[3, 20]),
        (&[2, 1, 5], &[2, 4, 5]),
        (&[2, 1, 5, 1], &[7, 2, 3, 5, 4]),
        (&[5, 6], &[5, 6]),
    ];
    for &(shape, output) in shapes {
        let data = Fill::Real(9.0).values(&mut random, count(shape));
        let lengths: Vec<i64> = output.iter().map(|&length| length as i64).collect();
        Case::new("Expand", 13, output).input(shape, data).numbers(&lengths).check(0.0);
    }
    Case::new("Expand", 13, &[3, 5]).input(&[2, 5], vec![0.0; 10]).numbers(&[3, 5]).check_declined();
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for moves")]
fn tensors_are_joined_along_an_axis() {
    let mut random = Random::new(86);
    // Shapes, axis, output.
    type Join = (&'static [&'static [usize]], i64, &'static [usize]);
    let cases: &[Join] = &[
        (&[&[3], &[4]], 0, &[7]),
        (&[&[2, 3], &[2, 1], &[2, 20]], 1, &[2, 24]),
        (&[&[2, 3], &[4, 3]], -2, &[6, 3]),
        (&[&[50, 9, 1], &[50, 9, 1], &[50, 9, 2]], 2, &[50, 9, 4]),
        (&[&[2, 0, 5], &[2, 3, 5]], 1, &[2, 3, 5]),
        (&[&[1, 700, 9], &[1, 300, 9]], 1, &[1, 1000, 9]),
        (&[&[4, 5]], 0, &[4, 5]),
    ];
    for &(shapes, axis, output) in cases {
        let mut case = Case::new("Concat", 13, output).integer("axis", axis);
        for shape in shapes {
            case = case.input(shape, Fill::Real(9.0).values(&mut random, count(shape)));
        }
        case.check(0.0);
    }
    let case = Case::new("Concat", 13, &[5, 3]).integer("axis", 0).input(&[2, 3], vec![0.0; 6]);
    case.clone().check_declined();
    case.input(&[3, 2], vec![0.0; 6]).check_declined();
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for moves")]
fn pads_in_all_modes() {
    let mut random = Random::new(85);
    // Shape, pads, output.
    let cases: &[(&[usize], &[i64], &[usize])] = &[
        (&[7], &[3, 2], &[12]),
        (&[2, 5], &[0, 1, 0, 2], &[2, 8]),
        (&[2, 5], &[1, 0, 1, 0], &[4, 5]),
        (&[2, 3, 4, 1], &[0, 1, 2, 0, 0, 0, 3, 0], &[2, 4, 9, 1]),
        (&[3, 6, 5], &[0, -2, 0, 0, 1, 0], &[3, 5, 5]),
        (&[4, 9], &[0, -3, 0, -2], &[4, 4]),
        (&[4, 9], &[1, 2, -1, -9], &[4, 2]),
        (&[1, 50, 7], &[0, 20, 0, 30, 0, 0], &[31, 70, 7]),
    ];
    for mode in ["constant", "edge", "reflect"] {
        for &(shape, pads, output) in cases {
            let data = Fill::Real(9.0).values(&mut random, count(shape));
            let case = Case::new("Pad", 21, output).text("mode", mode).input(shape, data).numbers(pads);
            case.clone().check(0.0);
            case.constant(&[], vec![-1.5]).check(0.0);
        }
    }
    let data = Fill::Real(9.0).values(&mut random, 60);
    let case =
        Case::new("Pad", 21, &[3, 7, 4]).text("mode", "constant").input(&[3, 5, 4], data.clone()).numbers(&[1, 1]);
    case.left_out().numbers(&[-2]).check(0.0);
    let case = Case::new("Pad", 21, &[3, 5, 4]).text("mode", "wrap").input(&[3, 5, 4], data).numbers(&[0; 6]);
    case.check_declined();
}
