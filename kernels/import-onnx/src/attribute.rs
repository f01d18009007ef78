//! Reads `AttributeProto`: numbers, texts and lists as they are, tensors as constant values, graphs as blocks.

use crate::scan::{Field, Span, quoted};
use crate::scope::{Import, Scope};
use crate::tensor;
use sunmao_plugin_sdk::importer::{Attribute, Bytes, Error, Kv, Result, Sink};

/// Entries of one list.
const LIST_MAX: usize = 1 << 20;
/// Opaque bytes that cross to the host in one attribute.
const OPAQUE_MAX_BYTES: usize = 4 << 10;

/// What an `AttributeProto` holds, before tensors and graphs are imported.
#[derive(Default)]
struct Raw {
    name: String,
    kind: u64,
    reference: String,
    number: Option<f32>,
    integer: Option<i64>,
    text: Option<Span>,
    tensor: Option<Span>,
    graph: Option<Span>,
    numbers: Vec<f64>,
    integers: Vec<i64>,
    texts: Vec<Span>,
    is_type: bool,
    /// A field that is not imported: what it is.
    other: Option<(&'static str, u64)>,
}

/// Codes of `AttributeProto.AttributeType`.
mod kind {
    pub(super) const FLOAT: u64 = 1;
    pub(super) const INT: u64 = 2;
    pub(super) const STRING: u64 = 3;
    pub(super) const TENSOR: u64 = 4;
    pub(super) const GRAPH: u64 = 5;
    pub(super) const FLOATS: u64 = 6;
    pub(super) const INTS: u64 = 7;
    pub(super) const STRINGS: u64 = 8;
    pub(super) const TYPE: u64 = 13;
}

pub(crate) fn kv(key: &str, val: Attribute) -> Kv {
    Kv { key: key.into(), val }
}

impl<B: Bytes, S: Sink> Import<'_, B, S> {
    /// The attribute at `span`, its tensor named `tensor_name` when that is given. none: it refers to an attribute of the function around it which the
    /// call left out, or it is a type, which follows from the graph.
    pub(crate) fn attribute(&self, scope: &Scope<'_>, span: Span, tensor_name: Option<&str>) -> Result<Option<Kv>> {
        let raw = self.read_attribute(span)?;
        let context =
            |error: Error| Error { message: format!("attribute {}: {}", quoted(&raw.name), error.message), ..error };
        if !raw.reference.is_empty() {
            let Some(given) = scope.attributes else {
                return Err(context(
                    Error::data("it refers to an attribute of a function, outside of any").at_byte(span.start),
                ));
            };
            return Ok(given.get(&raw.reference).map(|val| Kv { key: raw.name, val: val.clone() }));
        }
        if raw.kind_of() == Some(kind::TYPE) {
            return Ok(None);
        }
        let val = self.attribute_value(scope, &raw, span, tensor_name).map_err(context)?;
        Ok(Some(Kv { key: raw.name, val }))
    }

    fn read_attribute(&self, span: Span) -> Result<Raw> {
        let mut raw = Raw::default();
        let mut message = self.scanner.message(span, "AttributeProto");
        while let Some(field) = message.next()? {
            match field.number {
                1 => raw.name = self.scanner.text(field.span()?, "the name of an attribute")?,
                2 => raw.number = Some(field.float()?),
                3 => raw.integer = Some(field.varint()? as i64),
                4 => raw.text = Some(field.span()?),
                5 => raw.tensor = Some(once(raw.tensor, &field)?),
                6 => raw.graph = Some(once(raw.graph, &field)?),
                7 => self.scanner.elements::<4>(&field, |bits| {
                    push(&mut raw.numbers, f64::from(f32::from_le_bytes(bits)), field.at)
                })?,
                8 => self.scanner.varints(&field, |value| push(&mut raw.integers, value as i64, field.at))?,
                9 => push(&mut raw.texts, field.span()?, field.at)?,
                20 => raw.kind = field.varint()?,
                21 => raw.reference = self.scanner.text(field.span()?, "the name of an attribute")?,
                10 => raw.other = Some(("a list of tensors", field.at)),
                11 => raw.other = Some(("a list of graphs", field.at)),
                // Where the type of a value is given, inference finds it as well.
                14 => raw.is_type = true,
                15 => raw.other = Some(("a list of types", field.at)),
                22 | 23 => raw.other = Some(("a sparse tensor", field.at)),
                _ => {}
            }
        }
        if raw.name.is_empty() {
            return Err(Error::data("a node has an attribute without a name: the file is damaged").at_byte(span.start));
        }
        Ok(raw)
    }

