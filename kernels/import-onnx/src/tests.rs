//! Tests of the whole import on models built by hand, byte by byte.

mod constants;
mod external;
mod graphs;
mod hostile;
mod proto;

use crate::{import, probe};
use sunmao_plugin_sdk::importer::testing::{MemorySource, Recorded, Recorder};
use sunmao_plugin_sdk::importer::{Attribute, Content, Error, Node};

/// Imports a model that stands alone.
fn read(model: &[u8]) -> Result<Recorded, Error> {
    read_from(&MemorySource::new("model.onnx", model))
}

fn read_from(source: &MemorySource) -> Result<Recorded, Error> {
    let recorder = Recorder::default();
    import(source, &recorder)?;
    Ok(recorder.into_inner())
}

/// Imports a model that must be read.
#[track_caller]
fn accept(model: &[u8]) -> Recorded {
    match read(model) {
        Ok(recorded) => recorded,
        Err(error) => panic!("refused: {} at {:?}", error.message, error.offset),
    }
}

/// Imports a model that must be refused, with every one of `words` in the message and a byte within the file.
#[track_caller]
fn refuse(model: &[u8], words: &[&str]) -> Error {
    let error = read(model).expect_err("the model was read");
    for word in words {
        assert!(error.message.contains(word), "`{word}` is not in: {}", error.message);
    }
    let offset = error.offset.expect("the byte at fault is named");
    assert!(offset <= model.len() as u64, "byte {offset} of {}", model.len());
    error
}

/// The literal of the value named `name`.
#[track_caller]
fn literal<'a>(recorded: &'a Recorded, name: &str) -> &'a [u8] {
    match &recorded.named(name).expect("a value of that name").1.content {
        Some(Content::Literal(bytes)) => bytes,
        other => panic!("{name} is {other:?}"),
    }
}

fn attribute<'a>(node: &'a Node, key: &str) -> &'a Attribute {
    &node.attributes.iter().find(|kv| kv.key == key).expect("an attribute of that name").val
}

/// Names of a node's operands.
fn names(recorded: &Recorded, numbers: &[Option<u32>]) -> Vec<String> {
    numbers.iter().map(|n| n.map_or(String::new(), |n| recorded.values[n as usize].name.clone())).collect()
}

#[test]
fn probe_tells_onnx_from_other_protobuf() {
    let model = proto::tiny_add();
    assert_eq!(probe("a.onnx", model.len() as u64, &model), 100);
    assert_eq!(probe("a.bin", model.len() as u64, &model), 85);
    // The prefix may end anywhere within the graph.
    assert_eq!(probe("a.bin", model.len() as u64, &model[..model.len() - 9]), 85);
    assert_eq!(probe("a.onnx", 4, b"GGUF"), 20);
    assert_eq!(probe("a.pb", 4, b"\x0a\x02ab"), 0);
    assert_eq!(probe("", 0, b""), 0);
}
