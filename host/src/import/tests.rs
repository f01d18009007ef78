//! Models through an importer plugin, as the host reads them.

use super::*;
use crate::plugin::testing::{Scratch, importer as plugin};

/// Imports a file of this content, with what it refers to beside it.
fn import_file(name: &str, content: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
    let scratch = Scratch::new();
    scratch.file("side.bin", b"beside");
    let path = scratch.file(name, content);
    import(&[plugin()], &path, options)
}

fn failure(content: &[u8]) -> ImportError {
    import_file("model.wat", content, &ImportOptions::default()).unwrap_err()
}

#[test]
fn a_file_becomes_a_graph() {
    let imported = import_file("model.wat", b"v", &ImportOptions::default()).unwrap();
    assert_eq!(imported.format, "wat");
    assert_eq!(imported.warnings, ["is no model"]);
    assert_eq!((imported.graph.inputs.len(), imported.graph.values[0].name.as_str()), (1, "x"));
    assert_eq!(imported.graph.values[0].concrete(), Some(vec![4]));
}

#[test]
fn the_importers_words_reach_the_user() {
    let error = failure(b"e").to_string();
    assert!(error.contains("is no model"), "{error}");
}

#[test]
fn what_the_host_refused_is_told_in_its_own_words() {
    let error = failure(b"r");
    assert!(matches!(&error, ImportError::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("two values have the name `x`"), "{error}");
    assert!(failure(b"u").to_string().contains("did not finish"));
}

#[test]
fn importers_that_trap_or_hang_are_errors() {
    let inner = |error| match error {
        ImportError::Importer { source, .. } => source,
        other => panic!("{other}"),
    };
    assert!(matches!(inner(failure(b"t")), PluginError::Trap { call: "import-model", .. }));
    assert!(matches!(inner(failure(b"l")), PluginError::Deadline { call: "import-model", .. }));
}

#[test]
fn a_format_that_nobody_knows_lists_those_that_are_known() {
    let error = failure(b"a");
    assert!(error.to_string().contains("formats that are known: wat"), "{error}");
    assert!(matches!(failure(b""), ImportError::UnknownFormat { .. }));
    let wanted = ImportOptions { format: Some("onnx".into()), ..ImportOptions::default() };
    assert!(matches!(import_file("model.wat", b"v", &wanted), Err(ImportError::NoSuchFormat { .. })));
    let wanted = ImportOptions { format: Some("wat".into()), ..ImportOptions::default() };
    assert!(import_file("model.bin", b"v", &wanted).is_ok());
    let scratch = Scratch::new();
    let error = import(&[], &scratch.file("x", b"v"), &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no importer plugin is loaded"), "{error}");
}
