//! C-55 to C-60: importers that lie, and files that were made to be misread.

use super::lab::{Lab, options};
use super::{Check, Trouble, ensure};
use crate::engine::PortableEvaluator;
use crate::import::{ImportOptions, import};
use crate::memory::pss_bytes;
use crate::plugin::Plugin;
use crate::session::Session;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sunmao_conformance::Store;
use sunmao_graph::optimise;

pub(super) const CHECKS: &[Check] = &[
    Check { id: "C-55", title: "an importer that is certain of every file takes no other's", run: certain_of_all },
    Check { id: "C-56", title: "a bomb is not unpacked", run: bomb },
    // A hard link cannot be told from the file: it is the file.
    Check { id: "C-57", title: "`..`, absolute names and links lead nowhere", run: trespass },
    Check { id: "C-58", title: "weights beyond the file, or whose end overflows, are refused", run: weights_outside },
    Check { id: "C-59", title: "cyclic, dangling, endless, deep and vast graphs are refused", run: impossible_graphs },
    Check { id: "C-60", title: "spoilt model files end in errors, soon and small", run: mutants },
];

/// Loads a `.guest` file with an importer, which must come to an error; that.
fn rejection(lab: &Lab, importer: Arc<Plugin>, path: &Path) -> Result<String, Trouble> {
    let host = lab.host_reading_with(&[importer])?;
    match Session::load(path, &host, options("reader")) {
        Ok(_) => Err(Trouble::Failed("the model was taken".into())),
        Err(error) => Ok(error.to_string()),
    }
}

/// The host's importer of ONNX.
fn onnx(lab: &Lab) -> Result<Arc<Plugin>, Trouble> {
    let reads = |plugin: &&Arc<Plugin>| plugin.formats().iter().any(|format| format.id == "onnx");
    let found = lab.importers.iter().find(reads).cloned();
    found.ok_or_else(|| Trouble::NotHere("no importer of ONNX is loaded".into()))
}

fn certain_of_all(lab: &Lab) -> Result<(), Trouble> {
    let (greedy, onnx) = (lab.importer(1)?, onnx(lab)?);
    let model = Store::onnx_nodes().case("test_relu").ok_or_else(|| Trouble::Failed("no case test_relu".into()))?;
    let path = lab.file("relu.onnx", model.model());
    // Whichever was named first.
    for importers in [[greedy.clone(), onnx.clone()], [onnx, greedy]] {
        let imported = import(&importers, &path, &ImportOptions::default())?;
        ensure(imported.format == "onnx", || format!("a file named .onnx was read as {}", imported.format))?;
    }
    Ok(())
}

fn bomb(lab: &Lab) -> Result<(), Trouble> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..64).try_for_each(|_| packer.write_all(&zeros))?;
    let path = lab.file("bomb.guest", &packer.finish()?);
    let before = pss_bytes()?;
    for mode in [6, 7] {
        rejection(lab, lab.importer(mode)?, &path)?;
    }
    let grown = pss_bytes()?.saturating_sub(before);
    ensure(grown <= 64 << 20, || format!("{grown} bytes were taken for it"))
}

fn trespass(lab: &Lab) -> Result<(), Trouble> {
    let folder = lab.path("folder");
    std::fs::create_dir_all(&folder)?;
    lab.file("outside.bin", b"a secret");
    for (target, link) in [("../outside.bin", "link.bin"), ("..", "folder-link")] {
        match std::os::unix::fs::symlink(target, folder.join(link)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    lab.file("folder/weights.bin", b"its own");
    let importer = lab.importer(8)?;
    let open = |name: &str| rejection(lab, importer.clone(), &lab.file("folder/model.guest", name.as_bytes()));
    for name in ["../outside.bin", "/etc/hostname", "link.bin", "./../outside.bin", "folder-link/outside.bin", "."] {
        open(name).map_err(|_| Trouble::Failed(format!("the importer was granted `{name}`")))?;
    }
    ensure(open("weights.bin").is_err(), || "the model's own file was refused, so this shows nothing".into())
}

fn weights_outside(lab: &Lab) -> Result<(), Trouble> {
    let path = lab.file("weights.guest", b"guest");
    for mode in [9, 10] {
        rejection(lab, lab.importer(mode)?, &path).map_err(|trouble| in_mode(mode, trouble))?;
    }
    Ok(())
}

fn in_mode(mode: u8, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Failed(what) => Trouble::Failed(format!("importer mode {mode:02}: {what}")),
        other => other,
    }
}

fn impossible_graphs(lab: &Lab) -> Result<(), Trouble> {
    let path = lab.file("graph.guest", b"guest");
    for mode in [4, 5, 11, 12, 13, 14, 16, 17, 18, 19] {
        // One that only takes memory may describe its model all the same.
        match rejection(lab, lab.importer(mode)?, &path) {
            Err(Trouble::Failed(what)) if mode == 17 && what.contains("was taken") => {}
            other => drop(other.map_err(|trouble| in_mode(mode, trouble))?),
        }
    }
    // A hundred thousand warnings are a nuisance, and no reason to refuse a model.
    let host = lab.host_reading_with(&[lab.importer(20)?])?;
    let imported = import(&host.registry.importers(), &path, &ImportOptions::default())?;
    ensure(imported.warnings.len() <= 1001, || format!("{} warnings were kept", imported.warnings.len()))
}

fn mutants(lab: &Lab) -> Result<(), Trouble> {
    const SEED_MAX_BYTES: usize = 4096;
    const EACH: Duration = Duration::from_secs(10);
    const MEMORY_MAX_BYTES: u64 = 64 << 20;
    let importers = [onnx(lab)?];
    let seeds: Vec<&[u8]> = Store::onnx_nodes()
        .cases()
        .map(|case| case.model())
        .filter(|model| model.len() <= SEED_MAX_BYTES)
        .step_by(17)
        .collect();
    let mut random = 0x5EED_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) as usize % below.max(1)
    };
    let (before, mut refused) = (pss_bytes()?, 0);
    for number in 0..lab.depth.mutants {
        let mut bytes = seeds[number % seeds.len()].to_vec();
        for _ in 0..=next(6) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, next(256) as u8),
                2 => bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x7f]).for_each(drop),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = next(256) as u8),
            }
        }
        let path = lab.file("mutant.onnx", &bytes);
        let start = Instant::now();
        // Whatever is read goes on to where graphs are checked, folded and rewritten.
        let read = import(&importers, &path, &ImportOptions::default()).map_err(drop).and_then(|imported| {
            optimise::prepare(imported.graph, &imported.weights, &mut PortableEvaluator).map_err(drop)
        });
        refused += usize::from(read.is_err());
        let took = start.elapsed();
        ensure(took <= EACH, || format!("mutant {number} took {} ms", took.as_millis()))?;
    }
    let grown = pss_bytes()?.saturating_sub(before);
    ensure(grown <= MEMORY_MAX_BYTES, || format!("{grown} bytes stayed behind"))?;
    ensure(refused > 0, || "not one of them was refused, so they were not spoilt".into())
}
