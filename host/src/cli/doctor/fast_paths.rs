//! The native kernels: that they agree with their portable twins on this processor.

use super::Findings;
use crate::device::{FastPathOutcome, FastPathRecord};
use crate::engine::check_on_samples;
use std::collections::BTreeMap;

const AREA: &str = "fast path";

pub(super) fn check(findings: &mut Findings) {
    let record = FastPathRecord::of_process();
    let registered = sunmao_fastpath::registered();
    let mut absent: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in &registered {
        if entry.available {
            check_on_samples(entry.path, entry.operator, record);
        } else {
            absent.insert(entry.path, entry.isa);
        }
    }
    let mut agreeing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, op, outcome) in record.outcomes() {
        match outcome {
            FastPathOutcome::Agrees(0) => agreeing.entry(path).or_default().push(format!("{op} (checked with the model)")),
            FastPathOutcome::Agrees(_) => agreeing.entry(path).or_default().push(op),
            FastPathOutcome::Differs(what) => findings.wrong(
                AREA,
                format!("{path} for {op} disagrees with the portable kernel: {what}"),
                "it is not used, and the chip or the portable kernel stands in; please report it with the processor's name",
            ),
        }
    }
    for (path, operators) in agreeing {
        findings.fine(AREA, format!("{path}: {}", operators.join(", ")));
    }
    if registered.is_empty() {
        findings.fine(AREA, "none for this processor: chips and the portable kernels run everything");
    }
    for (path, isa) in absent {
        findings.fine(AREA, format!("{path} needs {isa}, which this processor lacks"));
    }
}
