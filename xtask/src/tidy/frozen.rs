//! A released ABI folder does not change: `plugin-sdk/wit/frozen.sha256` lists the digest of each of its files.
//!
//! A folder that is not listed is not released yet. Releasing one adds its lines, in the form that `sha256sum` prints.

use super::Finding;
use crate::componentise::digest;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const LIST: &str = "frozen.sha256";

/// Compares the folder with its list.
pub(crate) fn check(folder: &Path) -> Result<Vec<Finding>> {
    let list = fs::read_to_string(folder.join(LIST)).with_context(|| format!("{} has no {LIST}", folder.display()))?;
    let mut files = BTreeMap::new();
    for version in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?.flatten() {
        if !version.path().is_dir() {
            continue;
        }
        for file in fs::read_dir(version.path()).context("cannot list an ABI folder")?.flatten() {
            let bytes = fs::read(file.path()).with_context(|| format!("cannot read {}", file.path().display()))?;
            let path = format!("{}/{}", version.file_name().to_string_lossy(), file.file_name().to_string_lossy());
            files.insert(path, digest(&bytes));
        }
    }
    Ok(compare(&list, &files))
}

/// `files`: path below the folder -> digest.
fn compare(list: &str, files: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say =
        |path: &str, message: &str| findings.push(Finding::new(&format!("plugin-sdk/wit/{path}"), 0, message));
    let listed: BTreeMap<&str, &str> =
        list.lines().filter_map(|line| line.split_once("  ")).map(|(sum, path)| (path, sum)).collect();
    for (path, sum) in &listed {
        match files.get(*path) {
            None => say(path, "this released file is gone"),
            Some(now) if now != sum => {
                say(path, "this file is released and must not change: open the next since_v... folder");
            }
            Some(_) => {}
        }
    }
    for path in files.keys() {
        let folder = path.split('/').next().unwrap_or_default();
        let released = listed.keys().any(|listed| listed.split('/').next() == Some(folder));
        if released && !listed.contains_key(path.as_str()) {
            say(path, "a released folder takes no further files");
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn findings(list: &str, files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, sum)| ((*path).to_owned(), (*sum).to_owned())).collect();
        compare(list, &files).iter().map(|finding| finding.message.clone()).collect()
    }

    #[test]
    fn what_is_released_stays_as_it_is() {
        let list = "aa  since_v1/a.wit\n";
        assert!(findings(list, &[("since_v1/a.wit", "aa")]).is_empty());
        assert_eq!(findings(list, &[("since_v1/a.wit", "bb")]).len(), 1);
        assert_eq!(findings(list, &[]), ["this released file is gone"]);
        assert_eq!(findings(list, &[("since_v1/a.wit", "aa"), ("since_v1/b.wit", "cc")]).len(), 1);
    }

    #[test]
    fn a_folder_that_is_not_released_may_change() {
        assert!(findings("", &[("since_v2/a.wit", "aa")]).is_empty());
    }
}
