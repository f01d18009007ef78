use super::*;
use crate::testing::{graph, shapes};
use crate::validate::validate;
use expect_test::{Expect, expect};

#[track_caller]
fn check(text: &str, given: &[&[u64]], expected: Expect) {
    let graph = validate(graph(text)).unwrap_or_else(|errors| panic!("{errors}"));
    check_graph(&graph, given, expected);
}

#[track_caller]
fn check_graph(graph: &Graph, given: &[&[u64]], expected: Expect) {
    let text = match specialise(graph, &shapes(graph, given)) {
        Ok(graph) => graph.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

const TWO: &str = "input a f32[N,4]\n input b f32[N,S]\n y = Concat(a, b) axis=1\n output y";

#[test]
fn numbers_take_the_place_of_symbols() {
    check(
        TWO,
        &[&[2, 4], &[2, 7]],
        expect![[r#"
        input %a: f32[2,4]
        input %b: f32[2,7]
        %y: f32[2,11] = Concat(%a, %b) {axis=1}  // y
        output %y
    "#]],
    );
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    check(
        TWO,
        &[&[2, 4, 1], &[2, 7]],
        expect!["input `a` got the shape [2, 4, 1], which has 3 axes; the model takes [N,4]"],
    );
    check(TWO, &[&[2, 5], &[2, 7]], expect!["input `a` got the shape [2, 5]; axis 1 must be 4, the model takes [N,4]"]);
    check(
        TWO,
        &[&[2, 4], &[3, 7]],
        expect!["input `b` got the shape [3, 7]; axis 0 (`N`) must be 2, as in `a`, where it got that length"],
    );
    check(TWO, &[&[2, 4]], expect!["input `b` got no shape; give one for [N,S]"]);
    check(
        TWO,
        &[&[2, 4], &[2, 1 << 62]],
        expect![
            "input `b` got the shape [2, 4611686018427387904], which would make an axis of length 4611686018427387904, more than 2^40"
        ],
    );
    check(
        TWO,
        &[&[1 << 40, 4], &[1 << 40, 1 << 10]],
        expect!["input `b` got the shape [1099511627776, 1024], which would make a tensor of more than 2^42 elements"],
    );
}

#[test]
fn only_inputs_take_shapes() {
    let graph = validate(graph(TWO)).expect("valid");
    let error = specialise(&graph, &[Binding::shape(ValueId(2), vec![1])]).expect_err("refused");
    assert_eq!(error, SpecialiseError::NotAnInput(2));
}

#[test]
fn bounds_of_symbols_hold() {
    let mut graph = validate(graph(TWO)).expect("valid");
    (graph.symbols[0].min, graph.symbols[0].max) = (2, 8);
    graph.symbols[1].multiple_of = 32;
    check_graph(
        &graph,
        &[&[1, 4], &[1, 32]],
        expect!["input `a` got the shape [1, 4]; axis 0 (`N`) must be between 2 and 8"],
    );
    check_graph(
        &graph,
        &[&[2, 4], &[2, 33]],
        expect!["input `b` got the shape [2, 33]; axis 1 (`S`) must be a multiple of 32"],
    );
}

#[test]
fn inputs_of_known_shape_need_not_be_given() {
    check(
        "input a f32[2]\n y = Relu(a)\n output y",
        &[],
        expect![[r#"
        input %a: f32[2]
        %y: f32[2] = Relu(%a)  // y
        output %y
    "#]],
    );
}

#[test]
fn what_depends_on_data_is_named() {
    check(
        "input a f32[N]\n i = NonZero(a)\n y = Relu(i)\n output y",
        &[&[4]],
        expect![
            "node `i` (NonZero) makes `i`, whose type or shape follows neither from shapes nor from the small inputs that decide them; no rule of this host knows it"
        ],
    );
}

#[test]
fn contradictions_at_these_shapes_are_named() {
    check(
        "input a f32[N,4]\n input b f32[M,4]\n y = Add(a, b)\n output y",
        &[&[2, 4], &[3, 4]],
        expect![
            "node `y` (Add) cannot broadcast lengths 2 and 3 on axis 0 of the result; its inputs are f32[2,4], f32[3,4]"
        ],
    );
    check(
        "input a f32[N,4]\n const t i64[2] = -1 3\n y = Reshape(a, t)\n output y",
        &[&[2, 4]],
        expect!["node `y` (Reshape) cannot divide 8 elements into rows of 3; its inputs are f32[2,4], i64[2]"],
    );
}

#[test]
fn content_that_decides_shapes_takes_the_place_of_its_input() {
    let graph = validate(graph("input a f32[N,4]\n input t i64[2]\n y = Reshape(a, t)\n output y")).expect("valid");
    let bind = |content: &[i64]| {
        let bytes: Vec<u8> = content.iter().flat_map(|value| value.to_le_bytes()).collect();
        let target = Binding { content: Some(bytes.into()), ..Binding::shape(graph.inputs[1], vec![2]) };
        match specialise(&graph, &[Binding::shape(graph.inputs[0], vec![3, 4]), target]) {
            Ok(graph) => graph.to_string(),
            Err(error) => error.to_string(),
        }
    };
    expect![[r#"
        input %a: f32[3,4]
        %y: f32[2,6] = Reshape(%a, const i64[2] [2,-1]) {allowzero=0}  // y
        output %y
    "#]]
    .assert_eq(&bind(&[2, -1]));
    expect!["input `t` decides shapes by its content, which has 8 bytes; its shape [2] takes 16"]
        .assert_eq(&bind(&[2]));
    expect!["input `t` decides shapes by its content, which has 8000 bytes; at most 4096 are taken"]
        .assert_eq(&bind(&[1; 1000]));
}
