//! A real, trained model on every road: each chip, one thread and two, with native fast paths and without.

use crate::support::{Folder, plugin, run};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use sunmao_host::formats::read_npz;

/// Largest deviation from ONNX Runtime's outputs, which lie between 0 and 1. The model divides logarithms by their range, so that
/// rounding is amplified; on this melody ONNX Runtime agrees with itself within 3e-5.
const LIMIT: f32 = 1e-4;

fn demo(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(file)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

#[test]
fn the_bundled_model_hears_on_every_road_what_onnx_runtime_hears() {
    let folder = Folder::new();
    let mut config = format!("plugins_dir = {:?}\n", folder.path("none"));
    for name in ["simd128", "portable", "import-onnx"] {
        let _ = write!(config, "[[plugin]]\nname = \"{name}\"\npath = {:?}\n", plugin(name));
    }
    config.push_str("[[importer]]\nplugin = \"import-onnx\"\n");
    config.push_str("[[chip]]\nname = \"simd128\"\nplugin = \"simd128\"\n");
    config.push_str("[[chip]]\nname = \"portable\"\nplugin = \"portable\"\n");
    let config = folder.write("plugins.toml", config);
    let (config, model) = (config.to_str().unwrap(), demo("basic_pitch.onnx"));
    let expected = read_npz(&std::fs::read(demo("melody.expected.npz")).unwrap()).unwrap();
    assert_eq!(expected.len(), 3);
    let input = format!("serving_default_input_2:0={}", demo("melody.npy").display());
    for chip in ["simd128", "portable"] {
        for threads in ["1", "2"] {
            for (fast_paths, strict) in [("auto", None), ("off", Some("--strict"))] {
                let road = format!("{chip}, {threads} thread(s), fast paths {fast_paths}");
                let out = folder.path("out.npz");
                let mut line = vec!["infer", model.to_str().unwrap(), "--plugins", config, "-i", &input];
                line.extend(["-o", out.to_str().unwrap(), "--chip", chip, "--threads", threads]);
                line.extend(["--fast-paths", fast_paths]);
                line.extend(strict);
                run(0, &line);
                let got = read_npz(&std::fs::read(&out).unwrap()).unwrap();
                for (name, want) in &expected {
                    let (_, got) = got.iter().find(|(other, _)| other == name).unwrap();
                    assert_eq!(got.shape, want.shape, "{road}: {name}");
                    let off = floats(&got.data).into_iter().zip(floats(&want.data)).map(|(a, b)| (a - b).abs());
                    let worst = off.fold(0f32, |worst, off| if off.is_nan() { f32::INFINITY } else { worst.max(off) });
                    assert!(worst <= LIMIT, "{road}: {name} is off by {worst}");
                }
            }
        }
    }
}
