//! Operators that the host runs between planned segments: sequences, optional values, strings, pictures, and the domains beside ONNX's own.
//!
//! Tensors in attributes are inputs here, behind the operator's own, in the order of [`tensor_attributes`]: an evaluator sees values
//! and not the graph.

use super::{Kind, Schema, VARIADIC, integer, number, op, optional, required, text};

#[rustfmt::skip] // One operator a line: a table.
pub(super) const TABLE: &[Schema] = &[
    op("SequenceConstruct", &[11], 11, (1, VARIADIC), (1, 1), &[]),
    op("SequenceEmpty", &[11], 11, (0, 0), (1, 1), &[integer("dtype", 1)]),
    op("SequenceInsert", &[11], 11, (2, 3), (1, 1), &[]),
    op("SequenceErase", &[11], 11, (1, 2), (1, 1), &[]),
    op("SequenceAt", &[11], 11, (2, 2), (1, 1), &[]),
    op("SequenceLength", &[11], 11, (1, 1), (1, 1), &[]),
    op("ConcatFromSequence", &[11], 11, (1, 1), (1, 1), &[required("axis", Kind::Integer), integer("new_axis", 0)]),
    op("SplitToSequence", &[11, 24], 11, (1, 2), (1, 1), &[integer("axis", 0), integer("keepdims", 1)]),
    op("Optional", &[15, 28], 15, (0, 1), (1, 1), &[]),
    op("OptionalHasElement", &[15, 18, 28], 18, (0, 1), (1, 1), &[]),
    op("OptionalGetElement", &[15, 18, 28], 18, (1, 1), (1, 1), &[]),
    op("StringConcat", &[20], 20, (2, 2), (1, 1), &[]),
    op("StringSplit", &[20], 20, (1, 1), (1, 2), &[optional("delimiter", Kind::Text), optional("maxsplit", Kind::Integer)]),
    op("StringNormalizer", &[10], 10, (1, 1), (1, 1), &[text("case_change_action", "NONE"), integer("is_case_sensitive", 0), optional("locale", Kind::Text), optional("stopwords", Kind::Texts)]),
    op("RegexFullMatch", &[20], 20, (1, 1), (1, 1), &[required("pattern", Kind::Text)]),
    op("TfIdfVectorizer", &[9], 9, (1, 1), (1, 1), &[required("max_gram_length", Kind::Integer), required("max_skip_count", Kind::Integer), required("min_gram_length", Kind::Integer), required("mode", Kind::Text), required("ngram_counts", Kind::Integers), required("ngram_indexes", Kind::Integers), optional("pool_int64s", Kind::Integers), optional("pool_strings", Kind::Texts), optional("weights", Kind::Numbers)]),
    op("ImageDecoder", &[20], 20, (1, 1), (1, 1), &[text("pixel_format", "RGB")]),
    op("ai.onnx.ml.ArrayFeatureExtractor", &[1], 1, (2, 2), (1, 1), &[]),
    op("ai.onnx.ml.Binarizer", &[1], 1, (1, 1), (1, 1), &[number("threshold", 0.0)]),
    // Inputs: X, keys, values, default.
    op("ai.onnx.ml.LabelEncoder", &[1, 2, 4], 4, (1, 4), (1, 1), &[number("default_float", -0.0), integer("default_int64", -1), text("default_string", "_Unused"), optional("keys_floats", Kind::Numbers), optional("keys_int64s", Kind::Integers), optional("keys_strings", Kind::Texts), optional("values_floats", Kind::Numbers), optional("values_int64s", Kind::Integers), optional("values_strings", Kind::Texts)]),
    // Inputs: X, leaf weights, modes of the nodes, splits of the nodes, membership values.
    op("ai.onnx.ml.TreeEnsemble", &[5], 5, (4, 5), (1, 1), &[integer("aggregate_function", 1), required("leaf_targetids", Kind::Integers), integer("n_targets", 1), required("nodes_falseleafs", Kind::Integers), required("nodes_falsenodeids", Kind::Integers), required("nodes_featureids", Kind::Integers), optional("nodes_missing_value_tracks_true", Kind::Integers), required("nodes_trueleafs", Kind::Integers), required("nodes_truenodeids", Kind::Integers), integer("post_transform", 0), required("tree_roots", Kind::Integers)]),
    op("ai.onnx.preview.training.Adagrad", &[1], 1, (3, VARIADIC), (1, VARIADIC), &[number("decay_factor", 0.0), number("epsilon", 9.999999974752427e-07), number("norm_coefficient", 0.0)]),
    op("ai.onnx.preview.training.Adam", &[1], 1, (3, VARIADIC), (1, VARIADIC), &[number("alpha", 0.8999999761581421), number("beta", 0.9990000128746033), number("epsilon", 9.999999974752427e-07), number("norm_coefficient", 0.0), number("norm_coefficient_post", 0.0)]),
    op("ai.onnx.preview.training.Momentum", &[1], 1, (3, VARIADIC), (1, VARIADIC), &[required("alpha", Kind::Number), required("beta", Kind::Number), required("mode", Kind::Text), required("norm_coefficient", Kind::Number)]),
];

/// The attributes of an operator that hold tensors, each with the input that it becomes.
pub(crate) fn tensor_attributes(op: &str) -> &'static [(&'static str, usize)] {
    match op {
        "ai.onnx.ml.LabelEncoder" => &[("keys_tensor", 1), ("values_tensor", 2), ("default_tensor", 3)],
        "ai.onnx.ml.TreeEnsemble" => {
            &[("leaf_weights", 1), ("nodes_modes", 2), ("nodes_splits", 3), ("membership_values", 4)]
        }
        _ => &[],
    }
}
