//! Walks protobuf messages through ranged reads: fields one after another, no message is ever held as a whole.
//!
//! Knows the wire format and nothing of ONNX. Bounds every length by the message around it before it is believed.

use std::cell::RefCell;
use sunmao_plugin_sdk::importer::{Bytes, Error, Result};

/// First read after a jump. Each read that follows on doubles, so that headers between large weights cost little and long runs of nodes few calls.
const WINDOW_MIN_BYTES: u32 = 4 << 10;
const WINDOW_MAX_BYTES: u32 = 256 << 10;

/// Longest text that is read at once.
pub(crate) const TEXT_MAX_BYTES: u64 = 1 << 20;

/// A range of the model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    pub(crate) fn len(self) -> u64 {
        self.end - self.start
    }
}

/// What a field carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Span),
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub number: u32,
    /// Where its tag begins.
    pub at: u64,
    pub wire: Wire,
    message: &'static str,
}

impl Field {
    #[cold]
    fn mismatch(&self, wanted: &str) -> Error {
        Error::data(format!(
            "field {} of {} is no {wanted}: the file is damaged, or not ONNX; export it again",
            self.number, self.message
        ))
        .at_byte(self.at)
    }

    pub(crate) fn span(&self) -> Result<Span> {
        match self.wire {
            Wire::Bytes(span) => Ok(span),
            _ => Err(self.mismatch("message or text")),
        }
    }

    pub(crate) fn varint(&self) -> Result<u64> {
        match self.wire {
            Wire::Varint(value) => Ok(value),
            _ => Err(self.mismatch("integer")),
        }
    }

    pub(crate) fn float(&self) -> Result<f32> {
        match self.wire {
            Wire::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.mismatch("32-bit float")),
        }
    }
}

struct Window {
    start: u64,
    bytes: Vec<u8>,
    next_bytes: u32,
}

/// Reads a source through a window that moves along with the scan.
pub(crate) struct Scanner<'s, B> {
    pub source: &'s B,
    pub size: u64,
    window: RefCell<Window>,
}

impl<'s, B: Bytes> Scanner<'s, B> {
    pub(crate) fn new(source: &'s B) -> Self {
        let window = Window { start: 0, bytes: Vec::new(), next_bytes: WINDOW_MIN_BYTES };
        Self { source, size: source.size(), window: RefCell::new(window) }
    }

    /// The whole file.
    pub(crate) fn all(&self) -> Span {
        Span { start: 0, end: self.size }
    }

    /// Starts to walk the fields of a message; `name` is for error lines.
    pub(crate) fn message(&self, span: Span, name: &'static str) -> Message<'_, 's, B> {
        Message { scanner: self, at: span.start, end: span.end, name }
    }

    /// Shows `see` the bytes from `at` up to `end`, at most `want` (a few dozen) of them.
    fn look<R>(&self, at: u64, end: u64, want: usize, see: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let want = want.min(usize::try_from(end.saturating_sub(at)).unwrap_or(want));
        let mut window = self.window.borrow_mut();
        let inside =
            |window: &Window| at >= window.start && at + want as u64 <= window.start + window.bytes.len() as u64;
        if !inside(&window) {
            let follows = at >= window.start && at <= window.start + window.bytes.len() as u64;
            window.next_bytes = if follows { (window.next_bytes * 2).min(WINDOW_MAX_BYTES) } else { WINDOW_MIN_BYTES };
            window.bytes = self.source.read(at, window.next_bytes)?;
            window.start = at;
            if !inside(&window) {
                return Err(
                    Error::data("the file ended early while it was read: is something writing to it?").at_byte(at)
                );
            }
        }
        let start = (at - window.start) as usize;
        Ok(see(&window.bytes[start..start + want]))
    }

    /// Decodes the varint at `at` and answers it with the byte behind it.
    pub(crate) fn varint(&self, at: u64, end: u64) -> Result<(u64, u64)> {
        match self.look(at, end, 10, decode_varint)? {
            Ok((value, length)) => Ok((value, at + length as u64)),
            Err(Fault::Truncated) => Err(Error::data(
                "a number is cut off by the end of its message: the file is truncated or damaged; fetch or export it again",
            )
            .at_byte(at)),
            Err(Fault::TooLong) => {
                Err(Error::data("a number is longer than 64 bits: the file is damaged, or not ONNX").at_byte(at))
            }
        }
    }

    fn fixed<const N: usize>(&self, at: u64, end: u64) -> Result<[u8; N]> {
        let bytes: Option<[u8; N]> = self.look(at, end, N, |bytes| bytes.try_into().ok())?;
        bytes.ok_or_else(|| {
            Error::data("a number is cut off by the end of its message: the file is truncated or damaged").at_byte(at)
        })
    }

