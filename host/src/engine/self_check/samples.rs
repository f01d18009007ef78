//! Small operations that fast paths are checked on. An operator that is not here is checked on the plan's own operations, where they are small.

use sunmao_graph::DType;
use sunmao_plugin_sdk::abi::{Attribute, EpilogueStep, Kv, Operand, Operation};

/// Samples of an operator, with lengths that no vector width divides.
pub(super) fn of(op: &str) -> Vec<Operation> {
    match op {
        "Conv" => vec![
            conv(&[1, 5, 9, 11], &[7, 5, 3, 3], &[1, 7, 9, 11], 1, 1, 1),
            conv(&[2, 9, 13, 10], &[11, 9, 1, 1], &[2, 11, 13, 10], 0, 1, 1),
            conv(&[1, 13, 11, 9], &[13, 1, 3, 3], &[1, 13, 6, 5], 1, 2, 13),
            conv(&[1, 16, 8, 9], &[17, 16, 3, 3], &[1, 17, 8, 9], 1, 1, 1),
            conv(&[1, 3, 11, 13], &[9, 3, 7, 7], &[1, 9, 6, 7], 3, 2, 1),
        ],
        "MatMul" => vec![
            Sample::new(op, 13).input(&[13, 37]).constant(&[37, 19]).output(&[13, 19]),
            Sample::new(op, 13).input(&[1, 70]).constant(&[70, 33]).output(&[1, 33]),
            Sample::new(op, 13).input(&[2, 3, 7, 18]).input(&[2, 3, 18, 11]).output(&[2, 3, 7, 11]),
        ],
        "Gemm" => [(1, [5, 40], [23, 40], [5, 23]), (0, [6, 17], [17, 9], [6, 9])]
            .map(|(transposed, a, b, y)| {
                Sample::new(op, 13)
                    .input(&a)
                    .constant(&b)
                    .constant(&y[1..])
                    .number("alpha", 1.0)
                    .number("beta", 1.0)
                    .integer("transA", 0)
                    .integer("transB", transposed)
                    .output(&y)
            })
            .into(),
        "MaxPool" | "AveragePool" => vec![pool(op)],
        "GlobalAveragePool" | "GlobalMaxPool" => vec![Sample::new(op, 1).input(&[2, 11, 5, 7]).output(&[2, 11, 1, 1])],
        "LayerNormalization" => vec![
            Sample::new(op, 17)
                .input(&[3, 5, 37])
                .constant(&[37])
                .constant(&[37])
                .integer("axis", -1)
                .number("epsilon", 1e-5)
                .integer("stash_type", 1)
                .output(&[3, 5, 37]),
        ],
        "Softmax" => vec![Sample::new(op, 13).input(&[3, 5, 37]).integer("axis", -1).output(&[3, 5, 37])],
        "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" => vec![
            Sample::new(op, 14).input(&[3, 5, 37]).input(&[3, 5, 37]).output(&[3, 5, 37]),
            Sample::new(op, 14).input(&[3, 5, 37]).input(&[37]).output(&[3, 5, 37]),
            Sample::new(op, 14).input(&[3, 5, 37]).input(&[3, 5, 1]).output(&[3, 5, 37]),
        ],
        // One tensor in, one like it out, whatever the newest revision is: the operators that have another form are declined.
        _ => [6, 13, 14, 20, 22, 24]
            .map(|revision| Sample::new(op, revision).input(&[3, 5, 37]).output(&[3, 5, 37]))
            .into(),
    }
}

fn conv(x: &[u32], w: &[u32], y: &[u32], pad: i64, stride: i64, group: i64) -> Operation {
    let mut sample = Sample::new("Conv", 11)
        .input(x)
        .constant(w)
        .constant(&w[..1])
        .integers("pads", &[pad; 4])
        .integers("strides", &[stride; 2])
        .integers("dilations", &[1; 2])
        .integers("kernel_shape", &[i64::from(w[2]), i64::from(w[3])])
        .integer("group", group)
        .text("auto_pad", "NOTSET");
    sample.0.epilogue.push(EpilogueStep { op: "Relu".into(), input: None, attributes: Vec::new() });
    sample.output(y)
}

fn pool(op: &str) -> Operation {
    let revision = if op == "MaxPool" { 12 } else { 19 };
    let key = if op == "MaxPool" { "storage_order" } else { "count_include_pad" };
    Sample::new(op, revision)
        .input(&[2, 5, 11, 13])
        .integers("kernel_shape", &[3, 3])
        .integers("pads", &[1; 4])
        .integers("strides", &[2; 2])
        .integers("dilations", &[1; 2])
        .integer("ceil_mode", 0)
        .integer(key, 0)
        .text("auto_pad", "NOTSET")
        .output(&[2, 5, 6, 7])
}

/// An operation on floats in the making.
struct Sample(Operation);

impl Sample {
    fn new(op: &str, revision: u16) -> Self {
        Self(Operation {
            op: op.into(),
            revision,
            attributes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            epilogue: Vec::new(),
            ext: Vec::new(),
        })
    }

    fn operand(shape: &[u32], constant: bool) -> Option<Operand> {
        Some(Operand {
            dtype: DType::F32.code(),
            shape: shape.to_vec(),
            layout: 0,
            constant,
            literal: None,
            quantisation: None,
            extents: Vec::new(),
            ext: Vec::new(),
        })
    }

    fn input(mut self, shape: &[u32]) -> Self {
        self.0.inputs.push(Self::operand(shape, false));
        self
    }

    fn constant(mut self, shape: &[u32]) -> Self {
        self.0.inputs.push(Self::operand(shape, true));
        self
    }

    fn attribute(mut self, key: &str, val: Attribute) -> Self {
        self.0.attributes.push(Kv { key: key.into(), val });
        self
    }

    fn integer(self, key: &str, value: i64) -> Self {
        self.attribute(key, Attribute::Integer(value))
    }

    fn integers(self, key: &str, values: &[i64]) -> Self {
        self.attribute(key, Attribute::Integers(values.to_vec()))
    }

    fn number(self, key: &str, value: f64) -> Self {
        self.attribute(key, Attribute::Number(value))
    }

    fn text(self, key: &str, value: &str) -> Self {
        self.attribute(key, Attribute::Text(value.into()))
    }

    fn output(mut self, shape: &[u32]) -> Operation {
        self.0.outputs.push(Self::operand(shape, false));
        self.0
    }
}
