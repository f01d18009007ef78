//! Operators that stay with the host, because their results have no shape that a plan could know, or are no tensors of numbers.
//!
//! Each is a function from values to values, run between the planned segments of a program. Operators on tensors of known
//! shapes are kernels, not here; running blocks (If, Loop, Scan) is `program`'s work. What comes in is checked here even where `graph`
//! has seen it: shapes that follow from data, the texts and pictures of a request. Results are bounded (`limits`), and so is the work.

mod call;
mod convert;
mod elements;
mod features;
mod generator;
mod images;
mod labels;
mod limits;
mod ngrams;
mod normalizer;
mod optional;
mod random;
mod regex;
mod selection;
mod sequence;
mod string_tensors;
mod strings;
mod suppression;
mod training;
mod trees;
mod unique;
mod value;
mod walk;

#[cfg(test)]
mod page;
#[cfg(test)]
mod testing;

pub use value::Value;

use call::{Call, Outcome};
use sunmao_graph::Node;

/// Why an operator gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} ({op}) {what}")]
pub struct HostOpError {
    /// The node.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// What is wrong, and what to do about it.
    pub what: String,
}

type Function = fn(&Call<'_>) -> Outcome;

/// Operators that the host runs whatever their operands are.
#[rustfmt::skip] // One operator a line: a table.
const OPERATORS: &[(&str, Function)] = &[
    ("NonZero", selection::non_zero),
    ("Compress", selection::compress),
    ("Unique", unique::unique),
    ("NonMaxSuppression", suppression::non_max_suppression),
    ("SequenceConstruct", sequence::construct),
    ("SequenceEmpty", sequence::empty),
    ("SequenceInsert", sequence::insert),
    ("SequenceErase", sequence::erase),
    ("SequenceAt", sequence::at),
    ("SequenceLength", sequence::length),
    ("ConcatFromSequence", sequence::concat),
    ("SplitToSequence", sequence::split),
    ("Optional", optional::optional),
    ("OptionalHasElement", optional::has_element),
    ("OptionalGetElement", optional::get_element),
    ("StringConcat", strings::concat),
    ("StringSplit", strings::split),
    ("StringNormalizer", normalizer::normalize),
    ("RegexFullMatch", regex::full_match),
    ("TfIdfVectorizer", ngrams::vectorize),
    ("ImageDecoder", images::decode),
    ("RandomNormal", random::normal),
    ("RandomNormalLike", random::normal),
    ("RandomUniform", random::uniform),
    ("RandomUniformLike", random::uniform),
    ("Bernoulli", random::bernoulli),
    ("Multinomial", random::multinomial),
    ("Dropout", random::dropout),
    ("ai.onnx.ml.ArrayFeatureExtractor", features::extract),
    ("ai.onnx.ml.Binarizer", features::binarize),
    ("ai.onnx.ml.LabelEncoder", labels::encode),
    ("ai.onnx.ml.TreeEnsemble", trees::ensemble),
    ("ai.onnx.preview.training.Adagrad", training::adagrad),
    ("ai.onnx.preview.training.Adam", training::adam),
    ("ai.onnx.preview.training.Momentum", training::momentum),
];

/// Operators that kernels run on numbers and the host on strings, sequences and optional values.
#[rustfmt::skip] // One operator a line: a table.
const STRING_FORMS: &[(&str, Function)] = &[
    ("Identity", string_tensors::identity),
    ("Equal", string_tensors::equal),
    ("Where", string_tensors::choose),
    ("Concat", string_tensors::concat),
    ("Gather", string_tensors::gather),
    ("Reshape", string_tensors::reshape),
    ("Flatten", string_tensors::flatten),
    ("Squeeze", string_tensors::squeeze),
    ("Unsqueeze", string_tensors::unsqueeze),
    ("Transpose", string_tensors::transpose),
    ("Expand", string_tensors::expand),
    ("Shape", string_tensors::shape),
    ("Size", string_tensors::size),
    ("Cast", convert::cast),
    ("CastLike", convert::cast_like),
];

/// Whether an operator is always run here.
pub fn covers(op: &str) -> bool {
    find(OPERATORS, op).is_some()
}

/// Whether an operator that is a kernel's otherwise is run here when it takes or gives strings, or takes a sequence or an optional value.
pub fn covers_strings(op: &str) -> bool {
    find(STRING_FORMS, op).is_some()
}

/// Runs one operator. `inputs` has an entry for each of the node's, none where it is left out; the answer has one for each of its outputs.
pub fn evaluate(node: &Node, inputs: &[Option<Value>]) -> Result<Vec<Option<Value>>, HostOpError> {
    let refuse = |what: String| HostOpError { node: node.label(), op: node.op.clone(), what };
    let function = find(OPERATORS, &node.op)
        .or_else(|| find(STRING_FORMS, &node.op))
        .ok_or_else(|| refuse("is not run by the host; choose a device that has a kernel for it".to_owned()))?;
    let results = function(&Call::new(node, inputs)).map_err(refuse)?;
    if results.len() < node.outputs.len() {
        let what = format!("has {} outputs and makes {}; the model is damaged", node.outputs.len(), results.len());
        return Err(refuse(what));
    }
    Ok(node.outputs.iter().zip(results).map(|(output, result)| output.map(|_| result)).collect())
}

fn find(table: &[(&str, Function)], op: &str) -> Option<Function> {
    table.iter().find(|(name, _)| *name == op).map(|(_, function)| *function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sunmao_graph::schema;

    #[test]
    fn every_operator_is_in_the_schema_tables() {
        for (op, _) in OPERATORS.iter().chain(STRING_FORMS) {
            assert!(schema::find(op).is_some(), "{op}");
        }
    }

    #[test]
    fn an_error_names_the_node_the_operator_and_the_remedy() {
        let node = testing::node("Conv", &[], 1);
        let error = evaluate(&node, &[]).expect_err("a kernel's");
        let text = "node `n` (Conv) is not run by the host; choose a device that has a kernel for it";
        assert_eq!(error.to_string(), text);
    }
}
