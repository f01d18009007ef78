//! Native kernels on the arena: the same kernel code that plugins are built from, bound to the host's own mapping.

use super::member::views;
use super::{EngineError, Executor};
use crate::device::{DeviceError, Place, native_kernel};
use crate::memory::{Mapping, Region, Sharing};
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

/// Packs a constant for a native kernel. `packed` is as long as the kernel asked for, and zeros.
pub(super) fn pack_native(
    place: Place,
    operation: &abi::Operation,
    input: u32,
    plain: &[u8],
    packed: &mut [u8],
) -> Result<(), EngineError> {
    let kernel = native_kernel(place, operation).map_err(|error| failed(operation, error.message))?;
    kernel.pack(input, Reader::of(plain), Writer::of(packed)).map_err(|error| failed(operation, error.message))
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

    /// Runs one shard for the slot whose activations lie `base` bytes behind slot 0's. `node` is asked for the name only when something fails.
    pub(super) fn run<'a>(
        &self,
        executor: &Executor,
        node: impl Fn() -> &'a str,
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
        let call =
            unsafe { Call::new(mapping.base(), base as u32, workspace as u32, self.workspace_bytes, shard, shards) };
        match catch_unwind(AssertUnwindSafe(|| self.dispatch.run(&call))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EngineError::Rejected { node: node().to_owned(), message: error.message }),
            Err(_) => Err(EngineError::NativePanic { node: node().to_owned() }),
        }
    }
}

/// A native kernel on an arena of its own, for tools that run one operation at a time.
pub struct Solo {
    mapping: Mapping,
    dispatch: Box<dyn sdk::Dispatch>,
    workspace: u64,
    workspace_bytes: u32,
    workspace_stride: u64,
    /// End of what moves with the base, at base 0.
    slotted_end: u64,
}

impl Solo {
    /// Binds `kernel` to `arena`, all of which it may touch. `workspace` is where shard 0's lies, at base 0.
    pub fn bind(
        arena: &Region,
        operation: &abi::Operation,
        kernel: &dyn sdk::Kernel,
        views: &[abi::View],
        workspace: u64,
        alignment: u32,
    ) -> Result<Self, sdk::Error> {
        let mapping = Mapping::reserve(arena.bytes()).and_then(|mapping| {
            mapping.map(0, arena, 0, arena.bytes(), Sharing::Shared)?;
            Ok(mapping)
        });
        let mapping = mapping.map_err(|error| sdk::Error::new(sdk::ErrorCode::OutOfMemory, error.to_string()))?;
        let needs = kernel.requirements();
        let bindings = check_views(operation, &needs.packed, &needs.in_place, views, 0..arena.bytes(), alignment)?;
        let dispatch = kernel.bind(&bindings)?;
        let element_bytes_max = 8;
        let end = |view: &abi::View| {
            let elements: u64 = view.shape.iter().map(|&dim| u64::from(dim)).product();
            u64::from(view.offset) + elements * element_bytes_max
        };
        Ok(Self {
            mapping,
            dispatch,
            workspace,
            workspace_bytes: needs.workspace,
            workspace_stride: u64::from(needs.workspace).next_multiple_of(u64::from(alignment)),
            slotted_end: views.iter().filter(|view| view.slotted).map(end).max().unwrap_or(0),
        })
    }

    /// Runs one shard for the slot whose activations lie `base` bytes behind those that were bound.
    pub fn run(&self, shard: u32, shards: u32, base: u64) -> Result<(), sdk::Error> {
        let workspace_end = self.workspace + u64::from(shards) * self.workspace_stride;
        let end = base.checked_add(workspace_end.max(self.slotted_end));
        if shard >= shards || end.is_none_or(|end| end > self.mapping.bytes()) {
            return Err(sdk::Error::invalid(format!("shard {shard} of {shards} at base {base} leaves the arena")));
        }
        let workspace = self.workspace + base + u64::from(shard) * self.workspace_stride;
        // SAFETY: all of the mapping is readable and writable and lives as long as `self`; `bind` checked every view against it at base 0, and the
        // ends of what moves with `base` and of all workspaces were checked just now, generously.
        let call = unsafe {
            Call::new(self.mapping.base(), base as u32, workspace as u32, self.workspace_bytes, shard, shards)
        };
        match catch_unwind(AssertUnwindSafe(|| self.dispatch.run(&call))) {
            Ok(result) => result,
            Err(_) => Err(sdk::Error::new(sdk::ErrorCode::Internal, "the native kernel panicked")),
        }
    }
}

