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

/// An f32 tensor of an open first axis and a second of four.
fn tensor(name: &str, out: &mut Vec<u8>) {
    bytes(1, name.as_bytes(), out);
    message(2, out, |kind| {
        message(1, kind, |tensor| {
            number(1, 1, tensor);
            message(2, tensor, |shape| {
                message(1, shape, |dim| bytes(2, b"batch", dim));
                message(1, shape, |dim| number(1, 4, dim));
            });
        });
    });
}

/// `y = op(x, x)` at opset 13.
pub(crate) fn model(op: &str) -> Vec<u8> {
    let mut out = Vec::new();
    number(1, 8, &mut out);
    message(8, &mut out, |opset| number(2, 13, opset));
    message(7, &mut out, |graph| {
        message(1, graph, |node| {
            bytes(1, b"x", node);
            bytes(1, b"x", node);
            bytes(2, b"y", node);
            bytes(3, b"the only one", node);
            bytes(4, op.as_bytes(), node);
        });
        bytes(2, b"tiny", graph);
        message(11, graph, |input| tensor("x", input));
        message(12, graph, |output| tensor("y", output));
    });
    out
}
