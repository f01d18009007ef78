//! Operations measured alone, and plans made by what was found.

use super::*;
use crate::config::FastPaths;
use crate::device::ByCost;
use crate::plugin::testing;
use sunmao_graph::{Attribute, Container, Content, DType, Dim, Graph, Node, Role, Value};

/// `y = relu(x w)`, the second step fused onto the first.
fn product() -> Graph {
    let mut graph = Graph::default();
    let mut value = |name: &str, shape: &[u64], role| {
        let shape = Some(shape.iter().map(|&length| Dim::Known(length)).collect());
        graph.add_value(Value { name: name.into(), dtype: Some(DType::F32), shape, container: Container::Tensor, role })
    };
    let bytes: Vec<u8> = (0..24u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    let (x, w, y) = (
        value("x", &[3, 4], Role::Input),
        value("w", &[4, 6], Role::Constant(Content::Bytes(bytes.into()))),
        value("y", &[3, 6], Role::Computed),
    );
    graph.inputs.push(x);
    graph.outputs.push(y);
    graph.nodes.push(Node {
        name: "product".into(),
        op: "MatMul".into(),
        revision: 13,
        attributes: Default::default(),
        inputs: vec![Some(x), Some(w)],
        outputs: vec![Some(y)],
        epilogue: vec![sunmao_graph::Epilogue { op: "Relu".into(), input: None, attributes: Default::default() }],
    });
    graph
}

fn plan_by(chip: &Chip, costs: &Costs) -> Plan {
    let broken = BrokenPromises::default();
    let fast_paths = chip.fast_path_rules(&FastPaths::Auto);
    let selector = Selector { chip: Some(Scout::new(chip, &broken)), fast_paths, strict: false };
    let mut placer = ByCost { selector, costs };
    plan::build(product(), &NoWeights, &mut placer, plan::Options { alignment: 64, threads: 1 }).unwrap()
}

#[test]
fn everybody_who_runs_an_operation_is_measured_and_the_quickest_is_chosen() {
    let chip = Chip::new("chip".into(), Vec::new(), FastPaths::Auto, testing::chip());
    let team = Team::new(1, 4);
    let tuner = Tuner { chip: &chip, team: &team, threads: 1 };
    let mut costs = Costs::new(origin(1));
    let plan = plan_by(&chip, &costs);
    let operation = plan.dispatches[0].operation.clone();
    assert_eq!(tuner.measure_plan(&plan, &mut costs), 1);
    assert_eq!(tuner.measure_plan(&plan, &mut costs), 0, "it is known");
    let names: Vec<String> = costs.of(&operation).iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(names.contains(&"portable".to_owned()), "{names:?}");
    assert!(names.iter().all(|name| !name.starts_with("chip:")), "the chip of the tests declines it: {names:?}");
    if let Some(path) = plan.dispatches[0].place.fast_path() {
        assert!(names.iter().any(|name| name == path), "{names:?}");
    }
    for quickest in &names {
        let made_up = names.iter().map(|name| (name.clone(), if name == quickest { 1_500 } else { 9_000 }));
        let mut costs = Costs::new(origin(1));
        costs.note(&operation, made_up.collect());
        let dispatch = &plan_by(&chip, &costs).dispatches[0];
        assert_eq!(cost_name(dispatch.place, Some(chip.plugin.digest())).as_ref(), Some(quickest));
        assert!(
            dispatch.reason.starts_with("measured: ") && dispatch.reason.contains(" 1.5 us"),
            "{}",
            dispatch.reason
        );
    }
}

#[test]
fn one_operation_is_a_graph_of_one_node() {
    let chip = Chip::new("chip".into(), Vec::new(), FastPaths::Auto, testing::chip());
    let operation = plan_by(&chip, &Costs::new(origin(1))).dispatches[0].operation.clone();
    let operands = drawn_operands(&operation).unwrap();
    let graph = single::graph(&operation, &operands).unwrap();
    assert_eq!((graph.nodes.len(), graph.inputs.len(), graph.outputs.len()), (1, 1, 1));
    assert_eq!((graph.nodes[0].epilogue[0].op.as_str(), graph.nodes[0].op.as_str()), ("Relu", "MatMul"));
    assert_eq!(single::inputs(&operation, &operands), [&operands[0][..]]);
    let attribute = |node: &Node| node.attributes.get("axis").cloned();
    assert_eq!(attribute(&graph.nodes[0]), None::<Attribute>);
    assert!(single::graph(&operation, &[]).is_none(), "bytes are missing");
}
