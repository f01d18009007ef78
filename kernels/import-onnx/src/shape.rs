//! Reads `ValueInfoProto`: the name, element type and shape that the file declares for a value.

use crate::scan::{Scanner, Span};
use crate::tensor::check_dtype;
use sunmao_plugin_sdk::importer::{Bytes, Error, Result};

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
    /// What it is when it is no tensor: "sequence", "map", ...
    pub other: Option<&'static str>,
    pub at: u64,
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

fn read_type<B: Bytes>(scanner: &Scanner<'_, B>, span: Span, value: &mut Declared) -> Result<()> {
    let mut message = scanner.message(span, "TypeProto");
    while let Some(field) = message.next()? {
        match field.number {
            1 => read_tensor_type(scanner, field.span()?, value)?,
            4 => value.other = Some("a sequence"),
            5 => value.other = Some("a map"),
            7 => value.other = Some("an opaque type"),
            8 => value.other = Some("a sparse tensor"),
            9 => value.other = Some("an optional"),
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
