//! Plugins and models that mean harm: each ends in an error that says what is wrong, and a neighbour's requests go on as before.

use crate::onnx;
use crate::support::{Folder, guest, registry, runtime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use sunmao_graph::DType;
use sunmao_host::config::FastPaths;
use sunmao_host::device::Chip;
use sunmao_host::memory::Memory;
use sunmao_host::plugin::{Limits, LoadOptions, Plugin, PluginError, Runtime};
use sunmao_host::scheduler::Team;
use sunmao_host::session::{Host, InferError, LoadError, Options, Session, Tensor};

/// How a request on a hostile chip may end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The plugin is refused when it is loaded.
    Refused,
    /// The model is not served on it, or each request fails, alone.
    Fails,
    /// Right answers: it is harmless, or the host sees through it and computes elsewhere.
    Right,
    /// The first request fails; the node then goes elsewhere and the answers are right.
    Moves,
    /// Any answer, or an error: it computes its own model's outputs, and nothing else.
    Lives,
}

/// What the table of `conformance/guests` calls each mode.
const MODES: &[(u8, End)] = &[
    (0, End::Right),
    (1, End::Moves),
    (2, End::Moves),
    (3, End::Moves),
    (4, End::Right),
    (5, End::Moves),
    (6, End::Right),
    (7, End::Refused),
    (8, End::Lives),
    (9, End::Moves),
    (10, End::Lives),
    (11, End::Right),
    (12, End::Right),
    (13, End::Right),
    (14, End::Right),
    (15, End::Right),
    (16, End::Right),
    (17, End::Right),
    (18, End::Right),
    (19, End::Lives),
    (20, End::Lives),
    (21, End::Lives),
    (22, End::Lives),
    (23, End::Lives),
    (24, End::Refused),
    (25, End::Right),
    (26, End::Moves),
    (27, End::Refused),
    (28, End::Refused),
    (29, End::Refused),
    (30, End::Lives),
    (31, End::Right),
    (32, End::Lives),
    (33, End::Right),
    (34, End::Right),
    (35, End::Refused),
    (36, End::Right),
];

pub(crate) struct Rig {
    runtime: Arc<Runtime>,
    pub(crate) host: Host,
    pub(crate) folder: Folder,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let runtime = runtime();
        let registry = registry(&runtime, &["portable", "import-onnx"]);
        Self { runtime, host: Host::new(registry, Team::new(2, 8)), folder: Folder::new() }
    }

    /// The test plugin, patched to `mode`.
    pub(crate) fn guest(&self, mode: u8) -> Result<Arc<Plugin>, PluginError> {
        const MARKER: &[u8] = b"SUNMAO-GUEST-MODE:";
        let mut bytes = std::fs::read(guest("guest")).unwrap();
        let at = bytes.windows(MARKER.len()).position(|part| part == MARKER).expect("the guest has its marker");
        bytes[at + MARKER.len()..][..2].copy_from_slice(format!("{mode:02}").as_bytes());
        let path = self.folder.write(&format!("guest-{mode:02}.wasm"), bytes);
        let limits = Limits {
            memory_bytes: 64 << 20,
            deadline: Duration::from_millis(400),
            setup_deadline: Duration::from_millis(1500),
            ..Limits::default()
        };
        self.runtime.load(&path, &LoadOptions { limits, ..LoadOptions::default() })
    }

    pub(crate) fn serve(&self, chip: &str, model: &Path) -> Result<Session, LoadError> {
        let options = Options { chip: chip.into(), threads: 2, fast_paths: FastPaths::Off, strict: false };
        Session::load(model, &self.host, options)
    }

    /// The guest of that mode, as a chip.
    pub(crate) fn chip(&self, mode: u8) -> Arc<Chip> {
        let name = format!("guest-{mode}");
        self.host.registry.add_chip(Chip::new(name.clone(), Vec::new(), FastPaths::Off, self.guest(mode).unwrap()));
        self.host.registry.chip(&name).unwrap()
    }
}

pub(crate) fn floats(values: &[f32], shape: &[u64]) -> Tensor {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { dtype: DType::F32, shape: shape.to_vec(), data }
}

