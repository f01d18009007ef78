//! Unary and binary operators, element by element.

use crate::harness::{Case, Fill, Random, count};

#[test]
fn pairs_of_equal_shape_are_the_twins() {
    let mut random = Random::new(31);
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"] {
        for shape in [&[][..], &[0], &[1], &[7], &[8], &[3, 5, 7], &[64, 65], &[5000]] {
            let (a, b) =
                (Fill::Real(3.0).values(&mut random, count(shape)), Fill::Real(3.0).values(&mut random, count(shape)));
            Case::new(op, 14, shape).input(shape, a).input(shape, b).check(0.0);
        }
    }
}

#[test]
fn pairs_broadcast() {
    let mut random = Random::new(32);
    let shapes: &[(&[usize], &[usize], &[usize])] = &[
        (&[2, 3, 4, 5], &[], &[2, 3, 4, 5]),
        (&[], &[37], &[37]),
        (&[2, 3, 4, 5], &[3, 1, 1], &[2, 3, 4, 5]),
        (&[1, 7, 1, 1], &[2, 7, 5, 9], &[2, 7, 5, 9]),
        (&[4, 33], &[33], &[4, 33]),
        (&[4, 1], &[1, 33], &[4, 33]),
        (&[4, 33], &[4, 1], &[4, 33]),
        (&[2, 1, 4, 1], &[1, 3, 1, 5], &[2, 3, 4, 5]),
        (&[6, 1, 40], &[5, 1], &[6, 5, 40]),
        (&[1, 1], &[1, 1, 1], &[1, 1, 1]),
        (&[0, 3], &[1, 3], &[0, 3]),
        (&[3, 2500], &[1, 2500], &[3, 2500]),
    ];
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"] {
        for &(a, b, output) in shapes {
            let (x, y) = (Fill::Real(3.0).values(&mut random, count(a)), Fill::Real(3.0).values(&mut random, count(b)));
            Case::new(op, 14, output).input(a, x).input(b, y).check(0.0);
        }
    }
}

#[test]
fn a_nan_wins_and_zeros_divide() {
    let specials = [f32::NAN, 1.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, 1e-45, f32::MAX, -2.5];
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for x in specials {
        for y in specials {
            a.push(x);
            b.push(y);
        }
    }
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"] {
        Case::new(op, 14, &[a.len()]).input(&[a.len()], a.clone()).input(&[b.len()], b.clone()).check(0.0);
    }
}

#[test]
fn a_pair_may_have_steps_and_more_than_two_are_declined() {
    let mut random = Random::new(33);
    let data = |random: &mut Random| Fill::Real(3.0).values(random, 105);
    let case = Case::new("Add", 14, &[3, 35]).input(&[3, 35], data(&mut random)).input(&[3, 35], data(&mut random));
    let addend = data(&mut random);
    let steps = case.clone().step("Relu", &[]).step_with("add", &[3, 35], addend).step("Sigmoid", &[]);
    let fast = steps.fast();
    if let Some(fast) = fast {
        let found = steps.run(&*fast, 3, None);
        for (i, found) in found.into_iter().enumerate() {
            let sum = f64::from(steps.data[0][i] + steps.data[1][i]).max(0.0) + f64::from(steps.data[2][i]);
            assert!((f64::from(found) - 1.0 / (1.0 + libm::exp(-sum))).abs() < 1e-6);
        }
    }
    case.step_with("bias", &[35], vec![0.0; 35]).check_declined();
    let three =
        Case::new("Max", 13, &[3]).input(&[3], vec![1.0; 3]).input(&[3], vec![2.0; 3]).input(&[3], vec![3.0; 3]);
    three.check_declined();
}

const UNARY: &[(&str, u16, f32)] = &[
    ("Relu", 14, 0.0),
    ("LeakyRelu", 16, 0.0),
    ("HardSigmoid", 22, 1e-6),
    ("HardSwish", 22, 1e-6),
    ("Sigmoid", 13, 1e-6),
    ("Tanh", 13, 1e-6),
    ("Gelu", 20, 1e-6),
    ("Swish", 24, 1e-6),
    ("Elu", 22, 1e-6),
    ("Erf", 13, 1e-6),
    ("Exp", 13, 1e-6),
    ("Sqrt", 13, 0.0),
    ("Reciprocal", 13, 0.0),
    ("Abs", 13, 0.0),
    ("Neg", 13, 0.0),
    ("Log", 13, 1e-6),
];

