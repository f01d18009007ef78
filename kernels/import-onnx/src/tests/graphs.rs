//! Graphs, nodes, symbols, blocks, functions, facts.

use super::proto::*;
use super::*;
use sunmao_plugin_sdk::importer::{Dim as Axis, ErrorCode, Kv, Role};

#[test]
fn a_small_model_comes_through_whole() {
    let recorded = accept(&tiny_add());
    let block = &recorded.blocks[0];
    assert!(block.finished);
    assert_eq!(names(&recorded, &[Some(block.params[0]), Some(block.results[0])]), ["x", "y"]);
    assert_eq!((block.params.len(), block.results.len()), (1, 1));
    let [add, relu] = block.nodes.as_slice() else { panic!("two nodes") };
    assert_eq!((add.op.as_str(), add.name.as_str(), add.opset), ("Add", "add", 17));
    assert_eq!(names(&recorded, &add.inputs), ["x", "w"]);
    assert_eq!(names(&recorded, &relu.inputs), ["s"]);
    let (_, x) = recorded.named("x").expect("x");
    assert_eq!((x.role, x.dtype), (Role::Input, 1));
    assert_eq!(x.shape, Some(vec![Axis::Symbolic(0), Axis::Known(4)]));
    assert_eq!(recorded.symbols[0].name, "batch");
    assert_eq!(recorded.named("w").expect("w").1.role, Role::Constant);
    assert_eq!(recorded.named("s").expect("s").1.role, Role::Intermediate);
    assert_eq!(recorded.named("y").expect("y").1.role, Role::Output);
    assert_eq!(recorded.fact("graph"), Some(&Attribute::Text("tiny".into())));
    assert_eq!(recorded.fact("producer"), Some(&Attribute::Text("hand".into())));
}

#[test]
fn everything_at_once() {
    let recorded = accept(&everything());
    let main = &recorded.blocks[0];
    let ops: Vec<&str> = main.nodes.iter().map(|node| node.op.as_str()).collect();
    assert_eq!(ops, ["Add", "custom.Thing", "If", "Mul"]);
    let thing = &main.nodes[1];
    assert_eq!(thing.opset, 1);
    assert_eq!(names(&recorded, &thing.inputs), ["", "x"]);
    assert_eq!(names(&recorded, &thing.outputs), ["t", ""]);
    assert_eq!(attribute(thing, "f"), &Attribute::Number(0.5));
    assert_eq!(attribute(thing, "i"), &Attribute::Integer(-3));
    assert_eq!(attribute(thing, "s"), &Attribute::Text("text".into()));
    assert_eq!(attribute(thing, "b"), &Attribute::Bytes(vec![0xff, 0xfe]));
    assert_eq!(attribute(thing, "fs"), &Attribute::Numbers(vec![1.0, 2.0]));
    assert_eq!(attribute(thing, "is"), &Attribute::Integers(vec![1, 2, -3]));
    assert_eq!(attribute(thing, "ss"), &Attribute::Texts(vec!["a".into(), "b".into()]));
    let &Attribute::Value(tensor) = attribute(thing, "t") else { panic!("a tensor") };
    assert_eq!(recorded.values[tensor as usize].role, Role::Constant);
    // The branches see the values around them by number; their own share a name in the file and not here.
    let branch = |key| match attribute(&main.nodes[2], key) {
        &Attribute::Block(block) => &recorded.blocks[block as usize],
        other => panic!("{other:?}"),
    };
    let (then, other) = (branch("then_branch"), branch("else_branch"));
    assert_eq!(names(&recorded, &then.nodes[0].inputs), ["s", "w"]);
    assert_eq!(names(&recorded, &then.nodes[0].outputs), ["b"]);
    assert_eq!(names(&recorded, &other.nodes[0].outputs), ["b#2"]);
    // The function was put in the place of its call, its attribute and its opset too.
    let mul = &main.nodes[3];
    assert_eq!(names(&recorded, &mul.inputs), ["y", "k"]);
    assert_eq!(names(&recorded, &mul.outputs), ["z"]);
    assert_eq!(literal(&recorded, "k"), 2f32.to_le_bytes());
    // An unnamed axis of an input gets a symbol; a hint for `s` is understood.
    let symbols: Vec<&str> = recorded.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
    assert_eq!(symbols, ["n", "x_dim1", "z_dim1"]);
    assert_eq!(recorded.named("s").expect("s").1.shape, Some(vec![Axis::Symbolic(0), Axis::Known(2)]));
    assert_eq!(recorded.named("half").expect("half").1.dtype, 10);
    assert_eq!(recorded.fact("license"), Some(&Attribute::Text("CC0".into())));
    assert_eq!(recorded.fact("model-version"), Some(&Attribute::Integer(3)));
    let warned = |word: &str| recorded.warnings.iter().any(|warning| warning.contains(word));
    assert!(warned("default") && warned("quantization_annotation"));
}

