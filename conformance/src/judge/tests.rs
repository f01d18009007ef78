use super::*;
use crate::DataSet;

fn tensor(dtype: DType, values: &[f64]) -> CaseValue {
    CaseValue::Tensor(Tensor::from_numbers(dtype, vec![values.len() as u64], values).expect("a plain type"))
}

fn raw(dtype: DType, shape: &[u64], bytes: &[u8]) -> CaseValue {
    CaseValue::Tensor(Tensor { dtype, shape: shape.to_vec(), bytes: bytes.into() })
}

#[track_caller]
fn good(expected: &CaseValue, actual: &CaseValue, bound: &Bound) -> Comparison {
    let mut seen = Comparison::default();
    judge(expected, actual, bound, &mut seen).expect("within the bound");
    assert!(seen.values > 0, "something is compared");
    seen
}

#[track_caller]
fn bad(expected: &CaseValue, actual: &CaseValue, bound: &Bound) -> String {
    judge(expected, actual, bound, &mut Comparison::default()).expect_err("beyond the bound")
}

fn ulp(ulp: f64) -> Bound {
    Bound { ulp, ..Bound::EXACT }
}

#[test]
fn one_step_of_each_float_is_one_ulp() {
    let cases = [
        (DType::F32, f64::from(1.0f32.next_up())),
        (DType::F16, 1.0 + 1.0 / 1024.0),
        (DType::BF16, 1.0 + 1.0 / 128.0),
        (DType::F64, 1.0f64.next_up()),
    ];
    for (dtype, next) in cases {
        assert_eq!(distance(dtype, 1.0, next), 1.0, "{dtype}");
        assert_eq!(good(&tensor(dtype, &[1.0]), &tensor(dtype, &[next]), &ulp(1.0)).worst_ulp, 1.0, "{dtype}");
        let why = bad(&tensor(dtype, &[2.0, 1.0]), &tensor(dtype, &[2.0, next]), &ulp(0.5));
        assert!(why.starts_with("element [1]: ") && why.contains("1 of 2"), "{why}");
    }
    // Among subnormal numbers the step is the smallest one.
    let tiny = f64::from(f32::from_bits(1));
    assert_eq!(distance(DType::F32, tiny, 3.0 * tiny), 2.0);
    assert_eq!(distance(DType::F32, 0.0, tiny), 1.0);
}

#[test]
fn nan_zero_and_infinity_have_their_own_rules() {
    let special = tensor(DType::F32, &[f64::NAN, 0.0, f64::INFINITY, f64::NEG_INFINITY]);
    good(&special, &tensor(DType::F32, &[f64::NAN, -0.0, f64::INFINITY, f64::NEG_INFINITY]), &Bound::EXACT);
    let generous = Bound { ulp: 1e9, floor: 1e9, granted: Some((1.0, 1e9)) };
    bad(&tensor(DType::F32, &[f64::NAN]), &tensor(DType::F32, &[0.0]), &generous);
    bad(&tensor(DType::F32, &[1.0]), &tensor(DType::F32, &[f64::NAN]), &generous);
    bad(&tensor(DType::F32, &[f64::INFINITY]), &tensor(DType::F32, &[f64::from(f32::MAX)]), &generous);
    bad(&tensor(DType::F32, &[f64::INFINITY]), &tensor(DType::F32, &[f64::NEG_INFINITY]), &generous);
}

#[test]
fn near_zero_the_floor_counts_and_a_cases_own_tolerance_widens() {
    let (expected, actual) = (tensor(DType::F32, &[1.0, 1e-9]), tensor(DType::F32, &[1.0, 5e-8]));
    bad(&expected, &actual, &ulp(4.0));
    good(&expected, &actual, &Tolerance::Ulp(4.0).bound(DType::F32, 1.0, None));
    let (expected, actual) = (tensor(DType::F32, &[100.0]), tensor(DType::F32, &[100.05]));
    bad(&expected, &actual, &ulp(4.0));
    let seen = good(&expected, &actual, &Bound { granted: Some((1e-3, 1e-7)), ..ulp(4.0) });
    assert_eq!(seen.as_peers, Some(true));
    bad(&expected, &tensor(DType::F32, &[100.2]), &Bound { granted: Some((1e-3, 1e-7)), ..ulp(4.0) });
    // Within the operator's own bound, but not within the one that peers are measured with.
    let (expected, actual) = (tensor(DType::F16, &[1.0]), tensor(DType::F16, &[1.0 + 2.0 / 1024.0]));
    let seen = good(&expected, &actual, &Bound { granted: Some((1e-3, 1e-7)), ..ulp(3.0) });
    assert_eq!(seen.as_peers, Some(false));
}

