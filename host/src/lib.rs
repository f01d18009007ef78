//! The Sunmao server as a library; the binary `host` is a thin command line over it.
//!
//! The rooms, in the order in which a request walks them: `api`, `session`, `program`, `scheduler`, `engine`, `device`, then `plugin` or a native kernel. A model walks
//! `catalog`, `import`, `plan`. `store` and `memory` lie under both. A room uses the rooms after it, never those before it.

pub mod api;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod conformance;
pub mod device;
pub mod engine;
pub mod formats;
pub mod host_ops;
pub mod import;
pub mod memory;
pub mod package;
pub mod plan;
pub mod plugin;
pub mod profiling;
pub mod program;
pub mod scheduler;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod tune;
