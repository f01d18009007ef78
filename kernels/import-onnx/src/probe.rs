//! How sure the importer is that a file is ONNX. The format has no magic number, so the first fields have to look right.

/// 0 no, 100 certain, judged by the name and the first bytes. `size` is that of the file, which may be longer than `prefix`.
pub fn probe(name: &str, size: u64, prefix: &[u8]) -> u8 {
    let named = name.rsplit('.').next().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    match (looks_like_model(prefix, size), named) {
        // Certain: nothing that another importer says of such a file outweighs it.
        (true, true) => 100,
        (true, false) => 85,
        // So that a damaged file gets this importer's message, with the byte at fault, and not "unknown format".
        (false, true) => 20,
        (false, false) => 0,
    }
}

/// Whether the top-level fields of `prefix` are those of a `ModelProto`, each with its wire type, with an IR version that may be.
fn looks_like_model(prefix: &[u8], size: u64) -> bool {
    let (mut at, mut version, mut telling) = (0usize, false, false);
    while at < prefix.len() {
        let Some(tag) = varint(prefix, &mut at) else { return false };
        match (tag >> 3, tag & 7) {
            (1, 0) => match varint(prefix, &mut at) {
                Some(1..=1000) => version = true,
                _ => return false,
            },
            (5, 0) => {
                if varint(prefix, &mut at).is_none() {
                    return false;
                }
            }
            (field @ (2 | 3 | 4 | 6 | 7 | 8 | 14 | 20 | 25 | 26), 2) => {
                let Some(length) = varint(prefix, &mut at) else { return at >= prefix.len() && version };
                let Some(end) = (at as u64).checked_add(length).filter(|&end| end <= size) else { return false };
                telling |= matches!(field, 7 | 8);
                at = usize::try_from(end).unwrap_or(usize::MAX);
            }
            _ => return false,
        }
    }
    version && telling
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in 0..10 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(7 * shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
