//! What operations cost on this machine, as `host tune` measured it: a file that is an explicit input of plans.
//!
//! The same file, graph and devices give the same plan. Measuring is `tune`'s work.

use crate::plugin::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use sunmao_plugin_sdk::abi;

const SCHEMA: &str = "sunmao-tune/1";
/// Bytes of a digest that name an operation.
const KEY_BYTES: usize = 16;
/// What the portable kernels are called; fast paths have their own names, a chip is `chip:` with its plugin's SHA-256.
pub(super) const PORTABLE: &str = "portable";

/// Where costs were measured. They say nothing about another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostsOrigin {
    /// Version of the host.
    pub host: String,
    /// The processor's name.
    pub processor: String,
    /// The instruction set that fast paths are for.
    pub isa: String,
    /// Threads of a request.
    pub threads: usize,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The operator with what is fused behind it; for a person.
    op: String,
    /// Shape of the first output; for a person.
    output: Vec<u32>,
    /// Nanoseconds by who runs it: the name of a fast path, `portable`, or `chip:` and the SHA-256 of the plugin.
    nanoseconds: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    measured_on: CostsOrigin,
    operations: BTreeMap<String, Entry>,
}

/// Measured costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    origin: CostsOrigin,
    operations: BTreeMap<String, Entry>,
}

/// Why costs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// It is no such file.
    #[error("this is no file of `host tune`: {0}")]
    Malformed(String),
    /// It was measured elsewhere.
    #[error("it was measured with {what} `{found}`, and here it is `{here}`")]
    Elsewhere {
        /// What differs.
        what: &'static str,
        /// In the file.
        found: String,
        /// Here.
        here: String,
    },
}

impl Costs {
    /// No costs yet.
    pub fn new(origin: CostsOrigin) -> Self {
        Self { origin, operations: BTreeMap::new() }
    }

    /// Reads a file, which must have been measured at `here`.
    pub fn read(text: &str, here: &CostsOrigin) -> Result<Self, CostsError> {
        let file: File = serde_json::from_str(text).map_err(|error| CostsError::Malformed(error.to_string()))?;
        if file.schema != SCHEMA {
            return Err(CostsError::Malformed(format!("its schema is `{}`, not `{SCHEMA}`", file.schema)));
        }
        let found = &file.measured_on;
        let facts = [
            ("the host", found.host.clone(), here.host.clone()),
            ("the processor", found.processor.clone(), here.processor.clone()),
            ("the instruction set", found.isa.clone(), here.isa.clone()),
            ("--threads", found.threads.to_string(), here.threads.to_string()),
        ];
        match facts.into_iter().find(|(_, found, here)| found != here) {
            Some((what, found, here)) => Err(CostsError::Elsewhere { what, found, here }),
            None => Ok(Self { origin: file.measured_on, operations: file.operations }),
        }
    }

    /// The file's text: the same for the same costs.
    pub fn text(&self) -> String {
        let file =
            File { schema: SCHEMA.into(), measured_on: self.origin.clone(), operations: self.operations.clone() };
        format!("{}\n", serde_json::to_string_pretty(&file).expect("numbers, texts and maps have a JSON form"))
    }

    /// What plans name these costs by.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }

    /// How many operations are in it.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether an operation was measured.
    pub fn knows(&self, operation: &abi::Operation) -> bool {
        self.operations.contains_key(&key(operation))
    }

    /// Writes down what an operation costs, in nanoseconds by who runs it.
    pub fn note(&mut self, operation: &abi::Operation, nanoseconds: BTreeMap<String, u64>) {
        let steps = std::iter::once(&operation.op).chain(operation.epilogue.iter().map(|step| &step.op));
        let op = steps.map(String::as_str).collect::<Vec<_>>().join("+");
        let output = operation.outputs.iter().flatten().next().map(|output| output.shape.clone()).unwrap_or_default();
        self.operations.insert(key(operation), Entry { op, output, nanoseconds });
    }