#[test]
fn integers_bools_and_strings_are_exact_whatever_the_bound() {
    let generous = Bound { ulp: 1e9, floor: 1e9, granted: Some((1.0, 1e9)) };
    for dtype in [DType::I8, DType::I32, DType::U8, DType::I64, DType::U64] {
        good(&tensor(dtype, &[5.0]), &tensor(dtype, &[5.0]), &Bound::EXACT);
        bad(&tensor(dtype, &[5.0]), &tensor(dtype, &[6.0]), &generous);
    }
    assert!(bad(&tensor(DType::I8, &[-5.0]), &tensor(DType::I8, &[7.0]), &generous).contains("7 instead of -5"));
    bad(&raw(DType::Bool, &[1], &[1]), &raw(DType::Bool, &[1], &[2]), &generous);
    let text =
        |text: &str| raw(DType::String, &[1], &[&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat());
    assert_eq!(good(&text("ab"), &text("ab"), &Bound::EXACT).elements, 1);
    assert!(bad(&text("ab"), &text("b"), &generous).contains("\"b\" instead of \"ab\""));
}

#[test]
fn small_types_are_compared_by_element_and_padding_does_not_count() {
    good(&raw(DType::U4, &[3], &[0x21, 0x03]), &raw(DType::U4, &[3], &[0x21, 0xf3]), &Bound::EXACT);
    assert!(
        bad(&raw(DType::I4, &[2], &[0xf1]), &raw(DType::I4, &[2], &[0x71]), &Bound::EXACT).contains("7 instead of -1")
    );
    good(&raw(DType::F8E4M3FN, &[2], &[0x7f, 0x00]), &raw(DType::F8E4M3FN, &[2], &[0xff, 0x80]), &Bound::EXACT);
    bad(&raw(DType::F8E5M2FNUZ, &[1], &[0x00]), &raw(DType::F8E5M2FNUZ, &[1], &[0x80]), &Bound::EXACT);
    bad(&raw(DType::F8E5M2, &[1], &[0x7c]), &raw(DType::F8E5M2, &[1], &[0x7d]), &Bound::EXACT);
}

#[test]
fn type_shape_and_kind_must_be_right() {
    let one = tensor(DType::F32, &[1.0]);
    assert!(bad(&one, &tensor(DType::F64, &[1.0]), &Bound::EXACT).contains("element type f64 instead of f32"));
    assert!(bad(&one, &raw(DType::F32, &[], &1f32.to_le_bytes()), &Bound::EXACT).contains("shape [] instead of [1]"));
    assert!(bad(&one, &raw(DType::F32, &[1], &[0; 3]), &Bound::EXACT).contains("bytes"));
    let sequence = |items: &[&CaseValue]| CaseValue::Sequence(items.iter().map(|item| (*item).clone()).collect());
    assert_eq!(good(&sequence(&[&one, &one]), &sequence(&[&one, &one]), &Bound::EXACT).values, 2);
    assert_eq!(good(&sequence(&[]), &sequence(&[]), &Bound::EXACT).values, 1);
    assert!(bad(&sequence(&[&one]), &sequence(&[]), &Bound::EXACT).contains("0 values where 1"));
    assert!(bad(&sequence(&[&one]), &one, &Bound::EXACT).contains("a tensor where a sequence"));
    good(&CaseValue::Optional(None), &CaseValue::Optional(None), &Bound::EXACT);
    bad(&CaseValue::Optional(None), &CaseValue::Optional(Some(Box::new(one))), &Bound::EXACT);
}

#[test]
fn draws_are_judged_by_what_they_promise() {
    let named = |name: &str, value: CaseValue| (name.to_owned(), value);
    let inputs = vec![named("x", tensor(DType::F32, &[0.0, 1.0, 0.5, 0.5]))];
    let data = DataSet { inputs, outputs: vec![named("y", tensor(DType::F32, &[0.0, 1.0, 0.0, 1.0]))] };
    let judged = |values: &[f64]| {
        judge_by_chance(Chance::Bernoulli, &data, &[named("y", tensor(DType::F32, values))], &mut Comparison::default())
    };
    assert_eq!(judged(&[0.0, 1.0, 1.0, 1.0]), Ok(()));
    assert!(judged(&[0.0, 0.5, 1.0, 1.0]).is_err());
    assert!(judged(&[0.0, 1.0, 1.0]).is_err());
    assert_eq!(Chance::of("test_training_dropout_zero_ratio_mask"), None);
    let x: Vec<f64> = (1..=64).map(f64::from).collect();
    let keep = |at: usize| at.is_multiple_of(2);
    let output = |scale: f64| {
        tensor(
            DType::F32,
            &x.iter().enumerate().map(|(at, x)| if keep(at) { x * scale } else { 0.0 }).collect::<Vec<_>>(),
        )
    };
    let mask = |flip: usize| {
        raw(DType::Bool, &[64], &(0..64).map(|at| u8::from(keep(at) != (at == flip))).collect::<Vec<_>>())
    };
    let data = DataSet {
        inputs: vec![named("x", tensor(DType::F32, &x))],
        outputs: vec![named("y", output(2.0)), named("mask", mask(99))],
    };
    let judged = |y: CaseValue, mask: CaseValue| {
        judge_by_chance(Chance::Dropout, &data, &[named("y", y), named("mask", mask)], &mut Comparison::default())
    };
    assert_eq!(judged(output(2.0), mask(99)), Ok(()));
    assert!(judged(output(1.5), mask(99)).is_err(), "scaled wrongly");
    assert!(judged(output(2.0), mask(3)).is_err(), "the mask lies");
    assert!(judged(tensor(DType::F32, &[0.0; 64]), raw(DType::Bool, &[64], &[0; 64])).is_err(), "everything dropped");
}
