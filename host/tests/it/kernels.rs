//! The drawn cases of the conformance suite on the project's own chips, a few of each operator, and whether they notice faults.

use crate::support::{plugin, runtime};
use std::path::Path;
use std::sync::Arc;
use sunmao_conformance::Verdict;
use sunmao_host::conformance::{Suite, Target, kernels};
use sunmao_host::device::Registry;
use sunmao_host::plugin::LoadOptions;
use sunmao_host::scheduler::Team;
use sunmao_host::session::Host;

/// Runs a suite and fails with everything that is not right; the number of passes.
#[track_caller]
fn passes(suite: &dyn Suite, chip: &str) -> usize {
    let runtime = runtime();
    let registry = Arc::new(Registry::default());
    registry.add(runtime.load(&plugin(chip), &LoadOptions::default()).unwrap());
    let host = Host::new(registry, Team::new(2, 2));
    let target = Target::whole_host(runtime, host.clone(), host.registry.chip(chip).unwrap());
    let mut failures = Vec::new();
    let mut passes = 0;
    for case in suite.cases() {
        let outcome = suite.run(&case, &target);
        if outcome.verdict.is_failure() {
            failures.push(format!("{} {} {:?}: {}", outcome.verdict, case.name, case.dtypes, outcome.reason));
        }
        passes += usize::from(outcome.verdict == Verdict::Pass);
    }
    assert!(failures.is_empty(), "{} on {chip}:\n{}", suite.name(), failures.join("\n"));
    passes
}

#[test]
fn drawn_operations_are_right_on_portable_and_on_fast_paths() {
    let passes = passes(&kernels::Property::new(1, 5), "portable");
    assert!(passes >= 400, "{passes} cases were run");
}

#[test]
fn drawn_operations_are_right_on_simd128() {
    let passes = passes(&kernels::Property::new(2, 5), "simd128");
    assert!(passes >= 400, "{passes} cases were run");
}

#[test]
fn drawn_graphs_give_the_same_however_they_are_divided() {
    let passes = passes(&kernels::Graphs::default(), "simd128");
    assert!(passes >= 40, "{passes} graphs were run");
}

#[test]
fn faults_in_kernels_are_noticed() {
    let runtime = runtime();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/mutants.wasm");
    let mutants = runtime.load(&file, &LoadOptions::default()).expect("`cargo xtask build-plugins mutants` builds it");
    let strength = kernels::strength::strength(&mutants, 1, 48, 2);
    assert!(strength.broken.is_empty(), "cases that fail without a fault: {:?}", strength.broken);
    assert!(strength.mutants >= 200, "{} mutants", strength.mutants);
    let survivors = &strength.survivors;
    assert!(survivors.len() * 100 <= strength.mutants, "{} of {}: {survivors:?}", survivors.len(), strength.mutants);
}
