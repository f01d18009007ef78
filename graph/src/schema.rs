//! What every operator looks like: its revisions, how many operands, which attributes, at the one frozen revision.
//!
//! The tables beside this file follow the ONNX operator specification, opsets 7 to 28. The frozen (canonical) revision of an operator is
//! the newest whose form differs from the one before, or a later one up to opset 16 that only admits more types.
//! `upgrade` brings older forms to it; what an operator does with its operands is `infer`'s and the kernels' business.

mod control;
mod elementwise;
mod host;
mod network;
mod reduce;
mod tensor;

use crate::Attribute;
pub(crate) use host::tensor_attributes;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Oldest ONNX opset that is read. Before it, operators are read that have not changed until then.
pub const OPSET_MIN: u16 = 7;
/// Newest ONNX opset that is read.
pub const OPSET_MAX: u16 = 28;

/// As a count of operands: no bound of its own.
pub const VARIADIC: usize = usize::MAX;

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what `Attribute` says")]
pub enum Kind {
    Integer,
    Number,
    Text,
    Integers,
    Numbers,
    Texts,
    Tensor,
    Graph,
}

/// What an attribute is when a node does not give it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "they say what `Attribute` says")]
pub enum Default {
    /// A node without it is refused.
    Required,
    /// It stays away.
    Absent,
    Integer(i64),
    Number(f64),
    Text(&'static str),
    Integers(&'static [i64]),
}

/// One attribute of an operator.
#[derive(Clone, Copy, Debug)]
pub struct AttributeSchema {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default.
    pub default: Default,
}

impl AttributeSchema {
    /// The default as an attribute, when there is one.
    pub fn filled(&self) -> Option<Attribute> {
        match self.default {
            Default::Required | Default::Absent => None,
            Default::Integer(value) => Some(Attribute::Integer(value)),
            Default::Number(value) => Some(Attribute::Number(value)),
            Default::Text(value) => Some(Attribute::Text(value.to_owned())),
            Default::Integers(value) => Some(Attribute::Integers(value.to_vec())),
        }
    }
}

impl Kind {
    /// Whether the attribute is of this type.
    pub fn admits(self, attribute: &Attribute) -> bool {
        matches!(
            (self, attribute),
            (Kind::Integer, Attribute::Integer(_))
                | (Kind::Number, Attribute::Number(_))
                | (Kind::Text, Attribute::Text(_))
                | (Kind::Integers, Attribute::Integers(_))
                | (Kind::Numbers, Attribute::Numbers(_))
                | (Kind::Texts, Attribute::Texts(_))
                | (Kind::Tensor, Attribute::Value(_))
                | (Kind::Graph, Attribute::Graph(_))
        )
    }
}

/// One operator.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// ONNX name; other domains in front, with a dot.
    pub op: &'static str,
    /// Every ONNX `since_version`, ascending.
    pub revisions: &'static [u16],
    /// The frozen revision: the one that attributes and counts below describe and that validated nodes carry.
    pub canonical: u16,
    /// Least and most inputs, optional ones counted.
    pub inputs: (usize, usize),
    /// Least and most outputs, optional ones counted.
    pub outputs: (usize, usize),
    /// Sorted by name.
    pub attributes: &'static [AttributeSchema],
}

impl Schema {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&'static AttributeSchema> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The `since_version` that holds at an opset.
    pub fn revision_at(&self, opset: u16) -> Option<u16> {
        self.revisions.iter().copied().rfind(|revision| *revision <= opset)
    }
}

/// Why an operator cannot be looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No table has it.
    #[error("operator `{op}` is unknown")]
    Unknown {
        /** Its name. */
        op: String,
    },
    /// It came later than the opset.
    #[error("operator `{op}` came with opset {since}, the model says opset {opset}")]
    TooNew {
        /** Its name. */
        op: String,
        /** Its first opset. */
        since: u16,
        /** The model's. */
        opset: u16,
    },
    /// The opset is outside what is read.
    #[error("opset {opset} is not read, only {OPSET_MIN} to {OPSET_MAX}")]
    Opset {
        /** The model's. */
        opset: u16,
    },
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Schema>> =
    LazyLock::new(|| all().map(|schema| (schema.op, schema)).collect());

/// Every operator, by family.
pub fn all() -> impl Iterator<Item = &'static Schema> {
    [elementwise::TABLE, reduce::TABLE, network::TABLE, tensor::TABLE, host::TABLE, control::TABLE]
        .into_iter()
        .flatten()
}

