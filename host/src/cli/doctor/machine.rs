//! Processor, memory, address space, kernel.

use super::super::assemble::instances_max;
use super::Findings;
use crate::memory::{Mapping, Region, address_space_bytes, available_bytes};
use crate::plugin::INSTANCE_ADDRESS_BYTES;
use std::fs;

const AREA: &str = "machine";
/// Below this not even small models load.
const LITTLE_BYTES: u64 = 512 << 20;
/// Connections, plugins, models and the cache want this many at least.
const FEW_FILES: u64 = 1024;

pub(super) fn check(findings: &mut Findings, threads: usize) {
    processor(findings, threads);
    memory(findings);
    address_space(findings, threads);
    kernel(findings);
    files(findings);
    pages(findings);
}

fn processor(findings: &mut Findings, threads: usize) {
    let arch = std::env::consts::ARCH;
    let features = features();
    findings.fine(
        AREA,
        format!(
            "{arch}, {threads} threads, {}",
            if features.is_empty() { "no vector extensions known".to_owned() } else { features.join(" ") }
        ),
    );
    match arch {
        "x86_64" if !features.contains(&"avx2") => {
            findings.note(
                AREA,
                "the processor has no AVX2",
                "native fast paths need AVX2 and FMA; plugins run without them, more slowly",
            );
        }
        "x86_64" => {}
        "aarch64" | "riscv64" => findings.note(
            AREA,
            format!("plugins are compiled for {arch}, which the sandbox's makers test less than x86-64"),
            "run plugins of strangers on x86-64, or in a container of their own",
        ),
        _ => findings.note(
            AREA,
            format!("there is no compiler for plugins on {arch}: they are interpreted, 50 to 130 times slower"),
            "leave out --strict, so that the host's own portable kernels do the work",
        ),
    }
    let most = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    if threads > most {
        findings.note(
            AREA,
            format!("{threads} threads are asked for, this process may use {most}"),
            "lower --threads: more threads than cores are slower than as many",
        );
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    macro_rules! present {
        ($($name:tt)*) => {{
            let mut found = Vec::new();
            $(if std::arch::is_x86_feature_detected!($name) { found.push($name); })*
            found
        }};
    }
    present!("sse4.2" "avx" "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vnni" "avxvnni")
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    macro_rules! present {
        ($($name:tt)*) => {{
            let mut found = Vec::new();
            $(if std::arch::is_aarch64_feature_detected!($name) { found.push($name); })*
            found
        }};
    }
    present!("neon" "fp16" "dotprod" "i8mm" "bf16" "sve")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

fn memory(findings: &mut Findings) {
    match available_bytes() {
        Ok(bytes) if bytes < LITTLE_BYTES => findings.wrong(
            AREA,
            format!("{} MiB of memory are available, container limits counted", bytes >> 20),
            "end other programs, or raise the container's memory limit",
        ),
        Ok(bytes) => findings.fine(
            AREA,
            format!("{:.1} GiB of memory are available, container limits counted", bytes as f64 / f64::from(1 << 30)),
        ),
        Err(error) => findings.note(
            AREA,
            error.to_string(),
            "mount /proc: without it no model is refused for lack of memory before it is loaded",
        ),
    }
}

fn address_space(findings: &mut Findings, threads: usize) {
    let gib = |bytes: u64| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30));
    let (space, each) = (address_space_bytes(), INSTANCE_ADDRESS_BYTES);
    let needed = each * threads as u64;
    let text = format!(
        "{} of address space for {threads} plugin instances, of {} there are: at most {} instances of a model",
        gib(needed),
        gib(space),
        instances_max(space)
    );
    match Mapping::reserve(needed) {
        Ok(_) => findings.fine(AREA, text),
        Err(error) => findings.wrong(
            AREA,
            format!("no {text}: {error}"),
            "raise `ulimit -v` (it should be unlimited), or lower --threads; only address space is needed, not memory",
        ),
    }
    if let Some(limit) = limit("Max address space") {
        findings.note(
            AREA,
            format!("address space is limited to {}", gib(limit)),
            format!("`ulimit -v unlimited`: each model takes {} of it per thread", gib(each)),
        );
    }
}

fn kernel(findings: &mut Findings) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match Region::anonymous("doctor", 1 << 16) {
        Ok(region) => match region.seal() {
            Ok(()) => findings.fine(AREA, format!("kernel {}: memfd and its seals work", release.trim())),
            Err(error) => findings.wrong(
                AREA,
                format!("memory files cannot be sealed: {error}"),
                "use a kernel from 3.17 on, and allow fcntl seals in the container's seccomp profile",
            ),
        },
        Err(error) => findings.wrong(
            AREA,
            format!("no memory file can be made: {error}"),
            "use a kernel from 3.17 on, and allow memfd_create in the container's seccomp profile",
        ),
    }
    if fs::metadata("/proc/self/maps").is_err() {
        findings.note(AREA, "/proc is not mounted", "mount it: memory figures come from there");
    }
}

fn files(findings: &mut Findings) {
    match limit("Max open files") {
        Some(files) if files < FEW_FILES => {
            findings.wrong(
                AREA,
                format!("only {files} files may be open"),
                format!("`ulimit -n 65536`; below {FEW_FILES} connections are refused under load"),
            );
        }
        Some(files) => findings.fine(AREA, format!("{files} files may be open")),
        None => findings.fine(AREA, "any number of files may be open"),
    }
    if let Ok(text) = fs::read_to_string("/proc/sys/vm/max_map_count")
        && let Ok(maps) = text.trim().parse::<u64>()
        && maps < 65_530
    {
        findings.note(
            AREA,
            format!("vm.max_map_count is {maps}"),
            "`sysctl vm.max_map_count=262144`: many models with large weights need more mappings",
        );
    }
}

fn pages(findings: &mut Findings) {
    match fs::read_to_string("/proc/self/smaps").ok().and_then(|text| kernel_page_bytes(&text)) {
        // Segments start at 64 KiB multiples, so any page size up to that will do.
        Some(bytes) if bytes > 1 << 16 => findings.wrong(
            AREA,
            format!("pages of {} KiB", bytes >> 10),
            "use a kernel with pages of at most 64 KiB: plugin memory is mapped in pieces of that size",
        ),
        Some(bytes) => findings.fine(AREA, format!("pages of {} KiB", bytes >> 10)),
        None => findings.note(AREA, "the page size cannot be told", "mount /proc"),
    }
    const HUGE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    if let Ok(text) = fs::read_to_string(HUGE) {
        let chosen = text.split(['[', ']']).nth(1).unwrap_or("?").to_owned();
        match chosen.as_str() {
            "never" => findings.note(
                AREA,
                "transparent huge pages are off",
                format!("`echo madvise > {HUGE}`: large weights are then read faster"),
            ),
            _ => findings.fine(AREA, format!("transparent huge pages: {chosen}")),
        }
    }
}

fn kernel_page_bytes(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("KernelPageSize:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// A soft limit of this process; none: no limit, or it cannot be told.
fn limit(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_system_are_read() {
        assert_eq!(kernel_page_bytes("00-01 r--p\nSize: 4 kB\nKernelPageSize:        4 kB\n"), Some(4096));
        assert!(limit("Max open files").is_none_or(|files| files > 0));
        assert_eq!(limit("Max nonsense"), None);
    }
}
