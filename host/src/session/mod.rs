//! A model made ready: names and tensors on the outside, plans and instances inside.
//!
//! A session checks what a request brings, finds or makes the plan for its shapes, gets threads from the scheduler and has the engine run it. Which
//! models there are is `catalog`'s work.

mod infer;
mod load;
mod model;
mod plans;
mod tensor;

pub use infer::{InferError, Session};
pub use load::{Host, LoadError, Options};
pub use model::Model;
pub use tensor::{Tensor, TensorSpec};
