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

/// Softmax along the first axis: each column of `y` sums to 1.
pub(crate) fn columns() -> Vec<u8> {
    of_nodes(None, |graph| {
        node("turn", "Transpose", &["x"], "t", graph);
        node("soft", "Softmax", &["t"], "s", graph);
        node("back", "Transpose", &["s"], "y", graph);
    })
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

/// A value of that element type (1: f32, 7: i64, 9: bool) and shape.
fn value(field: u64, name: &str, dtype: u64, shape: &[u64], out: &mut Vec<u8>) {
    message(field, out, |value| {
        bytes(1, name.as_bytes(), value);
        message(2, value, |kind| {
            message(1, kind, |tensor| {
                number(1, dtype, tensor);
                message(2, tensor, |dims| {
                    shape.iter().for_each(|&length| message(1, dims, |dim| number(1, length, dim)))
                });
            });
        });
    });
}

const INPUT: u64 = 11;
const OUTPUT: u64 = 12;

/// A block as an attribute of a node.
fn block(key: &str, node: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    message(5, node, |attribute| {
        bytes(1, key.as_bytes(), attribute);
        message(6, attribute, |graph| {
            bytes(2, key.as_bytes(), graph);
            fill(graph);
        });
        number(20, 5, attribute);
    });
}

/// `last = v` doubled `n` times; `each` is what every run gave. The body is `depth` loops inside one another, each of `n` runs.
fn doubling_loop(depth: usize, v: &str, last: &str, each: Option<&str>, graph: &mut Vec<u8>) {
    message(1, graph, |node| {
        ["n", "", v].iter().for_each(|input| bytes(1, input.as_bytes(), node));
        [Some(last), each].iter().flatten().for_each(|output| bytes(2, output.as_bytes(), node));
        bytes(3, format!("loop {depth}").as_bytes(), node);
        bytes(4, b"Loop", node);
        block("body", node, |body| {
            let name = |what: &str| format!("{what}{depth}");
            let (held, state, next) = (name("held"), name("state"), name("next"));
            self::node("go on", "Identity", &[&held], &name("again"), body);
            match depth {
                1 => self::node("double", "Add", &[&state, &state], &next, body),
                _ => doubling_loop(depth - 1, &state, &next, None, body),
            }
            if each.is_some() {
                self::node("keep", "Identity", &[&next], &name("kept"), body);
            }
            value(INPUT, &name("trip"), 7, &[], body);
            value(INPUT, &held, 9, &[], body);
            value(INPUT, &state, 1, &[4], body);
            value(OUTPUT, &name("again"), 9, &[], body);
            value(OUTPUT, &next, 1, &[4], body);
            if each.is_some() {
                value(OUTPUT, &name("kept"), 1, &[4], body);
            }
        });
    });
}

/// `y = x` doubled `n` times, `ys` the steps on the way; at a depth of 2 or more `n` times `n` times, and so on, without `ys`.
pub(crate) fn loops(depth: usize) -> Vec<u8> {
    whole(|graph| {
        doubling_loop(depth, "x", "y", (depth == 1).then_some("ys"), graph);
        value(INPUT, "n", 7, &[], graph);
        value(INPUT, "x", 1, &[4], graph);
        value(OUTPUT, "y", 1, &[4], graph);
        if depth == 1 {
            message(OUTPUT, graph, |output| tensor("ys", Some(4), output));
        }
    })
}

/// `y = c ? x + x : x * x`.
pub(crate) fn branches() -> Vec<u8> {
    whole(|graph| {
        message(1, graph, |node| {
            bytes(1, b"c", node);
            bytes(2, b"y", node);
            bytes(3, b"either", node);
            bytes(4, b"If", node);
            for (key, op) in [("then_branch", "Add"), ("else_branch", "Mul")] {
                block(key, node, |body| {
                    self::node(op, op, &["x", "x"], key, body);
                    value(OUTPUT, key, 1, &[4], body);
                });
            }
        });
        value(INPUT, "c", 9, &[], graph);
        value(INPUT, "x", 1, &[4], graph);
        value(OUTPUT, "y", 1, &[4], graph);
    })
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
    whole(|graph| {
        nodes(graph);
        message(INPUT, graph, |input| tensor("x", length, input));
        message(OUTPUT, graph, |output| tensor("y", length, output));
    })
}

/// A model of that graph at opset 13.
fn whole(graph: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    number(1, 8, &mut out);
    message(8, &mut out, |opset| number(2, 13, opset));
    message(7, &mut out, |message| {
        graph(message);
        bytes(2, b"tiny", message);
    });
    out
}
