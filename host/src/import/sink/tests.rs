//! Sound and unsound models, item by item.

use super::*;
use plain::{Content, Role};
use plain::{Dim as D, Node, Symbol, Value, Weight};
use std::sync::atomic::{AtomicU32, Ordering};
use sunmao_graph::{Dim, SymbolId};

fn sink() -> (GraphSink, Refused) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("sunmao-sink-{}-{number}", std::process::id()));
    std::fs::write(&path, [0; 64]).unwrap();
    let files = Files::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    GraphSink::new(Arc::new(Mutex::new(files)))
}

fn value(name: &str, role: Role, shape: &[D]) -> Value {
    Value {
        name: name.into(),
        dtype: 1,
        shape: Some(shape.to_vec()),
        role,
        content: None,
        quantisation: None,
        state: None,
        ext: Vec::new(),
    }
}

fn constant(content: Content, elements: u64) -> Value {
    Value { content: Some(content), ..value("c", Role::Constant, &[D::Known(elements)]) }
}

fn weight(offset: u64, length: u64) -> Content {
    Content::Weight(Weight {
        source: 0,
        offset,
        length,
        encoding: "raw-le".into(),
        strides: Vec::new(),
        ext: Vec::new(),
    })
}

fn node(name: &str, op: &str, inputs: &[u32], outputs: &[u32]) -> Node {
    Node {
        name: name.into(),
        op: op.into(),
        opset: 21,
        attributes: Vec::new(),
        inputs: inputs.iter().map(|&i| Some(i)).collect(),
        outputs: outputs.iter().map(|&o| Some(o)).collect(),
        ext: Vec::new(),
    }
}

fn symbol(name: &str) -> Symbol {
    Symbol { name: name.into(), min: 1, max: u64::MAX, multiple_of: 1, ext: Vec::new() }
}

/// x -> Relu -> (unnamed) -> Add c -> y
fn whole() -> (GraphSink, Refused) {
    let (mut sink, refused) = sink();
    assert_eq!(sink.symbol(symbol("n")), Ok(0));
    let shape = [D::Symbolic(0), D::Known(4)];
    assert_eq!(sink.value(value("x", Role::Input, &shape)), Ok(0));
    assert_eq!(sink.value(value("", Role::Intermediate, &shape)), Ok(1));
    assert_eq!(sink.value(constant(weight(8, 16), 4)), Ok(2));
    assert_eq!(sink.value(value("y", Role::Output, &shape)), Ok(3));
    (sink, refused)
}

#[test]
fn a_model_becomes_a_graph() {
    let (mut sink, refused) = whole();
    // The wrong way round, which finish-block sorts.
    let mut add = node("add", "Add", &[1, 2], &[3]);
    add.attributes = vec![Kv { key: "t".into(), val: Attribute::Value(2) }];
    sink.node(0, add).unwrap();
    sink.node(0, node("relu", "Relu", &[0], &[1])).unwrap();
    sink.meta(Kv { key: "producer".into(), val: Attribute::Text("test".into()) });
    sink.meta(Kv { key: "labels.range".into(), val: Attribute::Integers(vec![0, 1, 2]) });
    sink.warn("careful".into());
    sink.finish_block(0, &[0], &[3]).unwrap();
    assert!(sink.value(value("late", Role::Intermediate, &[])).is_err());
    assert!(refused.take().is_some());
    let (graph, warnings) = sink.finish().unwrap();
    let ops: Vec<_> = graph.nodes.iter().map(|node| (node.op.as_str(), node.revision)).collect();
    assert_eq!(ops, [("Relu", 21), ("Add", 21)]);
    assert_eq!((graph.inputs.len(), graph.outputs.len()), (1, 1));
    assert_eq!(graph.values[1].name, "%1");
    assert_eq!(graph.values[0].shape.as_ref().unwrap()[0], Dim::Symbol(SymbolId(0)));
    assert_eq!((graph.meta["producer"].as_str(), graph.meta["labels.range"].as_str()), ("test", "[0,1,2]"));
    assert_eq!(warnings, ["careful"]);
}

