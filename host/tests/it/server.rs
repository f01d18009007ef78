//! `host serve`: from a model file to an answer, and down again.

use crate::onnx;
use crate::support::{Folder, Server, run};
use serde_json::json;

const ASK: &str =
    r#"{"id":"7","inputs":[{"name":"x","shape":[2,4],"datatype":"FP32","data":[[0,1,2,3],[4,5,6,7.5]]}]}"#;

#[test]
fn a_model_file_is_served() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let mut server = Server::start(&[
        "--plugins",
        config.to_str().unwrap(),
        "--model-path",
        model.to_str().unwrap(),
        "--threads",
        "2",
    ]);
    assert_eq!(server.get("/v2/health/live").0, 200, "answered before anything is loaded");
    server.until_ready();
    let spec = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [-1, 4] });
    let metadata = json!({ "name": "tiny", "versions": ["1"], "platform": "onnx_onnxv1", "inputs": [spec("x")], "outputs": [spec("y")] });
    assert_eq!(server.get("/v2/models/tiny"), (200, metadata));
    let answer = json!({ "model_name": "tiny", "model_version": "1", "id": "7",
        "outputs": [{ "name": "y", "datatype": "FP32", "shape": [2, 4], "data": [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0] }] });
    assert_eq!(server.post("/v2/models/tiny/infer", ASK), (200, answer));
    for (body, with) in [
        (ASK.replace("\"x\"", "\"z\""), "no input `z`: the model takes x"),
        (ASK.replace("FP32", "FP64"), "input `x` is f64, the model takes f32"),
        (ASK.replace("[2,4]", "[8,1]").replace("],[", ",").replace("[[", "[").replace("]]}", "]}"), "has shape [8, 1]"),
        (r#"{"inputs":[]}"#.to_owned(), "input `x` is missing"),
    ] {
        let (status, error) = server.post("/v2/models/tiny/infer", &body);
        assert!(status == 400 && error["error"].as_str().unwrap().contains(with), "{status} {error}");
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_repository_is_served_and_one_broken_model_does_not_matter() {
    let folder = Folder::new();
    folder.write("models/good/2/model.onnx", onnx::model("Add"));
    folder.write("models/good/config.pbtxt", "name: \"good\"");
    folder.write("models/cut/1/model.onnx", &onnx::model("Add")[..40]);
    let extra = folder.write("other.onnx", onnx::model("Mul"));
    let config = folder.config(&format!("[[model]]\nname = \"square\"\nversion = 3\npath = {extra:?}\n"));
    let mut server = Server::start(&[
        "--plugins",
        config.to_str().unwrap(),
        "--model-path",
        folder.path("models").to_str().unwrap(),
    ]);
    server.until_ready();
    assert_eq!(server.get("/v2/models").1, json!({ "models": ["cut", "good", "square"] }));
    assert_eq!(server.post("/v2/models/good/versions/2/infer", ASK).0, 200);
    assert_eq!(server.post("/v2/models/square/infer", ASK).1["outputs"][0]["data"][7], json!(56.25));
    assert_eq!(server.get("/v2/models/cut/ready").0, 503);
    let log = server.log();
    assert!(log.contains("could not be loaded") && log.contains("config.pbtxt is not read"), "{log}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_server_that_cannot_come_up_says_why() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let (_, error) = run(1, &["serve", "--plugins", config, "--model-path", model, "--chip-type", "portabel"]);
    assert!(error.contains("no chip `portabel`") && error.contains("help: did you mean `portable`?"), "{error}");
    let (_, error) = run(1, &["serve", "--plugins", config, "--model-path", "absent.onnx"]);
    assert!(error.contains("absent.onnx") && error.contains("help: check the path"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (_, error) = run(1, &["serve", "--plugins", config, "--port", &port]);
    assert!(
        error.contains(&format!("cannot listen on 127.0.0.1:{port}")) && error.contains("help: another process has it"),
        "{error}"
    );
}
