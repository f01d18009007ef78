//! The drawn cases as a suite.

use super::arrangement::Asking;
use super::{Device, Failure};
use crate::conformance::{Suite, Target, USUAL_SEED};
use crate::device::Place;
use std::sync::OnceLock;
use sunmao_conformance::property::{Case, REGRESSIONS, case, operators};
use sunmao_conformance::{CaseFacts, Comparison, Outcome, Places, Verdict};
use sunmao_graph::DType;

/// Name of the suite.
pub const PROPERTY: &str = "property";
/// Cases of each operator in a run of the suite.
pub const PROPERTY_CASES: u64 = 48;

/// Cases drawn for every operator, with those that once found a fault.
pub struct Property {
    seed: u64,
    per_operator: u64,
    facts: OnceLock<Vec<CaseFacts>>,
}

impl Property {
    /// `per_operator` cases of a seed for each operator.
    pub fn new(seed: u64, per_operator: u64) -> Self {
        Self { seed, per_operator, facts: OnceLock::new() }
    }
}

impl Default for Property {
    /// The cases that every run of the suite has.
    fn default() -> Self {
        Self::new(USUAL_SEED, PROPERTY_CASES)
    }
}

impl Suite for Property {
    fn name(&self) -> &'static str {
        PROPERTY
    }

    fn cases(&self) -> Vec<CaseFacts> {
        let list = || {
            let mut wanted: Vec<(&str, u64, u64)> = Vec::new();
            for op in operators() {
                wanted.extend((0..self.per_operator).map(|number| (op, self.seed, number)));
                wanted.extend(REGRESSIONS.iter().filter(|known| known.0 == op).map(|known| (op, known.1, known.2)));
            }
            wanted.sort_by_key(|&(_, seed, number)| (seed, number));
            wanted.sort_by(|a, b| a.0.cmp(b.0));
            wanted.dedup();
            wanted
                .into_iter()
                .filter_map(|(op, seed, number)| case(op, seed, number))
                .map(|case| facts(&case))
                .collect()
        };
        self.facts.get_or_init(list).clone()
    }

    fn run(&self, facts: &CaseFacts, target: &Target) -> Outcome {
        let Some(case) = named(&facts.name) else {
            return Outcome::failed(Verdict::Crash, "there is no such case");
        };
        let mut seen = Comparison::default();
        let mut places = Places::default();
        let plugin = &target.chip.plugin;
        let table = plugin.chip().map(|facts| &facts.operators[..]);
        let promised = sunmao_portable::operators();
        let mut devices = vec![(Device::Chip(plugin.clone()), table)];
        if target.fast_paths {
            let paths = sunmao_fastpath::registered().into_iter().filter(|entry| entry.operator == case.question.op);
            devices.extend(paths.map(|entry| (Device::Native(Place::FastPath(entry.path)), None)));
        }
        if !target.strict {
            devices.push((Device::Native(Place::Portable), Some(&promised[..])));
        }
        let mut declined = None;
        for (device, table) in &devices {
            let asking = Asking { device, case: &case, table: *table, ext: &[] };
            match asking.check(&mut seen) {
                Ok(()) => match device {
                    Device::Chip(_) => places.chip += 1,
                    Device::Native(Place::FastPath(_)) => places.fast_path += 1,
                    Device::Native(_) => places.portable += 1,
                },
                Err(Failure { verdict: Verdict::Declined, reason }) => declined = declined.or(Some(reason)),
                Err(Failure { verdict, reason }) => {
                    let reason = format!("{} on {}: {reason}", case.question.op, device.name());
                    return Outcome { comparison: seen, ..Outcome::failed(verdict, reason) }.at(places);
                }
            }
        }
        match declined {
            Some(reason) if places.chip == 0 => Outcome::failed(Verdict::Declined, reason).at(places),
            _ => Outcome::pass(seen).at(places),
        }
    }

    fn show(&self, facts: &CaseFacts) -> Vec<String> {
        let Some(case) = named(&facts.name) else { return Vec::new() };
        let operation = case.question.operation(&case.answers);
        let mut lines: Vec<String> =
            operation.attributes.iter().map(|kv| format!("{} = {:?}", kv.key, kv.val)).collect();
        for (index, operand) in case.question.inputs.iter().enumerate() {
            lines.push(match operand {
                None => format!("input {index}: left out"),
                Some(operand) => {
                    let constant = if operand.constant { ", constant" } else { "" };
                    format!("input {index}: {} {:?}{constant}", short(operand.tensor.dtype), operand.tensor.shape)
                }
            });
        }
        lines.extend(operation.epilogue.iter().map(|step| format!("then {} {:?}", step.op, step.attributes)));
        lines.extend(case.answers.iter().map(|answer| format!("expected {} {:?}", short(answer.dtype), answer.shape)));
        lines
    }
}

/// The case of a name such as `MatMul/1/12`.
fn named(name: &str) -> Option<Case> {
    let mut parts = name.rsplitn(3, '/');
    let number = parts.next()?.parse().ok()?;
    let seed = parts.next()?.parse().ok()?;
    case(parts.next()?, seed, number)
}

fn short(dtype: u16) -> String {
    DType::from_code(dtype).map_or_else(|| format!("type {dtype}"), |dtype| dtype.to_string())
}

fn facts(case: &Case) -> CaseFacts {
    let inputs = case.question.inputs.iter().flatten().map(|operand| operand.tensor.dtype);
    let mut dtypes: Vec<String> = Vec::new();
    for name in case.question.outputs.iter().copied().chain(inputs).map(short) {
        if !dtypes.contains(&name) {
            dtypes.push(name);
        }
    }
    CaseFacts {
        name: case.name.clone(),
        suite: PROPERTY.into(),
        operators: vec![case.question.op.clone()],
        dtypes,
        opset: None,
    }
}
