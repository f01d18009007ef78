//! Reads `ValueInfoProto`: the name, element type and shape that the file declares for a value.

use crate::scan::{Scanner, Span};
use crate::tensor::check_dtype;
use sunmao_plugin_sdk::importer::{Attribute, Bytes, Error, Kv, Result};

/// Highest rank that is read.
pub(crate) const RANK_MAX: usize = 64;

/// One axis as declared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Axis {
    Known(u64),
    /// `dim_param`.
    Named(String),
    Unnamed,
}

/// What a value was declared to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub name: String,
    /// 0: not said.
    pub dtype: u16,
    /// none: not even the rank is said.
    pub axes: Option<Vec<Axis>>,
    /// What tensors are packed into: "sequence", "optional", "optional-sequence"; empty: nothing.
    pub container: &'static str,
    /// What it is when it is nothing that is read: "a map", ...
    pub other: Option<&'static str>,
    pub at: u64,
}

impl Declared {
    /// What the host must know of the value besides its type and shape.
    pub(crate) fn ext(&self) -> Vec<Kv> {
        if self.container.is_empty() {
            return Vec::new();
        }
        vec![Kv { key: "!container".into(), val: Attribute::Text(self.container.into()) }]
    }
}

/// Reads a `ValueInfoProto`.
pub(crate) fn declared<B: Bytes>(scanner: &Scanner<'_, B>, span: Span) -> Result<Declared> {
    let mut value = Declared { at: span.start, ..Declared::default() };
    let mut message = scanner.message(span, "ValueInfoProto");
    while let Some(field) = message.next()? {
        match field.number {
            1 => value.name = scanner.text(field.span()?, "the name of a value")?,
            2 => read_type(scanner, field.span()?, &mut value)?,
            _ => {}
        }
    }
    Ok(value)
}

/// Reads a `TypeProto`: that of a tensor, or of a container of tensors.
fn read_type<B: Bytes>(scanner: &Scanner<'_, B>, span: Span, value: &mut Declared) -> Result<()> {
    let mut message = scanner.message(span, "TypeProto");
    while let Some(field) = message.next()? {
        match field.number {
            1 => read_tensor_type(scanner, field.span()?, value)?,
            4 | 9 => {
                let optional = field.number == 9;
                value.container = match (value.container, optional) {
                    ("", true) => "optional",
                    ("", false) => "sequence",
                    ("optional", false) => "optional-sequence",
                    _ => {
                        value.other = Some("a container of containers");
                        return Ok(());
                    }
                };
                let mut content = scanner.message(field.span()?, "TypeProto.Sequence");
                while let Some(field) = content.next()? {
                    if field.number == 1 {
                        read_type(scanner, field.span()?, value)?;
                    }
                }
            }
            5 => value.other = Some("a map"),
            7 => value.other = Some("an opaque type"),
            8 => value.other = Some("a sparse tensor"),
            _ => {}
        }
    }
    Ok(())
}

fn read_tensor_type<B: Bytes>(scanner: &Scanner<'_, B>, span: Span, value: &mut Declared) -> Result<()> {
    let mut message = scanner.message(span, "TypeProto.Tensor");
    while let Some(field) = message.next()? {
        match field.number {
            1 => {
                let code = field.varint()?;
                value.dtype =
                    if code == 0 { 0 } else { check_dtype(code, &value.name).map_err(|e| e.at_byte(field.at))? };
            }
            2 => value.axes = Some(read_shape(scanner, field.span()?)?),
            _ => {}
        }
    }
    Ok(())
}

fn read_shape<B: Bytes>(scanner: &Scanner<'_, B>, span: Span) -> Result<Vec<Axis>> {
    let mut axes = Vec::new();
    let mut message = scanner.message(span, "TensorShapeProto");
    while let Some(field) = message.next()? {
        if field.number == 1 {
            if axes.len() == RANK_MAX {
                return Err(Error::limit(format!("a shape of more than {RANK_MAX} axes")).at_byte(field.at));
            }
            axes.push(read_axis(scanner, field.span()?)?);
        }
    }
    Ok(axes)
}

fn read_axis<B: Bytes>(scanner: &Scanner<'_, B>, span: Span) -> Result<Axis> {
    let mut axis = Axis::Unnamed;
    let mut message = scanner.message(span, "TensorShapeProto.Dimension");
    while let Some(field) = message.next()? {
        match field.number {
            // Exporters write -1 for a length that a request decides.
            1 => axis = u64::try_from(field.varint()? as i64).map_or(Axis::Unnamed, Axis::Known),
            2 => {
                let name = scanner.text(field.span()?, "the name of a dimension")?;
                axis = if name.is_empty() { Axis::Unnamed } else { Axis::Named(name) };
            }
            _ => {}
        }
    }
    Ok(axis)
}
