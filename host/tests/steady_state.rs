//! The steady state allocates nothing per node: a long plan takes as many allocations as a short one.

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{Container, DType, Dim, Graph, Node, Role, Value};
use sunmao_host::device::Selector;
use sunmao_host::engine::{Executor, Layout, Run};
use sunmao_host::plan::{self, Plan};
use sunmao_host::plugin::{ChipInstance, Kind, LoadOptions, Plugin, Runtime, RuntimeOptions};

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

fn planned(length: usize, chip: Option<&Arc<Plugin>>) -> Plan {
    let mut scout = chip.map(|plugin| ChipInstance::new(plugin).expect("the plugin instantiates"));
    if let Some(scout) = &mut scout {
        scout.reserve(65536).expect("64 KiB are granted");
    }
    let facts = chip.and_then(|plugin| match plugin.kind() {
        Kind::Chip(facts) => Some(facts),
        Kind::Importer(_) => None,
    });
    let mut selector = Selector {
        chip: facts.zip(scout.as_mut()).map(|(facts, scout)| (&facts.operators[..], scout)),
        fast_paths: false,
        strict: chip.is_some(),
    };
    let options = plan::Options { alignment: 64, threads: 1 };
    plan::build(chain(length), &NoWeights, &mut selector, options).expect("a chain of Relu is planned")
}

/// Allocations of one warm request.
fn allocations(length: usize, chip: Option<&Arc<Plugin>>) -> usize {
    let plan = planned(length, chip);
    let layout = Layout::for_plan(plan.memory, 1).expect("it is small");
    let executor = Arc::new(Executor::new(chip.cloned(), 1, layout).expect("the arena is mapped"));
    let loaded = Arc::new(executor.load(Arc::new(plan), &NoWeights).expect("the plan loads"));
    let input = vec![0u8; 256];
    let request = || {
        let run = Run::new(executor.clone(), loaded.clone(), 0, vec![0]);
        run.copy_in(&[&input]).expect("the input fits");
        run.take_part(0);
        run.outcome().expect("it runs");
        run.copy_out(0).expect("the output is there")
    };
    for _ in 0..3 {
        request();
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..10 {
        request();
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_request_allocates_no_more_for_a_long_plan_than_for_a_short_one() {
    let runtime = Runtime::new(RuntimeOptions::default()).expect("the runtime starts");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/simd128.wasm");
    let chip = runtime.load(&path, &LoadOptions::default()).expect("`cargo xtask build-plugins` has built it");
    for chip in [None, Some(&chip)] {
        let (short, long) = (allocations(8, chip), allocations(400, chip));
        assert!(short > 0, "the counter counts");
        assert_eq!(short, long, "allocations of ten requests over 8 and over 400 nodes");
    }
}