    /// The bytes of a span that may hold at most `limit`.
    pub(crate) fn bytes(&self, span: Span, limit: u64, what: &str) -> Result<Vec<u8>> {
        if span.len() > limit {
            return Err(
                Error::limit(format!("{what} of {} bytes: at most {limit} are read", span.len())).at_byte(span.start)
            );
        }
        // Most spans are short texts within the window; `look` would size its window for the longest.
        if span.len() <= 4096 {
            return self.look(span.start, span.end, 4096, <[u8]>::to_vec);
        }
        self.source.read_exact(span.start, span.len() as u32)
    }

    /// UTF-8 text.
    pub(crate) fn text(&self, span: Span, what: &str) -> Result<String> {
        let bytes = self.bytes(span, TEXT_MAX_BYTES, what)?;
        String::from_utf8(bytes).map_err(|error| {
            Error::data(format!("{what} is not UTF-8: the file is damaged; export it again"))
                .at_byte(span.start + error.utf8_error().valid_up_to() as u64)
        })
    }

    /// Each integer of a repeated field, packed or not.
    pub(crate) fn varints(&self, field: &Field, mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
        let span = match field.wire {
            Wire::Varint(value) => return each(value),
            Wire::Bytes(span) => span,
            _ => return Err(field.mismatch("list of integers")),
        };
        let mut at = span.start;
        while at < span.end {
            let (value, next) = self.varint(at, span.end)?;
            each(value)?;
            at = next;
        }
        Ok(())
    }

    /// Each element of a repeated field of `N` bytes an element, packed or not, as little-endian bytes.
    pub(crate) fn elements<const N: usize>(
        &self,
        field: &Field,
        mut each: impl FnMut([u8; N]) -> Result<()>,
    ) -> Result<()> {
        let span = match field.wire {
            Wire::Fixed32(bits) if N == 4 => return each(std::array::from_fn(|i| bits.to_le_bytes()[i])),
            Wire::Fixed64(bits) if N == 8 => return each(std::array::from_fn(|i| bits.to_le_bytes()[i])),
            Wire::Bytes(span) => span,
            _ => return Err(field.mismatch("list of floats")),
        };
        let mut at = span.start;
        while at < span.end {
            each(self.fixed(at, span.end)?)?;
            at += N as u64;
        }
        Ok(())
    }
}

enum Fault {
    Truncated,
    TooLong,
}

fn decode_varint(bytes: &[u8]) -> Result<(u64, usize), Fault> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            return Err(Fault::TooLong);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(Fault::Truncated)
}

/// A walk over the fields of one message.
pub(crate) struct Message<'a, 's, B> {
    scanner: &'a Scanner<'s, B>,
    at: u64,
    end: u64,
    name: &'static str,
}

impl<B: Bytes> Message<'_, '_, B> {
    /// The next field; none at the end of the message.
    pub(crate) fn next(&mut self) -> Result<Option<Field>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let at = self.at;
        let (tag, body) = self.scanner.varint(at, self.end)?;
        let number =
            u32::try_from(tag >> 3).ok().filter(|&number| number > 0 && number < 1 << 29).ok_or_else(|| {
                Error::data(format!(
                    "{} has a field of number {}: the file is damaged, or not ONNX",
                    self.name,
                    tag >> 3
                ))
                .at_byte(at)
            })?;
        let (wire, next) = match tag & 7 {
            0 => {
                let (value, next) = self.scanner.varint(body, self.end)?;
                (Wire::Varint(value), next)
            }
            1 => (Wire::Fixed64(u64::from_le_bytes(self.scanner.fixed(body, self.end)?)), body + 8),
            2 => {
                let (length, start) = self.scanner.varint(body, self.end)?;
                if length > self.end - start {
                    return Err(Error::data(format!(
                        "field {number} of {} claims {length} bytes where {} are left: the file is truncated or damaged; fetch or export it again",
                        self.name,
                        self.end - start
                    ))
                    .at_byte(at));
                }
                (Wire::Bytes(Span { start, end: start + length }), start + length)
            }
            5 => (Wire::Fixed32(u32::from_le_bytes(self.scanner.fixed(body, self.end)?)), body + 4),
            other => {
                return Err(Error::data(format!(
                    "field {number} of {} has wire type {other}, which ONNX does not use: the file is damaged, or not ONNX",
                    self.name
                ))
                .at_byte(at));
            }
        };
        self.at = next;
        Ok(Some(Field { number, at, wire, message: self.name }))
    }
}

/// A name from the file, fit for an error line: short, on one line.
pub(crate) fn quoted(name: &str) -> String {
    let mut short: String = name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    format!("`{short}`")
}
