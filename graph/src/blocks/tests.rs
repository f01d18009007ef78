use crate::fold::{NoEvaluator, NoWeights};
use crate::optimise::prepare;
use crate::testing::graph;
use crate::*;
use expect_test::{Expect, expect};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A block whose last `captured` inputs come from the graph around it.
fn block(text: &str, captured: usize) -> Attribute {
    let mut graph = graph(text);
    graph.captured = captured;
    Attribute::Graph(Arc::new(graph))
}

/// Adds a node with blocks that makes the graph's output `y`.
fn with_node(text: &str, op: &str, inputs: &[&str], blocks: &[(&str, Attribute)]) -> Graph {
    let mut graph = graph(text);
    let find = |name: &&str| graph.values.iter().position(|value| value.name == **name).map(|at| ValueId(at as u32));
    let inputs = inputs.iter().map(find).collect();
    let attributes: BTreeMap<_, _> = blocks.iter().map(|(key, block)| ((*key).to_owned(), block.clone())).collect();
    let output = graph.add_value(Value::computed("y".to_owned()));
    let (name, op, epilogue) = ("node".to_owned(), op.to_owned(), vec![]);
    let outputs = vec![Some(output)];
    graph.nodes.push(Node { name, op, revision: 13, attributes, inputs, outputs, epilogue });
    graph.outputs.push(output);
    graph
}

#[track_caller]
fn check(graph: Graph, expected: Expect) {
    let text = match prepare(graph, &NoWeights, &mut NoEvaluator) {
        Ok(graph) => graph.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

fn branches() -> [(&'static str, Attribute); 2] {
    [
        ("then_branch", block("input x f32[2]\n input u f32[2]\n a = Relu(x)\n output a", 2)),
        ("else_branch", block("input x f32[2]\n input u f32[2]\n output u", 2)),
    ]
}

#[test]
fn a_branch_that_is_certain_takes_the_place_of_its_if() {
    let text = |condition: u8| format!("input x f32[2]\n input u f32[2]\n const c bool[] = {condition}");
    check(
        with_node(&text(1), "If", &["c", "x", "u"], &branches()),
        expect![[r#"
            input %x: f32[2]
            input %u: f32[2]
            %y: f32[2] = Relu(%x)  // a
            output %y
        "#]],
    );
    check(
        with_node(&text(0), "If", &["c", "x", "u"], &branches()),
        expect![[r#"
            input %x: f32[2]
            input %u: f32[2]
            %y: f32[2] = Identity(%u)  // node
            output %y
        "#]],
    );
}

#[test]
fn blocks_take_types_and_constants_from_around_them() {
    let text = "input x f32[N,3]\n input c bool[]\n const k f32[3] = 2\n s = Shape(k)";
    let body = |op: &str| {
        let text =
            format!("input x f32[?,3]\n input s i64[1]\n input c bool[]\n r = Reshape(x, s)\n a = {op}(r)\n output a");
        block(&text, 3)
    };
    check(
        with_node(text, "If", &["c", "x", "s", "c"], &[("then_branch", body("Relu")), ("else_branch", body("Neg"))]),
        expect![[r#"
            symbol N: 0..
            input %x: f32[N,3]
            input %c: bool[]
            %y: f32[3] = If(%c) {else_branch=block of 2 nodes, then_branch=block of 2 nodes}  // node
              else_branch:
                input %x: f32[?,3]
                %r: f32[3] = Reshape(%x, const i64[1] [3]) {allowzero=0}  // r
                %a: f32[3] = Neg(%r)  // a
                output %a
              then_branch:
                input %x: f32[?,3]
                %r: f32[3] = Reshape(%x, const i64[1] [3]) {allowzero=0}  // r
                %a: f32[3] = Relu(%r)  // a
                output %a
            output %y
        "#]],
    );
}

#[test]
fn loops_have_a_count_and_a_condition() {
    let text = "input n i64[]\n input v f32[4]\n input k f32[4]";
    let body = "input i i64[]\n input c bool[]\n input v f32[4]\n input k f32[4]\n s = Add(v, k)\n output c\n output s\n output i";
    check(
        with_node(text, "Loop", &["n", "-", "v", "k"], &[("body", block(body, 1))]),
        expect![[r#"
        input %n: i64[]
        input %v: f32[4]
        input %k: f32[4]
        %y: f32[..] = Loop(%n, const bool[] [1], %v) {body=block of 1 nodes}  // node
          body:
            input %i: i64[]
            input %c: bool[]
            input %v: f32[..]
            input %k: f32[4]
            %s: f32[..] = Add(%v, %k)  // s
            output %c
            output %s
            output %i
        output %y
    "#]],
    );
}

#[test]
fn blocks_that_do_not_fit_their_node_are_refused() {
    let text = "input n i64[]\n input c bool[]\n input v f32[4]";
    let body = "input i i64[]\n input c bool[]\n output c";
    let graph = with_node(text, "Loop", &["n", "c", "v"], &[("body", block(body, 0))]);
    check(
        graph,
        expect![[r#"
            the model is not valid:
              node `node` (Loop) has a block `body` with 2 inputs where 3 are needed; the file is damaged"#]],
    );
    let lie = [
        ("then_branch", block("input x f32[2]\n output x", 7)),
        ("else_branch", block("input x f32[2]\n output x", 1)),
    ];
    check(
        with_node(text, "If", &["c", "v"], &lie),
        expect![[r#"
            the model is not valid:
              node `node` (If) has blocks that capture other values than it lists; the file is damaged"#]],
    );
}

#[test]
fn blocks_are_nested_so_deep_and_no_deeper() {
    let mut inner = block("input x f32[2]\n input c bool[]\n a = Relu(x)\n output a", 2);
    for _ in 0..20 {
        let blocks = [("then_branch", inner.clone()), ("else_branch", inner)];
        let mut outer = with_node("input x f32[2]\n input c bool[]", "If", &["c", "x", "c"], &blocks);
        outer.captured = 2;
        inner = Attribute::Graph(Arc::new(outer));
    }
    let Attribute::Graph(outermost) = inner else { unreachable!("made above") };
    let mut outermost = Arc::unwrap_or_clone(outermost);
    outermost.captured = 0;
    check(
        outermost,
        expect![[r#"
        the model is not valid:
          the graph has 17 blocks inside one another, more than 16; split the model"#]],
    );
}
