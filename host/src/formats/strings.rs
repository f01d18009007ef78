//! Tensors of strings in JSON: texts, flat or nested. In memory, and in the protocol's binary form, they are framed: each its length as a
//! little-endian u32, then its UTF-8 text.

use super::{FormatError, MAX_RANK, elements};
use serde::Deserialize;
use sunmao_graph::Tensor as Framed;
use sunmao_graph::tensor::read_strings;

/// JSON texts at some depth.
#[derive(Deserialize)]
#[serde(untagged)]
enum Nested {
    Text(String),
    List(Vec<Nested>),
}

/// The framed strings of `text`, which holds `shape`'s elements flat or nested as the shape says.
pub(super) fn parse_strings(text: &str, shape: &[u64]) -> Result<Vec<u8>, FormatError> {
    let nested: Nested = serde_json::from_str(text)
        .map_err(|_| FormatError::malformed("`data` of datatype BYTES is made of texts, flat or nested".to_owned()))?;
    let mut lengths = Vec::new();
    let mut texts = Vec::new();
    flatten(nested, 0, &mut lengths, &mut texts)?;
    let wanted = elements(shape);
    if wanted != Some(texts.len() as u64) {
        return Err(FormatError::malformed(format!(
            "`data` has {} elements, the shape {shape:?} has {}",
            texts.len(),
            wanted.unwrap_or(u64::MAX)
        )));
    }
    if lengths.len() > 1 && lengths != shape {
        return Err(FormatError::malformed(format!(
            "`data` is nested as {lengths:?}, but `shape` says {shape:?}; nest it like the shape, or send it flat"
        )));
    }
    Ok(Framed::from_strings(shape.to_vec(), &texts).bytes.to_vec())
}

fn flatten(nested: Nested, depth: usize, lengths: &mut Vec<u64>, texts: &mut Vec<String>) -> Result<(), FormatError> {
    match nested {
        Nested::Text(text) => texts.push(text),
        Nested::List(_) if depth == MAX_RANK => {
            return Err(FormatError::malformed(format!("`data` is nested deeper than {MAX_RANK}")));
        }
        Nested::List(list) => {
            let length = list.len() as u64;
            match lengths.get(depth) {
                None => lengths.push(length),
                Some(known) if *known == length => {}
                Some(_) => {
                    return Err(FormatError::malformed("`data` is ragged: arrays of one level must have one length"));
                }
            }
            list.into_iter().try_for_each(|part| flatten(part, depth + 1, lengths, texts))?;
        }
    }
    Ok(())
}

/// Whether these bytes are framed strings, as many as the shape has elements.
pub(super) fn are_strings(bytes: &[u8], shape: &[u64]) -> bool {
    read_strings(bytes).map(|list| list.len() as u64) == elements(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_framed_and_ragged_ones_are_refused() {
        let framed = b"\x01\0\0\0a\0\0\0\0\x02\0\0\0\xc3\xa9\x01\0\0\0,";
        for text in [r#"["a", "", "é", ","]"#, r#"[["a", ""], ["é", ","]]"#] {
            assert_eq!(parse_strings(text, &[2, 2]).unwrap(), framed);
        }
        assert!(are_strings(framed, &[4]) && !are_strings(framed, &[3]) && !are_strings(&framed[..6], &[1]));
        let refused = |text: &str, shape: &[u64]| parse_strings(text, shape).unwrap_err().to_string();
        assert!(refused(r#"["a", 1]"#, &[2]).contains("made of texts"));
        assert!(refused(r#"["a"]"#, &[2]).contains("has 1 elements"));
        assert!(refused(r#"[["a"], ["b", "c"]]"#, &[3]).contains("ragged"));
        assert!(refused(r#"[["a"], ["b"]]"#, &[1, 2]).contains("nested as [2, 1]"));
    }
}
