//! Which fast paths there are, what they promise, and the way from an operation to one of them.

use crate::isa::{AVX2_NAME, Isa};
use crate::request::Request;
use sunmao_plugin_sdk::Kernel;
use sunmao_plugin_sdk::abi::{Operation, Tolerance};

/// One fast path, for reports.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The operator, as ONNX names it.
    pub operator: &'static str,
    /// The algorithm, with its instruction set in front: "avx2-gemm".
    pub path: &'static str,
    /// The instruction set that it needs.
    pub isa: &'static str,
    /// How far its results may lie from the reference.
    pub tolerance: Tolerance,
    /// Whether this machine runs it.
    pub available: bool,
}

/// How a row makes a kernel. None: not this operation after all.
type Prepare = fn(crate::Avx2, Request<'_>) -> Option<Box<dyn Kernel>>;

/// One fast path as the registry holds it.
pub(crate) struct Row {
    pub(crate) operator: &'static str,
    pub(crate) path: &'static str,
    /// Revisions whose form the path knows, in closed range.
    pub(crate) revisions: (u16, u16),
    pub(crate) tolerance: Tolerance,
    pub(crate) prepare: Prepare,
}

/// The newest revision whose form these kernels know.
#[cfg(target_arch = "x86_64")]
pub(crate) const LATEST: u16 = 28;

#[cfg(target_arch = "x86_64")]
fn rows() -> &'static [Row] {
    crate::avx2::rows()
}

#[cfg(not(target_arch = "x86_64"))]
fn rows() -> &'static [Row] {
    &[]
}

/// All fast paths that this build has, whether the machine runs them or not.
pub fn registered() -> Vec<Entry> {
    let available = Isa::detect().avx2().is_some();
    let entry = |row: &Row| Entry {
        operator: row.operator,
        path: row.path,
        isa: AVX2_NAME,
        tolerance: row.tolerance,
        available,
    };
    rows().iter().map(entry).collect()
}

/// A fast path that takes an operation, made ready.
pub struct Found {
    /// Its name, as in [`Entry::path`].
    pub path: &'static str,
    /// What runs the operation.
    pub kernel: Box<dyn Kernel>,
}

/// The first fast path that takes the operation, of those that are `allowed` by name. Where two are listed for an operator, the first is the
/// better one.
pub fn find(operation: &Operation, allowed: impl Fn(&'static str) -> bool) -> Option<Found> {
    let token = Isa::detect().avx2()?;
    let request = Request::new(operation)?;
    rows()
        .iter()
        .filter(|row| row.operator == operation.op && (row.revisions.0..=row.revisions.1).contains(&operation.revision))
        .filter(|row| allowed(row.path))
        .find_map(|row| Some(Found { path: row.path, kernel: (row.prepare)(token, request)? }))
}
