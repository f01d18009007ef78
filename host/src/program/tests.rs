//! Where graphs are cut, and what is bound.

use super::partition::partition;
use super::segment::Segment;
use expect_test::{Expect, expect};
use std::collections::BTreeMap;
use sunmao_graph::fold::{NoEvaluator, NoWeights};
use sunmao_graph::{Attribute, Container, DType, Dim, Graph, Node, Role, Value, ValueId, optimise};

/// A graph under construction.
struct Sketch(Graph);

impl Sketch {
    fn new(inputs: &[(&str, DType, &[u64])]) -> Self {
        let mut sketch = Self(Graph::default());
        for (name, dtype, shape) in inputs {
            let shape = Some(shape.iter().map(|length| Dim::Known(*length)).collect());
            let (name, dtype, container) = ((*name).to_owned(), Some(*dtype), Container::Tensor);
            let id = sketch.0.add_value(Value { name, dtype, shape, container, role: Role::Input });
            sketch.0.inputs.push(id);
        }
        sketch
    }

    fn find(&mut self, name: &str) -> ValueId {
        let known = self.0.values.iter().position(|value| value.name == name);
        match known {
            Some(at) => ValueId(at as u32),
            None => self.0.add_value(Value::computed(name.to_owned())),
        }
    }

    fn node(mut self, made: &str, op: &str, inputs: &[&str], attributes: &[(&str, i64)]) -> Self {
        let inputs = inputs.iter().map(|name| Some(self.find(name))).collect();
        let outputs = vec![Some(self.find(made))];
        let attributes: BTreeMap<_, _> =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), Attribute::Integer(*value))).collect();
        let (name, op, epilogue) = (made.to_owned(), op.to_owned(), Vec::new());
        self.0.nodes.push(Node { name, op, revision: 18, attributes, inputs, outputs, epilogue });
        self
    }

    #[track_caller]
    fn check(mut self, output: &str, expected: Expect) {
        let output = self.find(output);
        self.0.outputs.push(output);
        let graph = optimise::prepare(self.0, &NoWeights, &mut NoEvaluator).unwrap();
        let mut segments = Vec::new();
        let program = partition(graph, &NoWeights, &mut segments).unwrap();
        let bound = |segment: &Segment| {
            let inputs = segment.graph.inputs.iter().zip(&segment.bound).filter(|(_, bound)| **bound);
            inputs.map(|(id, _)| segment.graph.value(*id).name.clone()).collect::<Vec<_>>().join(", ")
        };
        let bound: Vec<String> = segments.iter().map(bound).collect();
        expected.assert_eq(&format!("{program}bound {bound:?}\n"));
    }
}

#[test]
fn shapes_that_follow_from_shapes_bind_nothing() {
    Sketch::new(&[("x", DType::F32, &[2, 3]), ("y", DType::F32, &[3, 2])])
        .node("s", "Shape", &["y"], &[])
        .node("z", "Reshape", &["x", "s"], &[])
        .check(
            "z",
            expect![[r#"
                   0  segment 0: x, y -> z
                bound [""]
            "#]],
        );
}

#[test]
fn an_input_that_decides_a_shape_is_bound_even_through_arithmetic() {
    Sketch::new(&[("x", DType::F32, &[2, 3]), ("rows", DType::I64, &[1]), ("columns", DType::I64, &[1])])
        .node("s", "Concat", &["rows", "columns"], &[("axis", 0)])
        .node("z", "Reshape", &["x", "s"], &[])
        .check(
            "z",
            expect![[r#"
                   0  segment 0: x, rows, columns -> z
                bound ["rows, columns"]
            "#]],
        );
}

#[test]
fn a_value_that_only_running_tells_cuts_the_graph() {
    Sketch::new(&[("x", DType::I64, &[77]), ("d", DType::F32, &[4])])
        .node("m", "ReduceMax", &["x"], &[("keepdims", 1)])
        .node("r", "Relu", &["d"], &[])
        .node("e", "ConstantOfShape", &["m"], &[])
        .node("z", "Concat", &["r", "e"], &[("axis", 0)])
        .check(
            "z",
            expect![[r#"
                   0  segment 0: x, d -> m, r
                   1  segment 1: m, r -> z
                bound ["", "m"]
            "#]],
        );
}
