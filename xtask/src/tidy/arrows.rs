//! The arrows between the host's rooms point one way: a room uses those after it, never those before it.

use super::Finding;
use super::source::Source;

/// The rooms in the order in which a request and a model walk them. `config`, `telemetry` and `memory` lie under all others.
const ORDER: &[&str] = &[
    "cli",
    "conformance",
    "profiling",
    "tune",
    "api",
    "catalog",
    "package",
    "formats",
    "session",
    "program",
    "scheduler",
    "engine",
    "host_ops",
    "import",
    "plan",
    "device",
    "plugin",
    "store",
    "memory",
    "telemetry",
    "config",
];
const ROOMS: &str = "host/src/";

/// Uses of an earlier room, and rooms that have no place in the order.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.path.strip_prefix(ROOMS) else { return Vec::new() };
    let Some((room, file)) = inside.split_once('/') else { return Vec::new() };
    let Some(rank) = rank(room) else {
        let message = format!("the room `{room}` has no place in the order (xtask/src/tidy/arrows.rs)");
        return vec![Finding::new(&source.path, 0, message)];
    };
    let mut findings = Vec::new();
    for (at, used) in uses(source, depth(file)) {
        if self::rank(&used).is_some_and(|other| other < rank) {
            let message = format!("`{room}` uses `{used}`, which comes before it in the order {}", ORDER.join(" > "));
            findings.push(Finding::new(&source.path, source.line(at), message));
        }
    }
    findings
}

fn rank(room: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == room)
}

/// How many modules lie between the file and the crate's root.
fn depth(file: &str) -> usize {
    let folders = file.matches('/').count();
    if file.ends_with("mod.rs") { folders + 1 } else { folders + 2 }
}

/// First names of every path that starts at the crate's root, with where it stands.
fn uses(source: &Source, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in source.words("crate") {
        let rest = &source.code[at + "crate".len()..];
        if let Some(path) = rest.trim_start().strip_prefix("::") {
            found.extend(first_names(path).into_iter().map(|name| (at, name)));
        }
    }
    for at in source.words("super") {
        // The first one of a chain speaks for it.
        if source.code[..at].trim_end().ends_with("super::") {
            continue;
        }
        let (mut rest, mut steps) = (&source.code[at..], 0);
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, steps) = (after, steps + 1);
        }
        if steps >= depth {
            found.extend(first_names(rest).into_iter().map(|name| (at, name)));
        }
    }
    found
}

/// `a::b` gives `a`; `{a::{b, c}, d}` gives `a` and `d`.
fn first_names(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else { return name(path).into_iter().collect() };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(name(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
        if character == '}' && start == at + 1 {
            break;
        }
    }
    names
}

fn name(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn used(path: &str, code: &str) -> Vec<usize> {
        check(&Source::new(path, code)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_later_room_may_be_used_and_an_earlier_one_may_not() {
        let code = "use crate::plan::Plan;\nuse crate::session::Session;\nuse crate::memory::Region;";
        assert_eq!(used("host/src/engine/mod.rs", code), [2]);
        assert_eq!(used("host/src/api/mod.rs", code), [0usize; 0]);
    }

    #[test]
    fn groups_and_paths_in_code_count_too() {
        assert_eq!(used("host/src/plugin/load.rs", "use crate::{memory::{Region, a}, engine::Engine};"), [1]);
        assert_eq!(used("host/src/plugin/load.rs", "fn f() {\n    crate::api::g();\n}"), [2]);
        assert_eq!(used("host/src/plugin/load.rs", "pub(crate) fn f() {}"), [0usize; 0]);
    }

    #[test]
    fn supers_that_reach_the_root_count_too() {
        assert_eq!(used("host/src/plan/mod.rs", "use super::engine::Engine;"), [1]);
        assert_eq!(used("host/src/plan/build.rs", "use super::super::engine::Engine;"), [1]);
        assert_eq!(used("host/src/plan/build.rs", "use super::engine;"), [0usize; 0]);
    }

    #[test]
    fn an_unknown_room_is_a_finding() {
        assert_eq!(check(&Source::new("host/src/attic/mod.rs", "")).len(), 1);
        assert!(check(&Source::new("host/src/main.rs", "use crate::x;")).is_empty());
    }
}
