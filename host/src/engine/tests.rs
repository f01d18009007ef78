//! Runs that go wrong inside the host.

use super::*;
use crate::device::{FastPathRules, Selector};
use crate::plan::{self, Plan};
use std::sync::Arc;
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{Content, DType, Dim, Graph, Node, Role, Value, Weight, Weights};

/// One Relu on the host's own kernel, for two threads.
fn relu() -> (Arc<Executor>, Arc<Loaded>) {
    let mut graph = Graph::default();
    let mut value = |name: &str, role: Role| {
        let shape = Some(vec![Dim::Known(1 << 16)]);
        graph.add_value(Value { dtype: Some(DType::F32), shape, role, ..Value::computed(name.into()) })
    };
    let (x, y) = (value("x", Role::Input), value("y", Role::Computed));
    graph.inputs.push(x);
    graph.outputs.push(y);
    graph.nodes.push(Node {
        name: "relu".into(),
        op: "Relu".into(),
        revision: 14,
        attributes: Default::default(),
        inputs: vec![Some(x)],
        outputs: vec![Some(y)],
        epilogue: Vec::new(),
    });
    let mut selector = Selector { chip: None, fast_paths: FastPathRules::off("not tested"), strict: false };
    let options = plan::Options { alignment: 64, threads: 2 };
    let plan = plan::build(graph, &NoWeights, &mut selector, options).unwrap();
    let executor = Arc::new(Executor::new(None, 2, Layout::for_plan(plan.memory, 2).unwrap()).unwrap());
    let loaded = Arc::new(executor.load(Arc::new(plan), &NoWeights).unwrap());
    (executor, loaded)
}

#[test]
fn a_panic_of_one_thread_sends_the_others_home() {
    let (executor, loaded) = relu();
    let run = |slot: usize| {
        let run = Run::new(executor.clone(), loaded.clone(), slot, vec![0, 1]);
        std::thread::scope(|scope| {
            scope.spawn(|| run.take_part(1));
            run.take_part(0);
        });
        run.outcome()
    };
    run(1).unwrap();
    // There is no slot of that number, which is asserted where the threads have begun.
    assert!(matches!(run(99), Err(EngineError::Panic)));
    run(0).unwrap();
}

/// Rows of a table of 136 MiB, by number.
struct Table;

const TABLE_BYTES: u64 = 136 << 20;

impl Weights for Table {
    fn bytes(&self, _: &Value, weight: &Weight) -> Result<Arc<[u8]>, String> {
        Ok(vec![0; weight.length as usize].into())
    }
}

fn look_up(rows: u64) -> Plan {
    let mut graph = Graph::default();
    let mut value = |name: &str, dtype: DType, shape: &[u64], role: Role| {
        let shape = Some(shape.iter().map(|&length| Dim::Known(length)).collect());
        graph.add_value(Value { dtype: Some(dtype), shape, role, ..Value::computed(name.into()) })
    };
    let weight = Weight { source: 0, offset: 0, length: TABLE_BYTES, encoding: "raw-le".into() };
    let table = value("table", DType::F32, &[TABLE_BYTES / 64, 16], Role::Constant(Content::Weight(weight)));
    let numbers = value("numbers", DType::I64, &[rows], Role::Input);
    let found = value("found", DType::F32, &[rows, 16], Role::Computed);
    graph.inputs.push(numbers);
    graph.outputs.push(found);
    graph.nodes.push(Node {
        name: "gather".into(),
        op: "Gather".into(),
        revision: 13,
        attributes: Default::default(),
        inputs: vec![Some(table), Some(numbers)],
        outputs: vec![Some(found)],
        epilogue: Vec::new(),
    });
    let mut selector = Selector { chip: None, fast_paths: FastPathRules::off("not tested"), strict: false };
    plan::build(graph, &Table, &mut selector, plan::Options { alignment: 64, threads: 1 }).unwrap()
}

#[test]
fn a_second_shape_of_a_large_model_finds_its_constants_in_place() {
    let (first, second) = (look_up(1), look_up(2));
    let executor = Executor::new(None, 1, Layout::for_plan(first.memory, 1).unwrap()).unwrap();
    assert_eq!(executor.unplaced_bytes(&first).unwrap(), TABLE_BYTES);
    let loaded = executor.load(Arc::new(first), &Table).unwrap();
    assert_eq!(executor.unplaced_bytes(&second).unwrap(), 0);
    assert!(executor.has_room(&second).unwrap(), "{:?}", executor.layout());
    let again = executor.load(Arc::new(second), &Table).unwrap();
    assert_eq!(loaded.constants_at, again.constants_at);
}
