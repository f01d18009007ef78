//! The layers between bytes.

use super::{F32, I8, I32, Layer, PLAIN, U8, operand};
use sunmao_plugin_sdk::abi::{Operand, Operation};

const fn product(name: &'static str, count: usize, rows: usize, depth: usize, columns: usize) -> Layer {
    Layer { name, count, inputs: depth, outputs: columns, size: [1, rows], ..PLAIN }
}

/// Products of bytes that become floats: the columns of a layer are the rows of the left side.
pub(super) const PRODUCTS: &[Layer] = &[
    product("minilm", 24, 128, 384, 384),
    product("minilm", 6, 128, 384, 1536),
    product("minilm", 6, 128, 1536, 384),
    product("classifier", 1, 1, 1280, 1000),
];

fn typed(dtype: u16, shape: &[usize], constant: bool) -> Option<Operand> {
    operand(shape, constant).map(|all| Operand { dtype, ..all })
}

fn zero(dtype: u16) -> Option<Operand> {
    operand(&[], true).map(|all| Operand { dtype, literal: Some(vec![0]), ..all })
}

/// The layer as `QLinearConv` with a scale for each output channel, without what is added to it; or as a product.
pub(super) fn operation(layer: &Layer) -> Operation {
    let [high, wide] = layer.output();
    let (op, revision, attributes, inputs, output) = if PRODUCTS.iter().any(|product| product.name == layer.name) {
        let inputs = vec![
            typed(U8, &[wide, layer.inputs], false),
            typed(I8, &[layer.inputs, layer.outputs], true),
            operand(&[], false),
            operand(&[], true),
            typed(U8, &[], false),
            zero(I8),
            operand(&[layer.outputs], true),
        ];
        ("sunmao.MatMulIntegerToFloat", 1, Vec::new(), inputs, typed(F32, &[wide, layer.outputs], false))
    } else {
        let inputs = vec![
            typed(U8, &[layer.images, layer.inputs, layer.size[0], layer.size[1]], false),
            operand(&[], true),
            zero(U8),
            typed(I8, &[layer.outputs, layer.inputs / layer.groups, layer.kernel, layer.kernel], true),
            operand(&[layer.outputs], true),
            zero(I8),
            operand(&[], true),
            zero(U8),
            typed(I32, &[layer.outputs], true),
        ];
        let output = typed(U8, &[layer.images, layer.outputs, high, wide], false);
        ("QLinearConv", 10, layer.attributes(), inputs, output)
    };
    Operation {
        op: op.into(),
        revision,
        attributes,
        inputs,
        outputs: vec![output],
        epilogue: Vec::new(),
        ext: Vec::new(),
    }
}

/// Signed bytes whose frequencies are about those of trained weights: few are large. How quantised products are packed depends on that.
pub(super) fn bell(bytes: &mut [u8]) {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 26) as u8
    };
    bytes.iter_mut().for_each(|byte| *byte = (0..4).fold(128u8, |sum, _| sum.wrapping_add(next())).wrapping_add(2));
}
