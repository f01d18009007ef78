//! What is kept of models between two starts: found again, never believed when it is damaged or stale, bounded.

use crate::onnx;
use crate::support::{Folder, host, registry, runtime};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use sunmao_graph::DType;
use sunmao_host::config::FastPaths;
use sunmao_host::device::Registry;
use sunmao_host::scheduler::Team;
use sunmao_host::session::{Host, Options, Session, Tensor};
use sunmao_host::store::{Counts, Store};

/// A prepared model, a plan, packed constants.
const FILES: u64 = 3;

struct Kept {
    folder: Folder,
    registry: Arc<Registry>,
    limit_bytes: u64,
}

impl Kept {
    fn new() -> Self {
        let runtime = runtime();
        let registry = registry(&runtime, &["portable", "import-onnx"]);
        let this = Self { folder: Folder::new(), registry, limit_bytes: 1 << 30 };
        this.write_model(1);
        this
    }

    fn model(&self) -> PathBuf {
        self.folder.path("model.onnx")
    }

    /// Writes the model, and waits until its times lie back far enough.
    fn write_model(&self, seed: u32) {
        fs::write(self.model(), onnx::computed(seed)).unwrap();
        std::thread::sleep(Duration::from_millis(80));
    }

    /// A start: answers to two requests, and what was found. Without a store nothing is.
    fn start(&self, fast_paths: bool, store: bool) -> (Vec<Vec<u8>>, Counts) {
        let store = store.then(|| Store::open(&self.folder.path("store"), self.limit_bytes).unwrap());
        let host = Host::new(self.registry.clone(), Team::new(2, 8)).keeping(store.clone());
        let fast_paths = if fast_paths { FastPaths::Auto } else { FastPaths::Off };
        let options = Options { chip: "portable".into(), threads: 2, fast_paths, strict: false };
        let session = Session::load(&self.model(), &host, options).unwrap();
        let counts = store.map(|store| store.counts()).unwrap_or_default();
        let ask = |batch: u64| {
            let data = (0..batch * 4).flat_map(|n| (n as f32 / 3.0).to_le_bytes()).collect();
            let x = Tensor { dtype: DType::F32, shape: vec![batch, 4], data };
            session.infer(vec![("x".into(), x)], &[]).unwrap().remove(0).1.data
        };
        (vec![ask(1), ask(3)], counts)
    }

    #[track_caller]
    fn check(&self, expected: &[Vec<u8>], found: u64) {
        let (answers, counts) = self.start(true, true);
        assert_eq!(answers, expected);
        assert_eq!(counts, Counts { found, made: FILES - found, evicted: 0 });
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path("store")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == ending)).collect()
    }
}

#[test]
fn a_second_start_finds_everything_and_gives_the_same_bits() {
    let kept = Kept::new();
    for fast_paths in [true, false] {
        let (plain, none) = kept.start(fast_paths, false);
        assert_eq!(none, Counts::default());
        let (first, counts) = kept.start(fast_paths, true);
        // Both ways of running share the prepared model at least.
        assert!(counts.found >= u64::from(!fast_paths) && counts.made >= 1, "{counts:?}");
        let (second, counts) = kept.start(fast_paths, true);
        assert_eq!(counts, Counts { found: FILES, ..Counts::default() });
        assert!(first == plain && second == plain);
    }
    for path in fs::read_dir(kept.folder.path("store")).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        assert!(path.extension().is_none_or(|ending| ending != "tmp"), "{}", path.display());
    }
}

#[test]
fn packed_constants_that_are_gone_are_packed_again_from_what_is_computed_again() {
    let kept = Kept::new();
    let (expected, _) = kept.start(true, true);
    kept.files("constants").iter().for_each(|path| fs::remove_file(path).unwrap());
    kept.check(&expected, FILES - 1);
    kept.check(&expected, FILES);
}

#[test]
fn what_was_damaged_is_not_used() {
    let kept = Kept::new();
    let (expected, _) = kept.start(true, true);
    // The second request's plan is there too: a file of the first one is meant, or of both.
    for ending in ["model", "plan", "constants"] {
        let spoils: [fn(&mut Vec<u8>); 6] = [
            |bytes| bytes[9] ^= 1,
            |bytes| bytes[3] ^= 1,
            |bytes| {
                let last_element = bytes.iter().rposition(|byte| *byte != 0).unwrap();
                bytes[last_element] ^= 0x10;
            },
            |bytes| bytes.truncate(bytes.len() / 2),
            |bytes| bytes.truncate(5),
            |bytes| bytes.extend([0; 65536]),
        ];
        for spoil in spoils {
            for path in kept.files(ending) {
                let mut bytes = fs::read(&path).unwrap();
                spoil(&mut bytes);
                fs::write(&path, bytes).unwrap();
            }
            kept.check(&expected, FILES - 1);
        }
        kept.check(&expected, FILES);
    }
    // Whose files others may write to, or links to elsewhere, are nobody's.
    let constants = kept.files("constants").remove(0);
    fs::set_permissions(&constants, fs::Permissions::from_mode(0o666)).unwrap();
    kept.check(&expected, FILES - 1);
    let elsewhere = kept.folder.path("elsewhere");
    fs::rename(&constants, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &constants).unwrap();
    kept.check(&expected, FILES - 1);
}

#[test]
fn a_model_that_was_changed_is_another_one() {
    let kept = Kept::new();
    let (before, _) = kept.start(true, true);
    kept.write_model(2);
    let (expected, _) = kept.start(true, false);
    assert_ne!(before, expected);
    kept.check(&expected, 0);
    kept.check(&expected, FILES);
    // Written to just now, when another change might bear the same time: nothing is found.
    fs::write(kept.model(), onnx::computed(3)).unwrap();
    let (_, counts) = kept.start(true, true);
    assert_eq!(counts.found, 0);
}

#[test]
fn the_store_stays_within_its_bound() {
    let mut kept = Kept::new();
    kept.limit_bytes = 3 << 19;
    let mut evicted = 0;
    for seed in 4..9 {
        kept.write_model(seed);
        evicted += kept.start(true, true).1.evicted;
        let total: u64 = ["model", "plan", "constants"]
            .iter()
            .flat_map(|ending| kept.files(ending))
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert!(total > 0 && total <= kept.limit_bytes, "{total}");
    }
    assert!(evicted > 0);
    let (expected, _) = kept.start(true, false);
    kept.check(&expected, FILES);
    kept.limit_bytes = 4096;
    kept.write_model(9);
    let (expected, _) = kept.start(true, false);
    let (answers, counts) = kept.start(true, true);
    assert_eq!((answers, counts.found), (expected, 0), "what does not fit is used and not kept");
}

#[test]
fn two_hosts_at_once_do_not_disturb_each_other_and_an_unusable_store_is_a_warning() {
    let kept = Kept::new();
    let (config, home) = (kept.folder.config(""), kept.folder.path("home"));
    let (model, input) = (kept.model(), kept.folder.write("x.json", "[[1, 2, 3, 4.5]]"));
    let start = || {
        let mut command = host(&["infer", model.to_str().unwrap(), "--plugins", config.to_str().unwrap()]);
        command.args(["-i", &format!("x={}", input.display())]).env("SUNMAO_HOME", &home);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()].map(|child| child.wait_with_output().unwrap());
    let alone = start().wait_with_output().unwrap();
    for output in both.iter().chain([&alone]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, alone.stdout);
    }
    let store = home.join("cache/models");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    let output = start().wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout == alone.stdout, "{told}");
    assert!(told.contains("nothing is kept of models") && told.contains("chmod 700"), "{told}");
}
