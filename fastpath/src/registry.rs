//! Which fast paths there are, what they promise, and the way from an operation to one of them.

use crate::isa::Token;
use crate::request::Request;
use sunmao_plugin_sdk::Kernel;
use sunmao_plugin_sdk::abi::{Operation, Tolerance};

/// The instruction sets whose fast paths this build has. Of two that a machine has, the better one stands first.
const SETS: &[&dyn Set] = &[
    #[cfg(target_arch = "x86_64")]
    &Rows(crate::avx2::rows),
    #[cfg(target_arch = "aarch64")]
    &Rows(crate::neon::dotprod_rows),
    #[cfg(target_arch = "aarch64")]
    &Rows(crate::neon::rows),
];

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

/// How a row makes a kernel, by the token of its instruction set. None: not this operation after all.
type Prepare<T> = fn(T, Request<'_>) -> Option<Box<dyn Kernel>>;

/// One fast path as the registry holds it.
pub(crate) struct Row<T> {
    pub(crate) operator: &'static str,
    pub(crate) path: &'static str,
    /// Revisions whose form the path knows, in closed range.
    pub(crate) revisions: (u16, u16),
    pub(crate) tolerance: Tolerance,
    pub(crate) prepare: Prepare<T>,
}

/// The newest revision whose form these kernels know.
pub(crate) const LATEST: u16 = 28;

/// The rows of an instruction set, whichever its token is.
trait Set: Sync {
    fn entries(&self) -> Vec<Entry>;

    /// The first row that takes the operation, of those that are `allowed` by name.
    fn find(&self, request: Request<'_>, allowed: &dyn Fn(&'static str) -> bool) -> Option<Found>;
}

/// A module's rows, which need the token `T`.
struct Rows<T: 'static>(fn() -> &'static [Row<T>]);

impl<T: Token> Set for Rows<T> {
    fn entries(&self) -> Vec<Entry> {
        let available = T::find().is_some();
        let entry = |row: &Row<T>| Entry {
            operator: row.operator,
            path: row.path,
            isa: T::NAME,
            tolerance: row.tolerance,
            available,
        };
        (self.0)().iter().map(entry).collect()
    }

    fn find(&self, request: Request<'_>, allowed: &dyn Fn(&'static str) -> bool) -> Option<Found> {
        let token = T::find()?;
        let operation = request.operation();
        (self.0)()
            .iter()
            .filter(|row| {
                row.operator == operation.op && (row.revisions.0..=row.revisions.1).contains(&operation.revision)
            })
            .filter(|row| allowed(row.path))
            .find_map(|row| Some(Found { path: row.path, kernel: (row.prepare)(token, request)? }))
    }
}

/// All fast paths that this build has, whether the machine runs them or not.
pub fn registered() -> Vec<Entry> {
    SETS.iter().flat_map(|set| set.entries()).collect()
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
    let request = Request::new(operation)?;
    SETS.iter().find_map(|set| set.find(request, &allowed))
}
