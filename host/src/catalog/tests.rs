//! States, versions, and what is found on disk.

use super::*;
use crate::session::{InferError, Tensor, TensorSpec};
use std::path::{Path, PathBuf};

struct Mute;
impl Model for Mute {
    fn inputs(&self) -> &[TensorSpec] {
        &[]
    }
    fn outputs(&self) -> &[TensorSpec] {
        &[]
    }
    fn infer(&self, _: Vec<(String, Tensor)>, _: &[String]) -> Result<Vec<(String, Tensor)>, InferError> {
        Ok(Vec::new())
    }
}

fn source(name: &str, version: u64) -> Source {
    Source { name: name.into(), version, path: PathBuf::from(format!("{name}.onnx")), chip: None, threads: None }
}

fn started(sources: Vec<Source>) -> Arc<Catalog> {
    let loader = |source: &Source| match source.name.as_str() {
        "broken" => Err("byte 7 is wrong".to_owned()),
        "panics" => panic!("on purpose"),
        _ => Ok(Box::new(Mute) as Box<dyn Model>),
    };
    let catalog = Catalog::new(&sources);
    catalog.load_all(&sources, &loader);
    catalog
}

#[test]
fn the_highest_ready_version_answers() {
    let catalog = started(vec![source("a", 2), source("a", 10), source("b", 1)]);
    assert_eq!(catalog.get("a", None).unwrap().version, 10);
    assert_eq!(catalog.get("a", Some("2")).unwrap().version, 2);
    assert_eq!(catalog.versions("a"), [2, 10]);
    assert!(catalog.is_ready());
    assert_eq!(catalog.get("a", Some("02")).err().unwrap().to_string(), "model `a` has no version `02`; it has 2, 10");
    assert_eq!(catalog.get("c\n", None).err().unwrap().to_string(), "no model `c\\n`; served are a, b");
}

#[test]
fn nothing_is_ready_before_it_is_loaded() {
    let catalog = Catalog::new(&[source("a", 1)]);
    assert!(!catalog.is_ready());
    assert_eq!(catalog.get("a", None).err().unwrap().to_string(), "model `a` is still loading");
}

#[test]
fn one_that_cannot_be_loaded_says_why_and_leaves_the_others_alone() {
    let catalog = started(vec![source("broken", 1), source("panics", 1), source("good", 1)]);
    assert!(catalog.get("good", None).is_ok());
    assert_eq!(
        catalog.get("broken", None).err().unwrap().to_string(),
        "model `broken` could not be loaded: byte 7 is wrong"
    );
    assert!(matches!(catalog.get("panics", None), Err(CatalogError::Unavailable { .. })));
    assert!(catalog.is_ready());
    assert!(!started(vec![source("broken", 1)]).is_ready());
    assert!(started(Vec::new()).is_ready());
}

struct Folder(PathBuf);
impl Folder {
    fn new(name: &str, files: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("sunmao-catalog-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for file in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        Self(folder)
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_one_model() {
    let folder = Folder::new("file", &["Mein Modell (1).onnx", "m.sunmao"]);
    let (sources, notes) = scan(&folder.0.join("Mein Modell (1).onnx")).unwrap();
    assert_eq!(
        (sources[0].name.as_str(), sources[0].version, sources[0].platform().as_str()),
        ("Mein_Modell__1_", 1, "onnx_onnxv1")
    );
    assert_eq!(notes.len(), 1);
    assert!(scan(&folder.0.join("m.sunmao")).unwrap_err().help().contains("host package"), "a package is a folder");
    assert!(scan(&folder.0.join("absent.onnx")).unwrap_err().help().contains("check the path"));
}

#[test]
fn a_repository_serves_the_highest_version_of_each_model() {
    let folder = Folder::new(
        "repository",
        &[
            "a/1/model.onnx",
            "a/12/model.onnx",
            "a/012/model.onnx",
            "a/x/model.onnx",
            "b/config.pbtxt",
            "b/3/other.onnx",
            "c/readme.txt",
            "bad name/1/model.onnx",
            "d/1/x.onnx",
            "d/1/y.onnx",
            "notes.txt",
        ],
    );
    let (sources, notes) = scan(&folder.0).unwrap();
    let found: Vec<_> = sources
        .iter()
        .map(|source| (source.name.as_str(), source.version, source.path.strip_prefix(&folder.0).unwrap()))
        .collect();
    assert_eq!(found, [("a", 12, Path::new("a/12/model.onnx")), ("b", 3, Path::new("b/3/other.onnx"))]);
    assert_eq!(notes.len(), 4, "config.pbtxt, no version, bad name, no model.onnx: {notes:?}");
}

#[test]
fn a_folder_without_models_says_how_one_looks() {
    let folder = Folder::new("empty", &["model.onnx"]);
    let error = scan(&folder.0).unwrap_err();
    assert!(error.to_string().contains("no model in this folder"));
    assert!(error.help().contains("NAME/1/model.onnx"));
}

#[test]
fn what_was_unavailable_is_tried_again_and_nothing_else() {
    let sources = [source("broken", 1), source("good", 1)];
    let catalog = started(sources.to_vec());
    let tried = Mutex::new(Vec::new());
    let loader = |source: &Source| {
        tried.lock().unwrap().push(source.name.clone());
        Ok(Box::new(Mute) as Box<dyn Model>)
    };
    catalog.load_unavailable(&sources, &loader);
    catalog.load_unavailable(&sources, &loader);
    assert_eq!(*tried.lock().unwrap(), ["broken"]);
    assert!(catalog.get("broken", None).is_ok());
}
