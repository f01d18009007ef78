//! Tensors: every way in which a file may store one.

use super::proto::*;
use super::*;
use sunmao_plugin_sdk::importer::Weight;

/// The content that the initializer `w` of a model gets.
#[track_caller]
fn content(tensor: Msg) -> Content {
    let recorded = accept(&model(relu_graph().msg(5, tensor)));
    recorded.named("w").expect("the initializer").1.content.clone().expect("a constant has content")
}

#[track_caller]
fn weight(tensor: Msg) -> Weight {
    match content(tensor) {
        Content::Weight(weight) => weight,
        Content::Literal(bytes) => panic!("a literal of {} bytes", bytes.len()),
    }
}

#[track_caller]
fn bytes(tensor: Msg) -> Vec<u8> {
    match content(tensor) {
        Content::Literal(bytes) => bytes,
        Content::Weight(weight) => panic!("{weight:?}"),
    }
}

#[test]
fn raw_data_is_a_range_of_the_file() {
    let data: Vec<u8> = (0..4000u32).map(|i| i as u8).collect();
    let file = model(relu_graph().msg(5, tensor("w", 1, &[10, 100]).bytes(9, &data)));
    let weight = weight(tensor("w", 1, &[10, 100]).bytes(9, &data));
    assert_eq!((weight.source, weight.length, weight.encoding.as_str()), (0, 4000, "raw-le"));
    assert_eq!(&file[weight.offset as usize..][..4000], &data);
}

#[test]
fn small_raw_data_is_a_literal() {
    assert_eq!(bytes(tensor("w", 3, &[3]).bytes(9, [1, 2, 3])), [1, 2, 3]);
    assert_eq!(bytes(tensor("w", 1, &[256]).bytes(9, [7; 1024])), [7; 1024]);
    assert_eq!(weight(tensor("w", 3, &[1025]).bytes(9, [7; 1025])).length, 1025);
}

#[test]
fn typed_fields_become_little_endian_literals() {
    assert_eq!(bytes(tensor("w", 1, &[2]).bytes(4, [0, 0, 128, 63, 0, 0, 0, 64])), [0, 0, 128, 63, 0, 0, 0, 64]);
    assert_eq!(bytes(tensor("w", 6, &[2]).bytes(5, packed(&[-1, 258]))), [255, 255, 255, 255, 2, 1, 0, 0]);
    assert_eq!(bytes(tensor("w", 7, &[1]).bytes(7, packed(&[-2]))), (-2i64).to_le_bytes());
    assert_eq!(bytes(tensor("w", 3, &[2]).bytes(5, packed(&[-1, 3]))), [255, 3]);
    assert_eq!(bytes(tensor("w", 5, &[1]).bytes(5, packed(&[-2]))), [254, 255]);
    assert_eq!(bytes(tensor("w", 10, &[1]).bytes(5, packed(&[15360]))), [0, 60]);
    assert_eq!(bytes(tensor("w", 9, &[2]).bytes(5, packed(&[1, 0]))), [1, 0]);
    assert_eq!(bytes(tensor("w", 11, &[1]).bytes(10, 1.5f64.to_le_bytes())), 1.5f64.to_le_bytes());
    assert_eq!(bytes(tensor("w", 12, &[1]).bytes(11, packed(&[9]))), [9, 0, 0, 0]);
    // Two elements of four bits share an entry, the first in the low half; of two bits four do.
    assert_eq!(bytes(tensor("w", 21, &[3]).bytes(5, packed(&[0x21, 0x03]))), [0x21, 0x03]);
    assert_eq!(bytes(tensor("w", 26, &[5]).bytes(5, packed(&[0xe4, 0x03]))), [0xe4, 0x03]);
    assert_eq!(bytes(tensor("w", 24, &[2]).bytes(5, packed(&[127, 254]))), [127, 254]);
}