    fn attribute_value(
        &self,
        scope: &Scope<'_>,
        raw: &Raw,
        span: Span,
        tensor_name: Option<&str>,
    ) -> Result<Attribute> {
        if let Some((what, at)) = raw.other {
            return Err(
                Error::unsupported(format!("{what} is not read: simplify the model, or export it without")).at_byte(at)
            );
        }
        let absent = || Error::data("its value is missing: the file is damaged; export it again").at_byte(span.start);
        Ok(match raw.kind_of().ok_or_else(absent)? {
            // An absent number is the default of its field: writers of proto3 leave zeros out.
            kind::FLOAT => Attribute::Number(f64::from(raw.number.unwrap_or(0.0))),
            kind::INT => Attribute::Integer(raw.integer.unwrap_or(0)),
            kind::STRING => match raw.text {
                None => Attribute::Text(String::new()),
                Some(text) => self.text_or_bytes(text)?,
            },
            kind::TENSOR => {
                let tensor = raw.tensor.ok_or_else(absent)?;
                // Unnamed tensors are common here, and the attribute's name says more than "".
                let name = tensor_name.map_or_else(|| raw.name.clone(), String::from);
                let tensor = tensor::read(&self.scanner, &self.siblings, tensor, Some(&name))?;
                if tensor_name.is_none() && matches!(tensor.data, tensor::Data::Pieces(_)) {
                    return Err(Error::unsupported(
                        "its tensor is written element by element: load and save the model with the onnx package, which packs it",
                    )
                    .at_byte(span.start));
                }
                Attribute::Value(self.constant(scope, &name, tensor)?)
            }
            kind::GRAPH => Attribute::Block(self.block(scope, raw.graph.ok_or_else(absent)?)?),
            kind::FLOATS => Attribute::Numbers(raw.numbers.clone()),
            kind::INTS => Attribute::Integers(raw.integers.clone()),
            kind::STRINGS => {
                let texts = raw.texts.iter().map(|&text| self.scanner.text(text, "an entry"));
                Attribute::Texts(texts.collect::<Result<_>>()?)
            }
            other => {
                return Err(Error::unsupported(format!(
                    "attributes of type {other} are not read: simplify the model, or export it without"
                ))
                .at_byte(span.start));
            }
        })
    }

    fn text_or_bytes(&self, span: Span) -> Result<Attribute> {
        match String::from_utf8(self.scanner.bytes(span, crate::scan::TEXT_MAX_BYTES, "a text")?) {
            Ok(text) => Ok(Attribute::Text(text)),
            Err(error) if error.as_bytes().len() <= OPAQUE_MAX_BYTES => Ok(Attribute::Bytes(error.into_bytes())),
            Err(_) => Err(Error::limit(format!("opaque bytes beyond {OPAQUE_MAX_BYTES}")).at_byte(span.start)),
        }
    }
}

impl Raw {
    /// The type: as written, or by what is there (models before IR version 4 leave it out).
    fn kind_of(&self) -> Option<u64> {
        if self.kind != 0 {
            return Some(self.kind);
        }
        let present = [
            (self.number.is_some(), kind::FLOAT),
            (self.integer.is_some(), kind::INT),
            (self.text.is_some(), kind::STRING),
            (self.tensor.is_some(), kind::TENSOR),
            (self.graph.is_some(), kind::GRAPH),
            (!self.numbers.is_empty(), kind::FLOATS),
            (!self.integers.is_empty(), kind::INTS),
            (!self.texts.is_empty(), kind::STRINGS),
            (self.is_type, kind::TYPE),
        ];
        present.iter().find(|(there, _)| *there).map(|&(_, kind)| kind)
    }
}

fn push<T>(list: &mut Vec<T>, item: T, at: u64) -> Result<()> {
    if list.len() == LIST_MAX {
        return Err(Error::limit(format!("a list of more than {LIST_MAX} entries")).at_byte(at));
    }
    list.push(item);
    Ok(())
}

/// The span of a message that may occur once.
fn once(before: Option<Span>, field: &Field) -> Result<Span> {
    if before.is_some() {
        return Err(Error::data("a message occurs twice where one belongs: the file is damaged").at_byte(field.at));
    }
    field.span()
}
