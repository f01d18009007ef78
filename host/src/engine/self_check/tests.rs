//! Self-checks on this machine's own fast paths, and on results that are wrong on purpose.

use super::*;

#[test]
fn every_fast_path_of_this_machine_agrees_on_its_samples() {
    let record = FastPathRecord::default();
    let registered: Vec<_> = sunmao_fastpath::registered().into_iter().filter(|entry| entry.available).collect();
    for entry in &registered {
        check_on_samples(entry.path, entry.operator, &record);
    }
    let outcomes = record.outcomes();
    let differing: Vec<_> =
        outcomes.iter().filter(|(_, _, outcome)| matches!(outcome, FastPathOutcome::Differs(_))).collect();
    assert!(differing.is_empty(), "{differing:?}");
    // Other operators are checked on the plan's own operations.
    for op in ["Conv", "MatMul", "Gemm", "MaxPool", "LayerNormalization", "Softmax", "Add", "Exp"] {
        let tried = |(_, name, outcome): &(&str, String, FastPathOutcome)| {
            name == op && matches!(outcome, FastPathOutcome::Agrees(1..))
        };
        assert!(registered.is_empty() || outcomes.iter().any(tried), "{op}: {outcomes:?}");
    }
}

#[test]
fn a_result_outside_of_its_class_is_told_by_element() {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let wanted = bytes(&[1.0, -4.0, f32::NAN, f32::INFINITY]);
    let check = |found: &[f32], tolerance| near(DType::F32, &bytes(found), &wanted, tolerance, 10.0);
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    assert_eq!(check(&[1.0, -4.0, nan, infinity], Tolerance::Exact), Ok(()));
    let error = check(&[1.0, -3.9, nan, infinity], Tolerance::Accumulate(1.0)).unwrap_err();
    assert_eq!(error, "element 1 is -3.9000000953674316 where -4 is right");
    assert_eq!(check(&[1.0, -3.999_998, nan, infinity], Tolerance::Accumulate(1.0)), Ok(()));
    assert!(check(&[1.0, -4.0, nan, 9.0], Tolerance::Approximate(0.1)).is_err(), "no distance to infinity is small");
    assert!(check(&[1.0, -4.0, 0.0, infinity], Tolerance::Ulp(9)).is_err(), "a number is no NaN");
    assert_eq!(check(&[1.000_000_2, -4.0, nan, infinity], Tolerance::Ulp(2)), Ok(()));
    assert!(near(DType::I8, &[1, 2], &[1, 3], Tolerance::Approximate(1.0), 1.0).is_err(), "whole numbers are exact");
}

#[test]
fn a_fast_path_that_differs_is_put_on_record() {
    let Some(path) = sunmao_fastpath::registered()
        .iter()
        .find(|entry| entry.available && entry.operator == "Exp")
        .map(|entry| entry.path)
    else {
        return;
    };
    // Sinh is not Exp, so one kernel's result is wrong by the other's measure.
    let exp =
        samples::of("Exp").into_iter().find(|operation| fast_path(operation, |name| name == path).is_ok()).unwrap();
    let sizes = [exp.outputs[0].as_ref().and_then(size).unwrap()];
    let input = drawn_operands(&exp).unwrap();
    let found = run_once(Place::FastPath(path), &exp, &[&input[0]], &sizes).unwrap();
    let sinh = abi::Operation { op: "Sinh".into(), revision: 9, ..exp };
    let wanted = run_once(Place::Portable, &sinh, &[&input[0]], &sizes).unwrap();
    let error = near(DType::F32, &found[0], &wanted[0], Tolerance::Approximate(1e-6), 1.0).unwrap_err();
    assert!(error.starts_with("element 0 is "), "{error}");
    let record = FastPathRecord::default();
    record.note(path, "Exp", FastPathOutcome::Differs(error));
    check_on_samples(path, "Exp", &record);
    assert_eq!(record.failures(), 1, "what is on record is not tried again");
}