/// A block that adds the constant to a value of the model and to its own parameter, and gives both.
fn body(sink: &mut GraphSink) -> u32 {
    let block = sink.block().unwrap();
    let own = |sink: &mut GraphSink, name: &str| sink.value(value(name, Role::Intermediate, &[])).unwrap();
    let (param, sum, total) = (own(sink, "param"), own(sink, "sum"), own(sink, "total"));
    // The wrong way round.
    sink.node(block, node("second", "Add", &[sum, param], &[total])).unwrap();
    sink.node(block, node("first", "Add", &[1, 2], &[sum])).unwrap();
    sink.finish_block(block, &[param], &[total, total, 0]).unwrap();
    block
}

fn owner(op: &str, block: u32, inputs: &[u32], outputs: &[u32]) -> Node {
    let attributes = vec![Kv { key: "body".into(), val: Attribute::Block(block) }];
    Node { attributes, ..node("owner", op, inputs, outputs) }
}

#[test]
fn a_block_becomes_a_graph_that_captures_what_it_uses() {
    let (mut sink, _) = whole();
    sink.node(0, node("relu", "Relu", &[0], &[1])).unwrap();
    let block = body(&mut sink);
    sink.node(0, owner("Loop", block, &[0], &[3])).unwrap();
    sink.finish_block(0, &[0], &[3]).unwrap();
    let (graph, _) = sink.finish().unwrap();
    let node = graph.nodes.iter().find(|node| node.op == "Loop").unwrap();
    let inputs: Vec<_> = node.inputs.iter().flatten().map(|id| graph.value(*id).name.as_str()).collect();
    assert_eq!(inputs, ["x", "%1", "x"], "its own, and what the body captures");
    let (_, body) = node.blocks().next().unwrap();
    assert_eq!((body.inputs.len(), body.captured), (3, 2));
    assert_eq!(body.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["first", "second", ""]);
    let distinct: HashSet<_> = body.outputs.iter().collect();
    assert_eq!(distinct.len(), 3, "a result that is given twice is copied");
    assert!(body.values.iter().any(|value| value.name == "c" && value.is_constant()), "constants are copied");
}

