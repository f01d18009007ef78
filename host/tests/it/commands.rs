//! `infer` and `inspect`.

use crate::onnx;
use crate::support::{Folder, Server, guest, run};
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
fn a_profile_names_every_dispatch() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("chain.onnx", onnx::doublings(3)));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let input = format!("x={}", folder.write("x.json", "[[1, 2, 3, 4]]").display());
    let infer = ["infer", model, "--plugins", config, "-i", &input, "--fast-paths", "off", "--repeat", "3"];
    let file = folder.path("p.html");
    let profile = format!("--profile={}", file.display());
    let (stdout, _) = run(0, &[&infer[..], &[&profile]].concat());
    assert!(stdout.starts_with("y  f32  1x4\n  values  8, 16, 24, 32\n"), "{stdout}");
    for part in ["3 runs, median", "by operator", "  Add  ", "by node", "n0\n", "n1\n", "n2\n", "copy in", "copy out"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let trace: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path("p.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let on_chip: Vec<_> = events.iter().filter(|event| event["cat"] == "chip").collect();
    assert_eq!(on_chip.len(), 3, "a call each: {trace}");
    assert!(on_chip.iter().all(|event| event["args"]["bytes"] == 32 && event["args"]["operations"] == 4), "{trace}");
    assert!(std::fs::read_to_string(file).unwrap().contains("\"node\":\"n2\""));
    let (stdout, _) = run(0, &[&infer[..], &["--profile"]].concat());
    assert!(stdout.contains("by node"), "{stdout}");
    let (_, error) = run(1, &[&infer[..], &["--profile=absent/folder/p"]].concat());
    assert!(error.contains("absent/folder/p.html") && error.contains("help: check that the folder"), "{error}");
}

#[test]
fn a_plan_is_made_by_what_was_measured() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (config, model, file) = (config.to_str().unwrap(), model.to_str().unwrap(), folder.path("tune.json"));
    let file = file.to_str().unwrap();
    let shape = ["--shape", "x=64x4", "--plugins", config, "--threads", "1"];
    let tune = [&["tune", model, "-o", file][..], &shape].concat();
    let (_, error) = run(0, &tune);
    assert!(error.contains("1 operations measured, 1 known"), "{error}");
    let (_, error) = run(0, &tune);
    assert!(error.contains("0 operations measured, 1 known"), "{error}");
    let text = std::fs::read_to_string(file).unwrap();
    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut costs = serde_json::from_str(&text).unwrap();
        change(&mut costs);
        std::fs::write(file, costs.to_string()).unwrap();
    };
    // Nobody measures a zero, so it is clear what the plan was made by.
    let free = |who: &'static str| {
        move |costs: &mut serde_json::Value| {
            let (_, operation) = costs["operations"].as_object_mut().unwrap().iter_mut().next().unwrap();
            assert_eq!((&operation["op"], &operation["output"]), (&"Add".into(), &serde_json::json!([64, 4])));
            let costs = operation["nanoseconds"].as_object_mut().unwrap();
            *costs.iter_mut().find(|(name, _)| name.starts_with(who)).unwrap().1 = 0.into();
        }
    };
    let inspect = [&["inspect", model, "--what", "plan", "--tune", file][..], &shape].concat();
    change(&free("chip:"));
    let (plan, _) = run(0, &inspect);
    assert!(plan.contains("chip      Add") && plan.contains("(measured: chip 0.0 us, "), "{plan}");
    change(&free("portable"));
    let (plan, _) = run(0, &inspect);
    assert!(plan.contains("portable  Add") && plan.contains("(measured: portable 0.0 us, "), "{plan}");
    assert!(plan.contains("devices chosen by measured costs, sha256 "), "{plan}");
    let (plan, _) = run(0, &[&inspect[..], &["--strict"]].concat());
    assert!(!plan.contains("portable  Add"), "the portable kernels may not: {plan}");
    change(&|costs| costs["measured_on"]["processor"] = "another".into());
    let (_, error) = run(1, &inspect);
    assert!(error.contains("with the processor `another`") && error.contains("help: measure again"), "{error}");
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
    refused(1, &[unknown.to_str().unwrap()], &["unknown.onnx", "Frobnicate", "help: export the model again"]);
    let cut = folder.write("cut.onnx", &onnx::model("Add")[..50]);
    refused(1, &[cut.to_str().unwrap()], &["cut.onnx", "help: "]);
    let alone = folder.write("mod.onnx", onnx::model("Mod"));
    let text = std::fs::read_to_string(config).unwrap();
    let text = text + &format!("[[plugin]]\nname = \"g\"\npath = {:?}\n", guest("guest"));
    let guest = folder.write("guest.toml", text);
    let (_, error) = run(
        1,
        &[
            "infer",
            alone.to_str().unwrap(),
            "--plugins",
            guest.to_str().unwrap(),
            "--chip",
            "guest",
            "--strict",
            "--fast-paths",
            "off",
        ],
    );
    assert!(
        error.contains("cannot be placed") && error.contains("help: pick a chip that runs these operators"),
        "{error}"
    );
}

