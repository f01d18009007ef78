//! Operators that work element by element.

use crate::harness::{Case, Tensor};
use crate::oracle::{Functions, Seeded, assert_close, broadcast_place, indices, widened};
use sunmao_plugin_sdk::ErrorCode;

/// Two shapes that broadcast, and what they broadcast to.
fn broadcasting(seeded: &mut Seeded) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let rank = seeded.length(0, 5);
    let dims = [0, 1, 2, 3, 5, 7, 13];
    let out: Vec<usize> =
        (0..rank).map(|_| dims[seeded.length(if rank > 3 { 1 } else { 0 }, dims.len() - 1)]).collect();
    let mut narrowed = |out: &[usize]| {
        let skip = seeded.length(0, out.len());
        let shape = out[skip..].iter().map(|&dim| if seeded.within(0, 2) == 0 { 1 } else { dim });
        shape.collect::<Vec<_>>()
    };
    let (a, b) = (narrowed(&out), narrowed(&out));
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], i: usize| if i + shape.len() < rank { 1 } else { shape[i + shape.len() - rank] };
    let out = (0..rank).map(|i| if dim(&a, i) == 1 { dim(&b, i) } else { dim(&a, i) }).collect();
    (a, b, out)
}

#[test]
fn arithmetic_broadcasts_like_numpy() {
    let mut seeded = Seeded::new(1);
    for round in 0..150 {
        let (a_shape, b_shape, out) = broadcasting(&mut seeded);
        let (mut a, b) = (seeded.tensor(&a_shape), seeded.tensor(&b_shape));
        if round % 3 == 0 && !a.bytes.is_empty() {
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-42][round / 3 % 5];
            a.bytes[..4].copy_from_slice(&odd.to_le_bytes());
        }
        let operators: &Functions<fn(f32, f32) -> f32> = &[
            ("Add", |x, y| x + y),
            ("Sub", |x, y| x - y),
            ("Mul", |x, y| x * y),
            ("Div", |x, y| x / y),
            ("Max", |x, y| if x.is_nan() || y.is_nan() { f32::NAN } else { x.max(y) }),
            ("Min", |x, y| if x.is_nan() || y.is_nan() { f32::NAN } else { x.min(y) }),
        ];
        let all = indices(&out);
        let (x, y) = (a.to_f32(), b.to_f32());
        for &(name, function) in operators {
            let got = Case::new(name, 14).input(a.clone()).input(b.clone()).output(1, &out).run();
            let wanted: Vec<f64> = all
                .iter()
                .map(|i| function(x[broadcast_place(&a_shape, i)], y[broadcast_place(&b_shape, i)]).into())
                .collect();
            assert_close(&got[0].to_f32(), &wanted, 0.0);
        }
    }
}

#[test]
fn integers_wrap_and_division_by_zero_is_an_error() {
    let a = Tensor::i32(&[4], &[i32::MAX, i32::MIN, -7, 7]);
    let with =
        |op: &str, b: &[i32]| Case::new(op, 14).input(a.clone()).input(Tensor::i32(&[4], b)).output(6, &[4]).try_run();
    assert_eq!(with("Add", &[1, -1, 0, 0]).unwrap()[0].to_i32(), [i32::MIN, i32::MAX, -7, 7]);
    assert_eq!(with("Div", &[1, -1, 2, -2]).unwrap()[0].to_i32(), [i32::MAX, i32::MIN, -3, -3]);
    assert_eq!(with("Mod", &[2, -1, 3, -3]).unwrap()[0].to_i32(), [1, 0, 2, -2]);
    for op in ["Div", "Mod"] {
        assert_eq!(with(op, &[1, 1, 0, 1]).unwrap_err().code, ErrorCode::InvalidData);
    }
}