/// Runs one operation on bytes that the caller holds, with a native kernel. `outputs` says how many bytes each present output has.
pub(super) fn run_once(
    place: Place,
    operation: &abi::Operation,
    inputs: &[&[u8]],
    outputs: &[usize],
) -> Result<Vec<Vec<u8>>, sdk::Error> {
    const ALIGNMENT: usize = 64;
    let kernel = native_kernel(place, operation)?;
    let requirements = kernel.requirements();
    // Lay out operands, packed forms in place of constants, and the workspace, one behind the other.
    let mut packed = Vec::new();
    let mut pieces: Vec<(usize, Option<&[u8]>)> = Vec::new();
    let mut given = inputs.iter();
    for (index, operand) in operation.inputs.iter().enumerate() {
        if operand.is_none() {
            continue;
        }
        let bytes = given.next().ok_or_else(|| sdk::Error::invalid("an input has no bytes").at(index))?;
        match requirements.packed.iter().find(|packed| packed.input as usize == index) {
            None => pieces.push((bytes.len(), Some(bytes))),
            Some(form) => {
                let mut buffer = vec![0; form.bytes as usize];
                kernel.pack(form.input, Reader::of(bytes), Writer::of(&mut buffer))?;
                pieces.push((buffer.len(), None));
                packed.push((pieces.len() - 1, buffer));
            }
        }
    }
    let first_output = pieces.len();
    pieces.extend(outputs.iter().map(|&bytes| (bytes, None)));
    let mut offsets = Vec::with_capacity(pieces.len());
    let mut end = 0usize;
    for (bytes, _) in &pieces {
        offsets.push(end);
        end = (end + bytes).next_multiple_of(ALIGNMENT);
    }
    let workspace = end;
    let total = end + requirements.workspace as usize;
    if u32::try_from(total).is_err() {
        return Err(sdk::Error::new(sdk::ErrorCode::LimitExceeded, "the operands exceed 4 GiB"));
    }
    /// Keeps the start aligned for every element type, and for kernels that rely on the plan's alignment.
    #[repr(align(64))]
    #[derive(Clone)]
    struct Line {
        _bytes: [u8; ALIGNMENT],
    }
    let mut arena = vec![Line { _bytes: [0; ALIGNMENT] }; total.div_ceil(ALIGNMENT)];
    let start: *mut u8 = arena.as_mut_ptr().cast();
    let filled = pieces.iter().enumerate().filter_map(|(i, (_, bytes))| bytes.map(|bytes| (i, bytes)));
    for (index, bytes) in filled.chain(packed.iter().map(|(index, bytes)| (*index, &bytes[..]))) {
        // SAFETY: `arena` has `total` bytes, and piece `index` lies inside at `offsets[index]` with the length of `bytes`.
        unsafe { start.add(offsets[index]).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
    let operands = operation.inputs.iter().enumerate().map(|(i, o)| (Some(i), o));
    let operands = operands.chain(operation.outputs.iter().map(|o| (None, o)));
    let present = operands.filter_map(|(index, operand)| operand.as_ref().map(|operand| (index, operand)));
    let views: Vec<abi::View> = present
        .zip(&offsets)
        .map(|((index, operand), &offset)| {
            let form = requirements.packed.iter().find(|packed| Some(packed.input as usize) == index);
            abi::View {
                offset: offset as u32,
                slotted: false,
                dtype: if form.is_some() { 2 } else { operand.dtype },
                shape: form.map_or_else(|| operand.shape.clone(), |form| vec![form.bytes]),
                strides: Vec::new(),
                layout: 0,
            }
        })
        .collect();
    let arena_range = 0..total as u64;
    let bindings = check_views(operation, &requirements.packed, &[], &views, arena_range, ALIGNMENT as u32)?;
    let dispatch = kernel.bind(&bindings)?;
    // SAFETY: every view was checked against `arena`, whose `total` bytes include the workspace behind the views, and which outlives the call.
    let call = unsafe { Call::new(start, 0, workspace as u32, requirements.workspace, 0, 1) };
    match catch_unwind(AssertUnwindSafe(|| dispatch.run(&call))) {
        Ok(result) => result?,
        Err(_) => return Err(sdk::Error::new(sdk::ErrorCode::Internal, "the native kernel panicked")),
    }
    let results = outputs.iter().zip(&offsets[first_output..]);
    Ok(results
        .map(|(&bytes, &offset)| {
            let mut result = vec![0; bytes];
            // SAFETY: as above: an output of `bytes` bytes lies inside `arena` at `offset`.
            unsafe { start.add(offset).copy_to_nonoverlapping(result.as_mut_ptr(), bytes) };
            result
        })
        .collect())
}