    /// Who runs an operation, the quickest first, in nanoseconds; the name decides between equals. Empty: it was not measured.
    pub fn of(&self, operation: &abi::Operation) -> Vec<(&str, u64)> {
        let Some(entry) = self.operations.get(&key(operation)) else { return Vec::new() };
        let mut costs: Vec<_> = entry.nanoseconds.iter().map(|(name, cost)| (name.as_str(), *cost)).collect();
        costs.sort_by_key(|(_, cost)| *cost);
        costs
    }
}

/// The name in a file of whoever runs an operation.
pub fn cost_name(place: super::Place, chip: Option<Digest>) -> Option<String> {
    match place {
        super::Place::FastPath(path) => Some(path.to_owned()),
        super::Place::Portable => Some(PORTABLE.to_owned()),
        super::Place::Chip => chip.map(|digest| format!("chip:{digest}")),
    }
}

/// What names an operation: all that kernels are prepared for, and no node's name.
fn key(operation: &abi::Operation) -> String {
    let mut text = format!("{} {}\n", operation.op, operation.revision);
    let attributes = |attributes: &[abi::Kv], text: &mut String| {
        let mut sorted: Vec<&abi::Kv> = attributes.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for kv in sorted {
            let _ = writeln!(text, " {} {:?}", kv.key, kv.val);
        }
    };
    attributes(&operation.attributes, &mut text);
    for (side, operands) in [("in", &operation.inputs), ("out", &operation.outputs)] {
        for operand in operands {
            let Some(operand) = operand else {
                let _ = writeln!(text, "{side} none");
                continue;
            };
            let _ = writeln!(
                text,
                "{side} {} {:?} {} {} {:?}",
                operand.dtype, operand.shape, operand.layout, operand.constant, operand.literal
            );
        }
    }
    for step in &operation.epilogue {
        let _ = writeln!(text, "then {} {:?}", step.op, step.input);
        attributes(&step.attributes, &mut text);
    }
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut name = String::with_capacity(2 * KEY_BYTES);
    for byte in &digest[..KEY_BYTES] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(threads: usize) -> CostsOrigin {
        CostsOrigin { host: "1".into(), processor: "p".into(), isa: "i".into(), threads }
    }

    fn operation(op: &str, shape: &[u32]) -> abi::Operation {
        let operand = abi::Operand {
            dtype: 1,
            shape: shape.to_vec(),
            layout: 0,
            constant: false,
            literal: None,
            quantisation: None,
            extents: Vec::new(),
            ext: Vec::new(),
        };
        abi::Operation {
            op: op.into(),
            revision: 13,
            attributes: Vec::new(),
            inputs: vec![Some(operand.clone()), None],
            outputs: vec![Some(operand)],
            epilogue: Vec::new(),
            ext: vec![abi::Kv { key: "node".into(), val: abi::Attribute::Text(format!("n{}", shape.len())) }],
        }
    }

    #[test]
    fn costs_come_back_from_their_file() {
        let mut costs = Costs::new(origin(2));
        let relu = operation("Relu", &[2, 3]);
        costs.note(&relu, BTreeMap::from([("portable".into(), 90), ("a".into(), 7), ("b".into(), 7)]));
        let text = costs.text();
        let again = Costs::read(&text, &origin(2)).unwrap();
        assert_eq!((&again, again.digest(), again.text()), (&costs, costs.digest(), text.clone()));
        assert_eq!(again.of(&relu), [("a", 7), ("b", 7), ("portable", 90)]);
        let mut elsewhere = relu.clone();
        elsewhere.ext.clear();
        assert!(again.knows(&elsewhere), "a node's name does not matter");
        for other in [operation("Relu", &[3, 2]), operation("Neg", &[2, 3])] {
            assert!(!again.knows(&other) && again.of(&other).is_empty());
        }
        let error = Costs::read(&text, &origin(1)).unwrap_err().to_string();
        assert_eq!(error, "it was measured with --threads `2`, and here it is `1`");
        assert!(matches!(Costs::read("{}", &origin(2)), Err(CostsError::Malformed(_))));
        let newer = text.replace("sunmao-tune/1", "sunmao-tune/9");
        assert!(Costs::read(&newer, &origin(2)).unwrap_err().to_string().contains("sunmao-tune/9"));
    }
}
