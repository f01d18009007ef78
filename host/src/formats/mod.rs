//! Tensors in files and in JSON: `.npy`, `.npz`, `.json` and raw bytes, read and written. Knows nothing of models; what a model wants of a tensor is
//! checked by `session`.

mod datatype;
mod json;
mod npy;
mod npz;
mod raw;
mod strings;

pub use datatype::{datatype, from_datatype};
pub use json::{FlatData, parse_array, parse_data};
pub use npy::{read_npy, write_npy};
pub use npz::{read_npz, write_npz};
pub use raw::{parse_dtype, parse_shape, read_raw, shape_text};

use crate::session::Tensor;
use std::path::PathBuf;
use sunmao_graph::DType;

/// Axes that a tensor of a request or a file may have.
pub const MAX_RANK: usize = 32;

/// Why tensor data could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Opening, reading or writing failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bytes are not what the format says.
    #[error("{0}")]
    Malformed(String),
    /// Well formed, but an element type that the runtime does not take.
    #[error("{0}")]
    Unsupported(String),
}

impl FormatError {
    fn malformed(text: impl Into<String>) -> Self {
        Self::Malformed(text.into())
    }
}

/// Number of elements; none when it overflows.
pub fn elements(shape: &[u64]) -> Option<u64> {
    // A zero anywhere makes the product zero, whatever the other lengths are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u64, |product, &length| product.checked_mul(length))
}

/// Bytes of a dense tensor; none when it overflows or the type has no fixed size.
pub fn dense_bytes(dtype: DType, shape: &[u64]) -> Option<u64> {
    dtype.bytes(elements(shape)?)
}

/// Whether element type and shape fit the bytes.
pub fn is_consistent(tensor: &Tensor) -> bool {
    fits(tensor.dtype, &tensor.shape, &tensor.data)
}

/// Whether these bytes are a tensor of that element type and shape.
pub fn fits(dtype: DType, shape: &[u64], bytes: &[u8]) -> bool {
    match dtype {
        DType::String => strings::are_strings(bytes, shape),
        _ => dense_bytes(dtype, shape) == Some(bytes.len() as u64),
    }
}
