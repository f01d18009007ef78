//! Every crate takes the workspace's lint table.

use super::{Finding, Text};

/// A manifest without `[lints] workspace = true`. Crates outside the workspace and its own manifest have no package to check.
pub(crate) fn check(manifest: &Text) -> Vec<Finding> {
    let lines: Vec<&str> = manifest.text.lines().map(str::trim).collect();
    let is_package = lines.contains(&"[package]");
    let takes = lines.windows(2).any(|two| two == ["[lints]", "workspace = true"]);
    if takes || !is_package {
        return Vec::new();
    }
    vec![Finding::new(
        &manifest.path,
        0,
        "the crate does not take the workspace's lints: add `[lints]` with `workspace = true`",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_the_table_is_found() {
        let text = |text: &str| Text { path: "a/Cargo.toml".into(), text: text.into() };
        assert_eq!(check(&text("[package]\nname = \"a\"\n")).len(), 1);
        assert!(check(&text("[package]\nname = \"a\"\n[lints]\nworkspace = true\n")).is_empty());
        assert!(check(&text("[workspace]\n")).is_empty());
    }
}
