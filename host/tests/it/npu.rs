//! The emulated accelerator: it runs its part of a model in its own layout, the rest falls back, and the answers are those of the portable chip.

use crate::support::{Folder, plugin, registry, run, runtime};
use std::path::Path;
use sunmao_graph::DType;
use sunmao_host::config::FastPaths;
use sunmao_host::device::Place;
use sunmao_host::plan::Plan;
use sunmao_host::scheduler::Team;
use sunmao_host::session::{Host, Options, Session, Tensor};

/// The layout of its own that `npu-sim` asks for.
const BLOCKED: u16 = 0x8000;

fn session(chip: &str) -> Session {
    let runtime = runtime();
    let registry = registry(&runtime, &[chip, "import-onnx"]);
    let host = Host::new(registry, Team::new(2, 8));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/models/quantised.onnx");
    let options = Options { chip: chip.into(), threads: 2, fast_paths: FastPaths::Off, strict: false };
    Session::load(&model, &host, options).unwrap()
}

fn ask(session: &Session, batch: u64) -> Vec<u8> {
    let bytes = (0..batch * 16 * 64).map(|i| (i * 37 % 251) as u8).collect();
    let x = Tensor { dtype: DType::U8, shape: vec![batch, 16, 8, 8], data: bytes };
    let mut outputs = session.infer(vec![("x".into(), x)], &[]).unwrap();
    outputs.remove(0).1.data
}

/// Operators of a plan that run at `place`.
fn at(plan: &Plan, place: Place) -> Vec<&str> {
    let there = plan.dispatches.iter().filter(|dispatch| dispatch.place == place);
    there.map(|dispatch| dispatch.operation.op.as_str()).collect()
}

#[test]
fn a_quantised_conv_net_runs_on_the_accelerator_with_fallback_and_right_answers() {
    let (npu, portable) = (session("npu-sim"), session("portable"));
    for batch in [1, 3] {
        let answer = ask(&npu, batch);
        assert!(answer.len() == batch as usize * 28 && answer.iter().any(|&byte| byte != 0));
        assert_eq!(answer, ask(&portable, batch), "batch {batch}");
    }
    let plan = npu.plan(&[vec![1, 16, 8, 8]]).unwrap();
    let own = at(&plan, Place::Chip);
    for op in ["ConvInteger", "Relu", "MaxPool", "QuantizeLinear", "DequantizeLinear", "MatMulInteger"] {
        assert!(own.contains(&op), "{op} is not among {own:?}");
    }
    assert!(at(&plan, Place::Portable).contains(&"Tanh"), "what the chip declines falls back, node by node");
    // Between two of the chip's own the tensors are in blocks, on its borders they are plain.
    let operand = |op: &str, output: bool| {
        let found = plan.dispatches.iter().find(|dispatch| dispatch.operation.op == op).unwrap();
        let side = if output { &found.operation.outputs } else { &found.operation.inputs };
        side[0].as_ref().unwrap().layout
    };
    assert_eq!((operand("ConvInteger", false), operand("ConvInteger", true)), (0, BLOCKED));
    assert_eq!((operand("MaxPool", false), operand("MaxPool", true)), (BLOCKED, 0));
}

#[test]
fn type_b_is_the_accelerator() {
    let folder = Folder::new();
    let path = plugin("npu-sim");
    let config = folder.config(&format!(
        "[[plugin]]\nname = \"npu-sim\"\npath = {path:?}\n[[chip]]\nname = \"npu-sim\"\nplugin = \"npu-sim\"\n"
    ));
    let (stdout, _) = run(0, &["plugin", "list", "--plugins", config.to_str().unwrap()]);
    assert!(stdout.contains("chip      npu-sim (also TYPE_B)"), "{stdout}");
}
