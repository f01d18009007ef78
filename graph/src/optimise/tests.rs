use super::*;
use crate::fold::NoEvaluator;
use crate::testing::{Fake, graph, prepared, shapes};
use crate::{Attribute, DType, Dim, Node, Value, ValueId};
use expect_test::expect;
use std::time::Instant;

#[test]
fn passes_are_listed() {
    let passes = passes();
    assert_eq!(passes.first().map(String::as_str), Some("validate"));
    let mut unique = passes.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), passes.len());
}

#[test]
fn a_small_network_from_end_to_end() {
    let graph = prepared(
        "opset 11
        input x f32[N,3,8,8]
        const w f32[4,3,3,3] = 0.5
        const p f32[4] = 1
        const f f32[4,2] = 0.25
        c = Conv(x, w) pads=[1,1,1,1]
        b = BatchNormalization(c, p, p, p, p)
        r = Relu(b)
        g = GlobalAveragePool(r)
        s = Shape(g)
        l = Flatten(g)
        m = MatMul(l, f)
        y = Softmax(m)
        output y",
    );
    expect![[r#"
        symbol N: 0..
        input %x: f32[N,3,8,8]
        %b: f32[N,4,8,8] = Conv(%x, %w~12: const f32[4,3,3,3], const f32[4] [4.9999626e-6,4.9999626e-6,4.9999626e-6,4.9999626e-6]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]}  // c
        %r: f32[N,4,8,8] = Relu(%b)  // r
        %g: f32[N,4,1,1] = AveragePool(%r) {auto_pad=NOTSET, ceil_mode=0, count_include_pad=0, dilations=[1,1], kernel_shape=[8,8], pads=[0,0,0,0], strides=[1,1]}  // g
        %l: f32[N,4] = Reshape(%g, const i64[2] [0,4]) {allowzero=0}  // l
        %m: f32[N,2] = MatMul(%l, const f32[4,2] [0.25,0.25,0.25,0.25,0.25,0.25,0.25,0.25])  // m
        %y: f32[N,2] = Softmax(%m) {axis=1}  // y
        output %y
    "#]].assert_eq(&graph.to_string());
    let graph = concrete(&graph, &shapes(&graph, &[&[2, 3, 8, 8]]), &Fake, &mut NoEvaluator).expect("concrete");
    expect![[r#"
        input %x: f32[2,3,8,8]
        %r: f32[2,4,8,8] = Conv(%x, %w~12: const f32[4,3,3,3], const f32[4] [4.9999626e-6,4.9999626e-6,4.9999626e-6,4.9999626e-6]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]} +Relu  // c
        %g: f32[2,4,1,1] = AveragePool(%r) {auto_pad=NOTSET, ceil_mode=0, count_include_pad=0, dilations=[1,1], kernel_shape=[8,8], pads=[0,0,0,0], strides=[1,1]}  // g
        %l: f32[2,4] = Reshape(%g, const i64[2] [2,4]) {allowzero=0}  // l
        %m: f32[2,2] = MatMul(%l, const f32[4,2] [0.25,0.25,0.25,0.25,0.25,0.25,0.25,0.25])  // m
        %y: f32[2,2] = Softmax(%m) {axis=1}  // y
        output %y
    "#]].assert_eq(&graph.to_string());
}

#[test]
fn numbers_of_values_survive_concrete() {
    let graph = prepared("input x f32[N,3]\n weight w f32[3,2000]\n m = MatMul(x, w)\n y = Relu(m)\n output y");
    for rows in [1, 5] {
        let at = concrete(&graph, &shapes(&graph, &[&[rows, 3]]), &Fake, &mut NoEvaluator).expect("concrete");
        for (before, after) in graph.values.iter().zip(&at.values) {
            assert_eq!(before.name, after.name);
            assert_eq!(before.is_constant(), after.is_constant());
        }
    }
}

#[test]
fn both_steps_are_deterministic() {
    let text = "input x f32[N,3]\n a = Softsign(x)\n b = Mish(x)\n y = Add(a, b)\n output y".replace("Mish", "Selu");
    assert_eq!(prepared(&text), prepared(&text));
}

#[test]
fn a_model_whose_shapes_depend_on_data_is_refused_by_name() {
    let graph = prepared("input x f32[N]\n i = NonZero(x)\n f = Cast(i) to=1\n y = Relu(f)\n output y");
    let error = concrete(&graph, &shapes(&graph, &[&[4]]), &Fake, &mut NoEvaluator).expect_err("refused");
    expect!["node `i` (NonZero) makes `i`, whose type or shape follows neither from shapes nor from the small inputs that decide them; no rule of this host knows it"].assert_eq(&error.to_string());
}

/// A chain of nodes, each reading the one before.
fn chain(ops: usize) -> Graph {
    let mut graph = graph("input x f32[N,8]\n y = Relu(x)\n output y");
    graph.outputs.clear();
    let mut last = ValueId(1);
    for index in 0..ops {
        let next = graph.add_value(Value::computed(format!("v{index}")));
        let op = ["Relu", "Sigmoid", "Identity", "Flatten"][index % 4];
        let attributes =
            if op == "Flatten" { [("axis".to_owned(), Attribute::Integer(1))].into() } else { Default::default() };
        graph.nodes.push(Node {
            name: String::new(),
            op: op.to_owned(),
            revision: 13,
            attributes,
            inputs: vec![Some(last)],
            outputs: vec![Some(next)],
            epilogue: vec![],
        });
        last = next;
    }
    graph.outputs.push(last);
    graph
}

#[test]
fn ten_thousand_nodes_take_no_longer_than_they_should() {
    let begin = Instant::now();
    let prepared = prepare(chain(10_000), &Fake, &mut NoEvaluator).expect("prepared");
    let concrete = concrete(&prepared, &shapes(&prepared, &[&[2, 8]]), &Fake, &mut NoEvaluator).expect("concrete");
    assert_eq!(concrete.nodes.len(), 5001);
    // Unoptimised and on a busy machine: anything quadratic would take minutes.
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn a_chain_in_the_wrong_order_is_sorted() {
    let mut raw = chain(2000);
    raw.nodes.reverse();
    prepare(raw, &Fake, &mut NoEvaluator).expect("prepared");
}

#[test]
fn ranks_cannot_grow_without_bound() {
    let mut text = "input x f32[1,1]\n input i0 i64[1,1]\n".to_owned();
    for step in 0..40 {
        text.push_str(&format!("i{} = Gather(i{step}, i{step})\n", step + 1));
    }
    text.push_str("output i40");
    let error = prepare(graph(&text), &Fake, &mut NoEvaluator).expect_err("refused");
    expect!["node `i6` (Gather) would make a tensor of rank 65, more than 64; its inputs are i64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1], i64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"].assert_eq(&error.to_string());
}

#[test]
fn a_value_of_every_type_can_pass() {
    for dtype in DType::ALL {
        let mut raw = graph("input x f32[N]\n y = Identity(x)\n output y");
        raw.values[0].dtype = Some(*dtype);
        raw.values[0].shape = Some(vec![Dim::Known(3)]);
        let prepared = prepare(raw, &Fake, &mut NoEvaluator).expect("prepared");
        assert_eq!(prepared.value(prepared.outputs[0]).dtype, Some(*dtype));
    }
}
