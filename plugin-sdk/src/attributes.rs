//! Typed access to the attributes of an operation.

use crate::abi::{Attribute, Kv};

/// Reads a list of named attributes. The host fills in every default of the operator's schema, so an absent key means
/// that the schema has no default for it.
#[derive(Clone, Copy)]
pub struct Attributes<'a>(pub &'a [Kv]);

impl<'a> Attributes<'a> {
    /// The attribute of that name, whatever its type.
    pub fn get(self, key: &str) -> Option<&'a Attribute> {
        self.0.iter().find(|kv| kv.key == key).map(|kv| &kv.val)
    }

    /// An integer attribute.
    pub fn integer(self, key: &str) -> Option<i64> {
        match self.get(key) {
            Some(Attribute::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// An integer attribute that says yes (not 0) or no.
    pub fn flag(self, key: &str) -> bool {
        self.integer(key).unwrap_or(0) != 0
    }

    /// A floating-point attribute.
    pub fn number(self, key: &str) -> Option<f64> {
        match self.get(key) {
            Some(Attribute::Number(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text attribute; empty when it is absent.
    pub fn text(self, key: &str) -> &'a str {
        match self.get(key) {
            Some(Attribute::Text(value)) => value,
            _ => "",
        }
    }

    /// A list of integers; none when it is absent.
    pub fn integers(self, key: &str) -> Option<&'a [i64]> {
        match self.get(key) {
            Some(Attribute::Integers(value)) => Some(value),
            _ => None,
        }
    }

    /// A list of numbers; none when it is absent.
    pub fn numbers(self, key: &str) -> Option<&'a [f64]> {
        match self.get(key) {
            Some(Attribute::Numbers(value)) => Some(value),
            _ => None,
        }
    }

    /// A list of texts; none when it is absent.
    pub fn texts(self, key: &str) -> Option<&'a [String]> {
        match self.get(key) {
            Some(Attribute::Texts(value)) => Some(value),
            _ => None,
        }
    }
}
