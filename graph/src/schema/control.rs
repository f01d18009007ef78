//! Operators that run blocks: branches and loop bodies. Behind an operator's own inputs stand the values that its blocks capture.

use super::{Kind, Schema, VARIADIC, op, optional, required};

#[rustfmt::skip] // One operator a line: a table.
pub(super) const TABLE: &[Schema] = &[
    op("If", &[1, 11, 13, 16, 19, 21, 23, 24, 25], 16, (1, VARIADIC), (1, VARIADIC), &[required("else_branch", Kind::Graph), required("then_branch", Kind::Graph)]),
    // Inputs: trip count, condition, carried values.
    op("Loop", &[1, 11, 13, 16, 19, 21, 23, 24, 25], 16, (2, VARIADIC), (1, VARIADIC), &[required("body", Kind::Graph)]),
    // Inputs: states, scanned tensors.
    op("Scan", &[8, 9, 11, 16, 19, 21, 23, 24, 25], 16, (1, VARIADIC), (1, VARIADIC), &[required("body", Kind::Graph), required("num_scan_inputs", Kind::Integer), optional("scan_input_axes", Kind::Integers), optional("scan_input_directions", Kind::Integers), optional("scan_output_axes", Kind::Integers), optional("scan_output_directions", Kind::Integers)]),
    // Scan as opset 8 had it, one run for each index of axis 0. Inputs: lengths (empty: as long as the tensors), states, scanned tensors.
    op("sunmao.BatchScan", &[1], 1, (2, VARIADIC), (1, VARIADIC), &[required("body", Kind::Graph), required("num_scan_inputs", Kind::Integer), optional("scan_input_directions", Kind::Integers)]),
    // Inputs: a sequence, then sequences of the same length or tensors that all elements share.
    op("SequenceMap", &[17], 17, (1, VARIADIC), (1, VARIADIC), &[required("body", Kind::Graph)]),
];