#[test]
fn functions_of_one_number_are_the_twins() {
    let mut random = Random::new(34);
    for &(op, revision, tolerance) in UNARY {
        for shape in [&[][..], &[0], &[1], &[9], &[3, 5, 7], &[40, 129]] {
            for size in [1.0, 12.0] {
                let data = Fill::Real(size).values(&mut random, count(shape));
                Case::new(op, revision, shape).input(shape, data).check(tolerance);
            }
        }
    }
    let data = Fill::Real(6.0).values(&mut random, 77);
    Case::new("Gelu", 20, &[77]).text("approximate", "tanh").input(&[77], data.clone()).check(1e-6);
    let case = Case::new("Clip", 13, &[77]).input(&[77], data.clone());
    case.clone().check(0.0);
    case.clone().constant(&[], vec![-1.5]).check(0.0);
    case.clone().left_out().constant(&[], vec![2.5]).check(0.0);
    case.clone().constant(&[], vec![-1.5]).constant(&[], vec![2.5]).check(0.0);
    case.input(&[], vec![-1.5]).check_declined();
}

/// Distance in units in the last place of the exact value's `f32` neighbourhood.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if found == rounded || (found.is_nan() && rounded.is_nan()) {
        return 0.0;
    }
    if !found.is_finite() || !rounded.is_finite() {
        // At the edge of the range: one step beyond the largest.
        return if (f64::from(found) - exact).is_nan() || exact.abs() < 3.4e38 { f64::INFINITY } else { 1.0 };
    }
    let exponent = ((rounded.to_bits() >> 23) & 255).max(1) as i32 - 127;
    (f64::from(found) - exact).abs() / 2f64.powi(exponent - 23)
}

/// A function as it should be.
type Exact = fn(f64) -> f64;

/// Over floats of all sizes, evenly spread over their bit patterns: the error that the registry states.
#[test]
fn elementary_functions_keep_the_error_that_they_state() {
    let functions: [(&str, Exact, f64); 11] = [
        ("Exp", libm::exp, 1.0),
        ("Log", libm::log, 1.0),
        ("Sigmoid", |x| 1.0 / (1.0 + libm::exp(-x)), 3.0),
        ("Tanh", libm::tanh, 2.0),
        ("Erf", libm::erf, 2.0),
        ("Sqrt", f64::sqrt, 0.5),
        ("Reciprocal", |x| 1.0 / x, 0.5),
        ("Elu", |x| if x < 0.0 { libm::expm1(x) } else { x }, 2.0),
        ("Swish", |x| x / (1.0 + libm::exp(-x)), 4.0),
        ("Gelu", |x| 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2), 8.0),
        (
            "Gelu tanh",
            |x| x / (1.0 + libm::exp(-2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x))),
            180.0,
        ),
    ];
    // A prime step, so that all low bits occur.
    let mut inputs: Vec<f32> = (0..u32::MAX / 52_501).map(|i| f32::from_bits(i * 52_501)).collect();
    inputs.extend((-60_000..60_000).map(|i| i as f32 * 1.85e-3));
    for (op, exact, stated) in functions {
        let mut case = Case::new(op, 24, &[inputs.len()]).input(&[inputs.len()], inputs.clone());
        if let Some((name, form)) = op.split_once(' ') {
            case.operation.op = name.into();
            case = case.text("approximate", form);
        }
        let Some(fast) = case.fast() else { continue };
        let found = case.run(&*fast, 1, None);
        let mut worst = (0.0, 0.0);
        for (&x, found) in inputs.iter().zip(found) {
            let wanted = exact(f64::from(x));
            // Denormal results of the Gelus keep their first digits only; minus infinity times zero may be either.
            let tiny = op.starts_with("Gelu") && wanted.abs() < f64::from(f32::MIN_POSITIVE);
            let open = x == f32::NEG_INFINITY && matches!(op, "Swish" | "Gelu" | "Gelu tanh");
            let error = match (open, tiny) {
                (true, _) => 0.0,
                (_, true) if (f64::from(found) - wanted).abs() < 1e-43 => 0.0,
                _ => ulps(found, wanted),
            };
            if error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= stated, "{op} is off by {} ulp at {:e}, stated are {stated}", worst.0, worst.1);
    }
}
