//! Operations as kernels are asked to prepare them, kept.

use super::codec::{kept_choice, kept_record};
use sunmao_plugin_sdk::abi::{
    Alias, Attribute, EpilogueStep, Extent, Kv, Operand, Operation, PackedConstant, Quantisation,
};

kept_record! {
    Alias { output, input }
    EpilogueStep { op, input, attributes }
    Extent { axis, input }
    Kv { key, val }
    Operand { dtype, shape, layout, constant, literal, quantisation, extents, ext }
    Operation { op, revision, attributes, inputs, outputs, epilogue, ext }
    PackedConstant { input, bytes, align, key }
    Quantisation { axis, block, scale, zero }
}

kept_choice! {
    Attribute {
        0 = Integer(value), 1 = Number(value), 2 = Text(value), 3 = Integers(value), 4 = Numbers(value), 5 = Texts(value),
        6 = Bytes(value), 7 = Value(value), 8 = Block(value),
    }
}