#[test]
fn functions_agree_with_the_standard_library() {
    let functions: &Functions<fn(f64) -> f64> = &[
        ("Relu", |x| if x < 0.0 { 0.0 } else { x }),
        ("Sigmoid", |x| 1.0 / (1.0 + (-x).exp())),
        ("Tanh", f64::tanh),
        ("Exp", f64::exp),
        ("Log", f64::ln),
        ("Sqrt", f64::sqrt),
        ("Reciprocal", |x| 1.0 / x),
        ("Sin", f64::sin),
        ("Cos", f64::cos),
        ("Atan", f64::atan),
        ("Asinh", f64::asinh),
        ("Floor", f64::floor),
        ("Ceil", f64::ceil),
        ("Round", f64::round_ties_even),
        ("Abs", f64::abs),
        ("Neg", |x| -x),
        ("Softplus", |x| x.exp().ln_1p()),
        ("Softsign", |x| x / (1.0 + x.abs())),
        ("HardSigmoid", |x| (0.2 * x + 0.5).clamp(0.0, 1.0)),
        ("HardSwish", |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        ("LeakyRelu", |x| if x < 0.0 { 0.01 * x } else { x }),
        ("Elu", |x| if x < 0.0 { x.exp() - 1.0 } else { x }),
        ("Swish", |x| x / (1.0 + (-x).exp())),
    ];
    let mut seeded = Seeded::new(2);
    for (name, function) in functions {
        for shape in [vec![], vec![0], vec![257], vec![3, 5, 41]] {
            let mut x = seeded.tensor(&shape);
            if shape.len() == 1 && shape[0] > 4 {
                x.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
                x.bytes[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes());
                x.bytes[8..12].copy_from_slice(&0.0f32.to_le_bytes());
            }
            let got = Case::new(name, 24).input(x.clone()).output(1, &shape).run();
            let wanted: Vec<f64> = widened(&x.to_f32()).into_iter().map(function).collect();
            assert_close(&got[0].to_f32(), &wanted, 1e-6);
        }
    }
}

#[test]
fn erf_and_gelu_have_their_known_values() {
    let x = Tensor::f32(&[4], &[0.0, 0.5, -1.0, 2.0]);
    let erf = [0.0, 0.520_499_877_813_046_5, -0.842_700_792_949_714_9, 0.995_322_265_018_952_7];
    let got = Case::new("Erf", 13).input(x.clone()).output(1, &[4]).run();
    assert_close(&got[0].to_f32(), &erf, 1e-7);
    let gelu = [0.0, 0.345_731_230_631_702_3, -0.158_655_253_931_457_05, 1.954_499_736_103_641_7];
    let got = Case::new("Gelu", 20).text("approximate", "none").input(x).output(1, &[4]).run();
    assert_close(&got[0].to_f32(), &gelu, 1e-7);
}

#[test]
fn clip_takes_its_bounds_from_constants_and_from_runs() {
    let x = Tensor::f32(&[5], &[-3.0, -1.0, 0.5, 2.0, f32::NAN]);
    let low = Tensor::f32(&[], &[-1.5]);
    let high = Tensor::f32(&[], &[1.0]);
    let wanted = [-1.5, -1.0, 0.5, 1.0, f64::NAN];
    let case = |case: Case| case.output(1, &[5]).run()[0].to_f32();
    assert_close(
        &case(Case::new("Clip", 13).input(x.clone()).constant(low.clone()).constant(high.clone())),
        &wanted,
        0.0,
    );
    assert_close(&case(Case::new("Clip", 13).input(x.clone()).input(low).input(high.clone())), &wanted, 0.0);
    let one_sided = [-3.0, -1.0, 0.5, 1.0, f64::NAN];
    assert_close(&case(Case::new("Clip", 13).input(x).absent().constant(high)), &one_sided, 0.0);
}

#[test]
fn where_and_comparisons_broadcast() {
    let mut seeded = Seeded::new(3);
    for _ in 0..40 {
        let (a_shape, b_shape, out) = broadcasting(&mut seeded);
        let (a, b) = (seeded.tensor(&a_shape), seeded.tensor(&b_shape));
        let less = Case::new("Less", 13).input(a.clone()).input(b.clone()).output(9, &out).run().remove(0);
        let smaller =
            Case::new("Where", 16).input(less.clone()).input(a.clone()).input(b.clone()).output(1, &out).run();
        let (x, y, smaller) = (a.to_f32(), b.to_f32(), smaller[0].to_f32());
        for (at, index) in indices(&out).iter().enumerate() {
            let (x, y) = (x[broadcast_place(&a_shape, index)], y[broadcast_place(&b_shape, index)]);
            assert_eq!(less.bytes[at] != 0, x < y);
            assert_eq!(smaller[at], if x < y { x } else { y });
        }
    }
    let yes = Tensor::bool(&[2], &[true, false]);
    let got = Case::new("Not", 1).input(yes).output(9, &[2]).run();
    assert_eq!(got[0].bytes, [0, 1]);
}

#[test]
fn powers_keep_the_type_of_the_base() {
    let base = Tensor::f32(&[4], &[2.0, -3.0, 9.0, 0.0]);
    let got = Case::new("Pow", 15).input(base).input(Tensor::i64(&[4], &[10, 3, -1, 0])).output(1, &[4]).run();
    assert_close(&got[0].to_f32(), &[1024.0, -27.0, 1.0 / 9.0, 1.0], 1e-7);
    let base = Tensor::i64(&[3], &[3, -2, 7]);
    let got = Case::new("Pow", 15).input(base).input(Tensor::f32(&[1], &[2.0])).output(7, &[3]).run();
    assert_eq!(got[0].to_i64(), [9, 4, 49]);
}