#[test]
fn nodes_may_come_in_any_order_and_the_graph_before_the_opset() {
    let graph = Msg::new()
        .msg(12, info("y", 1, &[]))
        .msg(11, info("x", 1, &[]))
        .msg(1, node("Relu", "b", &["s"], &["y"]))
        .msg(1, node("Neg", "a", &["x"], &["s"]));
    assert_eq!(accept(&model(graph)).blocks[0].nodes.len(), 2);
}

#[test]
fn the_opset_is_checked_and_the_remedy_named() {
    for opset in [1, 7, 13, 28] {
        assert_eq!(accept(&model_of(opset, relu_graph())).blocks[0].nodes[0].opset, opset as u16);
    }
    let old = refuse(&model_of(0, relu_graph()), &["opset 0", "1 to 28", "version_converter"]);
    assert_eq!(old.code, ErrorCode::Unsupported);
    refuse(&model_of(999, relu_graph()), &["opset 999", "1 to 28", "older opset"]);
    let named =
        |domain: &str| Msg::new().int(1, 8).msg(7, relu_graph()).msg(8, Msg::new().bytes(1, domain).int(2, 17)).0;
    accept(&named("ai.onnx"));
    refuse(&named("elsewhere"), &["`relu`", "operator set `ai.onnx`"]);
}

#[test]
fn files_that_are_no_model_say_so() {
    refuse(b"", &["empty"]);
    refuse(&Msg::new().msg(7, relu_graph()).0, &["no ir_version"]);
    refuse(&Msg::new().int(1, 2).msg(7, relu_graph()).0, &["IR version 2", "convert"]);
    refuse(&Msg::new().int(1, 8).0, &["no graph"]);
    refuse(&Msg::new().int(1, 8).msg(7, relu_graph()).msg(7, relu_graph()).0, &["two graphs"]);
}

#[test]
fn contradictions_in_the_graph_are_refused() {
    let with = |node: Msg| model(relu_graph().msg(1, node));
    refuse(&with(node("Neg", "n", &["nowhere"], &["z"])), &["node `n` (Neg)", "`nowhere`", "computed by nothing"]);
    refuse(&with(node("Neg", "n", &["x"], &["y"])), &["output `y` exists already"]);
    refuse(&with(node("Neg", "n", &["x"], &["x"])), &["output `x` exists already"]);
    refuse(&with(node("", "n", &["x"], &["z"])), &["names no operator"]);
    let twice = node("Neg", "n", &["x"], &["z"]).msg(5, attr("a", 2).int(3, 1)).msg(5, attr("a", 2).int(3, 2));
    refuse(&with(twice), &["attribute `a` occurs twice"]);
    refuse(&with(node("Neg", "n", &["x"], &["z"]).msg(5, attr("", 2))), &["without a name"]);
    refuse(&with(node("Neg", "n", &["x"], &["z"]).msg(5, attr("a", 77))), &["type 77"]);
    refuse(
        &with(node("Neg", "n", &["x"], &["z"]).msg(5, Msg::new().bytes(1, "a").bytes(21, "b"))),
        &["outside of any"],
    );
    refuse(&model(relu_graph().msg(12, info("none", 1, &[]))), &["output `none`", "computed by nothing"]);
    refuse(&model(relu_graph().msg(11, info("x", 1, &[]))), &["input `x` occurs twice"]);
    refuse(&model(relu_graph().msg(11, info("", 1, &[]))), &["has no name"]);
    refuse(&model(relu_graph().msg(11, Msg::new().bytes(1, "q"))), &["input `q` has no element type"]);
    let input = |kind: Msg| Msg::new().bytes(1, "q").msg(2, kind);
    refuse(&model(relu_graph().msg(11, input(Msg::new().msg(5, Msg::new())))), &["a map"]);
    let nested = Msg::new().msg(4, Msg::new().msg(1, sequence_of(sequence_of(f32_type()))));
    refuse(&model(relu_graph().msg(11, input(nested))), &["a container of containers"]);
    let w = || tensor("w", 1, &[1]).bytes(9, [0; 4]);
    refuse(&model(relu_graph().msg(5, w()).msg(5, w())), &["two initializers"]);
    refuse(&model(relu_graph().msg(15, Msg::new())), &["sparse"]);
}

