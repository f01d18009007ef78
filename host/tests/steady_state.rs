//! The steady state allocates nothing per node: a long plan takes as many allocations as a short one, on one thread and on two.

#[path = "it/onnx.rs"]
#[allow(dead_code)]
mod onnx;

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{Container, DType, Dim, Graph, Node, Role, Value};
use sunmao_host::config::FastPaths;
use sunmao_host::device::{BrokenPromises, Chip, FastPathRules, Registry, Scout, Selector};
use sunmao_host::engine::{Executor, Layout, Run};
use sunmao_host::plan::{self, Plan};
use sunmao_host::plugin::{LoadOptions, Plugin, Runtime, RuntimeOptions};
use sunmao_host::scheduler::Team;
use sunmao_host::session::{Host, Options, Session, Tensor};

/// Counts what the whole process takes from the heap.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(block) }
    }
    unsafe fn dealloc(&self, at: *mut u8, block: Block) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `at` came from the system's allocator.
        unsafe { System.dealloc(at, block) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A chain of `length` nodes, plugin and native kernels in turn.
fn chain(length: usize) -> Graph {
    let mut graph = Graph::default();
    let value = |graph: &mut Graph, role: Role| {
        let name = format!("v{}", graph.values.len());
        graph.add_value(Value {
            name,
            dtype: Some(DType::F32),
            shape: Some(vec![Dim::Known(64)]),
            container: Container::Tensor,
            role,
        })
    };
    let mut last = value(&mut graph, Role::Input);
    graph.inputs.push(last);
    for index in 0..length {
        let output = value(&mut graph, Role::Computed);
        graph.nodes.push(Node {
            name: format!("n{index}"),
            op: "Relu".into(),
            revision: 14,
            attributes: Default::default(),
            inputs: vec![Some(last)],
            outputs: vec![Some(output)],
            epilogue: Vec::new(),
        });
        last = output;
    }
    graph.outputs.push(last);
    graph
}

fn planned(length: usize, plugin: Option<&Arc<Plugin>>) -> Plan {
    let broken = BrokenPromises::default();
    let chip = plugin.map(|plugin| Chip::new("chip".into(), Vec::new(), FastPaths::Off, plugin.clone()));
    let mut selector = Selector {
        chip: chip.as_ref().map(|chip| Scout::new(chip, &broken)),
        fast_paths: FastPathRules::off("not what is measured"),
        strict: plugin.is_some(),
    };
    let options = plan::Options { alignment: 64, threads: 1 };
    plan::build(chain(length), &NoWeights, &mut selector, options).expect("a chain of Relu is planned")
}

/// Allocations of ten requests, once everything that is made at first is there.
fn allocations(mut request: impl FnMut()) -> usize {
    (0..3).for_each(|_| request());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..10).for_each(|_| request());
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// Of a plan of so many nodes, replayed by one thread.
fn of_runs(length: usize, chip: Option<&Arc<Plugin>>) -> usize {
    let plan = planned(length, chip);
    let layout = Layout::for_plan(plan.memory, 1).expect("it is small");
    let executor = Arc::new(Executor::new(chip.cloned(), 1, layout).expect("the arena is mapped"));
    let loaded = Arc::new(executor.load(Arc::new(plan), &NoWeights).expect("the plan loads"));
    let input = vec![0u8; 256];
    allocations(|| {
        let run = Run::new(executor.clone(), loaded.clone(), 0, vec![0]);
        run.copy_in(&[&input]).expect("the input fits");
        run.take_part(0);
        run.outcome().expect("it runs");
        run.copy_out(0).expect("the output is there");
    })
}

/// Of a session with a model of so many nodes, each split among the threads.
fn of_requests(length: usize, host: &Host, chip: &str, threads: usize) -> usize {
    const ROWS: usize = 8192;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("steady-{length}.onnx"));
    std::fs::write(&path, onnx::doublings(length)).expect("the folder of tests can be written to");
    let options = Options { chip: chip.into(), threads, fast_paths: FastPaths::Off, strict: true };
    let session = Session::load(&path, host, options).expect("the model loads");
    let input = vec![0u8; ROWS * 4 * 4];
    allocations(|| {
        let x = Tensor { dtype: DType::F32, shape: vec![ROWS as u64, 4], data: input.clone() };
        session.infer(vec![("x".into(), x)], &[]).expect("it runs");
    })
}

#[test]
fn a_request_allocates_no_more_for_a_long_plan_than_for_a_short_one() {
    let runtime = Runtime::new(RuntimeOptions::default()).expect("the runtime starts");
    let load = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(name);
        runtime.load(&path, &LoadOptions::default()).expect("`cargo xtask build-plugins` has built it")
    };
    let chip = load("simd128.wasm");
    for chip in [None, Some(&chip)] {
        let (short, long) = (of_runs(8, chip), of_runs(200, chip));
        assert!(short > 0, "the counter counts");
        assert_eq!(short, long, "allocations of ten runs over 8 and over 200 nodes");
    }
    let registry = Arc::new(Registry::default());
    registry.add(chip);
    registry.add(load("import-onnx.wasm"));
    let host = Host::new(registry, Team::new(2, 4));
    for threads in [1, 2] {
        let (short, long) = (of_requests(8, &host, "simd128", threads), of_requests(200, &host, "simd128", threads));
        assert_eq!(short, long, "allocations of ten requests over 8 and over 200 nodes on {threads} threads");
    }
}
