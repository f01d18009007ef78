//! What this machine is called in a file of costs.

use crate::device::CostsOrigin;

/// This machine with so many threads for a request.
pub fn origin(threads: usize) -> CostsOrigin {
    let facts = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    CostsOrigin {
        host: env!("CARGO_PKG_VERSION").to_owned(),
        processor: processor(&facts).unwrap_or(std::env::consts::ARCH).to_owned(),
        isa: sunmao_fastpath::Isa::detect().to_string(),
        threads,
    }
}

/// The name that the kernel gives, where it gives one: not on every architecture.
fn processor(facts: &str) -> Option<&str> {
    let line = facts.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_the_name_that_the_kernel_gives_it() {
        assert_eq!(processor("processor : 0\nmodel name\t: A B 7\n"), Some("A B 7"));
        assert_eq!(processor("cpu : 0\n"), None);
        assert_eq!(origin(3).threads, 3);
    }
}
