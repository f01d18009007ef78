//! Tensors of strings: framed texts, one after another.

/// The texts of a framed tensor (a little-endian u32 of length before each); none where the frames do not fit the bytes or a text is no UTF-8.
pub(crate) fn read(mut bytes: &[u8]) -> Option<Vec<&str>> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        texts.push(std::str::from_utf8(text).ok()?);
        bytes = rest;
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_broken_ones_refused() {
        assert_eq!(read(b"\x02\0\0\0ab\0\0\0\0"), Some(vec!["ab", ""]));
        assert_eq!(read(b"\x03\0\0\0ab"), None);
        assert_eq!(read(b"\x01\0\0\0\xff"), None);
        assert_eq!(read(b"\x01\0"), None);
    }
}
