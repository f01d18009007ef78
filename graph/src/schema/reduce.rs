//! Reductions, normalisations and scans.

use super::{Kind, Schema, integer, integers, number, op, required};

#[rustfmt::skip] // One operator a line: a table.
pub(super) const TABLE: &[Schema] = &[
    op("ReduceSum", &[1, 11, 13], 13, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceMean", &[1, 11, 13, 18], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceMax", &[1, 11, 12, 13, 18, 20], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceMin", &[1, 11, 12, 13, 18, 20], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceProd", &[1, 11, 13, 18], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceL1", &[1, 11, 13, 18], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceL2", &[1, 11, 13, 18], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceLogSum", &[1, 11, 13, 18, 28], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceLogSumExp", &[1, 11, 13, 18, 28], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ReduceSumSquare", &[1, 11, 13, 18], 18, (1, 2), (1, 1), &[integer("keepdims", 1), integer("noop_with_empty_axes", 0)]),
    op("ArgMax", &[1, 11, 12, 13], 13, (1, 1), (1, 1), &[integer("axis", 0), integer("keepdims", 1), integer("select_last_index", 0)]),
    op("ArgMin", &[1, 11, 12, 13], 13, (1, 1), (1, 1), &[integer("axis", 0), integer("keepdims", 1), integer("select_last_index", 0)]),
    op("CumSum", &[11, 14], 14, (2, 2), (1, 1), &[integer("exclusive", 0), integer("reverse", 0)]),
    op("CumProd", &[26], 26, (2, 2), (1, 1), &[integer("exclusive", 0), integer("reverse", 0)]),
    op("Softmax", &[1, 11, 13], 13, (1, 1), (1, 1), &[integer("axis", -1)]),
    op("LogSoftmax", &[1, 11, 13], 13, (1, 1), (1, 1), &[integer("axis", -1)]),
    op("Hardmax", &[1, 11, 13], 13, (1, 1), (1, 1), &[integer("axis", -1)]),
    op("LayerNormalization", &[17], 17, (2, 3), (1, 3), &[integer("axis", -1), number("epsilon", 9.999999747378752e-06), integer("stash_type", 1)]),
    op("RMSNormalization", &[23], 23, (2, 2), (1, 1), &[integer("axis", -1), number("epsilon", 9.999999747378752e-06), integer("stash_type", 1)]),
    op("GroupNormalization", &[18, 21], 21, (3, 3), (1, 1), &[number("epsilon", 9.999999747378752e-06), required("num_groups", Kind::Integer), integer("stash_type", 1)]),
    op("InstanceNormalization", &[1, 6, 22], 6, (3, 3), (1, 1), &[number("epsilon", 9.999999747378752e-06)]),
    op("BatchNormalization", &[1, 6, 7, 9, 14, 15], 15, (5, 5), (1, 3), &[number("epsilon", 9.999999747378752e-06), number("momentum", 0.8999999761581421), integer("training_mode", 0)]),
    op("MeanVarianceNormalization", &[9, 13], 13, (1, 1), (1, 1), &[integers("axes", &[0, 2, 3])]),
    op("LpNormalization", &[1, 22], 1, (1, 1), (1, 1), &[integer("axis", -1), integer("p", 2)]),
    op("LRN", &[1, 13], 13, (1, 1), (1, 1), &[number("alpha", 9.999999747378752e-05), number("beta", 0.75), number("bias", 1.0), required("size", Kind::Integer)]),
    op("TopK", &[1, 10, 11, 24], 11, (2, 2), (2, 2), &[integer("axis", -1), integer("largest", 1), integer("sorted", 1)]),
];
