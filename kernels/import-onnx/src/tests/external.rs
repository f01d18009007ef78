//! Tensors in files beside the model.

use super::proto::*;
use super::*;
use sunmao_plugin_sdk::importer::ErrorCode;

fn external(dims: &[i64], entries: &[(&str, &str)]) -> Vec<u8> {
    let tensor = entries
        .iter()
        .fold(tensor("w", 1, dims), |tensor, (key, value)| tensor.msg(13, Msg::new().bytes(1, key).bytes(2, value)));
    model(relu_graph().msg(5, tensor.int(14, 1)))
}

fn beside(model: Vec<u8>) -> MemorySource {
    let data: Vec<u8> = (0..8192u32).map(|i| i as u8).collect();
    MemorySource::with_siblings("model.onnx", model, &[("w.bin", &data), ("sub/w.bin", &data[..4096])])
}

#[track_caller]
fn refuse_external(dims: &[i64], entries: &[(&str, &str)], words: &[&str]) -> Error {
    let error = read_from(&beside(external(dims, entries))).expect_err("the model was read");
    for word in words {
        assert!(error.message.contains(word), "`{word}` is not in: {}", error.message);
    }
    assert!(error.offset.is_some());
    error
}

#[test]
fn a_range_of_a_sibling_is_a_weight() {
    let source = beside(external(&[500], &[("location", "w.bin"), ("offset", "4096"), ("length", "2000")]));
    let recorded = read_from(&source).expect("reads");
    let Some(Content::Weight(weight)) = &recorded.named("w").expect("w").1.content else { panic!("no weight") };
    assert_eq!((weight.source, weight.offset, weight.length), (1, 4096, 2000));
}

#[test]
fn offset_length_and_dot_may_be_left_out() {
    let source = beside(external(&[1024], &[("location", "./sub/w.bin"), ("checksum", "0")]));
    let recorded = read_from(&source).expect("reads");
    let Some(Content::Weight(weight)) = &recorded.named("w").expect("w").1.content else { panic!("no weight") };
    assert_eq!((weight.source, weight.offset, weight.length), (1, 0, 4096));
}

#[test]
fn a_small_one_is_read() {
    let source = beside(external(&[1], &[("location", "w.bin"), ("offset", "4")]));
    assert_eq!(literal(&read_from(&source).expect("reads"), "w"), [4, 5, 6, 7]);
}

#[test]
fn what_leads_out_of_the_folder_is_refused() {
    for location in ["../w.bin", "/etc/passwd", "sub/../../w.bin", "c:\\w.bin", "a//b", "", ".", "file:w.bin"] {
        refuse_external(&[1], &[("location", location)], &["`w`", "own folder"]);
    }
}

#[test]
fn faults_say_which_file_and_what_to_do() {
    let missing =
        refuse_external(&[1], &[("location", "none.bin")], &["`none.bin`", "was not found", "beside the model"]);
    assert_eq!(missing.code, ErrorCode::NotFound);
    refuse_external(&[1], &[("location", "w.bin"), ("offset", "8190")], &["needs 4 bytes", "2 of file"]);
    refuse_external(&[1], &[("location", "w.bin"), ("offset", "8190"), ("length", "4")], &["which has 8192"]);
    refuse_external(
        &[1],
        &[("location", "w.bin"), ("offset", "18446744073709551615"), ("length", "4")],
        &["truncated"],
    );
    refuse_external(&[1], &[("location", "w.bin"), ("length", "5")], &["needs 4 bytes, 5"]);
    refuse_external(&[1], &[("location", "w.bin"), ("offset", "-1")], &["offset", "`-1`"]);
    refuse_external(&[1], &[("location", "w.bin"), ("basepath", "/")], &["`basepath`", "are known"]);
    refuse_external(&[1], &[("length", "4")], &["does not name"]);
}