#[test]
fn inspect_says_in_how_many_parts_a_request_is_computed() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("open.onnx", onnx::open_model("Add")));
    let shape = ["--shape", "x=3x8192", "--what", "plan"];
    let inspect = [&["inspect", model.to_str().unwrap(), "--plugins", config.to_str().unwrap()][..], &shape].concat();
    let (stdout, _) = run(0, &inspect);
    assert!(stdout.contains("computed in 3 parts, one sample each") && stdout.contains("[1, 8192]"), "{stdout}");
    let (stdout, _) = run(0, &[&inspect[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["parts"], 3);
}

#[test]
fn inspect_shows_the_graph_the_plan_and_who_runs_it() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let (stdout, _) = run(0, &["inspect", model, "--plugins", config, "--shape", "x=3x4", "--fast-paths", "off"]);
    for part in [
        "on chip portable",
        "graph: 1 nodes",
        "steps\n   0  segment 0: x -> y\n",
        "1 nodes: 1 Add\n",
        "plan\n",
        "memory\n",
        "devices\n",
        "the only one",
    ] {
        assert!(stdout.contains(part), "{part}:\n{stdout}");
    }
    for part in ["0x00000000..", "constants", "staging", "slot 0", "fast paths are off (--fast-paths off)"] {
        assert!(stdout.contains(part), "{part}:\n{stdout}");
    }
    let (stdout, _) = run(
        0,
        &["inspect", model, "--plugins", config, "--what", "devices", "--json", "--fast-paths", "off", "--strict"],
    );
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["devices"][0]["reason"], "fast paths are off (--fast-paths off)");
    assert_eq!(json["parts"], 1);
    let (stdout, _) = run(0, &["inspect", model, "--plugins", config, "--what", "devices,memory", "--json"]);
    let native: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let device = &native["devices"][0];
    let reason = device["reason"].as_str().unwrap();
    match device["fast_path"].as_str() {
        Some(path) => assert!(reason.starts_with(&format!("{path}, registered for ")), "{reason}"),
        None => assert!(reason.contains("fast path: "), "{reason}"),
    }
    assert_eq!(native["failed_fast_paths"], serde_json::json!([]));
    assert_eq!(native["memory"]["arena"][0]["at"], 0);
    assert_eq!((&json["devices"][0]["op"], &json["devices"][0]["place"]), (&"Add".into(), &"chip".into()));
    if let Some(path) = device["fast_path"].as_str() {
        let without = format!("-{path}");
        let (stdout, _) = run(0, &["inspect", model, "--plugins", config, "--what", "plan", "--fast-paths", &without]);
        assert!(stdout.contains(&format!("{path} is not used: --fast-paths {without}")), "{stdout}");
    }
    let (_, error) = run(2, &["inspect", model, "--plugins", config, "--fast-paths", "fastest"]);
    assert!(error.contains("no fast path is named `fastest`: ") && error.contains("`auto` or `off`"), "{error}");
    let (_, error) = run(2, &["inspect", model, "--plugins", config, "--shape", "q=1"]);
    assert!(error.contains("no input `q`") && error.contains("help: the model takes x"), "{error}");
}

#[test]
fn a_package_is_made_checked_and_run() {
    let folder = Folder::new();
    let (config, model) = (folder.config(""), folder.write("tiny.onnx", onnx::model("Add")));
    let (config, model) = (config.to_str().unwrap(), model.to_str().unwrap());
    let package = folder.path("tiny.sunmao");
    let name = package.to_str().unwrap();
    let make = ["package", model, "-o", name, "--plugins", config, "--chip", "portable"];
    assert!(run(0, &make).0.contains("1 files"), "{}", package.display());
    let (_, error) = run(1, &make);
    assert!(error.contains("is there already") && error.contains("help: remove it"), "{error}");
    let input = format!("x={}", folder.write("x.json", "[[1, 2, 3, 4]]").display());
    let infer = ["infer", name, "--plugins", config, "-i", &input];
    assert!(run(0, &infer).0.contains("values  2, 4, 6, 8"));
    let mut server = Server::start(&["--plugins", config, "--model-path", name]);
    server.until_ready();
    assert_eq!(server.get("/v2/models/tiny").1["platform"], "sunmao_package");
    assert_eq!(server.stop(), Some(0));
    std::fs::write(package.join("model/tiny.onnx"), onnx::model("Mul")).unwrap();
    let (_, error) = run(1, &infer);
    assert!(error.contains("is damaged") && error.contains("help: copy it again"), "{error}");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let (_, error) = run(2, &["serve", "--prot", "1"]);
    assert!(error.contains("--port"), "{error}");
    let (_, error) = run(2, &["doctor", "--log-level", "sunmao=loud"]);
    assert!(error.contains("no log level"), "{error}");
    assert!(run(0, &["--version"]).0.starts_with("host "));
}
