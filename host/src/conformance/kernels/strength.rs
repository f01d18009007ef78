//! Whether the drawn cases notice faults: mutated kernels are asked the cases of their operator until one of them fails.

use super::Device;
use super::arrangement::Asking;
use crate::plugin::Plugin;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use sunmao_conformance::property::{Case, Mutant, case, mutants};
use sunmao_conformance::{Comparison, Verdict};
use sunmao_plugin_sdk::abi::{Attribute, Kv};

/// How many of the mutants were noticed.
#[derive(Clone, Debug, Default)]
pub struct Strength {
    /// Mutants asked.
    pub mutants: usize,
    /// Mutants that a case failed.
    pub caught: usize,
    /// Mutants that passed every case of their operator, by name.
    pub survivors: Vec<String>,
    /// Cases that fail without any fault: then nothing here means anything.
    pub broken: Vec<String>,
}

/// Asks every mutant of `plugin`, the built `conformance/mutants`, cases of a seed: `per_operator` for each operator.
/// `jobs` threads work at a time.
pub fn strength(plugin: &Arc<Plugin>, seed: u64, per_operator: u64, jobs: usize) -> Strength {
    let mutants = mutants();
    let mut cases: HashMap<&str, Vec<Case>> = HashMap::new();
    for mutant in &mutants {
        let drawn = || (0..per_operator).filter_map(|number| case(mutant.op, seed, number)).collect();
        cases.entry(mutant.op).or_insert_with(drawn);
    }
    let broken = cases.values().flatten().filter(|case| fails(plugin, case, None)).map(|case| case.name.clone());
    let mut strength = Strength { mutants: mutants.len(), broken: broken.collect(), ..Strength::default() };
    strength.broken.sort();
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !cases[mutant.op].iter().any(|case| fails(plugin, case, Some(mutant))) {
                        survivors.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(mutant.name());
                    }
                }
            });
        }
    });
    strength.survivors = survivors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    strength.survivors.sort();
    strength.caught = strength.mutants - strength.survivors.len();
    strength
}

/// Whether a case fails on the chip with that fault.
fn fails(plugin: &Arc<Plugin>, case: &Case, mutant: Option<&Mutant>) -> bool {
    let fault = |mutant: &Mutant| Kv { key: "mutant".into(), val: Attribute::Text(mutant.fault.into()) };
    let ext: Vec<Kv> = mutant.map(fault).into_iter().collect();
    let device = Device::Chip(plugin.clone());
    let table = plugin.chip().map(|facts| &facts.operators[..]);
    let asking = Asking { device: &device, case, table, ext: &ext };
    match asking.check(&mut Comparison::default()) {
        Ok(()) => false,
        Err(failure) => failure.verdict != Verdict::Declined,
    }
}
