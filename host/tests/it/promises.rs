//! A chip that says yes and fails: the request is tried twice, the failure is counted, and the node goes elsewhere.

use crate::hostile::{Rig, floats};
use crate::onnx;
use sunmao_host::config::FastPaths;
use sunmao_host::device::Place;
use sunmao_host::session::{InferError, Options, Session};

/// x + x at a shape that no request had before.
fn ask(session: &Session, length: u64) -> Result<bool, InferError> {
    let values: Vec<f32> = (0..length).map(|i| i as f32).collect();
    let doubled: Vec<f32> = values.iter().map(|x| x + x).collect();
    let outputs = session.infer(vec![("x".into(), floats(&values, &[1, length]))], &[])?;
    Ok(outputs[0].1 == floats(&doubled, &[1, length]))
}

#[test]
fn a_failure_while_new_shapes_are_planned_is_the_chips_and_not_the_requests() {
    let rig = Rig::new();
    let model = rig.folder.write("open.onnx", onnx::open_model("Add"));
    // `prepare` hangs, `requirements` traps, `bind` hangs.
    for mode in [6, 31, 33] {
        let chip = rig.chip(mode);
        let options = Options { chip: chip.name.clone(), threads: 2, fast_paths: FastPaths::Off, strict: true };
        let session = Session::load(&model, &rig.host, options).unwrap();
        match ask(&session, 7) {
            Err(InferError::Failed { error, .. }) => {
                assert!(error.to_string().contains("Add of node `the only one`"), "mode {mode:02}: {error}");
            }
            other => panic!("mode {mode:02}: {other:?}"),
        }
        assert_eq!(chip.faults(), 1, "mode {mode:02}");
        let error = ask(&session, 7).unwrap_err().to_string();
        assert!(error.contains("broken promise") && error.contains("--strict"), "mode {mode:02}: {error}");
    }
}

#[test]
fn a_node_on_which_the_chip_fails_is_planned_elsewhere() {
    let rig = Rig::new();
    let model = rig.folder.write("open.onnx", onnx::open_model("Add"));
    // `run` traps, `bind` hangs.
    for mode in [3, 33] {
        let chip = rig.chip(mode);
        let session = rig.serve(&chip.name, &model).unwrap();
        assert_eq!(session.plan(&[vec![1, 7]]).unwrap().dispatches[0].place, Place::Chip);
        assert!(matches!(ask(&session, 7), Err(InferError::Failed { .. })), "mode {mode:02}");
        assert_eq!((chip.faults(), chip.is_set_aside()), (1, false));
        assert!(ask(&session, 7).unwrap() && ask(&session, 9).unwrap(), "mode {mode:02}");
        let moved = &session.plan(&[vec![1, 7]]).unwrap().dispatches[0];
        assert_eq!(moved.place, Place::Portable);
        assert!(moved.reason.contains("chip: broken promise: "), "{}", moved.reason);
    }
}

#[test]
fn a_chip_that_fails_three_times_within_a_minute_is_set_aside() {
    let rig = Rig::new();
    let chip = rig.chip(31);
    let model = rig.folder.write("doublings.onnx", onnx::doublings(4));
    let session = rig.serve(&chip.name, &model).unwrap();
    assert_eq!((chip.broken_promises(), chip.is_set_aside()), (3, true), "the fourth node is not even asked for");
    let outputs = session.infer(vec![("x".into(), floats(&[1.0, 2.0, 3.0, 4.0], &[1, 4]))], &[]).unwrap();
    assert_eq!(outputs[0].1, floats(&[16.0, 32.0, 48.0, 64.0], &[1, 4]));
    let reasons: Vec<_> =
        session.plan(&[vec![1, 4]]).unwrap().dispatches.iter().map(|dispatch| dispatch.reason.clone()).collect();
    assert!(reasons.iter().all(|reason| reason.contains("chip: set aside")), "{reasons:?}");
    assert_eq!(rig.host.registry.chip("auto").unwrap().name, "portable");
}

#[test]
fn a_strict_model_on_a_chip_that_is_set_aside_is_not_the_requests_fault() {
    let rig = Rig::new();
    let chip = rig.chip(0);
    let model = rig.folder.write("open.onnx", onnx::open_model("Add"));
    let options = Options { chip: chip.name.clone(), threads: 2, fast_paths: FastPaths::Off, strict: true };
    let session = Session::load(&model, &rig.host, options).unwrap();
    assert!(ask(&session, 7).unwrap());
    (0..3).for_each(|_| chip.broke_promise());
    for length in [7, 9] {
        let error = ask(&session, length).unwrap_err();
        assert!(matches!(error, InferError::SetAside(_)) && error.to_string().contains(&chip.name), "{error}");
    }
}

#[test]
fn a_plan_on_a_chip_that_was_set_aside_is_made_anew() {
    let rig = Rig::new();
    let chip = rig.chip(0);
    let model = rig.folder.write("open.onnx", onnx::open_model("Add"));
    let session = rig.serve(&chip.name, &model).unwrap();
    assert!(ask(&session, 7).unwrap());
    (0..3).for_each(|_| chip.broke_promise());
    assert!(ask(&session, 7).unwrap());
    assert_eq!(session.plan(&[vec![1, 7]]).unwrap().dispatches[0].place, Place::Portable);
}
