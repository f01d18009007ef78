use super::*;
use crate::optimise::{concrete, prepare};
use crate::testing::{Adder, Fake, NOTHING, graph, shapes};
use expect_test::expect;

#[test]
fn shape_arithmetic_needs_no_evaluator() {
    let raw = graph(
        "input x f32[N,6]
        const one i64[1] = 1
        const two i64[1] = 2
        s = Shape(x)
        n = Slice(s, one, two)
        half = Div(n, two)
        target = Concat(half, two, one) axis=0
        y = Expand(x, one)
        z = Reshape(y, target)
        output z",
    );
    let graph = prepare(raw, &NOTHING, &mut NoEvaluator).expect("prepared");
    expect![[r#"
        symbol N: 0..
        input %x: f32[N,6]
        %z: f32[3,2,1] = Reshape(%x, const i64[3] [3,2,1]) {allowzero=0}  // z
        output %z
    "#]]
    .assert_eq(&graph.to_string());
}

#[test]
fn the_evaluator_computes_what_is_constant() {
    let raw = graph(
        "input x f32[2,1]
        const a f32[2,1024] = 1
        const b f32[2,1024] = 2
        c = Add(a, b)
        d = Exp(c)
        y = Mul(x, d)
        output y",
    );
    let mut adder = Adder::default();
    let graph = prepare(raw, &NOTHING, &mut adder).expect("prepared");
    // The sum is folded, its exponential is left for run time.
    expect![[r#"
        input %x: f32[2,1]
        %d: f32[2,1024] = Exp(%c: const f32[2,1024])  // d
        %y: f32[2,1024] = Mul(%x, %d)  // y
        output %y
    "#]]
    .assert_eq(&graph.to_string());
    assert!(adder.calls >= 2);
}

#[test]
fn weights_that_no_pass_needs_are_not_read() {
    let raw =
        graph("input x f32[N,3,8,8]\n weight w f32[64,3,7,7]\n y = Conv(x, w) pads=[3,3,3,3]\n z = Relu(y)\n output z");
    let graph = prepare(raw, &NOTHING, &mut NoEvaluator).expect("nothing was read");
    let graph =
        concrete(&graph, &shapes(&graph, &[&[1, 3, 8, 8]]), &NOTHING, &mut NoEvaluator).expect("nothing was read");
    assert_eq!(graph.nodes.len(), 1);
}

#[test]
fn results_larger_than_the_bound_are_not_folded() {
    let raw = graph(
        "input x f32[1]
        const a f32[2048] = 1
        const t i64[2] = 20000 2048
        b = Expand(a, t)
        y = Add(b, x)
        output y",
    );
    let mut adder = Adder::default();
    prepare(raw, &NOTHING, &mut adder).expect("prepared");
    assert_eq!(adder.calls, 0);
}

#[test]
fn a_weight_of_the_wrong_size_is_an_error() {
    struct Short;
    impl Weights for Short {
        fn bytes(&self, _: &Value, _: &Weight) -> Result<Arc<[u8]>, String> {
            Ok(vec![0; 3].into())
        }
    }
    let raw = || graph("input x f32[4]\n weight w f32[4]\n y = Add(x, w)\n output y");
    let error = prepare(raw(), &Short, &mut NoEvaluator).expect_err("refused");
    expect!["weight `w`: has 3 bytes where f32[4] takes 16"].assert_eq(&error.to_string());
    let error = prepare(raw(), &NOTHING, &mut NoEvaluator).expect_err("refused");
    expect!["weight `w`: there is no source to read it from"].assert_eq(&error.to_string());
}

#[test]
fn an_evaluator_that_lies_is_an_error() {
    struct Liar;
    impl Evaluator for Liar {
        fn evaluate(
            &mut self,
            _: &Node,
            _: &[Option<Tensor>],
            _: &[Option<TensorType>],
        ) -> Option<Result<Vec<Tensor>, String>> {
            Some(Ok(vec![Tensor::vector(&[1])]))
        }
    }
    let raw = graph("input x f32[1]\n weight w f32[2,1024]\n e = Exp(w)\n y = Add(x, e)\n output y");
    let error = prepare(raw, &Fake, &mut Liar).expect_err("refused");
    expect!["node `e` (Exp) cannot be computed: the evaluator gave results of another type than inference"]
        .assert_eq(&error.to_string());
}

#[test]
fn an_output_that_follows_from_shapes_is_a_constant() {
    let raw = graph("input x f32[2,3]\n s = Shape(x)\n output s");
    let graph = prepare(raw, &NOTHING, &mut NoEvaluator).expect("prepared");
    expect![[r#"
        input %x: f32[2,3]
        output const i64[2] [2,3]
    "#]]
    .assert_eq(&graph.to_string());
}

#[test]
fn dequantised_weights_stay_quantised() {
    let raw = graph(
        "input x f32[2]\n const w i8[2] = 3\n const s f32[] = 0.5\n d = DequantizeLinear(w, s)\n y = Add(x, d)\n output y",
    );
    let graph = prepare(raw, &NOTHING, &mut Adder::default()).expect("prepared");
    assert_eq!(graph.nodes.len(), 2);
}
