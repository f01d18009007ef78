//! The conformance suite as data and judgement: cases, tolerances, verdicts, lists and reports.
//!
//! Pure: it reads no files and runs no models. Running cases on plugins is the work of the host's room `conformance`, which hands
//! the results back to be reported. It knows tensors and element types of `sunmao-graph`, the ABI's words for an operation, and nothing
//! of the host, so that what judges shares no code with what it judges.

mod case;
pub mod glob;
pub mod judge;
mod lists;
pub mod oracle;
mod profile;
pub mod property;
pub mod report;
mod show;
mod store;
mod strings;
pub mod verdict;

pub use case::{CaseFacts, CaseResult, CaseValue, DataSet};
pub use lists::{BadList, Lists};
pub use profile::{BEHAVIOUR_SUITE, Profile};
pub use show::describe;
pub use store::{Case, ONNX_NODE_CASES, Store, StoreError};
pub use verdict::{Comparison, Outcome, Places, Verdict};
