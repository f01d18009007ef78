//! `MatMul` and `Gemm`.

use crate::harness::{Case, Fill, Random, count};

/// Single steps that every product kernel takes, and how far apart the twins may be with them.
pub(crate) const STEPS: &[(&str, &[(&str, f64)])] = &[
    ("Relu", &[]),
    ("Clip", &[("min", -3.0), ("max", 6.0)]),
    ("Sigmoid", &[]),
    ("HardSigmoid", &[("alpha", 0.2), ("beta", 0.5)]),
    ("HardSwish", &[]),
    ("Tanh", &[]),
    ("Gelu", &[]),
    ("LeakyRelu", &[("alpha", 0.125)]),
    ("Elu", &[("alpha", 1.5)]),
    ("Swish", &[("alpha", 1.0)]),
    ("Affine", &[("alpha", 0.75), ("beta", -0.5)]),
];

/// Adds some steps: activations, a sum, activations behind it.
pub(crate) fn random_steps(mut case: Case, random: &mut Random, fill: Fill) -> Case {
    let shape = case.output_shape();
    for _ in 0..random.below(4) {
        case = if random.chance(30) {
            let addend = fill.values(random, count(&shape));
            case.step_with("add", &shape, addend)
        } else if fill == Fill::Whole {
            let (op, attributes) = random.pick(&STEPS[..2]);
            case.step(op, attributes)
        } else {
            let (op, attributes) = random.pick(STEPS);
            case.step(op, attributes)
        };
    }
    case
}

fn matmul(random: &mut Random, a: &[usize], b: &[usize], output: &[usize], constant: bool, fill: Fill) -> Case {
    let (a_data, b_data) = (fill.values(random, count(a)), fill.values(random, count(b)));
    let case = Case::new("MatMul", 13, output).input(a, a_data);
    if constant { case.constant(b, b_data) } else { case.input(b, b_data) }
}

const LENGTHS: &[usize] = &[1, 2, 3, 5, 6, 7, 8, 12, 13, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 61, 97];

fn tolerance(fill: Fill) -> f32 {
    if fill == Fill::Whole { 0.0 } else { 1e-5 }
}

#[test]
fn matrices_of_odd_shapes_multiply_as_the_twin_does() {
    let mut random = Random::new(1);
    for round in 0..120 {
        let (m, n, k) = (random.pick(LENGTHS), random.pick(LENGTHS), random.pick(LENGTHS));
        let fill = if round % 2 == 0 { Fill::Whole } else { Fill::Real(1.0) };
        let constant = random.chance(50);
        let case = matmul(&mut random, &[m, k], &[k, n], &[m, n], constant, fill);
        random_steps(case, &mut random, fill).check(tolerance(fill));
    }
}

#[test]
fn long_sums_are_split_into_blocks() {
    let mut random = Random::new(2);
    for (m, n, k) in [(7, 17, 321), (13, 33, 640), (5, 16, 641), (1, 40, 1000), (40, 1, 1300), (20, 9, 965)] {
        for constant in [false, true] {
            matmul(&mut random, &[m, k], &[k, n], &[m, n], constant, Fill::Whole).check(0.0);
            let case = matmul(&mut random, &[m, k], &[k, n], &[m, n], constant, Fill::Real(1.0));
            random_steps(case, &mut random, Fill::Real(1.0)).check(1e-5);
        }
    }
}

#[test]
fn wide_and_tall_results_are_split_into_blocks() {
    let mut random = Random::new(3);
    for (m, n, k) in [(200, 530, 9), (13, 1100, 5), (300, 20, 33), (14, 520, 330), (7, 1024, 12), (12, 700, 3)] {
        for constant in [false, true] {
            let case = matmul(&mut random, &[m, k], &[k, n], &[m, n], constant, Fill::Whole);
            random_steps(case, &mut random, Fill::Whole).check(0.0);
        }
    }
}

#[test]
fn rows_a_page_apart_are_packed() {
    let mut random = Random::new(4);
    for constant in [false, true] {
        matmul(&mut random, &[20, 1024], &[1024, 130], &[20, 130], constant, Fill::Whole).check(0.0);
    }
}

