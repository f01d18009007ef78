//! Packages, made and spoilt.

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sunmao-package-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("parts")).unwrap();
        fs::write(folder.join("model.onnx"), b"the model").unwrap();
        fs::write(folder.join("parts/weights.bin"), b"its weights").unwrap();
        Self(folder)
    }

    fn package(&self) -> Package {
        let contents = Contents {
            model: &self.0.join("model.onnx"),
            siblings: &["parts/weights.bin".into()],
            format: "onnx",
            chip: Some("simd128"),
        };
        write(&self.0.join("small.sunmao"), &contents).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_written_can_be_opened_and_is_whole() {
    let scratch = Scratch::new("whole");
    let package = scratch.package();
    let manifest = package.manifest();
    assert_eq!((manifest.name.as_str(), manifest.format.as_str()), ("small", "onnx"));
    assert_eq!(manifest.chip.as_deref(), Some("simd128"));
    assert_eq!(fs::read(package.model_path()).unwrap(), b"the model");
    package.verify().unwrap();
    let again = Contents { model: &scratch.0.join("model.onnx"), siblings: &[], format: "onnx", chip: None };
    assert!(matches!(write(&scratch.0.join("small.sunmao"), &again), Err(PackageError::Exists { .. })));
    assert!(matches!(write(&scratch.0.join("small.zip"), &again), Err(PackageError::Name { .. })));
    let gone = Contents { model: &scratch.0.join("absent.onnx"), ..again };
    assert!(matches!(write(&scratch.0.join("other.sunmao"), &gone), Err(PackageError::Io { .. })));
    assert!(
        !scratch.0.read_dir().unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains("unfinished"))
    );
}

#[test]
fn a_package_that_is_not_as_its_manifest_says_is_refused() {
    let scratch = Scratch::new("spoilt");
    let package = scratch.package();
    let folder = scratch.0.join("small.sunmao");
    let weights = folder.join("model/parts/weights.bin");
    let refused = |with: &str| {
        let error = package.verify().unwrap_err().to_string();
        assert!(error.contains(with) && error.contains("small.sunmao"), "{error}");
    };
    fs::write(&weights, b"its Weights").unwrap();
    refused("`parts/weights.bin` has the sha256");
    fs::write(&weights, b"its weight").unwrap();
    refused("has 10 bytes, the manifest says 11");
    fs::remove_file(&weights).unwrap();
    refused("file `parts/weights.bin`");
    std::os::unix::fs::symlink(scratch.0.join("parts/weights.bin"), &weights).unwrap();
    refused("not a file of its own");
    fs::remove_file(&weights).unwrap();
    fs::write(&weights, b"its weights").unwrap();
    fs::write(folder.join("model/parts/more.bin"), b"").unwrap();
    refused("`parts/more.bin` is not in the manifest");
}

#[test]
fn a_manifest_is_bound_by_its_first_line() {
    let scratch = Scratch::new("manifest");
    scratch.package();
    let folder = scratch.0.join("small.sunmao");
    let text = fs::read_to_string(folder.join(MANIFEST)).unwrap();
    let refused = |text: String, with: &str| {
        fs::write(folder.join(MANIFEST), text).unwrap();
        let error = Package::open(&folder).unwrap_err();
        assert!(error.to_string().contains(with) && !error.help().is_empty(), "{error}");
    };
    refused(text.replace("simd128", "portable"), "does not have the digest");
    refused(text.replacen("sunmao-package 1 ", "sunmao-package 2 ", 1), "version 2 of the package format");
    refused("PK".into(), "does not begin with");
    let body = |path: &str| {
        format!(
            "name = \"small\"\nformat = \"onnx\"\nmodel = \"m\"\n[[file]]\npath = {path:?}\nbytes = 1\nsha256 = \"\"\n"
        )
    };
    let sealed = |body: String| format!("sunmao-package 1 {}\n{body}", hex(&Sha256::digest(&body)));
    refused(sealed(body("../m")), "not a plain relative name");
    refused(sealed(body("n")), "its model file `m` is not among its files");
    refused(sealed("name = 1".into()), "its manifest: ");
    fs::remove_file(folder.join(MANIFEST)).unwrap();
    assert!(matches!(Package::open(&folder), Err(PackageError::NoPackage { .. })));
}
