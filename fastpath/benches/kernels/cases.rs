//! Operations as they occur in the models that the figures are taken on.

use sunmao_plugin_sdk::abi::{Attribute, Kv, Operand, Operation};

/// One operation, and what it cannot do without.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) operation: Operation,
    /// Elementary operations; a multiplication and an addition are two.
    pub(crate) operations: u64,
}

/// Shapes are of squares and channels, so that a case is a line.
pub(crate) fn all() -> Vec<Case> {
    vec![
        matmul("gemm_1024", 1024, 1024, 1024),
        matmul("gemm_minilm_128x384x1536", 128, 384, 1536),
        matmul("gemm_classifier_1x2048x1000", 1, 2048, 1000),
        conv("conv_3x3_64_56", 64, 64, 56, 3, 1),
        conv("conv_3x3_512_7", 512, 512, 7, 3, 1),
        conv("conv_1x1_256_64_56", 256, 64, 56, 1, 1),
        conv("conv_1x1_1024_256_14", 1024, 256, 14, 1, 1),
        conv("conv_depthwise_96_112", 96, 96, 112, 3, 96),
        conv("conv_depthwise_576_14", 576, 576, 14, 3, 576),
        pool("maxpool_64_112", "MaxPool", 64, 112, 3),
        lines("softmax_12x128x128", "Softmax", &[12, 128, 128], 12),
        lines("relu_64x56x56", "Relu", &[64, 56, 56], 1),
        lines("gelu_128x1536", "Gelu", &[128, 1536], 30),
        sum("add_256x56x56", &[256, 56, 56]),
        norm("layernorm_128x384", 128, 384),
        // More weights than a cache holds.
        blocks("gemv_q8_0_4096x32768", Q8_0, 1, 4096, 32768),
        blocks("gemv_q4_k_4096x65536", Q4_K, 1, 4096, 65536),
        blocks("gemv_q4_0_4096x65536", Q4_0, 1, 4096, 65536),
        blocks("gemv_q6_k_4096x32768", Q6_K, 1, 4096, 32768),
        blocks("gemm_q4_k_4x4096x4096", Q4_K, 4, 4096, 4096),
        blocks("gemm_q4_k_64x4096x4096", Q4_K, 64, 4096, 4096),
    ]
}

/// Codes of block formats.
const Q4_0: u16 = 0x100;
const Q4_K: u16 = 0x101;
const Q6_K: u16 = 0x103;
const Q8_0: u16 = 0x104;

fn operand(shape: &[u32], constant: bool) -> Option<Operand> {
    Some(Operand {
        dtype: 1,
        shape: shape.to_vec(),
        layout: 0,
        constant,
        literal: None,
        quantisation: None,
        extents: Vec::new(),
        ext: Vec::new(),
    })
}

fn case(
    name: &'static str,
    op: &str,
    revision: u16,
    inputs: Vec<Option<Operand>>,
    output: &[u32],
    operations: u64,
) -> Case {
    let operation = Operation {
        op: op.into(),
        revision,
        attributes: Vec::new(),
        inputs,
        outputs: vec![operand(output, false)],
        epilogue: Vec::new(),
        ext: Vec::new(),
    };
    Case { name, operation, operations }
}

impl Case {
    fn integers(mut self, key: &str, values: &[i64]) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Integers(values.to_vec()) });
        self
    }

    fn integer(mut self, key: &str, value: i64) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Integer(value) });
        self
    }
}

fn count(shape: &[u32]) -> u64 {
    shape.iter().map(|&length| u64::from(length)).product()
}

fn matmul(name: &'static str, rows: u32, depth: u32, columns: u32) -> Case {
    let inputs = vec![operand(&[rows, depth], false), operand(&[depth, columns], true)];
    case(name, "MatMul", 13, inputs, &[rows, columns], 2 * count(&[rows, depth, columns]))
}

fn blocks(name: &'static str, format: u16, rows: u32, depth: u32, columns: u32) -> Case {
    let weights = operand(&[columns, depth], true).map(|weights| Operand { dtype: format, ..weights });
    let inputs = vec![operand(&[rows, depth], false), weights];
    case(name, "sunmao.QMatMul", 1, inputs, &[rows, columns], 2 * count(&[rows, depth, columns]))
}

fn conv(name: &'static str, channels: u32, filters: u32, side: u32, kernel: u32, groups: u32) -> Case {
    let each = channels / groups;
    let inputs = vec![
        operand(&[1, channels, side, side], false),
        operand(&[filters, each, kernel, kernel], true),
        operand(&[filters], true),
    ];
    let operations = 2 * count(&[filters, side, side, each, kernel, kernel]);
    let pad = i64::from(kernel / 2);
    case(name, "Conv", 11, inputs, &[1, filters, side, side], operations)
        .integers("kernel_shape", &[i64::from(kernel); 2])
        .integers("pads", &[pad; 4])
        .integer("group", i64::from(groups))
}

fn pool(name: &'static str, op: &str, channels: u32, side: u32, kernel: u32) -> Case {
    let half = side / 2;
    let operations = count(&[channels, half, half, kernel, kernel]);
    case(name, op, 12, vec![operand(&[1, channels, side, side], false)], &[1, channels, half, half], operations)
        .integers("kernel_shape", &[i64::from(kernel); 2])
        .integers("strides", &[2, 2])
        .integers("pads", &[1; 4])
}

fn lines(name: &'static str, op: &str, shape: &[u32], each: u64) -> Case {
    let revision = match op {
        "Gelu" => 20,
        "Relu" => 14,
        _ => 13,
    };
    case(name, op, revision, vec![operand(shape, false)], shape, each * count(shape))
}

fn sum(name: &'static str, shape: &[u32]) -> Case {
    case(name, "Add", 14, vec![operand(shape, false), operand(shape, false)], shape, count(shape))
}

fn norm(name: &'static str, rows: u32, width: u32) -> Case {
    let shape = [rows, width];
    let inputs = vec![operand(&shape, false), operand(&[width], true), operand(&[width], true)];
    case(name, "LayerNormalization", 17, inputs, &shape, 8 * count(&shape)).integer("axis", -1)
}
