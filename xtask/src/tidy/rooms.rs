//! Where `unsafe` may stand. Everywhere else it is a finding, whatever the comment above it says.

use super::Finding;
use super::source::Source;

/// Folders and files that hold it, with the reason.
const ALLOWED: &[(&str, &str)] = &[
    ("conformance/guests/", "does on purpose what a plugin must not"),
    ("examples/kernel-minimal/src/tests.rs", "runs kernels on plain memory"),
    ("fastpath/", "native kernels"),
    ("host/src/cli/template/chip_tests.rs", "becomes a plugin's tests, which run kernels on plain memory"),
    ("host/src/memory/", "maps pages and copies to and from them"),
    ("host/src/engine/native.rs", "runs native kernels on the host's own mapping"),
    ("host/src/plugin/linear_memory.rs", "gives regions to wasmtime as linear memory"),
    ("host/src/plugin/cache.rs", "loads compiled code that it has authenticated"),
    ("host/src/plugin/watchdog.rs", "protects the polling page"),
    ("host/src/package/read.rs", "maps packages"),
    ("host/tests/", "counts allocations"),
    ("kernels/npu-sim/src/tests/", "runs kernels on plain memory"),
    ("kernels/portable/tests/", "runs kernels on plain memory"),
    ("kernels/simd128/src/", "vector loads and stores"),
    ("plugin-sdk/src/memory.rs", "windows on linear memory"),
    ("plugin-sdk/src/chip.rs", "makes those windows for a call"),
];

/// Every `unsafe` in a place that is not on the list.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if ALLOWED.iter().any(|(place, _)| source.path.starts_with(place)) {
        return Vec::new();
    }
    let bytes = source.code.as_bytes();
    // `#[unsafe(no_mangle)]` is an attribute.
    let blocks = source.words("unsafe").filter(|at| bytes.get(at + 6) != Some(&b'('));
    let finding = |at| {
        Finding::new(&source.path, source.line(at), "`unsafe` outside the rooms that hold it (xtask/src/tidy/rooms.rs)")
    };
    blocks.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_outside_its_rooms_only() {
        let code = "fn f() {\n    unsafe { g() }\n}";
        assert_eq!(check(&Source::new("host/src/plan/mod.rs", code))[0].line, 2);
        assert!(check(&Source::new("host/src/memory/region.rs", code)).is_empty());
    }

    #[test]
    fn words_about_unsafe_and_attributes_are_fine() {
        let code = "// unsafe\n#[unsafe(no_mangle)]\nfn f() { let unsafe_count = \"unsafe\"; }";
        assert!(check(&Source::new("host/src/plan/mod.rs", code)).is_empty());
    }
}