/// x + x.
fn ask(session: &Session) -> Result<bool, InferError> {
    let values: Vec<f32> = (0..400).map(|i| i as f32 * 0.5).collect();
    let doubled: Vec<f32> = values.iter().map(|x| x + x).collect();
    let outputs = session.infer(vec![("x".into(), floats(&values, &[100, 4]))], &[])?;
    Ok(outputs[0].1 == floats(&doubled, &[100, 4]))
}

#[test]
fn hostile_plugins_harm_nobody_but_their_own_requests() {
    let rig = Rig::new();
    let model = rig.folder.write("add.onnx", onnx::model("Add"));
    let neighbour = rig.serve("portable", &model).unwrap();
    for &(mode, expected) in MODES {
        let end = match rig.guest(mode) {
            Err(_) => End::Refused,
            Ok(plugin) => {
                let name = format!("guest-{mode}");
                rig.host.registry.add_chip(Chip::new(name.clone(), Vec::new(), FastPaths::Off, plugin));
                match rig.serve(&name, &model) {
                    Err(error) => {
                        assert!(error.to_string().contains("add.onnx"), "mode {mode:02}: {error}");
                        End::Fails
                    }
                    Ok(session) => {
                        let mut answers = vec![ask(&session), ask(&session)];
                        // One that hangs has shown it by now; one that traps at its fourth run has not.
                        if answers.iter().any(Result::is_ok) {
                            answers.extend((0..4).map(|_| ask(&session)));
                        }
                        let right =
                            |answers: &[Result<bool, InferError>]| answers.iter().all(|one| matches!(one, Ok(true)));
                        if right(&answers) {
                            End::Right
                        } else if matches!(answers[0], Err(InferError::Failed { .. })) && right(&answers[1..]) {
                            End::Moves
                        } else if answers.iter().all(Result::is_err) {
                            End::Fails
                        } else {
                            End::Lives
                        }
                    }
                }
            }
        };
        assert!(end == expected || expected == End::Lives, "mode {mode:02} ended as {end:?}, expected {expected:?}");
        assert!(ask(&neighbour).unwrap(), "mode {mode:02} harmed the neighbour");
    }
    assert_eq!(MODES.len(), 37, "every mode of the guest ran");
}

#[test]
fn a_model_that_memory_does_not_suffice_for_is_refused_before_its_weights_are_read() {
    let rig = Rig::new();
    let model = rig.folder.write("weighted.onnx", onnx::weighted());
    let load = |bytes: u64| {
        let options = Options { chip: "portable".into(), threads: 1, fast_paths: FastPaths::Off, strict: false };
        Session::load_within(&model, &rig.host, options, Memory::Bytes(bytes))
    };
    let Err(error) = load(32_767) else { panic!("32 KiB of weights were taken") };
    let text = error.to_string();
    assert!(text.contains("weighted.onnx") && text.contains("about 32768 bytes and 32767 are available"), "{text}");
    let session = load(1 << 20).unwrap();
    assert!(session.infer(vec![("x".into(), floats(&[1.0; 4], &[1, 4]))], &[]).is_ok());
    // The weights are in place already: a further shape takes its activations and nothing else.
    let tight = load(128 << 10).unwrap();
    assert!(tight.infer(vec![("x".into(), floats(&[1.0; 12], &[3, 4]))], &[]).is_ok());
    let many = tight.infer(vec![("x".into(), floats(&vec![1.0; 40_000], &[10_000, 4]))], &[]);
    assert!(matches!(many, Err(InferError::OutOfMemory(_))), "{many:?}");
}

#[test]
fn operators_that_nobody_runs_are_listed_at_load_also_where_shapes_are_open() {
    let rig = Rig::new();
    let chip = rig.chip(0);
    let model = rig.folder.write("open.onnx", onnx::open_model("Mod"));
    let options = Options { chip: chip.name.clone(), threads: 1, fast_paths: FastPaths::Off, strict: true };
    let Err(error) = Session::load(&model, &rig.host, options) else { panic!("the guest does not run Mod") };
    let text = error.to_string();
    assert!(text.contains("open.onnx") && text.contains("Mod of node `the only one`"), "{text}");
}

