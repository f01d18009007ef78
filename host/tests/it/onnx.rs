//! Writes the smallest ONNX files that the tests need.

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(value, out);
}

fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn message(field: u64, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    bytes(field, &inner, out);
}

/// An f32 tensor of an open first axis and a second of that length; none: open too.
fn tensor(name: &str, length: Option<u64>, out: &mut Vec<u8>) {
    bytes(1, name.as_bytes(), out);
    message(2, out, |kind| {
        message(1, kind, |tensor| {
            number(1, 1, tensor);
            message(2, tensor, |shape| {
                message(1, shape, |dim| bytes(2, b"batch", dim));
                message(1, shape, |dim| match length {
                    Some(length) => number(1, length, dim),
                    None => bytes(2, b"length", dim),
                });
            });
        });
    });
}

/// `y = op(x, x)` at opset 13.
pub(crate) fn model(op: &str) -> Vec<u8> {
    of_nodes(Some(4), |graph| node("the only one", op, &["x", "x"], "y", graph))
}

/// The same with both axes open.
pub(crate) fn open_model(op: &str) -> Vec<u8> {
    of_nodes(None, |graph| node("the only one", op, &["x", "x"], "y", graph))
}

/// `y = x * 2 * 2 ...`, by `length` additions.
pub(crate) fn doublings(length: usize) -> Vec<u8> {
    of_nodes(Some(4), |graph| {
        for index in 0..length {
            let input = link(index, length);
            node(&format!("n{index}"), "Add", &[&input, &input], &link(index + 1, length), graph);
        }
    })
}

/// `y = x v w`, `v` and `w` being 16 KiB of ones each in the file.
pub(crate) fn weighted() -> Vec<u8> {
    of_nodes(Some(4), |graph| {
        node("wide", "MatMul", &["x", "v"], "h", graph);
        node("narrow", "MatMul", &["h", "w"], "y", graph);
        for (name, shape) in [("v", [4, 1024]), ("w", [1024, 4])] {
            weight(name, shape, &[1.0; 4096], graph);
        }
    })
}

/// `y = x (u v) w`, of which `u v`, 256 KiB, can be computed before anybody asks. The elements follow from `seed`.
pub(crate) fn computed(seed: u32) -> Vec<u8> {
    const WIDE: u64 = 16384;
    of_nodes(Some(4), |graph| {
        node("constant", "MatMul", &["u", "v"], "p", graph);
        node("wide", "MatMul", &["x", "p"], "h", graph);
        node("narrow", "MatMul", &["h", "w"], "y", graph);
        for (name, shape) in [("u", [4, 8]), ("v", [8, WIDE]), ("w", [WIDE, 4])] {
            let count = (shape[0] * shape[1]) as u32;
            let elements: Vec<f32> = (0..count).map(|n| ((n * 7 + seed) % 23) as f32 / 8.0 - 1.0).collect();
            weight(name, shape, &elements, graph);
        }
    })
}

/// An f32 constant with its elements in the file.
fn weight(name: &str, shape: [u64; 2], elements: &[f32], graph: &mut Vec<u8>) {
    message(5, graph, |weight| {
        shape.iter().for_each(|&length| number(1, length, weight));
        number(2, 1, weight);
        bytes(8, name.as_bytes(), weight);
        bytes(9, &elements.iter().flat_map(|element| element.to_le_bytes()).collect::<Vec<u8>>(), weight);
    });
}

/// The value between two nodes of a chain of `length`.
fn link(index: usize, length: usize) -> String {
    match index {
        0 => "x".to_owned(),
        _ if index == length => "y".to_owned(),
        _ => format!("v{index}"),
    }
}

fn node(name: &str, op: &str, inputs: &[&str], output: &str, graph: &mut Vec<u8>) {
    message(1, graph, |node| {
        inputs.iter().for_each(|input| bytes(1, input.as_bytes(), node));
        bytes(2, output.as_bytes(), node);
        bytes(3, name.as_bytes(), node);
        bytes(4, op.as_bytes(), node);
    });
}

/// A model from `x` to `y`, both with a second axis of that length.
fn of_nodes(length: Option<u64>, nodes: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    number(1, 8, &mut out);
    message(8, &mut out, |opset| number(2, 13, opset));
    message(7, &mut out, |graph| {
        nodes(graph);
        bytes(2, b"tiny", graph);
        message(11, graph, |input| tensor("x", length, input));
        message(12, graph, |output| tensor("y", length, output));
    });
    out
}
