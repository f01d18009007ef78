//! Writes protobuf messages by hand, right and wrong ones.

/// Appends fields to a message.
#[derive(Clone, Default)]
pub(super) struct Msg(pub Vec<u8>);

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

impl Msg {
    pub(super) fn new() -> Self {
        Self::default()
    }
    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.0.extend(varint(field << 3));
        self.0.extend(varint(value as u64));
        self
    }
    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        self.0.extend(varint(field << 3 | 5));
        self.0.extend(value.to_le_bytes());
        self
    }
    pub(super) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.0.extend(varint(field << 3 | 2));
        self.0.extend(varint(value.as_ref().len() as u64));
        self.0.extend(value.as_ref());
        self
    }
    pub(super) fn msg(self, field: u64, value: Msg) -> Self {
        self.bytes(field, value.0)
    }
    pub(super) fn all(self, field: u64, values: &[&str]) -> Self {
        values.iter().fold(self, |msg, value| msg.bytes(field, value))
    }
}

/// Packed varints.
pub(super) fn packed(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|&value| varint(value as u64)).collect()
}

/// `TensorProto` with dims, element type and name.
pub(super) fn tensor(name: &str, dtype: i64, dims: &[i64]) -> Msg {
    dims.iter().fold(Msg::new(), |msg, &dim| msg.int(1, dim)).int(2, dtype).bytes(8, name)
}

pub(super) enum Dim {
    Known(i64),
    Named(&'static str),
    None,
}

/// `ValueInfoProto` of a tensor.
pub(super) fn info(name: &str, dtype: i64, dims: &[Dim]) -> Msg {
    let shape = dims.iter().fold(Msg::new(), |shape, dim| {
        shape.msg(
            1,
            match dim {
                Dim::Known(length) => Msg::new().int(1, *length),
                Dim::Named(name) => Msg::new().bytes(2, name),
                Dim::None => Msg::new(),
            },
        )
    });
    Msg::new().bytes(1, name).msg(2, Msg::new().msg(1, Msg::new().int(1, dtype).msg(2, shape)))
}

/// `NodeProto`.
pub(super) fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> Msg {
    Msg::new().all(1, inputs).all(2, outputs).bytes(3, name).bytes(4, op)
}

/// `AttributeProto` with its type.
pub(super) fn attr(name: &str, kind: i64) -> Msg {
    Msg::new().bytes(1, name).int(20, kind)
}

/// `ModelProto` around a graph.
pub(super) fn model_of(opset: i64, graph: Msg) -> Vec<u8> {
    Msg::new().int(1, 8).bytes(2, "hand").msg(7, graph).msg(8, Msg::new().bytes(1, "").int(2, opset)).0
}

/// The same, opset 17.
pub(super) fn model(graph: Msg) -> Vec<u8> {
    model_of(17, graph)
}

/// A graph of one Relu from `x` to `y`, to which a test adds.
pub(super) fn relu_graph() -> Msg {
    Msg::new()
        .msg(1, node("Relu", "relu", &["x"], &["y"]))
        .bytes(2, "g")
        .msg(11, info("x", 1, &[Dim::Named("batch"), Dim::Known(4)]))
        .msg(12, info("y", 1, &[Dim::Named("batch"), Dim::Known(4)]))
}

/// y = Relu(x + w).
pub(super) fn tiny_add() -> Vec<u8> {
    let graph = Msg::new()
        .msg(1, node("Add", "add", &["x", "w"], &["s"]))
        .msg(1, node("Relu", "relu", &["s"], &["y"]))
        .bytes(2, "tiny")
        .msg(5, tensor("w", 1, &[4]).bytes(9, [0u8; 16]))
        .msg(11, info("x", 1, &[Dim::Named("batch"), Dim::Known(4)]))
        .msg(12, info("y", 1, &[Dim::Named("batch"), Dim::Known(4)]));
    model(graph)
}

/// A model that has something of everything: every attribute type, all ways to store a tensor, blocks, a function.
pub(super) fn everything() -> Vec<u8> {
    let graph_attr = |name: &str, graph: Msg| attr(name, 5).msg(6, graph);
    let branch =
        |op: &str| Msg::new().msg(1, node(op, "", &["s", "w"], &["b"])).bytes(2, "branch").msg(12, info("b", 1, &[]));
    let attributes = node("Thing", "thing", &["", "x"], &["t", ""])
        .bytes(7, "custom")
        .msg(5, attr("f", 1).float(2, 0.5))
        .msg(5, attr("i", 2).int(3, -3))
        .msg(5, attr("s", 3).bytes(4, "text"))
        .msg(5, attr("b", 3).bytes(4, [0xff, 0xfe]))
        .msg(5, attr("t", 4).msg(5, tensor("", 7, &[2]).bytes(7, packed(&[1, -1]))))
        .msg(5, attr("fs", 6).float(7, 1.0).bytes(7, 2.0f32.to_le_bytes()))
        .msg(5, attr("is", 7).int(8, 1).bytes(8, packed(&[2, -3])))
        .msg(5, attr("ss", 8).all(9, &["a", "b"]));
    let function = Msg::new()
        .bytes(1, "Twice")
        .all(4, &["a", "unused"])
        .all(5, &["r"])
        .bytes(6, "by")
        .msg(7, node("Constant", "", &[], &["k"]).msg(5, Msg::new().bytes(1, "value_float").bytes(21, "by").int(20, 1)))
        .msg(7, node("Mul", "m", &["a", "k"], &["r"]))
        .msg(9, Msg::new().int(2, 18))
        .bytes(10, "local");
    let graph = Msg::new()
        .msg(1, node("Add", "add", &["x", "w"], &["s"]))
        .msg(1, attributes)
        .msg(1, node("Constant", "", &[], &["c"]).msg(5, attr("value_ints", 7).bytes(8, packed(&[5, 6]))))
        .msg(
            1,
            node("If", "if", &["flag"], &["y"])
                .msg(5, graph_attr("then_branch", branch("Add")))
                .msg(5, graph_attr("else_branch", branch("Sub"))),
        )
        .msg(1, node("Twice", "twice", &["y"], &["z"]).bytes(7, "local").msg(5, attr("by", 1).float(2, 2.0)))
        .bytes(2, "everything")
        .msg(5, tensor("w", 1, &[2, 2]).bytes(4, [0u8; 16]))
        .msg(5, tensor("big", 7, &[300]).bytes(7, packed(&[7; 300])))
        .msg(5, tensor("half", 10, &[3]).bytes(5, packed(&[15360, 0, 1])))
        .msg(5, tensor("flag", 9, &[]).int(5, 1))
        .msg(11, info("x", 1, &[Dim::Named("n"), Dim::None]))
        .msg(11, info("w", 1, &[Dim::Known(2), Dim::Known(2)]))
        .msg(12, info("z", 1, &[Dim::Named("n"), Dim::None]))
        .msg(12, info("t", 1, &[]))
        .msg(13, info("s", 1, &[Dim::Named("n"), Dim::Known(2)]))
        .msg(14, Msg::new().bytes(1, "s"));
    Msg::new()
        .int(1, 9)
        .bytes(2, "hand")
        .bytes(3, "1.0")
        .int(5, 3)
        .msg(7, graph)
        .msg(8, Msg::new().bytes(1, "").int(2, 18))
        .msg(8, Msg::new().bytes(1, "custom").int(2, 1))
        .msg(8, Msg::new().bytes(1, "local").int(2, 1))
        .msg(14, Msg::new().bytes(1, "license").bytes(2, "CC0"))
        .msg(25, function)
        .0
}
