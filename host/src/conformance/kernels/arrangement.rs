//! Ways to run one operation that must all give the same result, and what is found when they do not.

use super::arena::covered;
use super::{Bench, Device, Failure};
use sunmao_conformance::oracle::{Answer, Bound, Question, bound, judge};
use sunmao_conformance::property::{Case, settled};
use sunmao_conformance::{Comparison, Verdict};
use sunmao_plugin_sdk::abi;
use sunmao_plugin_sdk::abi::{Attribute, Kv, Operation, OperatorSupport};

/// How one run is arranged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrangement {
    /// Into how many parts it is split.
    pub(super) shards: u32,
    /// Whether the last part runs first.
    pub(super) backwards: bool,
    /// Which slot it runs on.
    pub(super) slot: u64,
    /// What lies in outputs and scratch beforehand.
    pub(super) poison: u8,
    /// An output that takes the bytes of an input.
    pub(super) alias: Option<abi::Alias>,
}

/// As a plan with one thread would run it.
const ALONE: Arrangement = Arrangement { shards: 1, backwards: false, slot: 0, poison: 0xA5, alias: None };

/// What holds of one case on one device.
pub(super) struct Asking<'a> {
    pub(super) device: &'a Device,
    pub(super) case: &'a Case,
    /// The table that promises, if the device has one.
    pub(super) table: Option<&'a [OperatorSupport]>,
    /// What goes along with the operation.
    pub(super) ext: &'a [Kv],
}

