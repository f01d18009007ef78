//! Plans of small graphs, placed by a stand-in for devices.

use super::{Argument, Options, Plan, Step, build};
use crate::device::{DeviceError, Place, Placed, Placer};
use expect_test::{Expect, expect};
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{Container, Content, DType, Dim, Graph, Node, Role, Value, ValueId};
use sunmao_plugin_sdk::abi;

/// Says yes to everything, except to what `refuses` names; operators in `native` go to the portable kernels.
#[derive(Default)]
struct Devices {
    refuses: &'static [&'static str],
    native: &'static [&'static str],
    workspace: u32,
    /// Operators that wish for layout 0x8000 on everything that is no constant.
    wishes: &'static [&'static str],
    /// Of those, the ones that take it back when they get it.
    fickle: &'static [&'static str],
}

impl Placer for Devices {
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError> {
        let op = operation.op.as_str();
        if self.refuses.contains(&op) {
            return Err(DeviceError::Unsupported { op: op.into(), node: node.into(), reasons: "refused".into() });
        }
        let mut requirements = abi::Requirements::simple();
        if op == "Relu" {
            requirements.in_place.push(abi::Alias { output: 0, input: 0 });
        }
        if op == "MatMul" {
            requirements.shards = 8;
            requirements.workspace = self.workspace;
            requirements.packed.push(abi::PackedConstant { input: 1, bytes: 512, align: 64, key: "panels".into() });
        }
        let operands = || operation.inputs.iter().chain(&operation.outputs).flatten();
        if self.fickle.contains(&op) && operands().any(|operand| operand.layout != 0) {
            return Err(DeviceError::Unsupported { op: op.into(), node: node.into(), reasons: "fickle".into() });
        }
        if self.wishes.contains(&op) {
            let wish = |operand| abi::LayoutChoice { operand, layout: 0x8000 };
            let free = operands().zip(0..).filter(|(operand, _)| !operand.constant);
            requirements.layouts = free.map(|(_, number)| wish(number)).collect();
        }
        let place = if self.native.contains(&op) { Place::Portable } else { Place::Chip };
        Ok(Placed { place, requirements, reason: String::new() })
    }
}

/// y = Relu(Reshape(x) * w), z = y + y; 16 by 4 numbers.
fn graph() -> Graph {
    let mut graph = Graph::default();
    let mut value = |name: &str, shape: &[u64], role: Role| {
        let shape = Some(shape.iter().map(|&n| Dim::Known(n)).collect());
        graph.add_value(Value { name: name.into(), dtype: Some(DType::F32), shape, container: Container::Tensor, role })
    };
    let bytes = |count: usize| Role::Constant(Content::Bytes(vec![0u8; count].into()));
    let x = value("x", &[64], Role::Input);
    let shape = value("shape", &[2], Role::Constant(Content::Bytes(vec![0u8; 16].into())));
    let rows = value("rows", &[16, 4], Role::Computed);
    let w = value("w", &[4, 4], bytes(64));
    let product = value("product", &[16, 4], Role::Computed);
    let y = value("y", &[16, 4], Role::Computed);
    let z = value("z", &[16, 4], Role::Computed);
    let mut node = |op: &str, inputs: &[ValueId], output: ValueId| {
        graph.nodes.push(Node {
            name: format!("{op}0"),
            op: op.into(),
            revision: 13,
            attributes: Default::default(),
            inputs: inputs.iter().map(|&id| Some(id)).collect(),
            outputs: vec![Some(output)],
            epilogue: Vec::new(),
        });
    };
    node("Reshape", &[x, shape], rows);
    node("MatMul", &[rows, w], product);
    node("Relu", &[product], y);
    node("Add", &[y, y], z);
    graph.inputs.push(x);
    graph.outputs.push(z);
    graph
}

fn planned(mut devices: Devices, threads: u32) -> Plan {
    build(graph(), &NoWeights, &mut devices, Options { alignment: 64, threads }).expect("the graph is planned")
}

#[track_caller]
fn check(devices: Devices, threads: u32, expected: Expect) {
    expected.assert_eq(&planned(devices, threads).to_string());
}