#[test]
fn elements_may_stand_alone_or_in_several_runs() {
    assert_eq!(bytes(tensor("w", 7, &[2]).int(7, 4).int(7, 5)), [4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    let two = tensor("w", 1, &[2]).float(4, 1.0).bytes(4, 2.0f32.to_le_bytes());
    assert_eq!(bytes(two), [0, 0, 128, 63, 0, 0, 0, 64]);
}

#[test]
fn large_typed_fields_are_ranges_with_their_encoding() {
    let floats = weight(tensor("w", 1, &[400]).bytes(4, [1; 1600]));
    assert_eq!((floats.encoding.as_str(), floats.length), ("raw-le", 1600));
    let longs = weight(tensor("w", 7, &[300]).bytes(7, packed(&[-1; 300])));
    assert_eq!((longs.encoding.as_str(), longs.length), ("varint", 3000));
    let bytes = weight(tensor("w", 3, &[2000]).bytes(5, packed(&[-1; 2000])));
    assert_eq!((bytes.encoding.as_str(), bytes.length), ("bits", 20000));
    let halves = weight(tensor("w", 10, &[600]).bytes(5, packed(&[15360; 600])));
    assert_eq!(halves.encoding, "bits");
}

#[test]
fn large_tensors_without_one_range_are_joined_from_literals() {
    let alone = (0..300).fold(tensor("w", 7, &[3, 100]), |msg, i| msg.int(7, i));
    let graph = relu_graph().msg(5, alone).msg(1, node("Gather", "use", &["w", "x"], &["q"]));
    let recorded = accept(&model(graph));
    let nodes = &recorded.blocks[0].nodes;
    assert_eq!(nodes[0].op, "Concat");
    assert_eq!(names(&recorded, &nodes[0].inputs), ["w/part0", "w/part1", "w/part2"]);
    assert_eq!(nodes[1].op, "Reshape");
    assert_eq!(names(&recorded, &nodes[1].outputs), ["w"]);
    assert_eq!(literal(&recorded, "w/part3"), [3i64.to_le_bytes(), 100i64.to_le_bytes()].concat());
    let all: Vec<u8> = (0..3).flat_map(|i| literal(&recorded, &format!("w/part{i}")).to_vec()).collect();
    assert_eq!(all, (0..300i64).flat_map(i64::to_le_bytes).collect::<Vec<u8>>());
}

#[test]
fn empty_tensors_need_no_data() {
    assert_eq!(bytes(tensor("w", 1, &[0, 3])), [0u8; 0]);
    assert_eq!(bytes(tensor("w", 1, &[0]).bytes(9, [])), [0u8; 0]);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let bad = |tensor: Msg, words: &[&str]| refuse(&model(relu_graph().msg(5, tensor)), words);
    bad(tensor("w", 1, &[2]).bytes(9, [0; 7]), &["`w`", "needs 8 bytes", "holds 7"]);
    bad(tensor("w", 1, &[2]), &["no data"]);
    bad(tensor("w", 1, &[-2]).bytes(9, [0; 8]), &["dimension of -2"]);
    bad(tensor("w", 1, &[1 << 40, 1 << 40]).bytes(9, [0; 8]), &["more than any memory"]);
    bad(tensor("w", 7, &[2]).bytes(7, packed(&[1])), &["1 entries of 2"]);
    bad(tensor("w", 7, &[2]).bytes(7, packed(&[1, 2, 3])), &["more data than elements"]);
    bad(tensor("w", 7, &[2000]).bytes(7, packed(&[1])), &["cannot hold"]);
    bad(tensor("w", 7, &[2]).bytes(4, [0; 8]), &["cannot have its data as Float"]);
    bad(tensor("w", 1, &[1]).bytes(4, [0; 4]).bytes(9, [0; 4]), &["two places"]);
    bad(tensor("w", 1, &[1]).bytes(4, [0; 4]).bytes(7, [0]), &["two fields"]);
    bad(tensor("w", 8, &[2]).bytes(6, "text"), &["strings", "has 1 of them"]);
    bad(tensor("w", 8, &[1]).bytes(9, "text"), &["strings", "where strings cannot be"]);
    bad(tensor("w", 8, &[1]).bytes(6, [0xff]), &["not UTF-8"]);
    bad(tensor("w", 99, &[1]).bytes(9, [0; 4]), &["element type 99"]);
    bad(tensor("", 1, &[1]).bytes(9, [0; 4]), &["no name"]);
    bad((0..65).fold(tensor("w", 1, &[]), |msg, _| msg.int(1, 1)).bytes(9, [0; 4]), &["64 axes"]);
}

#[test]
fn constant_nodes_become_constants_whatever_their_form() {
    let constant = |name: &str, attribute: Msg| node("Constant", "", &[], &[name]).msg(5, attribute);
    let graph = relu_graph()
        .msg(1, constant("t", attr("value", 4).msg(5, tensor("other name", 2, &[2]).bytes(9, [8, 9]))))
        .msg(1, constant("f", attr("value_float", 1).float(2, 1.0)))
        .msg(1, constant("fs", attr("value_floats", 6).float(7, 1.0).float(7, 2.0)))
        .msg(1, constant("i", attr("value_int", 2).int(3, -1)))
        .msg(1, constant("is", Msg::new().bytes(1, "value_ints").int(8, 3)));
    let recorded = accept(&model(graph));
    assert_eq!(literal(&recorded, "t"), [8, 9]);
    assert_eq!(literal(&recorded, "f"), 1f32.to_le_bytes());
    assert_eq!(literal(&recorded, "fs"), [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
    assert_eq!(literal(&recorded, "i"), (-1i64).to_le_bytes());
    assert_eq!(literal(&recorded, "is"), 3i64.to_le_bytes());
    assert_eq!(recorded.named("i").expect("i").1.shape.as_ref().expect("a shape").len(), 0);
    assert_eq!(recorded.named("is").expect("is").1.shape.as_ref().expect("a shape").len(), 1);
    assert_eq!(recorded.blocks[0].nodes.len(), 1, "no node is left of a Constant");

    let odd = relu_graph().msg(1, constant("s", attr("value_map", 3).bytes(4, "a")));
    refuse(&model(odd), &["value_map", "remove"]);
}

#[test]
fn strings_are_framed_and_large_ones_stay_in_the_file() {
    assert_eq!(bytes(tensor("w", 8, &[2]).bytes(6, "ab").bytes(6, "")), b"\x02\0\0\0ab\0\0\0\0");
    let large = (0..400).fold(tensor("w", 8, &[400]), |msg, _| msg.bytes(6, "text"));
    let weight = weight(large);
    assert_eq!((weight.length, weight.encoding.as_str()), (400 * 6, "fields"));
    let constant = |name: &str, attribute: Msg| node("Constant", "", &[], &[name]).msg(5, attribute);
    let long = "x".repeat(700);
    let graph = relu_graph()
        .msg(1, constant("s", attr("value_string", 3).bytes(4, "a")))
        .msg(1, constant("ss", attr("value_strings", 8).all(9, &["a", "b"])))
        .msg(1, constant("long", attr("value_strings", 8).all(9, &[&long, &long])));
    let recorded = accept(&model(graph));
    assert_eq!(literal(&recorded, "s"), b"\x01\0\0\0a");
    assert_eq!(literal(&recorded, "ss"), b"\x01\0\0\0a\x01\0\0\0b");
    assert_eq!(literal(&recorded, "long/part1").len(), 704, "what is too long for one literal is joined of several");
}
