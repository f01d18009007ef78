//! Turns a core module into a component: the WIT world that the SDK left in the module's `component-type` section becomes the component's type.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use wit_component::ComponentEncoder;

/// Reads a core module, writes a component.
pub(crate) fn run(input: &Path, output: &Path) -> Result<()> {
    let module = fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let component = encode(&module).with_context(|| format!("{} cannot become a component", input.display()))?;
    workspace::write_if_changed(output, &component)?;
    println!("{}  {} bytes  sha256 {}", workspace::shown(output), component.len(), digest(&component));
    Ok(())
}

/// The component for a core module, validated.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>> {
    match module.get(..8) {
        Some(b"\0asm\x01\0\0\0") => {}
        Some(b"\0asm\x0d\0\x01\0") => bail!("it is a component already: copy it into plugins/ as it is"),
        _ => bail!("it is no WebAssembly module: it does not start with \\0asm and version 1"),
    }
    if !has_world(module) {
        bail!("it has no `component-type` section: export a plugin with the SDK's macro, and build a `cdylib`");
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(module).context("its WIT world cannot be read")?;
    encoder.encode().context("its exports do not fit its WIT world")
}

/// Whether a custom section whose name starts with `component-type` is there. The walk stops at the first byte that makes no sense.
fn has_world(module: &[u8]) -> bool {
    let mut rest = &module[8..];
    while let Some((&id, after)) = rest.split_first() {
        let Some((bytes, body)) = leb(after) else { return false };
        let Some((section, next)) = body.split_at_checked(bytes) else { return false };
        if id == 0
            && let Some((length, name)) = leb(section)
            && name.get(..length).is_some_and(|name| name.starts_with(b"component-type"))
        {
            return true;
        }
        rest = next;
    }
    false
}

fn leb(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

/// SHA-256 in lower-case hexadecimal, as `plugins.toml` pins it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(bytes: &[u8], why: &str) {
        let error = encode(bytes).expect_err("must be refused");
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }

    #[test]
    fn what_is_no_module_is_refused_with_the_reason() {
        refuses(b"", "no WebAssembly module");
        refuses(b"\x7fELF\x02\x01\x01\0", "no WebAssembly module");
        refuses(b"\0asm\x0d\0\x01\0", "component already");
        refuses(b"\0asm\x01\0\0\0", "no `component-type` section");
        refuses(b"\0asm\x01\0\0\0\x00\xff\xff\xff\xff\x0f", "no `component-type` section");
    }

    #[test]
    fn the_digest_is_the_known_one() {
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