#[test]
fn functions_that_hand_on_or_miss_results() {
    let call = |function: Msg| {
        let graph = Msg::new()
            .msg(1, node("F", "call", &["x"], &["y"]).bytes(7, "d"))
            .msg(11, info("x", 1, &[]))
            .msg(12, info("y", 1, &[]));
        let named = function.bytes(1, "F").bytes(10, "d");
        let opset = |domain: &str| Msg::new().bytes(1, domain).int(2, 18);
        Msg::new().int(1, 9).msg(7, graph).msg(8, opset("")).msg(8, opset("d")).msg(25, named).0
    };
    let recorded = accept(&call(Msg::new().all(4, &["a"]).all(5, &["a"])));
    assert_eq!(recorded.blocks[0].nodes[0].op, "Identity");
    let constant = node("Constant", "", &[], &["r"]).msg(5, attr("value_int", 2).int(3, 1));
    let recorded = accept(&call(Msg::new().all(4, &["a"]).all(5, &["r"]).msg(7, constant)));
    assert_eq!(names(&recorded, &recorded.blocks[0].nodes[0].outputs), ["y"]);
    refuse(&call(Msg::new().all(4, &["a"]).all(5, &["r"])), &["does not compute `r`"]);
    refuse(&call(Msg::new().all(5, &["r"])), &["more operands"]);
    // A function that calls itself ends at the bound on nesting.
    let itself = node("F", "", &["a"], &["r"]).bytes(7, "d");
    let error = refuse(&call(Msg::new().all(4, &["a"]).all(5, &["r"]).msg(7, itself)), &["nested deeper than 32"]);
    assert_eq!(error.code, ErrorCode::LimitExceeded);
    // One that calls itself twice would be 2^32 nodes; it ends at the first branch's bottom.
    let both = Msg::new().all(4, &["a"]).all(5, &["r"]);
    let both =
        both.msg(7, node("F", "", &["a"], &["m"]).bytes(7, "d")).msg(7, node("F", "", &["m"], &["r"]).bytes(7, "d"));
    refuse(&call(both), &["nested deeper"]);
}

#[test]
fn loop_bodies_have_parameters() {
    let body = Msg::new()
        .msg(1, node("Identity", "", &["go"], &["again"]))
        .msg(1, node("Add", "", &["v", "x"], &["next"]))
        .msg(11, info("i", 7, &[]))
        .msg(11, info("go", 9, &[]))
        .msg(11, info("v", 1, &[Dim::None]))
        .msg(12, info("again", 9, &[]))
        .msg(12, info("next", 1, &[]));
    let graph = Msg::new()
        .msg(1, node("Loop", "loop", &["n", "", "x"], &["y"]).msg(5, attr("body", 5).msg(6, body)))
        .msg(11, info("n", 7, &[]))
        .msg(11, info("x", 1, &[Dim::Named("len")]))
        .msg(12, info("y", 1, &[Dim::Named("len")]));
    let recorded = accept(&model(graph));
    let body = &recorded.blocks[1];
    assert_eq!((body.params.len(), body.results.len()), (3, 2));
    let v = &recorded.values[body.params[2] as usize];
    assert_eq!((v.role, v.dtype, &v.shape), (Role::Intermediate, 1, &None));
    assert_eq!(names(&recorded, &body.nodes[1].inputs), ["v", "x"]);
}

#[test]
fn long_facts_are_ranges_and_unreadable_ones_are_dropped() {
    let props = |key: &str, value: &[u8]| Msg::new().bytes(1, key).bytes(2, value);
    let mut file = model(relu_graph());
    file.extend(Msg::new().msg(14, props("vocabulary", &[b'a'; 70_000])).msg(14, props("bad", &[0xff])).0);
    let recorded = accept(&file);
    let Some(Attribute::Integers(range)) = recorded.fact("vocabulary.range") else { panic!("a range") };
    assert_eq!((range[0], range[2]), (0, 70_000));
    assert_eq!(file[range[1] as usize], b'a');
    assert!(recorded.fact("bad").is_none());
    assert_eq!(recorded.warnings.len(), 1);
}

fn f32_type() -> Msg {
    Msg::new().msg(1, Msg::new().int(1, 1))
}

fn sequence_of(content: Msg) -> Msg {
    Msg::new().msg(4, Msg::new().msg(1, content))
}

fn optional_of(content: Msg) -> Msg {
    Msg::new().msg(9, Msg::new().msg(1, content))
}

#[test]
fn sequences_and_optional_values_say_what_they_are() {
    for (kind, expected) in [
        (f32_type(), None),
        (sequence_of(f32_type()), Some("sequence")),
        (optional_of(f32_type()), Some("optional")),
        (optional_of(sequence_of(f32_type())), Some("optional-sequence")),
    ] {
        let recorded = accept(&model(relu_graph().msg(11, Msg::new().bytes(1, "q").msg(2, kind))));
        let value = recorded.named("q").expect("the input").1;
        let ext = expected.map(|name| Kv { key: "!container".into(), val: Attribute::Text(name.into()) });
        assert_eq!(value.dtype, 1);
        assert_eq!(format!("{:?}", value.ext), format!("{:?}", Vec::from_iter(ext)));
    }
}