/// Loads a model that must be refused, and gives the reason.
#[track_caller]
fn refusal(rig: &Rig, path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    match rig.serve("portable", path) {
        Ok(_) => panic!("{name} was taken"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&name), "the message does not name the file: {text}");
            text
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/models").join(name)
}

#[test]
fn hostile_models_are_refused_with_the_reason() {
    let rig = Rig::new();
    let whole = onnx::model("Add");
    let neighbour = rig.serve("portable", &rig.folder.write("good.onnx", &whole)).unwrap();
    let mut refused = 0;
    let mut check = |path: &Path, words: &[&str]| {
        let reason = refusal(&rig, path);
        for word in words {
            assert!(reason.contains(word), "{}: no `{word}` in: {reason}", path.display());
        }
        assert!(ask(&neighbour).unwrap());
        refused += 1;
    };
    check(&fixture("external_absolute.onnx"), &["model's own folder"]);
    check(&fixture("external_traversal.onnx"), &["model's own folder"]);
    check(&fixture("external_missing.onnx"), &["weights.bin"]);
    check(&fixture("external_offset_overflow.onnx"), &[]);
    check(&fixture("opset_999.onnx"), &["999"]);
    check(&rig.folder.write("empty.onnx", b""), &["the file is empty"]);
    check(&rig.folder.write("text.onnx", b"this is no model, but a text that goes on for a while"), &[]);
    check(&rig.folder.write("operator.onnx", onnx::model("NoSuchOperator")), &["NoSuchOperator"]);
    check(&rig.folder.write("arity.onnx", onnx::model("Relu")), &["Relu"]);
    check(&rig.folder.write("half.onnx", &whole[..whole.len() / 2]), &[]);
    let mut huge = whole.clone();
    // The length of the graph message, made to run past the end of the file.
    let at = huge.windows(2).position(|pair| pair[0] == 0x3a).unwrap();
    huge[at + 1] = 0x7f;
    check(&rig.folder.write("length.onnx", huge), &[]);
    check(&rig.folder.write("zeros.onnx", [0u8; 4096]), &[]);
    assert_eq!(refused, 12);
}

#[test]
fn no_truncation_of_a_model_does_worse_than_an_error() {
    let rig = Rig::new();
    let whole = onnx::model("Add");
    let neighbour = rig.serve("portable", &rig.folder.write("good.onnx", &whole)).unwrap();
    let mut refused = 0;
    for length in 0..whole.len() {
        refused += usize::from(rig.serve("portable", &rig.folder.write("cut.onnx", &whole[..length])).is_err());
    }
    assert!(refused * 10 >= whole.len() * 9, "{refused} of {} were refused", whole.len());
    assert!(ask(&neighbour).unwrap());
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let rig = Rig::new();
    let session = rig.serve("portable", &rig.folder.write("good.onnx", onnx::model("Add"))).unwrap();
    let infer = |name: &str, tensor: Tensor, output: &[String]| {
        session.infer(vec![(name.into(), tensor)], output).map(|_| ()).unwrap_err().to_string()
    };
    let good = || floats(&[1.0; 4], &[1, 4]);
    assert_eq!(infer("z", good(), &[]), "no input `z`: the model takes x");
    assert_eq!(infer("x", good(), &["q".into()]), "no output `q`: the model gives y");
    assert_eq!(infer("x", floats(&[1.0; 5], &[1, 5]), &[]), "input `x` has shape [1, 5], the model takes [any, 4]");
    let double = Tensor { dtype: DType::F64, shape: vec![1, 4], data: vec![0; 32] };
    assert_eq!(infer("x", double, &[]), "input `x` is f64, the model takes f32");
    let short = Tensor { dtype: DType::F32, shape: vec![1, 4], data: vec![0; 12] };
    assert_eq!(infer("x", short, &[]), "input `x` has 12 bytes of data where its shape takes 16");
    assert_eq!(session.infer(Vec::new(), &[]).map(|_| ()).unwrap_err().to_string(), "input `x` is missing");
}
