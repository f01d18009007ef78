//! Sunmao's intermediate representation: ONNX operators, typed, one frozen revision each.
//!
//! A model is a [`Graph`]: values, nodes, symbols. It is hostile until [`validate`] has passed it. [`infer`] gives every
//! value a type and a shape as far as symbols allow; [`specialise`] puts numbers in the place of symbols, after which every shape is known;
//! [`canonical`] rewrites operators into the core that devices run; [`fold`] computes what is constant, through an evaluator
//! that the caller brings; [`fuse`] joins operators into one; [`text`] prints a graph for a person or a test.
//!
//! No I/O, no unsafe, and it builds for wasm32 too. Where a graph runs is `plan`'s question, how is `engine`'s.

#![forbid(unsafe_code)]

mod dtype;
mod ir;

pub use dtype::DType;
pub use ir::{
    Attribute, Content, Dim, Epilogue, Graph, Node, NodeId, Role, Symbol, SymbolId, Value, ValueId, Weight,
};
