//! What a case is: facts that select and sort it, and the values that go in and must come out.

use crate::Outcome;
use serde::{Deserialize, Serialize};
use sunmao_graph::Tensor;

/// What is known of a case without running it. Every suite describes its cases so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseFacts {
    /// Its name, unique within its suite: `test_add_bcast`, `matmul/f32/prime/17`, `C-15`.
    pub name: String,
    /// The suite: `onnx-node`, `property`, `behaviour`.
    pub suite: String,
    /// The operators that it is about, the first one first in matrices; empty for behaviour checks.
    pub operators: Vec<String>,
    /// Short names of the element types of its inputs and outputs (`f32`), each once; `string` for strings.
    pub dtypes: Vec<String>,
    /// The opset of `ai.onnx` that it belongs to; none where there is no model.
    pub opset: Option<u16>,
}

/// A value of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseValue {
    /// A tensor. Strings are framed: for each element its length in bytes as a little-endian u32, then its UTF-8 text.
    Tensor(Tensor),
    /// Values of one type, in order.
    Sequence(Vec<CaseValue>),
    /// A value, or nothing.
    Optional(Option<Box<CaseValue>>),
}

/// Inputs and what must come out, by the names of the model's inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// What goes in; an input that is left out is not here.
    pub inputs: Vec<(String, CaseValue)>,
    /// What must come out; an output that the case leaves open is not here.
    pub outputs: Vec<(String, CaseValue)>,
}

/// A case that was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Which case.
    #[serde(flatten)]
    pub facts: CaseFacts,
    /// What it came to.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took, loading and planning included.
    pub took_ms: f64,
    /// Why its failure is known, from the plugin's list; it is then no failure of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<String>,
}

impl CaseResult {
    /// Whether it is a failure of the run.
    pub fn fails(&self) -> bool {
        self.outcome.verdict.is_failure() && self.waiver.is_none()
    }
}
