//! Reads `TensorProto`: small tensors as literals, large ones as ranges of the file or of a sibling.
//!
//! Nothing here reads the bytes of a large tensor; the host does, by the encoding that the range names.

use crate::scan::{Field, Scanner, Span, Wire, quoted};
use crate::shape::RANK_MAX;
use external::External;
pub(crate) use external::Siblings;
pub(crate) use strings::framed;
use sunmao_plugin_sdk::importer::{Bytes, Content, Error, MAX_LITERAL_BYTES, Result, Weight};

mod external;
mod strings;

/// Largest tensor that was written element by element and is taken nevertheless, as literals joined by a `Concat`.
const PIECES_MAX_BYTES: u64 = 256 << 10;

/// A tensor of the file.
pub(crate) struct Tensor {
    pub name: String,
    pub dtype: u16,
    pub dims: Vec<u64>,
    pub data: Data,
}

pub(crate) enum Data {
    Content(Content),
    /// Too large for a literal, and no single range of the file.
    Pieces(Vec<u8>),
}

/// The fields that hold elements of a fixed kind. "Carrier" is one entry of such a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Carrier {
    Float,
    Int32,
    Int64,
    Double,
    Uint64,
}

/// How a typed field lies in the file.
#[derive(Clone, Copy)]
struct Typed {
    carrier: Carrier,
    /// The first packed run; none when elements stand alone.
    packed: Option<Span>,
    /// Runs and elements that stand alone.
    runs: u64,
    at: u64,
}

/// What was found of a tensor before its data is looked at.
#[derive(Default)]
struct Header {
    name: String,
    dtype: u64,
    dims: Vec<u64>,
    raw: Option<Span>,
    typed: Option<Typed>,
    external: Vec<External>,
    is_external: bool,
}

/// The ABI's code for an ONNX element type.
pub(crate) fn check_dtype(code: u64, name: &str) -> Result<u16> {
    match code {
        1..=26 => Ok(code as u16),
        0 => Err(Error::data(format!("tensor {} has no element type: export the model again", quoted(name)))),
        _ => Err(Error::unsupported(format!(
            "tensor {} has element type {code}; 1 to 26 of TensorProto.DataType are read: convert the model to one of those",
            quoted(name)
        ))),
    }
}

/// Bits of one element; 0 for strings.
pub(crate) fn bits(dtype: u16) -> u64 {
    match dtype {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        _ => 0,
    }
}

/// Reads a `TensorProto`. `name` stands in for tensors that have none of their own (attributes).
pub(crate) fn read<B: Bytes>(
    scanner: &Scanner<'_, B>,
    siblings: &Siblings<B>,
    span: Span,
    name: Option<&str>,
) -> Result<Tensor> {
    let mut header = read_header(scanner, span)?;
    if let Some(name) = name {
        header.name = name.into();
    }
    let dtype = check_dtype(header.dtype, &header.name).map_err(|error| error.at_byte(span.start))?;
    if dtype == 8 {
        return strings::read(scanner, span, header);
    }
    let shape = Shape::new(&header, dtype).map_err(|error| error.at_byte(span.start))?;
    let raw = header.raw.filter(|raw| raw.len() > 0);
    let stores = [raw.is_some(), header.typed.is_some(), header.is_external];
    let data = match (stores.iter().filter(|&&present| present).count(), raw, header.typed) {
        (0, ..) if shape.elements == 0 => Data::Content(Content::Literal(Vec::new())),
        (0, ..) => {
            return Err(Error::data(format!("{} has no data: the model is incomplete, export it again", shape.text()))
                .at_byte(span.start));
        }
        (1, Some(raw), _) => {
            shape.check_bytes(raw.len(), "raw_data").map_err(|error| error.at_byte(raw.start))?;
            // Through the scanner's window, which is there already.
            let read = |length| scanner.bytes(raw, length, "a literal");
            Data::Content(content(raw, scanner.source.id(), read)?)
        }
        (1, None, Some(typed)) => read_typed(scanner, span, typed, &shape)?,
        (1, None, None) => {
            let (file, range) =
                siblings
                    .locate(scanner.source, &header.external, shape.bytes, &quoted(&header.name))
                    .map_err(|error| if error.offset.is_none() { error.at_byte(span.start) } else { error })?;
            Data::Content(siblings.with(&file, |source| {
                content(range, source.id(), |length| source.read_exact(range.start, length as u32))
            })?)
        }
        _ => {
            return Err(Error::data(format!("{} has its data in two places: export the model again", shape.text()))
                .at_byte(span.start));
        }
    };
    Ok(Tensor { name: header.name, dtype, dims: header.dims, data })
}

