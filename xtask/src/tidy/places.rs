//! No file names a package registry's host or a folder of somebody's machine: clients are told packages, never addresses.

use super::{Finding, Text};

/// Hosts, in two halves so that this file does not name them.
const HOSTS: &[(&str, &str)] = &[
    ("crates", "io"),
    ("rust-lang", "org"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("debian", "org"),
    ("huggingface", "co"),
    ("hf", "co"),
];
/// First folders of absolute paths that exist on one machine only.
const FOLDERS: &[&str] = &["root", "home", "work", "Users"];
/// Cargo writes its registry into lock files itself.
const EXCEPTED: &[&str] = &["Cargo.lock", "bench/peers/rust/Cargo.lock"];

/// Lines that name one.
pub(crate) fn check(text: &Text) -> Vec<Finding> {
    if EXCEPTED.contains(&text.path.as_str()) {
        return Vec::new();
    }
    let hosts: Vec<String> = HOSTS.iter().map(|(name, end)| format!("{name}.{end}")).collect();
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.text.lines()) {
        if let Some(host) = hosts.iter().find(|host| names_host(line, host)) {
            findings.push(Finding::new(&text.path, number, format!("names the host {host}: name the package only")));
        }
        if let Some(folder) = FOLDERS.iter().find(|folder| names_folder(line, folder)) {
            findings.push(Finding::new(&text.path, number, format!("names a folder below /{folder} of some machine")));
        }
    }
    findings
}

fn names_host(line: &str, host: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-');
    line.match_indices(host)
        .any(|(at, _)| !inside(line[..at].chars().last()) && !inside(line[at + host.len()..].chars().next()))
}

/// `/folder/x` at the start of a path.
fn names_folder(line: &str, folder: &str) -> bool {
    let pattern = format!("/{folder}/");
    line.match_indices(&pattern).any(|(at, _)| {
        let before = line[..at].chars().last();
        let after = line[at + pattern.len()..].chars().next();
        before.is_none_or(|c| matches!(c, ' ' | '"' | '\'' | '`' | '(' | '=' | ':' | '[' | '<'))
            && after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn findings(line: &str) -> usize {
        check(&Text { path: "a.md".into(), text: line.into() }).len()
    }

    #[test]
    fn hosts_are_found_whatever_stands_around_them() {
        let (name, end) = HOSTS[0];
        assert_eq!(findings(&format!("see https://static.{name}.{end}/x")), 1);
        assert_eq!(findings(&format!("{name}.{end}-index")), 0);
        assert_eq!(findings(&format!("{name}, {end}")), 0);
    }

    #[test]
    fn folders_of_a_machine_are_found() {
        let home = FOLDERS[1];
        assert_eq!(findings(&format!("run it in /{home}/me")), 1);
        assert_eq!(findings(&format!("target/{home}/me")), 0);
        assert_eq!(findings("/usr/bin/rustc"), 0);
    }

    #[test]
    fn the_lock_file_is_cargo_s_own() {
        let (name, end) = HOSTS[0];
        let text = Text { path: "Cargo.lock".into(), text: format!("https://{name}.{end}/") };
        assert!(check(&text).is_empty());
    }
}