/// The operator of that name, whatever the opset.
pub fn find(op: &str) -> Option<&'static Schema> {
    BY_NAME.get(op).copied()
}

/// The operator of that name, and the revision that holds at the opset of its domain.
pub fn lookup(op: &str, opset: u16) -> Result<(&'static Schema, u16), LookupError> {
    let schema = find(op).ok_or_else(|| LookupError::Unknown { op: op.to_owned() })?;
    let revision = schema.revision_at(opset);
    let unchanged = opset < OPSET_MIN && revision.is_some() && revision == schema.revision_at(OPSET_MIN);
    // Other domains count their own versions.
    let read = op.contains('.') || unchanged || (OPSET_MIN..=OPSET_MAX).contains(&opset);
    if !read {
        return Err(LookupError::Opset { opset });
    }
    let revision = revision.ok_or_else(|| LookupError::TooNew {
        op: op.to_owned(),
        since: schema.revisions.first().copied().unwrap_or_default(),
        opset,
    })?;
    Ok((schema, revision))
}

const fn op(
    op: &'static str,
    revisions: &'static [u16],
    canonical: u16,
    inputs: (usize, usize),
    outputs: (usize, usize),
    attributes: &'static [AttributeSchema],
) -> Schema {
    Schema { op, revisions, canonical, inputs, outputs, attributes }
}

const fn required(name: &'static str, kind: Kind) -> AttributeSchema {
    AttributeSchema { name, kind, default: Default::Required }
}

const fn optional(name: &'static str, kind: Kind) -> AttributeSchema {
    AttributeSchema { name, kind, default: Default::Absent }
}

const fn integer(name: &'static str, value: i64) -> AttributeSchema {
    AttributeSchema { name, kind: Kind::Integer, default: Default::Integer(value) }
}

const fn number(name: &'static str, value: f64) -> AttributeSchema {
    AttributeSchema { name, kind: Kind::Number, default: Default::Number(value) }
}

const fn text(name: &'static str, value: &'static str) -> AttributeSchema {
    AttributeSchema { name, kind: Kind::Text, default: Default::Text(value) }
}

const fn integers(name: &'static str, value: &'static [i64]) -> AttributeSchema {
    AttributeSchema { name, kind: Kind::Integers, default: Default::Integers(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_consistent() {
        for schema in all() {
            assert!(schema.revisions.is_sorted(), "{}", schema.op);
            assert!(schema.revisions.contains(&schema.canonical), "{}", schema.op);
            assert!(schema.inputs.0 <= schema.inputs.1 && schema.outputs.0 <= schema.outputs.1, "{}", schema.op);
            assert!(schema.attributes.is_sorted_by_key(|a| a.name), "{}", schema.op);
        }
        assert_eq!(all().count(), BY_NAME.len(), "a name occurs twice");
    }

    #[test]
    fn revision_follows_the_opset() {
        assert_eq!(lookup("Softmax", 12).expect("known").1, 11);
        assert_eq!(lookup("Softmax", 17).expect("known").1, 13);
        assert_eq!(lookup("Conv", 28).expect("known").1, 22);
        assert!(matches!(lookup("Gelu", 17), Err(LookupError::TooNew { since: 20, .. })));
        assert!(matches!(lookup("com.microsoft.FusedConv", 1), Err(LookupError::Unknown { .. })));
        assert!(matches!(lookup("Add", 6), Err(LookupError::Opset { .. })));
        assert_eq!(lookup("Not", 1).expect("the same since opset 1").1, 1);
    }
}
