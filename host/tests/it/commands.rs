//! `infer` and `inspect`.

use crate::onnx;
use crate::support::{Folder, run};
use sunmao_graph::DType;
use sunmao_host::formats::{read_npz, write_npy};
use sunmao_host::session::Tensor;

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn infer_goes_from_files_to_files() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let (stdout, _) = run(0, &["infer", model, "--plugins", config]);
    assert_eq!(stdout, "inputs\n  x  f32    ?x4\noutputs\n  y  f32    ?x4\n");
    let x = Tensor { dtype: DType::F32, shape: vec![1, 4], data: floats(&[1.0, 2.0, 3.0, 4.5]) };
    let npy = folder.write("x.npy", write_npy(&x).unwrap());
    let raw = folder.write("x.bin", &x.data);
    let json = folder.write("x.json", "[[1, 2, 3, 4.5]]");
    for input in
        [format!("x={}", npy.display()), format!("x={}:f32:1x4", raw.display()), format!("x={}", json.display())]
    {
        let out = folder.path("y.npz");
        let (stdout, stderr) =
            run(0, &["infer", model, "--plugins", config, "-i", &input, "-o", out.to_str().unwrap()]);
        assert!(stdout.is_empty(), "data goes where -o says: {stdout}{stderr}");
        let outputs = read_npz(&std::fs::read(out).unwrap()).unwrap();
        assert_eq!(outputs, [("y".to_owned(), Tensor { data: floats(&[2.0, 4.0, 6.0, 9.0]), ..x.clone() })]);
    }
    let input = format!("x={}", npy.display());
    let (stdout, _) = run(0, &["infer", model, "--plugins", config, "-i", &input]);
    assert_eq!(stdout, "y  f32  1x4\n  values  2, 4, 6, 9\n  min 2  max 9 (element 3)  mean 5.250000\n");
}

#[test]
fn infer_says_what_is_wrong_and_what_to_do() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let refused = |code: i32, arguments: &[&str], with: &[&str]| {
        let mut line = vec!["infer", "--plugins", config];
        line.extend_from_slice(arguments);
        let (_, error) = run(code, &line);
        assert!(with.iter().all(|with| error.contains(with)), "{error}");
    };
    let doubles = Tensor { dtype: DType::F64, shape: vec![1, 4], data: vec![0; 32] };
    let x = format!("x={}", folder.write("x.npy", write_npy(&doubles).unwrap()).display());
    refused(
        1,
        &[model, "-i", &x],
        &["input `x` is f64, the model takes f32", "help: convert it, in Python with .astype(numpy.float32)"],
    );
    let z = x.replacen('x', "z", 1);
    refused(1, &[model, "-i", &z], &["no input `z`", "help: `host infer MODEL` without -i"]);
    refused(1, &["absent.onnx"], &["absent.onnx", "help: check the path"]);
    let raw = format!("x={}", folder.write("x.bin", [0; 16]).display());
    refused(2, &[model, "-i", &raw], &["raw bytes need their type and shape", "x.bin:f32:1x3x224x224"]);
    let unknown = folder.write("unknown.onnx", onnx::model("Frobnicate"));
    refused(1, &[unknown.to_str().unwrap()], &["unknown.onnx", "Frobnicate"]);
    let cut = folder.write("cut.onnx", &onnx::model("Add")[..50]);
    refused(1, &[cut.to_str().unwrap()], &["cut.onnx"]);
}

#[test]
fn inspect_shows_the_graph_the_plan_and_who_runs_it() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let (stdout, _) = run(0, &["inspect", model, "--plugins", config, "--shape", "x=3x4", "--fast-paths", "off"]);
    for part in ["on chip portable", "graph: 1 nodes", "plan\n", "memory\n", "devices\n", "the only one"] {
        assert!(stdout.contains(part), "{part}:\n{stdout}");
    }
    let (stdout, _) = run(
        0,
        &["inspect", model, "--plugins", config, "--what", "devices", "--json", "--fast-paths", "off", "--strict"],
    );
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&json["devices"][0]["op"], &json["devices"][0]["place"]), (&"Add".into(), &"chip".into()));
    let (_, error) = run(2, &["inspect", model, "--plugins", config, "--shape", "q=1"]);
    assert!(error.contains("no input `q`") && error.contains("help: the model takes x"), "{error}");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let (_, error) = run(2, &["serve", "--prot", "1"]);
    assert!(error.contains("--port"), "{error}");
    let (_, error) = run(2, &["doctor", "--log-level", "sunmao=loud"]);
    assert!(error.contains("no log level"), "{error}");
    assert!(run(0, &["--version"]).0.starts_with("host "));
}