#[test]
fn views_cost_nothing_and_relu_runs_in_place() {
    check(
        Devices::default(),
        1,
        expect![[r#"
               0 chip      MatMul [16, 4] @ 0x100 c0 0x0  # MatMul0
               1 chip      Relu [16, 4] @ 0x0 0x0  # Relu0
               2 chip      Add [16, 4] @ 0x0 0x0 0x100  # Add0
            memory: slot 512 bytes; largest live set 512 (1.000x); all tensors 1024 (2.00x); constants 512
            schedule: 3 dispatches; one thread: 1 steps; team: 1 phases
        "#]],
    );
}

#[test]
fn a_sharded_dispatch_has_a_workspace_for_each_shard_and_a_phase_of_its_own() {
    let plan = planned(Devices { workspace: 100, ..Devices::default() }, 2);
    assert_eq!(plan.dispatches[0].shards, 2);
    assert_eq!(plan.memory.live, 256 + 256 + 2 * 128);
    assert_eq!(plan.shared.phases.len(), 2);
    assert_eq!(plan.alone.steps, [Step::Chip { first: 0, count: 3 }]);
}

#[test]
fn native_dispatches_cut_the_chips_calls() {
    let plan = planned(Devices { native: &["Relu"], ..Devices::default() }, 1);
    let steps = [Step::Chip { first: 0, count: 1 }, Step::Native(1), Step::Chip { first: 1, count: 1 }];
    assert_eq!(plan.alone.steps, steps);
}

#[test]
fn every_node_that_nobody_runs_is_named() {
    let mut devices = Devices { refuses: &["Relu", "Add"], ..Devices::default() };
    let error = build(graph(), &NoWeights, &mut devices, Options { alignment: 64, threads: 1 });
    let text = error.err().expect("two operators are refused").to_string();
    assert!(text.contains("Relu0") && text.contains("Add0"), "{text}");
}

#[test]
fn an_output_that_is_a_view_of_an_input_is_read_where_the_input_is() {
    let mut graph = graph();
    graph.nodes.truncate(1);
    graph.outputs = vec![ValueId(2)];
    let plan = build(graph, &NoWeights, &mut Devices::default(), Options { alignment: 64, threads: 1 });
    let plan = plan.expect("a graph of views is planned");
    assert_eq!((plan.dispatches.len(), plan.outputs[0].at), (0, Argument::Slot(0)));
    assert_eq!(plan.outputs[0].shape, [16, 4]);
}

#[test]
fn requirements_that_cannot_be_are_refused() {
    let text = build(
        graph(),
        &NoWeights,
        &mut Devices { workspace: u32::MAX, ..Devices::default() },
        Options { alignment: 64, threads: 1 },
    );
    assert!(text.err().expect("4 GiB of workspace").to_string().contains("breaks its contract"));
}

/// The layouts of all operands of a plan, dispatch by dispatch.
fn layouts(devices: Devices) -> Vec<Vec<u16>> {
    let plan = planned(devices, 1);
    let operands = |operation: &abi::Operation| {
        operation.inputs.iter().chain(&operation.outputs).flatten().map(|operand| operand.layout).collect()
    };
    plan.dispatches.iter().map(|dispatch| operands(&dispatch.operation)).collect()
}

#[test]
fn a_layout_of_the_chips_own_is_granted_where_all_who_touch_the_tensor_wish_for_it() {
    let all = Devices { wishes: &["MatMul", "Relu", "Add"], ..Devices::default() };
    assert_eq!(layouts(all), [vec![0, 0, 0x8000], vec![0x8000, 0x8000], vec![0x8000, 0x8000, 0]]);
    let two = Devices { wishes: &["MatMul", "Relu"], ..Devices::default() };
    assert_eq!(layouts(two), [vec![0, 0, 0x8000], vec![0x8000, 0], vec![0, 0, 0]]);
    let native = Devices { wishes: &["MatMul", "Relu", "Add"], native: &["Relu"], ..Devices::default() };
    assert_eq!(layouts(native), [vec![0, 0, 0], vec![0, 0], vec![0, 0, 0]]);
}

#[test]
fn a_chip_that_refuses_what_it_wished_for_gets_plain_tensors() {
    let devices = Devices { wishes: &["MatMul", "Relu", "Add"], fickle: &["Relu"], ..Devices::default() };
    assert_eq!(layouts(devices), [vec![0, 0, 0], vec![0, 0], vec![0, 0, 0]]);
}

#[test]
fn tensors_of_two_layouts_never_share_bytes_in_place() {
    let plan = planned(Devices { wishes: &["MatMul", "Relu"], ..Devices::default() }, 1);
    let relu = &plan.dispatches[1];
    assert_ne!(relu.arguments[0], relu.arguments[1]);
}