fn read_header<B: Bytes>(scanner: &Scanner<'_, B>, span: Span) -> Result<Header> {
    let mut header = Header::default();
    let mut message = scanner.message(span, "TensorProto");
    while let Some(field) = message.next()? {
        match field.number {
            1 => scanner.varints(&field, |dim| {
                let dim = u64::try_from(dim as i64).map_err(|_| {
                    Error::data(format!("a tensor has a dimension of {}: export the model again", dim as i64))
                        .at_byte(field.at)
                })?;
                if header.dims.len() == RANK_MAX {
                    return Err(Error::limit(format!("a tensor of more than {RANK_MAX} axes")).at_byte(field.at));
                }
                header.dims.push(dim);
                Ok(())
            })?,
            2 => header.dtype = field.varint()?,
            3 => {
                return Err(Error::unsupported(
                    "a tensor is stored in segments: export the model again with onnx.save",
                )
                .at_byte(field.at));
            }
            4 => note_typed(&mut header, &field, Carrier::Float)?,
            5 => note_typed(&mut header, &field, Carrier::Int32)?,
            7 => note_typed(&mut header, &field, Carrier::Int64)?,
            10 => note_typed(&mut header, &field, Carrier::Double)?,
            11 => note_typed(&mut header, &field, Carrier::Uint64)?,
            8 => header.name = scanner.text(field.span()?, "the name of a tensor")?,
            9 => header.raw = Some(field.span()?),
            13 => {
                if header.external.len() == 16 {
                    return Err(Error::limit("external_data has more than 16 entries").at_byte(field.at));
                }
                header.external.push(External::read(scanner, field.span()?)?);
            }
            14 => header.is_external = field.varint()? == 1,
            _ => {}
        }
    }
    Ok(header)
}

fn note_typed(header: &mut Header, field: &Field, carrier: Carrier) -> Result<()> {
    let packed = match field.wire {
        Wire::Bytes(span) if span.len() == 0 => return Ok(()),
        Wire::Bytes(span) => Some(span),
        _ => None,
    };
    match &mut header.typed {
        None => header.typed = Some(Typed { carrier, packed, runs: 1, at: field.at }),
        Some(typed) if typed.carrier == carrier => typed.runs += 1,
        Some(typed) => {
            return Err(Error::data(format!(
                "a tensor has its data in two fields ({:?} and {carrier:?}): export the model again",
                typed.carrier
            ))
            .at_byte(field.at));
        }
    }
    Ok(())
}

/// Element count and bytes of a tensor, checked for overflow.
struct Shape<'a> {
    header: &'a Header,
    dtype: u16,
    elements: u64,
    bytes: u64,
}

impl<'a> Shape<'a> {
    fn new(header: &'a Header, dtype: u16) -> Result<Self> {
        let elements = header.dims.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim));
        let bytes = elements.and_then(|n| Some(n.checked_mul(bits(dtype))?.div_ceil(8)));
        match (elements, bytes) {
            (Some(elements), Some(bytes)) => Ok(Self { header, dtype, elements, bytes }),
            _ => Err(Error::data(format!(
                "tensor {} has the shape {:?}, more than any memory holds: the file is damaged",
                quoted(&header.name),
                header.dims
            ))),
        }
    }

    fn text(&self) -> String {
        format!("tensor {} (element type {}, shape {:?})", quoted(&self.header.name), self.dtype, self.header.dims)
    }

    fn check_bytes(&self, bytes: u64, what: &str) -> Result<()> {
        if bytes == self.bytes {
            return Ok(());
        }
        Err(Error::data(format!(
            "{} needs {} bytes, its {what} holds {bytes}: the file is damaged; export the model again",
            self.text(),
            self.bytes
        )))
    }

    /// Entries of the typed field `carrier` that make up the tensor; none when it cannot carry the element type.
    fn carriers(&self, carrier: Carrier) -> Option<u64> {
        match (carrier, self.dtype) {
            (Carrier::Float, 1)
            | (Carrier::Int32, 2..=6 | 9 | 10 | 16..=20 | 24)
            | (Carrier::Int64, 7)
            | (Carrier::Double, 11)
            | (Carrier::Uint64, 12 | 13) => Some(self.elements),
            (Carrier::Float, 14) | (Carrier::Double, 15) => self.elements.checked_mul(2),
            // Elements of less than a byte share an entry as they share a byte.
            (Carrier::Int32, 21..=23 | 25 | 26) => Some(self.bytes),
            _ => None,
        }
    }
}

