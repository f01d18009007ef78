//! Sunmao's intermediate representation: ONNX operators, typed, one frozen revision each.
//!
//! A model is a [`Graph`]: values, nodes, symbols. It is hostile until [`validate`] has passed it. [`infer`] gives every
//! value a type and a shape as far as symbols allow; [`specialise`] puts numbers in the place of symbols, after which every shape is known;
//! [`canonical`] rewrites operators into the core that devices run; [`fold`] computes what is constant, through an evaluator
//! that the caller brings; [`fuse`] joins operators into one; [`batch`] tells whether samples of a batch stay apart;
//! [`text`] prints a graph for a person or a test. [`optimise`] is
//! the door: [`optimise::prepare`] once when a model is loaded, [`optimise::concrete`] once for each shape that is asked for.
//!
//! No I/O, no unsafe, and it builds for wasm32 too. Where a graph runs is `plan`'s question, how is `engine`'s.

#![forbid(unsafe_code)]

pub mod batch;
mod blocks;
pub mod canonical;
pub mod deciding;
mod dtype;
mod edit;
mod error;
pub mod fold;
pub mod fuse;
pub mod infer;
mod ir;
pub mod optimise;
pub mod schema;
pub mod specialise;
pub mod tensor;
pub mod text;
mod upgrade;
pub mod validate;

#[cfg(test)]
mod testing;

pub use dtype::DType;
pub use error::GraphError;
pub use fold::{Evaluator, Visit, Weights};
pub use ir::{
    Attribute, Container, Content, Dim, Epilogue, Graph, Node, NodeId, Role, Symbol, SymbolId, Value, ValueId, Weight,
};
pub use specialise::Binding;
pub use tensor::{Tensor, TensorType};
