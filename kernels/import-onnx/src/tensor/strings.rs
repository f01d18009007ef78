//! Tensors of strings: `string_data`, one field for each element. Small ones become literals; of large ones the run of fields is handed on.

use super::{Data, Header, Tensor};
use crate::scan::{Scanner, Span, quoted};
use sunmao_plugin_sdk::importer::{Bytes, Content, Error, MAX_LITERAL_BYTES, Result, Weight};

/// `TensorProto.string_data`.
const STRING_DATA: u32 = 6;

/// Strings as a literal wants them: each its length as a little-endian u32, then its bytes.
pub(crate) fn framed<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text);
    }
    bytes
}

/// The tensor whose header was read.
pub(super) fn read<B: Bytes>(scanner: &Scanner<'_, B>, span: Span, header: Header) -> Result<Tensor> {
    let text = || format!("tensor {} of strings, shape {:?}", quoted(&header.name), header.dims);
    let fault = |what: &str| Error::data(format!("{} {what}: export the model again", text())).at_byte(span.start);
    if header.raw.is_some() || header.typed.is_some() || header.is_external {
        return Err(fault("has its data where strings cannot be"));
    }
    let elements = header.dims.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim));
    let (mut texts, mut total) = (Vec::new(), 0u64);
    let (mut count, mut run, mut joined) = (0u64, None::<Span>, true);
    let mut message = scanner.message(span, "TensorProto");
    while let Some(field) = message.next()? {
        if field.number != STRING_DATA {
            continue;
        }
        let content = field.span()?;
        count += 1;
        total = total.saturating_add(4 + content.len());
        if total <= MAX_LITERAL_BYTES as u64 {
            texts.push(scanner.text(content, "a string")?);
        }
        joined &= run.is_none_or(|run| run.end == field.at);
        run = Some(Span { start: run.map_or(field.at, |run| run.start), end: content.end });
    }
    if elements != Some(count) {
        return Err(fault(&format!("has {count} of them")));
    }
    let content = match run {
        Some(run) if total > MAX_LITERAL_BYTES as u64 => {
            if !joined {
                return Err(fault("has other data between them"));
            }
            Content::Weight(Weight::range(scanner.source.id(), run.start, run.len(), "fields"))
        }
        _ => Content::Literal(framed(texts.iter().map(String::as_bytes))),
    };
    Ok(Tensor { name: header.name, dtype: 8, dims: header.dims, data: Data::Content(content) })
}