#[test]
fn blocks_that_nobody_may_have_are_refused() {
    type Build = fn(&mut GraphSink) -> Answer<()>;
    let bad: [(&str, Build); 5] = [
        ("no finished block", |sink| {
            let block = sink.block()?;
            sink.node(0, owner("If", block, &[0], &[3]))
        }),
        ("no finished block", |sink| {
            let block = body(sink);
            sink.node(0, owner("If", block, &[0], &[3]))?;
            sink.node(0, owner("If", block, &[0], &[1]))
        }),
        ("finished before the others", |sink| {
            sink.block()?;
            sink.finish_block(0, &[0], &[0])
        }),
        ("outside of the branch", |sink| {
            let block = body(sink);
            sink.node(0, node("relu", "Relu", &[0], &[1]))?;
            // Value 6 is the body's own.
            sink.node(0, Node { inputs: vec![Some(6)], ..owner("Loop", block, &[], &[3]) })?;
            sink.finish_block(0, &[0], &[3])
        }),
        ("inside one another", |sink| {
            let mut inner = sink.block()?;
            sink.finish_block(inner, &[], &[0])?;
            for _ in 0..20 {
                let outer = sink.block()?;
                let made = sink.value(value("", Role::Intermediate, &[]))?;
                sink.node(outer, owner("If", inner, &[0], &[made]))?;
                sink.finish_block(outer, &[], &[made])?;
                inner = outer;
            }
            Ok(())
        }),
    ];
    for (expected, build) in bad {
        let (mut sink, _) = whole();
        let error = build(&mut sink).unwrap_err();
        assert!(error.message.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn containers_and_strings_are_taken() {
    let (mut sink, _) = sink();
    let key = |name: &str| vec![Kv { key: "!container".into(), val: Attribute::Text(name.into()) }];
    sink.value(Value { ext: key("sequence"), ..value("s", Role::Input, &[]) }).unwrap();
    assert_eq!(sink.graph.values[0].container, ir::Container::Sequence);
    let error = sink.value(Value { ext: key("bag"), ..value("b", Role::Input, &[]) }).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    let strings = |bytes: &[u8]| Value { dtype: 8, ..constant(Content::Literal(bytes.to_vec()), 1) };
    sink.value(strings(b"\x02\0\0\0hi")).unwrap();
    assert!(sink.value(strings(b"\x03\0\0\0hi")).is_err());
}

#[test]
fn values_that_contradict_themselves_are_refused() {
    let bad: Vec<(&str, Value)> = vec![
        ("there is no symbol", value("a", Role::Intermediate, &[D::Symbolic(9)])),
        ("two values", value("x", Role::Intermediate, &[])),
        ("without content", value("a", Role::Constant, &[])),
        ("without a name", value("", Role::Input, &[])),
        ("more than 32 axes", value("a", Role::Intermediate, &[D::Known(1); 33])),
        ("leave the file", constant(weight(60, 16), 4)),
        ("leave the file", constant(weight(u64::MAX - 7, 16), 4)),
        ("16 bytes are stored for 5", constant(weight(0, 16), 5)),
        ("no known shape", constant(weight(0, 16), u64::MAX / 2).clone_with_dims(&[u64::MAX, 3])),
        ("3 bytes for 1 elements", constant(Content::Literal(vec![0; 3]), 1)),
        ("state", Value { role: Role::State, ..value("a", Role::Input, &[]) }),
        ("element type 0x1ff", Value { dtype: 0x1ff, ..value("a", Role::Intermediate, &[]) }),
        ("control characters", value("a\u{7}", Role::Intermediate, &[])),
    ];
    for (expected, bad) in bad {
        let (mut sink, refused) = whole();
        let error = sink
            .value(Value { name: if bad.role == Role::Constant { "k".into() } else { bad.name.clone() }, ..bad })
            .unwrap_err();
        assert!(error.message.contains(expected), "{expected}: {error}");
        assert!(refused.take().is_some());
    }
}

trait CloneWithDims {
    fn clone_with_dims(self, dims: &[u64]) -> Self;
}

impl CloneWithDims for Value {
    fn clone_with_dims(self, dims: &[u64]) -> Self {
        Self { shape: Some(dims.iter().map(|&dim| D::Known(dim)).collect()), ..self }
    }
}

#[test]
fn graphs_that_cannot_run_are_refused() {
    type Build = fn(&mut GraphSink) -> Answer<()>;
    let bad: [(&str, Build); 8] = [
        ("no value 99", |sink| sink.node(0, node("n", "Relu", &[99], &[1]))),
        ("made or given elsewhere", |sink| sink.node(0, node("n", "Relu", &[1], &[0]))),
        ("made or given elsewhere", |sink| sink.node(0, node("n", "Relu", &[0], &[1, 1]))),
        ("depends on itself", |sink| {
            sink.node(0, node("a", "Relu", &[3], &[1]))?;
            sink.node(0, node("b", "Relu", &[1], &[3]))?;
            sink.finish_block(0, &[0], &[3])
        }),
        ("no node makes it", |sink| sink.finish_block(0, &[0], &[3])),
        ("no input", |sink| sink.finish_block(0, &[0, 0], &[0])),
        ("0 of them are named", |sink| sink.finish_block(0, &[], &[0])),
        ("no block 5", |sink| sink.node(5, node("n", "Relu", &[0], &[1]))),
    ];
    for (expected, build) in bad {
        let (mut sink, _) = whole();
        let error = build(&mut sink).unwrap_err();
        assert!(error.message.contains(expected), "{expected}: {error}");
    }
    let (sink, _) = whole();
    assert!(sink.finish().unwrap_err().message.contains("did not finish"));
}

#[test]
fn warnings_and_facts_are_bounded() {
    let (mut sink, _) = sink();
    for number in 0..WARNINGS_MAX + 5 {
        sink.warn(format!("{number}"));
    }
    assert_eq!((sink.warnings.len(), sink.dropped_warnings), (WARNINGS_MAX, 5));
    for number in 0..FACTS_MAX + 5 {
        sink.meta(Kv { key: format!("{number}"), val: Attribute::Integer(1) });
    }
    assert_eq!(sink.graph.meta.len(), FACTS_MAX);
}
