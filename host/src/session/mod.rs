//! A model made ready: names and tensors on the outside, a program inside.
//!
//! A session checks what a request brings, gets threads from the scheduler and has the program run. What its steps are and which plans they
//! need is `program`'s question; which models there are, `catalog`'s.

mod error;
mod infer;
mod load;
mod model;
mod prepared;
mod tensor;

pub use error::InferError;
pub use infer::Session;
pub use load::{Host, LoadError, Options};
pub use model::Model;
pub use tensor::{Tensor, TensorSpec};
