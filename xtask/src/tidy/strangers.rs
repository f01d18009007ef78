//! Names that one room alone may say, so that the rest of the host does not depend on them.

use super::Finding;
use super::source::Source;

/// A crate or path, the rooms of `host/src` that may name it (or, with `!`, may not), and why.
const RULES: &[(&str, &[&str], &str)] = &[
    ("wasmtime", &["plugin"], "only `plugin` names wasmtime types"),
    ("wasmtime_wasi", &["plugin"], "only `plugin` names wasmtime types"),
    ("axum", &["api"], "only `api` names HTTP types"),
    ("hyper", &["api"], "only `api` names HTTP types"),
];
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("std::fs", "plan", "`plan` does no I/O"),
    ("std::net", "plan", "`plan` does no I/O"),
    ("std::env", "plan", "`plan` does no I/O"),
    ("std::time", "plan", "`plan` reads no clock"),
];

/// Names in rooms where they do not belong.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.path.strip_prefix("host/src/") else { return Vec::new() };
    let room = inside.split(['/', '.']).next().unwrap_or_default();
    let mut findings = Vec::new();
    for (name, rooms, why) in RULES {
        if !rooms.contains(&room) {
            let paths = source.words(name).filter(|at| source.code[at + name.len()..].starts_with("::"));
            findings.extend(paths.map(|at| Finding::new(&source.path, source.line(at), *why)));
        }
    }
    for (name, forbidden, why) in FORBIDDEN {
        if room == *forbidden {
            findings.extend(source.words(name).map(|at| Finding::new(&source.path, source.line(at), *why)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_room_names_a_stranger() {
        let code = "use wasmtime::Engine;\nuse axum::Router;";
        assert_eq!(check(&Source::new("host/src/plugin/load.rs", code)).len(), 1);
        assert_eq!(check(&Source::new("host/src/engine/mod.rs", code)).len(), 2);
        assert!(check(&Source::new("fastpath/src/lib.rs", code)).is_empty());
    }

    #[test]
    fn a_field_of_that_name_is_no_path() {
        assert!(check(&Source::new("host/src/engine/mod.rs", "let wasmtime = 1;")).is_empty());
    }

    #[test]
    fn plan_reads_no_clock() {
        assert_eq!(check(&Source::new("host/src/plan/mod.rs", "use std::time::Instant;")).len(), 1);
        assert!(check(&Source::new("host/src/engine/mod.rs", "use std::time::Instant;")).is_empty());
    }
}
