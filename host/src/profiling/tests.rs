//! Profiles of a small plan whose times are made up.

use super::{Profile, Setting};
use crate::device::{FastPathRules, Selector};
use crate::engine::{Event, Trace, What};
use crate::plan::{self, Plan};
use std::sync::Arc;
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{DType, Dim, Graph, Node, Role, Value};

/// A Relu and a Neg, both of 1000 floats.
fn plan() -> Arc<Plan> {
    let mut graph = Graph::default();
    let mut value = |name: &str, role: Role| {
        let shape = Some(vec![Dim::Known(1000)]);
        graph.add_value(Value { dtype: Some(DType::F32), shape, role, ..Value::computed(name.into()) })
    };
    let ids = [value("x", Role::Input), value("h", Role::Computed), value("y", Role::Computed)];
    graph.inputs.push(ids[0]);
    graph.outputs.push(ids[2]);
    for (op, from) in [("Relu", 0), ("Neg", 1)] {
        graph.nodes.push(Node {
            name: format!("</script> {op}"),
            op: op.into(),
            revision: 13,
            attributes: Default::default(),
            inputs: vec![Some(ids[from])],
            outputs: vec![Some(ids[from + 1])],
            epilogue: Vec::new(),
        });
    }
    let mut selector = Selector { chip: None, fast_paths: FastPathRules::off("not tested"), strict: false };
    let options = plan::Options { alignment: 64, threads: 2 };
    Arc::new(plan::build(graph, &NoWeights, &mut selector, options).unwrap())
}

/// A run in which everything takes `scale` times as long: Relu on two threads, Neg twice on one.
fn run(plan: &Arc<Plan>, scale: u64) -> (Arc<Trace>, u64) {
    let dispatch = |index, shard, shards| What::Dispatch { plan: plan.clone(), index, shard, shards };
    let event = |what, thread, start, end| Event { what, thread, start: start * scale, end: end * scale };
    let trace = Trace::begin();
    trace.extend([
        event(What::CopyIn { bytes: 4000 }, 0, 0, 10),
        event(dispatch(0, 0, 2), 0, 10, 60),
        event(dispatch(0, 1, 2), 1, 20, 110),
        event(What::Wait, 0, 60, 110),
        event(dispatch(1, 0, 1), 0, 110, 120),
        event(dispatch(1, 0, 1), 0, 130, 150),
    ]);
    (trace, 200 * scale)
}

fn profile() -> Profile {
    let plan = plan();
    let setting = Setting { model: "m".into(), chip: "c".into(), threads: 2, ..Setting::default() };
    Profile::of(setting, &[run(&plan, 9), run(&plan, 1), run(&plan, 2)]).unwrap()
}

#[test]
fn shards_are_one_dispatch_and_repetitions_add_up() {
    let profile = profile();
    let facts: Vec<_> = profile.rows().iter().map(|row| (row.op.as_str(), row.time, row.count, row.shards)).collect();
    assert_eq!(facts, [("copy in", 20, 1, 1), ("Relu", 200, 1, 2), ("Neg", 60, 2, 1)], "medians: the run of scale 2");
    let relu = &profile.rows()[1];
    assert_eq!((relu.bytes, relu.flops, relu.device.as_str()), (8000, 1000, "portable"));
    assert_eq!((profile.rows()[2].bytes, profile.rows()[2].flops), (16000, 2000), "twice");
    assert_eq!((profile.time(), profile.waiting, profile.shown), (400, 50, 2));
    assert_eq!(profile.operators[0].op, "Relu");
    assert!(Profile::of(Setting::default(), &[]).is_none());
}

#[test]
fn the_tables_have_the_slowest_first() {
    let text = profile().to_string();
    assert!(text.starts_with("m on chip c, 2 threads, : 3 runs, median 0.000 ms"), "{text}");
    let nodes: Vec<&str> = text.split("slowest first").nth(1).unwrap().lines().skip(2).collect();
    assert!(nodes[0].contains(" Relu 1000 ") && nodes[0].contains("50.0%") && nodes[0].contains(" 40.00"), "{text}");
    assert!(nodes[1].contains(" Neg 1000 ") && nodes[1].ends_with("(2 times)"), "{text}");
    assert!(nodes[2].contains("copy in"), "{text}");
}

#[test]
fn the_trace_is_json_that_viewers_take() {
    let trace: serde_json::Value = serde_json::from_str(&profile().chrome()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let complete: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(complete.len(), 6);
    let shard = complete.iter().find(|event| event["tid"] == 1).unwrap();
    assert_eq!((&shard["name"], &shard["ts"], &shard["dur"]), (&"Relu".into(), &0.04.into(), &0.18.into()));
    assert_eq!((&shard["args"]["shards"], &shard["args"]["gflops"]), (&2.into(), &5.0.into()));
    assert!(events.iter().any(|event| event["name"] == "wait"));
}

#[test]
fn the_page_stands_alone() {
    let page = profile().page();
    assert!(!page.contains("THE PROFILE") && !page.contains("</script> Relu"), "data cannot end the script");
    assert_eq!(page.matches("</script>").count(), 1);
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("src="), "nothing from elsewhere");
    let start = page.find("const profile = ").unwrap() + "const profile = ".len();
    let data = page[start..].split(";\n").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["spans"].as_array().unwrap().len(), 6);
    assert_eq!(data["spans"][3]["row"], serde_json::Value::Null);
}