/// A range as a literal when it is small, else as a weight.
fn content(range: Span, source: u32, read: impl FnOnce(u64) -> Result<Vec<u8>>) -> Result<Content> {
    if range.len() <= MAX_LITERAL_BYTES as u64 {
        return Ok(Content::Literal(read(range.len())?));
    }
    Ok(Content::Weight(Weight::range(source, range.start, range.len(), "raw-le")))
}

fn read_typed<B: Bytes>(scanner: &Scanner<'_, B>, span: Span, typed: Typed, shape: &Shape<'_>) -> Result<Data> {
    let Some(carriers) = shape.carriers(typed.carrier) else {
        return Err(Error::data(format!(
            "{} cannot have its data as {:?}: export the model again",
            shape.text(),
            typed.carrier
        ))
        .at_byte(typed.at));
    };
    let single = typed.packed.filter(|_| typed.runs == 1);
    if shape.bytes <= MAX_LITERAL_BYTES as u64 {
        return Ok(Data::Content(Content::Literal(decode(scanner, span, typed, shape, carriers)?)));
    }
    let Some(run) = single else {
        if shape.bytes > PIECES_MAX_BYTES {
            return Err(Error::unsupported(format!(
                "{} is written element by element: load and save the model with the onnx package, which packs it",
                shape.text()
            ))
            .at_byte(typed.at));
        }
        return Ok(Data::Pieces(decode(scanner, span, typed, shape, carriers)?));
    };
    let encoding = match typed.carrier {
        Carrier::Float | Carrier::Double => {
            shape.check_bytes(run.len(), "typed data").map_err(|error| error.at_byte(typed.at))?;
            "raw-le"
        }
        // A varint takes 1 to 10 bytes; the host counts them when it decodes.
        _ if run.len() < carriers || run.len() / 10 > carriers => {
            return Err(Error::data(format!(
                "{} needs {carriers} numbers, which {} bytes cannot hold: the file is damaged",
                shape.text(),
                run.len()
            ))
            .at_byte(typed.at));
        }
        _ if matches!(shape.dtype, 4..=7 | 12 | 13) => "varint",
        _ => "bits",
    };
    Ok(Data::Content(Content::Weight(Weight::range(scanner.source.id(), run.start, run.len(), encoding))))
}

/// The elements of a typed field, little-endian; `shape.bytes` is small.
fn decode<B: Bytes>(
    scanner: &Scanner<'_, B>,
    span: Span,
    typed: Typed,
    shape: &Shape<'_>,
    carriers: u64,
) -> Result<Vec<u8>> {
    let number = match typed.carrier {
        Carrier::Float => 4,
        Carrier::Int32 => 5,
        Carrier::Int64 => 7,
        Carrier::Double => 10,
        Carrier::Uint64 => 11,
    };
    let width = (bits(shape.dtype) as usize / 8).clamp(1, 8);
    let mut bytes = Vec::with_capacity(shape.bytes as usize);
    let mut count = 0u64;
    let mut message = scanner.message(span, "TensorProto");
    while let Some(field) = message.next()? {
        if field.number != number {
            continue;
        }
        let mut room = || {
            count += 1;
            if count > carriers {
                return Err(Error::data(format!("{} has more data than elements: the file is damaged", shape.text()))
                    .at_byte(field.at));
            }
            Ok(())
        };
        match typed.carrier {
            Carrier::Float => scanner.elements::<4>(&field, |element| {
                room()?;
                bytes.extend_from_slice(&element);
                Ok(())
            })?,
            Carrier::Double => scanner.elements::<8>(&field, |element| {
                room()?;
                bytes.extend_from_slice(&element);
                Ok(())
            })?,
            _ => scanner.varints(&field, |value| {
                room()?;
                let value = if shape.dtype == 9 { u64::from(value != 0) } else { value };
                bytes.extend_from_slice(&value.to_le_bytes()[..width]);
                Ok(())
            })?,
        }
    }
    if count < carriers {
        return Err(Error::data(format!("{} has {count} entries of {carriers}: the file is damaged", shape.text()))
            .at_byte(typed.at));
    }
    Ok(bytes)
}
