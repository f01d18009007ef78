//! Models with branches and loops, from the file to the answer, and what bounds them.

use crate::onnx;
use crate::support::{Folder, Server, run};
use std::path::Path;

/// What `host infer` prints for a model, an input and the `x` of all of them.
fn infer(code: i32, folder: &Folder, config: &Path, model: &Path, input: (&str, &str)) -> (String, String) {
    let x = format!("x={}", folder.write("x.json", "[1, 2, 3, 4]").display());
    let other = format!("{}={}", input.0, folder.write("other.json", input.1).display());
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    run(code, &["infer", model, "--plugins", config, "-i", &x, "-i", &other])
}

#[test]
fn a_branch_is_taken_as_the_request_says() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("if.onnx", onnx::branches()));
    let (sum, _) = infer(0, &folder, &config, &model, ("c", "true"));
    assert!(sum.starts_with("y  f32  4\n  values  2, 4, 6, 8\n"), "{sum}");
    let (product, _) = infer(0, &folder, &config, &model, ("c", "false"));
    assert!(product.starts_with("y  f32  4\n  values  1, 4, 9, 16\n"), "{product}");
}

#[test]
fn a_loop_runs_as_often_as_the_request_says() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("loop.onnx", onnx::loops(1)));
    let (three, _) = infer(0, &folder, &config, &model, ("n", "3"));
    assert!(three.contains("y  f32  4\n  values  8, 16, 24, 32\n"), "{three}");
    assert!(three.contains("ys  f32  3x4\n  values  2, 4, 6, 8, 4, 8, 12, 16, ...\n"), "{three}");
    let (none, _) = infer(0, &folder, &config, &model, ("n", "0"));
    // `ys` should be 0x4: what a body declares of its results' shapes is not kept, so without a run only the type is known.
    assert!(none.contains("y  f32  4\n  values  1, 2, 3, 4\n") && none.contains("ys  f32  0\n"), "{none}");
    let (negative, _) = infer(0, &folder, &config, &model, ("n", "-5"));
    assert_eq!(negative, none);
    let nested = folder.write("nested.onnx", onnx::loops(2));
    let (four, _) = infer(0, &folder, &config, &nested, ("n", "2"));
    assert!(four.contains("y  f32  4\n  values  16, 32, 48, 64\n"), "{four}");
}

#[test]
fn each_limit_ends_the_request_and_says_which_it_was() {
    let folder = Folder::new();
    let check = |limit: &str, depth: usize, n: &str, what: &str| {
        let config = folder.config(&format!("[loops]\n{limit}\n"));
        let model = folder.write("loop.onnx", onnx::loops(depth));
        let (_, error) = infer(1, &folder, &config, &model, ("n", n));
        let key = limit.split(' ').next().unwrap();
        assert!(error.contains(what) && error.contains(&format!("raise `{key}` of [loops]")), "{limit}: {error}");
    };
    check("iterations = 5", 1, "6", "runs 6 iterations for one request, more than the 5 that are allowed");
    check("iterations = 5", 2, "2", "runs 6 iterations");
    check("steps = 20", 1, "100", "takes 21 steps for one request, more than the 20");
    check("seconds = 1", 1, "1099511627776", "has run its loops for 2 seconds for one request, more than the 1");
    check("collected_mib = 1", 1, "70000", "collects 1048592 bytes in its loops for one request");
    check("nesting = 2", 3, "1", "has 3 blocks inside one another, more than the 2");
    let config = folder.config("[loops]\niterations = 6\nnesting = 2\n");
    let model = folder.write("loop.onnx", onnx::loops(2));
    assert!(infer(0, &folder, &config, &model, ("n", "2")).0.contains("16, 32, 48, 64"), "as much as is allowed");
}

#[test]
fn a_request_beyond_a_limit_is_the_clients_and_the_server_goes_on() {
    let folder = Folder::new();
    let (config, model) = (folder.config("[loops]\niterations = 9\n"), folder.write("loop.onnx", onnx::loops(1)));
    let mut server = Server::start(&["--plugins", config.to_str().unwrap(), "--model-path", model.to_str().unwrap()]);
    server.until_ready();
    let ask = |n: u64| {
        let x = r#"{"name": "x", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]}"#;
        let n = format!(r#"{{"name": "n", "datatype": "INT64", "shape": [], "data": [{n}]}}"#);
        server.post("/v2/models/loop/infer", &format!(r#"{{"inputs": [{x}, {n}]}}"#))
    };
    let (status, answer) = ask(10);
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("runs 10 iterations"), "{answer}");
    let (status, answer) = ask(9);
    assert_eq!((status, &answer["outputs"][0]["data"][0]), (200, &512.0.into()), "{answer}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn inspect_shows_the_steps_and_the_blocks_inside() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("nested.onnx", onnx::loops(2)));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let (steps, _) = run(0, &["inspect", model, "--plugins", config, "--what", "steps"]);
    for part in [
        "steps\n",
        "control Loop `loop 2`",
        "body:",
        "        ",
        "control Loop `loop 1`",
        "segments\n",
        "2 nodes: 1 Add, 1 Identity\n",
    ] {
        assert!(steps.contains(part), "{part}: {steps}");
    }
    let (json, _) = run(0, &["inspect", model, "--plugins", config, "--what", "steps", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["steps"]["segments"][1]["operators"], serde_json::json!({ "Add": 1, "Identity": 1 }), "{json}");
    let (_, error) = run(2, &["inspect", model, "--plugins", config, "--what", "plan"]);
    assert!(error.contains("runs in several steps") && error.contains("--what steps"), "{error}");
    let (whole, error) = run(0, &["inspect", model, "--plugins", config]);
    assert!(whole.contains("graph: ") && error.contains("several steps"), "{error}");
}

#[test]
fn a_profile_counts_what_a_loop_repeats() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("loop.onnx", onnx::loops(1)));
    let inputs: Vec<String> = [("x", "[1, 2, 3, 4]"), ("n", "5")]
        .iter()
        .map(|(name, text)| format!("{name}={}", folder.write(&format!("{name}.json"), text).display()))
        .collect();
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let (stdout, _) = run(
        0,
        &["infer", model, "--plugins", config, "-i", &inputs[0], "-i", &inputs[1], "--profile", "--repeat", "2"],
    );
    assert!(stdout.contains("Add 4 double (5 times)"), "{stdout}");
}
