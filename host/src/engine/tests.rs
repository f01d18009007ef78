//! Runs that go wrong inside the host.

use super::*;
use crate::device::Selector;
use crate::plan;
use std::sync::Arc;
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{Container, DType, Dim, Graph, Node, Role, Value};

/// One Relu on the host's own kernel, for two threads.
fn relu() -> (Arc<Executor>, Arc<Loaded>) {
    let mut graph = Graph::default();
    let mut value = |name: &str, role: Role| {
        let shape = Some(vec![Dim::Known(1 << 16)]);
        graph.add_value(Value { name: name.into(), dtype: Some(DType::F32), shape, container: Container::Tensor, role })
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
    let mut selector = Selector { chip: None, no_fast_paths: Some("not tested"), strict: false };
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
