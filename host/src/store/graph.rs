//! Graphs, kept.

use super::codec::{Kept, Reader, kept_choice, kept_record};
use std::sync::Arc;
use sunmao_graph::{
    Attribute, Container, Content, DType, Dim, Epilogue, Graph, Node, Role, Symbol, SymbolId, Value, ValueId, Weight,
};

kept_record! {
    Symbol { name, min, max, multiple_of }
    Weight { source, offset, length, encoding }
    Value { name, dtype, shape, container, role }
    Epilogue { op, input, attributes }
    Node { name, op, revision, attributes, inputs, outputs, epilogue }
    Graph { symbols, values, nodes, inputs, captured, outputs, meta }
}

kept_choice! {
    Dim { 0 = Known(length), 1 = Symbol(id), 2 = Unknown }
    Content { 0 = Weight(weight), 1 = Bytes(bytes) }
    Role { 0 = Input, 1 = Constant(content), 2 = Computed }
    Container { 0 = Tensor, 1 = Sequence, 2 = Optional, 3 = OptionalSequence }
    Attribute {
        0 = Integer(value), 1 = Number(value), 2 = Text(value), 3 = Integers(value), 4 = Numbers(value), 5 = Texts(value),
        6 = Bytes(value), 7 = Value(value), 8 = Graph(value),
    }
}

impl Kept for ValueId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        u32::take(from).map(ValueId)
    }
}

impl Kept for SymbolId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        u32::take(from).map(SymbolId)
    }
}

impl Kept for DType {
    fn put(&self, out: &mut Vec<u8>) {
        self.code().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        DType::from_code(u16::take(from)?)
    }
}

impl Kept for Arc<Graph> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Graph::take(from).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec::{decode, encode};
    use std::collections::BTreeMap;

    #[test]
    fn a_graph_with_everything_in_it_comes_back() {
        let weight = Weight { source: 3, offset: 1 << 40, length: 5, encoding: "raw-le".into() };
        let value = |name: &str, shape: Option<Vec<Dim>>, role: Role| Value {
            dtype: Some(DType::F16),
            shape,
            container: Container::OptionalSequence,
            role,
            ..Value::computed(name.into())
        };
        let mut graph = Graph {
            symbols: vec![Symbol { name: "n".into(), min: 1, max: u64::MAX, multiple_of: 8 }],
            values: vec![
                value("x", Some(vec![Dim::Symbol(SymbolId(0)), Dim::Known(4), Dim::Unknown]), Role::Input),
                value("w", None, Role::Constant(Content::Weight(weight))),
                value("c", Some(vec![]), Role::Constant(Content::Bytes([1u8, 2].as_slice().into()))),
                Value::computed("y".into()),
            ],
            inputs: vec![ValueId(0)],
            captured: 1,
            outputs: vec![ValueId(3)],
            meta: BTreeMap::from([("producer".into(), "somebody".into())]),
            ..Graph::default()
        };
        let block = Arc::new(graph.clone());
        let attributes = [
            ("a", Attribute::Integer(-1)),
            ("b", Attribute::Number(f64::MIN_POSITIVE)),
            ("c", Attribute::Text("t".into())),
            ("d", Attribute::Integers(vec![1, -2])),
            ("e", Attribute::Numbers(vec![0.25])),
            ("f", Attribute::Texts(vec!["u".into()])),
            ("g", Attribute::Bytes(vec![9])),
            ("h", Attribute::Value(ValueId(2))),
            ("i", Attribute::Graph(block)),
        ];
        let attributes: BTreeMap<String, Attribute> = attributes.map(|(key, value)| (key.to_owned(), value)).into();
        graph.nodes.push(Node {
            name: "node".into(),
            op: "Loop".into(),
            revision: 13,
            attributes: attributes.clone(),
            inputs: vec![Some(ValueId(0)), None],
            outputs: vec![None, Some(ValueId(3))],
            epilogue: vec![Epilogue { op: "bias".into(), input: Some(1), attributes }],
        });
        let bytes = encode(&graph);
        assert_eq!(decode::<Graph>(&bytes).as_ref(), Some(&graph));
        assert_eq!(decode::<Graph>(&bytes[..bytes.len() - 1]), None);
    }
}
