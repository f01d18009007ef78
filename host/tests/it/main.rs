//! The `host` binary as a user runs it: its commands, and a real server on a free port. The plugins are the project's own, as `cargo xtask build-plugins`
//! leaves them in `plugins/`.

#![allow(clippy::unwrap_used)]

mod behaviour;
mod chapter;
mod commands;
mod conformance;
mod control;
mod doctor;
mod hostile;
mod kept;
mod kernels;
mod melody;
mod npu;
mod onnx;
mod parts;
mod plugins;
mod promises;
mod server;
mod support;
