//! Native kernels on the arena: the same kernel code that plugins are built from, bound to the host's own mapping.

use super::member::views;
use super::{EngineError, Executor};
use crate::device::{DeviceError, Place, native_kernel};
use crate::plan::{Dispatch, PlanError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use sunmao_plugin_sdk::{self as sdk, Call, Reader, Writer, abi, check_views};

/// A native dispatch of a plan, bound.
pub(super) struct NativeDispatch {
    dispatch: Box<dyn sdk::Dispatch>,
    workspace: u64,
    workspace_bytes: u32,
    workspace_stride: u64,
}

fn failed(operation: &abi::Operation, message: impl Into<String>) -> EngineError {
    PlanError::from(DeviceError::Native { op: operation.op.clone(), message: message.into() }).into()
}

/// Packs a constant for a native kernel.
pub(super) fn pack_native(
    place: Place,
    operation: &abi::Operation,
    input: u32,
    plain: &[u8],
    bytes: u64,
) -> Result<Vec<u8>, EngineError> {
    let kernel = native_kernel(place, operation).map_err(|error| failed(operation, error.message))?;
    let mut packed = vec![0; bytes as usize];
    kernel
        .pack(input, Reader::of(plain), Writer::of(&mut packed))
        .map_err(|error| failed(operation, error.message))?;
    Ok(packed)
}

impl NativeDispatch {
    /// Prepares and binds `dispatch`; every view is checked against the arena.
    pub(super) fn bind(
        dispatch: &Dispatch,
        constants_at: &[u64],
        executor: &Executor,
        alignment: u32,
    ) -> Result<Self, EngineError> {
        let operation = &dispatch.operation;
        let kernel = native_kernel(dispatch.place, operation).map_err(|error| failed(operation, error.message))?;
        let views = views(dispatch, constants_at, executor);
        let arena = 0..executor.layout().bytes();
        let bindings = check_views(operation, &dispatch.packed, &dispatch.in_place, &views, arena, alignment)
            .map_err(|error| failed(operation, error.message))?;
        let bound = kernel.bind(&bindings).map_err(|error| failed(operation, error.message))?;
        Ok(Self {
            dispatch: bound,
            workspace: executor.layout().slots_at + dispatch.workspace,
            workspace_bytes: dispatch.workspace_bytes,
            workspace_stride: u64::from(dispatch.workspace_bytes).next_multiple_of(u64::from(alignment)),
        })
    }

    /// Runs one shard for the slot whose activations lie `base` bytes behind slot 0's.
    pub(super) fn run(
        &self,
        executor: &Executor,
        node: &str,
        shard: u32,
        shards: u32,
        base: u64,
    ) -> Result<(), EngineError> {
        let mapping = executor.mapping();
        let workspace = self.workspace + base + u64::from(shard) * self.workspace_stride;
        debug_assert!(workspace + u64::from(self.workspace_bytes) <= mapping.bytes());
        // SAFETY: `bind` checked every view against the arena at slot 0, the plan laid views and all shards' workspaces inside one slot stride, and
        // `base` is a whole number of strides below the number of slots (`Executor::base`), so all stays inside the host's mapping, which lives as
        // long as the executor and is readable and writable there. Constants are mapped before the first run of a plan that reads them.
        let call = unsafe {
            Call::new(mapping.base(), base as u32, workspace as u32, self.workspace_bytes, shard, shards)
        };
        match catch_unwind(AssertUnwindSafe(|| self.dispatch.run(&call))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EngineError::Rejected { node: node.to_owned(), message: error.message }),
            Err(_) => Err(EngineError::NativePanic { node: node.to_owned() }),
        }
    }
}
