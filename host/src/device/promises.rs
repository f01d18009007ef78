//! Promises that a chip broke. A yes to an operation is one: when the kernel then fails, the node is planned elsewhere from the next plan on.

use crate::plugin::PluginError;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use sunmao_plugin_sdk::abi;

/// Nodes of one model that are remembered. Beyond that the chip is believed nothing more about this model.
const NODES_MAX: usize = 4096;

/// A chip failed at an operation that it had said yes to.
#[derive(Debug, thiserror::Error)]
#[error("{op} of node `{node}`: {error}")]
pub struct BrokenPromise {
    /// The operator.
    pub op: String,
    /// The node's name.
    pub node: String,
    /// What happened.
    pub error: Box<PluginError>,
}

impl BrokenPromise {
    /// Puts the blame where it belongs: what the host's own system denied stays as it is.
    pub fn blame(operation: &abi::Operation, node: &str, error: PluginError) -> Result<Self, PluginError> {
        match error {
            PluginError::Memory(_) | PluginError::Misuse { .. } | PluginError::Runtime(_) => Err(error),
            error => Ok(Self { op: operation.op.clone(), node: node.to_owned(), error: Box::new(error) }),
        }
    }
}

/// The nodes of one model on which its chip broke its promise.
#[derive(Default)]
pub struct BrokenPromises {
    nodes: Mutex<BTreeMap<(String, String), String>>,
}

impl BrokenPromises {
    /// Remembers one.
    pub fn note(&self, broken: &BrokenPromise) {
        let mut nodes = self.lock();
        if nodes.len() < NODES_MAX {
            nodes.insert((broken.op.clone(), broken.node.clone()), broken.error.to_string());
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Why the chip is not asked about that node; none: it may be.
    pub fn reason(&self, op: &str, node: &str) -> Option<String> {
        let nodes = self.lock();
        if nodes.len() == NODES_MAX {
            return Some(format!("broken promises at {NODES_MAX} nodes of this model"));
        }
        nodes.get(&(op.to_owned(), node.to_owned())).map(|what| format!("broken promise: {what}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_that_breaks_too_many_promises_is_believed_nothing() {
        let promises = BrokenPromises::default();
        let broken = |number: usize| BrokenPromise {
            op: "Add".into(),
            node: format!("n{number}"),
            error: Box::new(PluginError::broken("bind", "a lie")),
        };
        promises.note(&broken(0));
        assert!(promises.reason("Add", "n0").is_some_and(|reason| reason.starts_with("broken promise: ")));
        assert_eq!((promises.reason("Mul", "n0"), promises.reason("Add", "n1")), (None, None));
        (1..NODES_MAX + 9).for_each(|number| promises.note(&broken(number)));
        assert!(promises.reason("Mul", "another").is_some());
        assert_eq!(promises.lock().len(), NODES_MAX);
    }
}
