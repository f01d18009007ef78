//! Tensors whose bytes lie in a file beside the model: which file, which range, and only what the host grants.

use crate::scan::{Scanner, Span, quoted};
use std::cell::RefCell;
use std::collections::HashMap;
use sunmao_plugin_sdk::importer::{Bytes, Error, ErrorCode, Result};

/// Most files beside a model.
const SIBLINGS_MAX: usize = 1 << 16;

/// One entry of `external_data`.
pub(super) struct External {
    key: String,
    value: String,
    at: u64,
}

impl External {
    pub(super) fn read<B: Bytes>(scanner: &Scanner<'_, B>, span: Span) -> Result<Self> {
        let mut entry = Self { key: String::new(), value: String::new(), at: span.start };
        let mut message = scanner.message(span, "StringStringEntryProto");
        while let Some(field) = message.next()? {
            match field.number {
                1 => entry.key = scanner.text(field.span()?, "a key of external_data")?,
                2 => entry.value = scanner.text(field.span()?, "a value of external_data")?,
                _ => {}
            }
        }
        Ok(entry)
    }

    fn number(&self) -> Result<u64> {
        self.value.parse().map_err(|_| {
            Error::data(format!(
                "external_data has {} = {}: a number of bytes was expected",
                self.key,
                quoted(&self.value)
            ))
            .at_byte(self.at)
        })
    }
}

/// The files beside the model that were opened so far.
pub(crate) struct Siblings<B>(RefCell<HashMap<String, B>>);

impl<B: Bytes> Siblings<B> {
    pub(crate) fn new() -> Self {
        Self(RefCell::default())
    }

    /// Shows an opened file to `see`.
    pub(super) fn with<R>(&self, location: &str, see: impl FnOnce(&B) -> Result<R>) -> Result<R> {
        let opened = self.0.borrow();
        see(opened.get(location).expect("`locate` opened it"))
    }

    /// The file and range that `entries` name, for a tensor of `bytes` bytes.
    pub(super) fn locate(&self, model: &B, entries: &[External], bytes: u64, tensor: &str) -> Result<(String, Span)> {
        let (mut location, mut offset, mut length) = (None, 0, None);
        for entry in entries {
            match entry.key.as_str() {
                "location" => location = Some(entry),
                "offset" => offset = entry.number()?,
                "length" => length = Some(entry.number()?),
                // SHA-1 of the whole file; the host keeps digests of its own.
                "checksum" => {}
                other => {
                    return Err(Error::unsupported(format!(
                        "tensor {tensor}: external_data has the key {}; location, offset, length and checksum are known: save the model again with the onnx package",
                        quoted(other)
                    ))
                    .at_byte(entry.at));
                }
            }
        }
        let Some(location) = location else {
            return Err(Error::data(format!(
                "tensor {tensor} is in another file that it does not name: export the model again"
            )));
        };
        let file = check_location(&location.value, tensor).map_err(|error| error.at_byte(location.at))?;
        let size = self.open(model, &file, tensor).map_err(|error| error.at_byte(location.at))?;
        let length = length.unwrap_or_else(|| size.saturating_sub(offset).min(bytes));
        if length != bytes {
            return Err(Error::data(format!(
                "tensor {tensor} needs {bytes} bytes, {length} of file {} are given to it: the model and the file do not belong together",
                quoted(&location.value)
            ))
            .at_byte(location.at));
        }
        match offset.checked_add(length).filter(|&end| end <= size) {
            Some(end) => Ok((file, Span { start: offset, end })),
            None => Err(Error::data(format!(
                "tensor {tensor} lies at bytes {offset} + {length} of file {}, which has {size}: the file is truncated or belongs to another model",
                quoted(&location.value)
            ))
            .at_byte(location.at)),
        }
    }

    fn open(&self, model: &B, location: &str, tensor: &str) -> Result<u64> {
        let mut opened = self.0.borrow_mut();
        if let Some(file) = opened.get(location) {
            return Ok(file.size());
        }
        if opened.len() == SIBLINGS_MAX {
            return Err(Error::limit(format!("the model refers to more than {SIBLINGS_MAX} files")));
        }
        let file = model.open(location).map_err(|mut error| {
            if matches!(error.code, ErrorCode::NotFound) {
                error.message = format!(
                    "the weights of tensor {tensor} are in the file {}, which was not found: put it beside the model, in the same folder",
                    quoted(location)
                );
            }
            error
        })?;
        let size = file.size();
        opened.insert(location.into(), file);
        Ok(size)
    }
}

/// The relative name without its "." parts. Refuses what could lead out of the model's folder; the host refuses it as well, but here the
/// message can say which tensor asks.
fn check_location(location: &str, tensor: &str) -> Result<String> {
    let outside = location.is_empty()
        || location.starts_with('/')
        || location.contains(['\\', ':', '\0'])
        || location.split('/').any(|part| part == ".." || part.is_empty());
    let parts: Vec<&str> = location.split('/').filter(|&part| part != ".").collect();
    if !outside && !parts.is_empty() {
        return Ok(parts.join("/"));
    }
    Err(Error::data(format!(
        "tensor {tensor} wants the file {}: only files in the model's own folder are read, named relative to it; do not trust this model, or save it again",
        quoted(location)
    )))
}