impl Asking<'_> {
    /// Runs the case in every arrangement that the kernel grants. Declined: the table does not cover it.
    pub(super) fn check(&self, seen: &mut Comparison) -> Result<(), Failure> {
        let case = self.case;
        let operation = case.question.operation(&case.answers);
        let row = match self.table {
            Some(table) => {
                covered(table, &operation)
                    .map_err(|reason| Failure { verdict: Verdict::Declined, reason: reason.0 })?;
                covering(table, &operation)
            }
            None => None,
        };
        self.arrangements(&case.question, row, seen)?;
        // Constants that are not needed beforehand, as operands that change: no packing, no literals.
        let mut kept = settled(&case.question.op).to_vec();
        kept.extend(row.iter().flat_map(|row| constant_inputs(row)));
        let unfolded = case.question.unfolded(&kept);
        let differs = unfolded.inputs != case.question.inputs;
        if differs {
            let named = |failure: Failure| Failure {
                reason: format!("with constants as inputs: {}", failure.reason),
                ..failure
            };
            match self.arrangements(&unfolded, row, seen) {
                Err(failure) if failure.verdict != Verdict::Declined => return Err(named(failure)),
                _ => {}
            }
        }
        Ok(())
    }

    fn arrangements(
        &self,
        question: &Question,
        row: Option<&OperatorSupport>,
        seen: &mut Comparison,
    ) -> Result<(), Failure> {
        let mut bench = Bench::new(self.device, question, &self.case.answers, self.ext)?;
        let named =
            |name: String| move |failure: Failure| Failure { reason: format!("{name}: {}", failure.reason), ..failure };
        let first = bench.run(&ALONE)?;
        self.judge(&first, &ALONE, row, seen)?;
        let again = Arrangement { slot: 1, poison: 0x5A, ..ALONE };
        let other = bench.run(&again).map_err(named("again, on another slot".into()))?;
        self.same(&first, &other, &again, row, seen).map_err(named("again, on another slot".into()))?;
        for shards in 2..=bench.needs().shards.min(3) {
            let name = || format!("in {shards} parts");
            let split = Arrangement { shards, backwards: true, slot: u64::from(shards) % 2, ..ALONE };
            let parts = bench.run(&split).map_err(named(name()))?;
            self.same(&first, &parts, &split, row, seen).map_err(named(name()))?;
        }
        for alias in bench.needs().in_place.clone() {
            if !self.may_share(question, alias) {
                continue;
            }
            let name = || format!("output {} in place of input {}", alias.output, alias.input);
            let in_place = Arrangement { alias: Some(alias), ..ALONE };
            let result = bench.run(&in_place).map_err(named(name()))?;
            self.same(&first, &result, &in_place, row, seen).map_err(named(name()))?;
        }
        Ok(())
    }

    /// Whether the planner could grant an alias: as many bytes, and nobody else reads the input afterwards.
    fn may_share(&self, question: &Question, alias: abi::Alias) -> bool {
        let input = question.inputs.get(alias.input as usize).and_then(Option::as_ref);
        let output = self.case.answers.get(alias.output as usize);
        input.zip(output).is_some_and(|(input, output)| {
            !input.constant && !input.tensor.bytes.is_empty() && input.tensor.bytes.len() == output.bytes()
        })
    }

    /// The same bits where the chip promises them, a right result in any case.
    fn same(
        &self,
        first: &[Vec<u8>],
        other: &[Vec<u8>],
        arrangement: &Arrangement,
        row: Option<&OperatorSupport>,
        seen: &mut Comparison,
    ) -> Result<(), Failure> {
        if first == other {
            seen.values += first.len() as u64;
            return Ok(());
        }
        self.judge(other, arrangement, row, seen)?;
        if self.device.deterministic() {
            return Err(Failure::wrong("other bits, and the chip says that it is deterministic"));
        }
        Ok(())
    }

    fn judge(
        &self,
        outputs: &[Vec<u8>],
        arrangement: &Arrangement,
        row: Option<&OperatorSupport>,
        seen: &mut Comparison,
    ) -> Result<(), Failure> {
        for (number, (answer, given)) in self.case.answers.iter().zip(outputs).enumerate() {
            let mut bounds = vec![self.own_bound(number)];
            bounds.extend(row.map(|row| Bound::from(row.tolerance)));
            match judge(answer, given, &bounds, self.case.finite) {
                Ok(distance) => {
                    seen.values += 1;
                    seen.elements += distance.elements;
                    seen.worst_ulp = seen.worst_ulp.max(distance.worst_ulp);
                    seen.rule = rule(&bounds);
                }
                Err(fault) => {
                    let unwritten = if unwritten(answer, given, fault.element, arrangement.poison) {
                        ", left as it was"
                    } else {
                        ""
                    };
                    return Err(Failure::wrong(format!("output {number}, {fault}{unwritten}")));
                }
            }
        }
        Ok(())
    }

    /// What the suite allows, whatever the chip claims. An epilogue's functions have errors of their own.
    fn own_bound(&self, output: usize) -> Bound {
        match bound(&self.case.question.op) {
            Bound::Exact if output > 0 => Bound::Exact,
            own => own,
        }
    }
}

fn unwritten(answer: &Answer, given: &[u8], element: usize, poison: u8) -> bool {
    let count = answer.shape.iter().product::<usize>().max(1);
    let width = (given.len() / count).max(1);
    given.get(element * width..(element + 1) * width).is_some_and(|bytes| bytes.iter().all(|&byte| byte == poison))
}

fn rule(bounds: &[Bound]) -> String {
    bounds.iter().map(|bound| format!("{bound:?}")).collect::<Vec<_>>().join(" and ")
}

/// The row that promises the operation.
fn covering<'a>(table: &'a [OperatorSupport], operation: &Operation) -> Option<&'a OperatorSupport> {
    table.iter().find(|row| covered(std::slice::from_ref(*row), operation).is_ok())
}

fn constant_inputs(row: &OperatorSupport) -> Vec<usize> {
    let listed = row.ext.iter().find(|kv| kv.key == "constant-inputs").map(|kv| &kv.val);
    match listed {
        Some(Attribute::Integers(inputs)) => inputs.iter().map(|&input| input as usize).collect(),
        _ => Vec::new(),
    }
}
