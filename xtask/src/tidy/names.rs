//! Files are named for what they are, and each starts by saying what it is.

use super::{Finding, Text};

/// Names that say nothing about what is inside.
const DRAWERS: &[&str] =
    &["util", "utils", "utilities", "common", "misc", "helper", "helpers", "stuff", "shared", "base", "core", "tmp"];

/// A path whose file or folder has a name that would take anything.
pub(crate) fn check(path: &str) -> Vec<Finding> {
    let drawer = |part: &&str| {
        let name = part.split('.').next().unwrap_or_default();
        DRAWERS.contains(&name)
    };
    let finding = |part: &str| Finding::new(path, 0, format!("`{part}` would take anything: name it for what it is"));
    path.split('/').filter(drawer).map(finding).collect()
}

/// A Rust file that does not begin with what it is.
pub(crate) fn header(text: &Text) -> Vec<Finding> {
    let mut lines = text.text.lines();
    let first = lines.find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    // Tests beside a file are about that file.
    if text.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    if first.is_some_and(|line| line.starts_with("//!") || line.starts_with("// @generated")) {
        return Vec::new();
    }
    vec![Finding::new(&text.path, 1, "the file does not start with `//!` and what it is")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_found_as_files_and_as_folders() {
        assert_eq!(check("host/src/utils/mod.rs").len(), 1);
        assert_eq!(check("host/src/common.rs").len(), 1);
        assert!(check("host/src/memory/region.rs").is_empty());
    }

    #[test]
    fn a_file_says_what_it_is() {
        let text = |text: &str| Text { path: "a.rs".into(), text: text.into() };
        assert!(header(&text("//! A thing.\n")).is_empty());
        assert!(header(&text("#![no_std]\n//! A thing.\n")).is_empty());
        assert_eq!(header(&text("use a;\n")).len(), 1);
        assert_eq!(header(&text("")).len(), 1);
    }
}
