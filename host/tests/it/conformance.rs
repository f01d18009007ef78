//! `host conformance` on the project's own plugins: a sample of ONNX's cases, reports, and a certificate.

use crate::support::{Folder, plugin, run};
use serde_json::Value;
use std::collections::HashSet;
use sunmao_conformance::{Profile, Store, property};

/// Every so-manyth of ONNX's cases.
const SAMPLE: usize = 12;

#[test]
fn of_a_sample_of_onnx_cases_none_is_wrong_late_or_crashes() {
    let folder = Folder::new();
    let config = folder.config("");
    let names: Vec<&str> = Store::onnx_nodes().cases().step_by(SAMPLE).map(|case| case.name()).collect();
    let (cases, out) = (names.join(","), folder.path("report"));
    let arguments = [
        "conformance",
        "run",
        "--plugins",
        config.to_str().unwrap(),
        "--case",
        &cases,
        "--report",
        out.to_str().unwrap(),
    ];
    let (table, _) = run(0, &arguments);
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["counts"]["cases"], names.len(), "{table}");
    for verdict in ["wrong", "broken-promise", "timeout", "crash"] {
        assert_eq!(report["counts"][verdict], 0, "{table}");
    }
    let pass = report["counts"]["pass"].as_u64().unwrap();
    assert!(pass * 2 >= names.len() as u64, "more than half of all cases pass: {table}");
    for name in ["report.html", "junit.xml"] {
        assert!(std::fs::read_to_string(out.join(name)).unwrap().contains(names[0]), "{name}");
    }
    assert!(!out.join("certificate.json").exists(), "the whole host is no plugin to certify");
}

#[test]
fn every_operator_that_a_plugin_of_ours_claims_has_cases() {
    let node_cases = Store::onnx_nodes();
    let of_onnx: HashSet<String> = node_cases.cases().flat_map(|case| case.facts("node").operators).collect();
    let drawn: HashSet<&str> = property::operators().collect();
    let claimed = sunmao_portable::operators();
    assert!(claimed.len() > 100, "{}", claimed.len());
    // What is ours alone no foreign case can judge.
    let is_judged = |name: &str| drawn.contains(name) || of_onnx.contains(name) && !name.starts_with("sunmao.");
    let unjudged: Vec<String> = claimed.into_iter().map(|support| support.op).filter(|name| !is_judged(name)).collect();
    assert!(unjudged.is_empty(), "nothing judges {unjudged:?}");
}

#[test]
fn what_a_profile_asks_for_must_pass_and_a_selection_of_nothing_is_an_error() {
    let folder = Folder::new();
    let config = folder.config("");
    let config = config.to_str().unwrap();
    let chip = plugin("portable");
    let chip = chip.to_str().unwrap();
    // One case of a profile is not the profile.
    let name = Profile::named("core-f32").unwrap().names().next().unwrap();
    let (out, _) = run(1, &["conformance", "run", chip, "--plugins", config, "--profile", "core-f32", "--case", name]);
    assert!(out.contains("profile core-f32: 1 of 1 pass, not met"), "{out}");
    let (_, error) = run(1, &["conformance", "run", chip, "--plugins", config, "--case", "test_of_nothing"]);
    assert!(error.contains("no case is selected"), "{error}");
    let (_, error) = run(2, &["conformance", "run", chip, "--plugins", config, "--profile", "core-f23"]);
    assert!(error.contains("did you mean `core-f32`"), "{error}");
    let importer = plugin("import-onnx");
    let (_, error) = run(1, &["conformance", "run", importer.to_str().unwrap(), "--plugins", config]);
    assert!(error.contains("is an importer"), "{error}");
}

#[test]
fn another_seed_draws_other_cases() {
    let folder = Folder::new();
    let config = folder.config("");
    let (config, chip) = (config.to_str().unwrap(), plugin("portable"));
    let chip = chip.to_str().unwrap();
    let run_with = |more: &[&str]| {
        let out = folder.path("report");
        let mut line = vec!["conformance", "run", chip, "--plugins", config, "--case", "Relu/*,graph/*/3"];
        line.extend_from_slice(more);
        line.extend(["--report", out.to_str().unwrap()]);
        run(0, &line);
        let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
        let names = report["cases"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let (usual, other) = (run_with(&[]), run_with(&["--seed", "77"]));
    assert!(usual.contains(&"Relu/1/0".into()) && usual.contains(&"graph/1/3".into()), "{usual:?}");
    assert!(other.contains(&"Relu/77/0".into()) && other.contains(&"graph/77/3".into()), "{other:?}");
    assert!(!other.contains(&"Relu/1/0".into()) && other.len() >= 49, "{other:?}");
    let (_, error) = run(2, &["conformance", "run", chip, "--plugins", config, "--profile", "core-f32", "--seed", "2"]);
    assert!(error.contains("--seed") && error.contains("--profile"), "{error}");
}

#[test]
fn the_card_measures_what_the_plugin_runs() {
    let folder = Folder::new();
    let config = folder.config("");
    let (chip, out) = (plugin("portable"), folder.path("report"));
    let (chip, report) = (chip.to_str().unwrap(), out.to_str().unwrap());
    let line = ["conformance", "run", chip, "--plugins", config.to_str().unwrap(), "--case", "test_abs", "--card"];
    let (table, _) = run(0, &[&line[..], &["--report", report]].concat());
    assert!(table.contains("of portable") && table.contains("Gop/s") && table.contains("GB/s"), "{table}");
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    let card = report["card"].as_array().unwrap();
    for op in ["MatMul", "Conv", "Softmax", "Relu"] {
        let line = card.iter().find(|line| line["op"] == op).unwrap_or_else(|| panic!("{op}: {table}"));
        let (rate, ratio) = (line["rate"].as_f64().unwrap(), line["against_portable"].as_f64().unwrap());
        assert!(rate > 0.0 && rate.is_finite(), "{line}");
        // It is the portable plugin, measured twice on a machine that does other things as well.
        assert!((0.05..20.0).contains(&ratio), "{line}");
    }
}

#[test]
fn a_known_gap_excuses_a_failure_and_one_that_is_none_is_an_error() {
    let folder = Folder::new();
    let config = folder.config("");
    let (config, chip) = (config.to_str().unwrap(), plugin("portable"));
    let known = folder.write("known.toml", "[[expected-failure]]\npattern = 'test_abs'\nreason = 'it never failed'\n");
    let arguments = [
        "conformance",
        "run",
        chip.to_str().unwrap(),
        "--plugins",
        config,
        "--case",
        "test_abs",
        "--known",
        known.to_str().unwrap(),
    ];
    let (out, _) = run(1, &arguments);
    assert!(out.contains("stale entry `test_abs`: test_abs passes"), "{out}");
}

#[test]
fn a_certificate_that_somebody_wrote_by_hand_is_refused() {
    let folder = Folder::new();
    let forged = folder.write("certificate.json", r#"{"schema": "sunmao-conformance-certificate/1"}"#);
    let (_, error) = run(1, &["conformance", "verify", forged.to_str().unwrap()]);
    assert!(error.contains("this is no certificate"), "{error}");
}