#[test]
fn batches_broadcast() {
    let mut random = Random::new(5);
    let shapes: &[(&[usize], &[usize], &[usize])] = &[
        (&[3, 7, 5], &[3, 5, 9], &[3, 7, 9]),
        (&[3, 7, 5], &[5, 9], &[3, 7, 9]),
        (&[7, 5], &[3, 5, 9], &[3, 7, 9]),
        (&[2, 1, 7, 5], &[1, 3, 5, 17], &[2, 3, 7, 17]),
        (&[2, 3, 7, 5], &[3, 5, 17], &[2, 3, 7, 17]),
        (&[4, 1, 6, 33], &[2, 33, 20], &[4, 2, 6, 20]),
        (&[1, 1, 7, 5], &[1, 1, 5, 9], &[1, 1, 7, 9]),
        (&[5], &[5, 9], &[9]),
        (&[7, 5], &[5], &[7]),
        (&[2, 7, 5], &[5], &[2, 7]),
        (&[5], &[2, 5, 9], &[2, 9]),
        (&[5], &[5], &[]),
    ];
    for &(a, b, output) in shapes {
        for constant in [false, true] {
            matmul(&mut random, a, b, output, constant, Fill::Whole).check(0.0);
        }
    }
    for constant in [false, true] {
        let case = matmul(&mut random, &[2, 3, 7, 5], &[3, 5, 17], &[2, 3, 7, 17], constant, Fill::Whole);
        random_steps(case.step_with("bias", &[17], vec![2.0; 17]), &mut random, Fill::Whole).check(0.0);
    }
}

#[test]
fn nothing_times_something_is_the_epilogue_of_zero() {
    let mut random = Random::new(6);
    for constant in [false, true] {
        for (m, n, k) in [(0, 5, 3), (5, 0, 3), (5, 20, 0), (0, 0, 0)] {
            let case = matmul(&mut random, &[m, k], &[k, n], &[m, n], constant, Fill::Whole);
            let bias = Fill::Whole.values(&mut random, n);
            case.step_with("bias", &[n], bias).step("Relu", &[]).check(0.0);
        }
    }
    matmul(&mut random, &[0, 4, 3], &[3, 5], &[0, 4, 5], false, Fill::Whole).check(0.0);
}

#[test]
fn every_step_is_the_twins_step() {
    let mut random = Random::new(7);
    for (op, attributes) in STEPS {
        for with_bias in [false, true] {
            let mut case = matmul(&mut random, &[7, 20], &[20, 37], &[7, 37], true, Fill::Real(1.0));
            if with_bias {
                case = case.step_with("bias", &[37], Fill::Real(1.0).values(&mut random, 37));
            }
            case.step(op, attributes).check(1e-5);
        }
    }
}

#[test]
fn gemm_turns_scales_and_adds() {
    let mut random = Random::new(8);
    for round in 0..120 {
        let (m, n, k) = (random.pick(LENGTHS), random.pick(LENGTHS), random.pick(LENGTHS));
        let (turn_a, turn_b) = (random.chance(50), random.chance(50));
        let fill = if round % 2 == 0 { Fill::Whole } else { Fill::Real(1.0) };
        let a = if turn_a { [k, m] } else { [m, k] };
        let b = if turn_b { [n, k] } else { [k, n] };
        let (alpha, beta) = (random.pick(&[1.0, 1.0, 0.5]), random.pick(&[1.0, 1.0, 0.25]));
        let mut case = Case::new("Gemm", 13, &[m, n])
            .integer("transA", turn_a.into())
            .integer("transB", turn_b.into())
            .number("alpha", alpha)
            .number("beta", beta)
            .input(&a, fill.values(&mut random, m * k));
        let data = fill.values(&mut random, n * k);
        case = if random.chance(60) { case.constant(&b, data) } else { case.input(&b, data) };
        let c: Option<Vec<usize>> = random.below(7).checked_sub(1).map(|form| match form {
            0 => vec![n],
            1 => vec![1, n],
            2 => vec![m, 1],
            3 => vec![m, n],
            4 => vec![],
            _ => vec![1],
        });
        if let Some(c) = c {
            let data = fill.values(&mut random, count(&c));
            case = case.input(&c, data);
        } else if random.chance(50) {
            case = case.left_out();
        }
        random_steps(case, &mut random, fill).check(tolerance(fill));
    }
}

#[test]
fn a_special_number_goes_where_it_went_before() {
    let mut random = Random::new(9);
    let mut case = matmul(&mut random, &[7, 6], &[6, 20], &[7, 20], true, Fill::Whole);
    case.data[0][8] = f32::NAN;
    case.data[0][20] = f32::INFINITY;
    case.step("Relu", &[]).check(0.0);
}

#[test]
fn what_is_no_product_of_floats_is_declined() {
    let mut random = Random::new(10);
    let case = matmul(&mut random, &[7, 6], &[6, 20], &[7, 20], true, Fill::Whole);
    case.clone().step("Softplus", &[]).check_declined();
    case.clone().step_with("bias", &[19], vec![0.0; 19]).check_declined();
    let mut halves = case.clone();
    halves.operation.inputs[0].as_mut().expect("there").dtype = 10;
    halves.check_declined();
    let mut wrong = case.clone();
    wrong.operation.outputs[0].as_mut().expect("there").shape[1] = 21;
    wrong.check_declined();
    let mut demanding = case;
    demanding
        .operation
        .ext
        .push(sunmao_plugin_sdk::abi::Kv { key: "!new".into(), val: sunmao_plugin_sdk::abi::Attribute::Integer(1) });
    demanding.check_declined();
}
