//! Requests of many samples: computed in parts where samples stay apart, whole where they do not, with the answers of its samples either way.

use crate::hostile::Rig;
use crate::onnx;
use crate::support::{Folder, registry, runtime};
use sunmao_graph::DType;
use sunmao_host::config::FastPaths;
use sunmao_host::engine::{Trace, What};
use sunmao_host::scheduler::Team;
use sunmao_host::session::{Host, Options, Session, Tensor};

/// Enough that a sample is worth a run of its own.
const WIDTH: u64 = 8192;

fn session(folder: &Folder, threads: usize, fast_paths: FastPaths, model: &[u8]) -> Session {
    let runtime = runtime();
    let registry = registry(&runtime, &["portable", "import-onnx"]);
    let host = Host::new(registry, Team::new(threads, 8));
    let options = Options { chip: "portable".into(), threads, fast_paths, strict: false };
    Session::load(&folder.write("model.onnx", model), &host, options).unwrap()
}

fn tensor(rows: std::ops::Range<u64>) -> Vec<(String, Tensor)> {
    let count = rows.end - rows.start;
    let data = (rows.start * WIDTH..rows.end * WIDTH).flat_map(|n| (n as f32 / 3.0).to_le_bytes()).collect();
    vec![("x".to_owned(), Tensor { dtype: DType::F32, shape: vec![count, WIDTH], data })]
}

#[test]
fn a_request_of_many_samples_gives_what_each_of_them_gives() {
    let folder = Folder::new();
    let model = onnx::open_model("Add");
    for threads in [1, 2] {
        for fast_paths in [FastPaths::Auto, FastPaths::Off] {
            let session = session(&folder, threads, fast_paths, &model);
            assert_eq!(session.parts(&[vec![7, WIDTH]]), 7);
            assert_eq!(session.parts(&[vec![1, WIDTH]]), 1);
            assert_eq!(session.plan(&[vec![7, WIDTH]]).unwrap().outputs[0].shape, [1, WIDTH], "of a part");
            let singly: Vec<u8> =
                (0..7).flat_map(|row| session.infer(tensor(row..row + 1), &[]).unwrap().remove(0).1.data).collect();
            let (_, together) = session.infer(tensor(0..7), &[]).unwrap().remove(0);
            assert_eq!((together.shape, together.data == singly), (vec![7, WIDTH], true), "{threads} threads");
            // The same output twice is given twice.
            let twice = session.infer(tensor(0..7), &["y".to_owned(), "y".to_owned()]).unwrap();
            assert!(twice.len() == 2 && twice.iter().all(|(_, tensor)| tensor.data == singly));
        }
    }
}

#[test]
fn threads_take_parts_side_by_side() {
    let folder = Folder::new();
    let session = session(&folder, 2, FastPaths::Off, &onnx::open_model("Add"));
    // Who is late may find nothing left of one request, but hardly of every one.
    let threads_of_one = || {
        let trace = Trace::begin();
        session.infer_traced(tensor(0..64), &trace).unwrap();
        let events = trace.events();
        let copies = events.iter().filter(|event| matches!(event.what, What::CopyIn { .. }));
        assert_eq!(copies.count(), 64);
        let mut threads: Vec<u32> = events.iter().map(|event| event.thread).collect();
        threads.sort_unstable();
        threads.dedup();
        threads
    };
    assert!((0..50).any(|_| threads_of_one() == [0, 1]));
}

#[test]
fn weights_that_outweigh_the_activations_are_read_once_for_all_samples() {
    let folder = Folder::new();
    let session = session(&folder, 2, FastPaths::Auto, &onnx::computed(1));
    assert_eq!(session.parts(&[vec![8, 4]]), 1);
    assert_eq!(session.plan(&[vec![8, 4]]).unwrap().outputs[0].shape, [8, 4]);
}

#[test]
fn a_sample_that_is_hardly_any_work_has_no_run_of_its_own() {
    let folder = Folder::new();
    let session = session(&folder, 2, FastPaths::Auto, &onnx::open_model("Add"));
    assert_eq!(session.parts(&[vec![64, 4]]), 1);
    assert_eq!(session.parts(&[vec![5000, WIDTH]]), 1, "nor have thousands");
}

#[test]
fn a_part_that_fails_has_the_request_tried_once_more_on_fresh_instances() {
    // The fourth run of each instance traps, and ten parts are more than two instances have runs.
    let rig = Rig::new();
    let chip = rig.chip(4);
    let session = rig.serve(&chip.name, &rig.folder.write("add.onnx", onnx::open_model("Add"))).unwrap();
    assert_eq!(session.parts(&[vec![10, WIDTH]]), 10);
    for _ in 0..3 {
        let inputs = tensor(0..10);
        let doubled: Vec<u8> =
            inputs[0].1.data.as_chunks().0.iter().flat_map(|x| (f32::from_le_bytes(*x) * 2.0).to_le_bytes()).collect();
        assert!(session.infer(inputs, &[]).unwrap().remove(0).1.data == doubled);
    }
    assert_eq!(chip.faults(), 0, "the chip was marked for requests that were answered");
}

#[test]
fn samples_that_meet_are_computed_together() {
    let folder = Folder::new();
    let session = session(&folder, 2, FastPaths::Auto, &onnx::columns());
    assert_eq!(session.parts(&[vec![5, WIDTH]]), 1);
    let (_, soft) = session.infer(tensor(0..5), &[]).unwrap().remove(0);
    let soft: Vec<f32> = soft.data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    for column in 0..WIDTH as usize {
        let sum: f32 = soft.iter().skip(column).step_by(WIDTH as usize).sum();
        assert!((sum - 1.0).abs() < 1e-5, "column {column}: {sum}");
    }
}
