//! How much memory the process takes, and how much there is.

use super::MemoryError;
use std::fs;
use std::path::Path;

/// Proportional set size of this process: its own pages, and its share of those that it shares. Resident size would count the weights
/// once for each instance that maps them.
pub fn pss_bytes() -> Result<u64, MemoryError> {
    own_share(&["Pss:"])
}

/// The same without pages of files, such as the program itself: how large the share of those is depends on how many other processes map them.
pub fn pss_without_files_bytes() -> Result<u64, MemoryError> {
    own_share(&["Pss_Anon:", "Pss_Shmem:"])
}

fn own_share(fields: &[&str]) -> Result<u64, MemoryError> {
    const PATH: &str = "/proc/self/smaps_rollup";
    let text = fs::read_to_string(PATH).ok();
    let sum = |text: &str| fields.iter().map(|field| kib_field(text, field)).sum();
    text.as_deref().and_then(sum).ok_or(MemoryError::Unmeasured { what: "the memory of this process", path: PATH })
}

/// Bytes that could be taken without anyone being killed: what the system has available, or what the control group still allows,
/// whichever is less.
pub fn available_bytes() -> Result<u64, MemoryError> {
    const PATH: &str = "/proc/meminfo";
    let text = fs::read_to_string(PATH).ok();
    let system = text
        .as_deref()
        .and_then(|text| kib_field(text, "MemAvailable:"))
        .ok_or(MemoryError::Unmeasured { what: "available memory", path: PATH })?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Ok(system.min(group_headroom(&groups, Path::new("/sys/fs/cgroup")).unwrap_or(u64::MAX)))
}

/// How much memory to count with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// What the system has, asked each time. Where it cannot be told nothing is refused.
    #[default]
    System,
    /// So many bytes.
    Bytes(u64),
}

impl Memory {
    /// Bytes that could be taken now.
    pub fn available(self) -> u64 {
        match self {
            Self::System => available_bytes().unwrap_or(u64::MAX),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Address space that this process may use: what the kernel gives to programs on this processor, and the limit of `ulimit -v` where there is one.
pub fn address_space_bytes() -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current.unwrap_or(u64::MAX);
    program_space(&maps).unwrap_or(LEAST_ADDRESS_SPACE).min(limit)
}

/// RISC-V's Sv39, the smallest that a 64-bit processor gives to programs.
const LEAST_ADDRESS_SPACE: u64 = 1 << 38;

/// The stack lies at the top of what programs have.
fn program_space(maps: &str) -> Option<u64> {
    let stack = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (_, end) = stack.split(' ').next()?.split_once('-')?;
    u64::from_str_radix(end, 16).ok()?.checked_next_power_of_two()
}

fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What the process's control group, and each group above it, leaves: limit less usage, the smallest of them. Both hierarchies, v1 and v2.
/// none: no limit, or no control groups.
fn group_headroom(groups: &str, root: &Path) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (top, limit, usage) = if controllers.is_empty() {
            (root.to_path_buf(), "memory.max", "memory.current")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        // Inside a container the path may be that of the outer system; the top directory is then the container's own group.
        let own = top.join(path.trim_start_matches('/'));
        let start = if own.is_dir() { own } else { top.clone() };
        for group in start.ancestors().take_while(|group| group.starts_with(&top)) {
            let read = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
            if let (Some(limit), Some(usage)) = (read(limit), read(usage)) {
                let left = limit.saturating_sub(usage);
                least = Some(least.map_or(left, |least: u64| least.min(left)));
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_some_memory_and_there_is_more() {
        let before = pss_bytes().unwrap();
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        let after = pss_bytes().unwrap();
        assert!(after > before + (16 << 20), "{before} {after}");
        let own = pss_without_files_bytes().unwrap();
        assert!(own > 32 << 20 && own < pss_bytes().unwrap(), "the program is a file: {own}");
        drop(block);
        assert!(available_bytes().unwrap() > 0);
    }

    #[test]
    fn address_space_ends_where_the_stack_does() {
        let maps = "55d0-55d1 r--p 0 0 0 /bin/host\n3fffb0c000-3fffb2d000 rw-p 00000000 00:00 0      [stack]\n";
        assert_eq!(program_space(maps), Some(1 << 38));
        assert!(address_space_bytes() >= 1 << 30);
    }

    #[test]
    fn the_tightest_control_group_decides() {
        let root = std::env::temp_dir().join(format!("sunmao-groups-{}", std::process::id()));
        let inner = root.join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(inner.join("memory.current"), "10\n").unwrap();
        fs::write(root.join("outer/memory.max"), "1000\n").unwrap();
        fs::write(root.join("outer/memory.current"), "300\n").unwrap();
        assert_eq!(group_headroom("0::/outer/inner\n", &root), Some(700));
        fs::write(inner.join("memory.max"), "50\n").unwrap();
        assert_eq!(group_headroom("0::/outer/inner\n", &root), Some(40));
        assert_eq!(group_headroom("3:cpu:/x\n", &root), None);
        let v1 = root.join("memory/job");
        fs::create_dir_all(&v1).unwrap();
        fs::write(v1.join("memory.limit_in_bytes"), "500").unwrap();
        fs::write(v1.join("memory.usage_in_bytes"), "600").unwrap();
        assert_eq!(group_headroom("7:cpu,memory:/job\n", &root), Some(0));
        fs::remove_dir_all(&root).unwrap();
    }
}
