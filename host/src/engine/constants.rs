//! Puts constants where kernels find them: plain or packed, once for all plans of a model, in segments that are sealed when they are full.

use super::member::Member;
use super::native::pack_native;
use super::{EngineError, Executor};
use crate::device::{DeviceError, Place, value_bytes};
use crate::memory::{Region, Sharing};
use crate::plan::{Constant, Form, Plan, PlanError};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use sunmao_graph::{Content, Role, ValueId, Weight, Weights};
use sunmao_plugin_sdk::abi;

/// Segments start on pages of their own.
const SEGMENT_ALIGN: u64 = 65536;
/// What a large copy is cut into.
const CHUNK: usize = 4 << 20;

/// What a constant is, whichever plan names it.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Identity {
    Weight(Weight),
    Digest([u8; 32]),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: Identity,
    /// none: plain.
    packed: Option<(Place, String, u64)>,
}

/// Constants that lie in the arena, sealed.
pub(super) struct Segment {
    pub(super) at: u64,
    pub(super) region: Region,
}

/// All constants of a model that plans have asked for so far.
#[derive(Default)]
pub(super) struct ConstantStore {
    segments: Vec<Arc<Segment>>,
    placed: HashMap<Key, u64>,
    end: u64,
}

impl ConstantStore {
    /// Segments from number `from` on.
    pub(super) fn segments(&self, from: usize) -> &[Arc<Segment>] {
        self.segments.get(from..).unwrap_or_default()
    }

    /// Bytes of the arena taken.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that the constants of `plan` take which are not there yet, with their alignment.
    pub(super) fn unplaced_bytes(&self, plan: &Plan) -> Result<u64, EngineError> {
        let mut end = 0u64;
        let mut fresh = HashSet::new();
        for constant in &plan.constants {
            let key = key(plan, constant)?;
            if !self.placed.contains_key(&key) && fresh.insert(key) {
                end = end.next_multiple_of(u64::from(constant.align)) + constant.bytes;
            }
        }
        Ok(end)
    }

    /// Offsets in the arena for all constants of `plan`; those that are not there yet are written, packed by `packer` where a chip wants it.
    pub(super) fn place(
        &mut self,
        plan: &Plan,
        weights: &dyn Weights,
        executor: &Executor,
        packer: &mut Member,
    ) -> Result<Vec<u64>, EngineError> {
        let keys = plan.constants.iter().map(|constant| key(plan, constant)).collect::<Result<Vec<_>, _>>()?;
        let start = self.end.next_multiple_of(SEGMENT_ALIGN);
        let mut end = start;
        let mut fresh = Vec::new();
        let mut fresh_at = HashMap::new();
        for (constant, key) in plan.constants.iter().zip(&keys) {
            if self.placed.contains_key(key) || fresh_at.contains_key(key) {
                continue;
            }
            let at = end.next_multiple_of(u64::from(constant.align));
            end = at + constant.bytes;
            fresh_at.insert(key.clone(), at);
            fresh.push((constant, at));
        }
        if end > executor.layout().constants {
            return Err(EngineError::ArenaFull {
                what: "constants",
                needed: end - start,
                available: executor.layout().constants.saturating_sub(start),
            });
        }
        if end > start {
            let region = Region::anonymous("sunmao-constants", (end - start).next_multiple_of(SEGMENT_ALIGN))?;
            let mut writer = Writer { plan, weights, executor, region: &region, start, packer };
            for (constant, at) in fresh {
                writer.write(constant, at)?;
            }
            region.seal()?;
            executor.mapping().map(start, &region, 0, region.bytes(), Sharing::CopyOnWrite)?;
            self.segments.push(Arc::new(Segment { at: start, region }));
            self.end = end;
        }
        // Constants of no bytes have a place too.
        self.placed.extend(fresh_at);
        Ok(keys.iter().map(|key| self.placed[key]).collect())
    }
}

fn key(plan: &Plan, constant: &Constant) -> Result<Key, EngineError> {
    let value = plan.graph.value(constant.value);
    let identity = match &value.role {
        Role::Constant(Content::Weight(weight)) => Identity::Weight(weight.clone()),
        Role::Constant(Content::Bytes(bytes)) => Identity::Digest(Sha256::digest(bytes).into()),
        _ => return Err(missing(&value.name, "it is no constant").into()),
    };
    let packed = match &constant.form {
        Form::Plain => None,
        Form::Packed { place, key, .. } => Some((*place, key.clone(), constant.bytes)),
    };
    Ok(Key { identity, packed })
}

fn missing(value: &str, reason: impl ToString) -> PlanError {
    DeviceError::Constant { value: value.to_owned(), reason: reason.to_string() }.into()
}

/// Fills one segment.
struct Writer<'a> {
    plan: &'a Plan,
    weights: &'a dyn Weights,
    executor: &'a Executor,
    region: &'a Region,
    /// Arena offset of the segment.
    start: u64,
    packer: &'a mut Member,
}

impl Writer<'_> {
    fn write(&mut self, constant: &Constant, at: u64) -> Result<(), EngineError> {
        let plain = self.plain(constant.value)?;
        match &constant.form {
            Form::Plain => self.region.write_at(at - self.start, &plain)?,
            Form::Packed { place: Place::Chip, dispatch, input, .. } => {
                self.pack_on_chip(*dispatch, *input, &plain, constant, at)?;
            }
            Form::Packed { place, dispatch, input, .. } => {
                let operation = &self.plan.dispatches[*dispatch].operation;
                let packed = pack_native(*place, operation, *input, &plain, constant.bytes)?;
                self.region.write_at(at - self.start, &packed)?;
            }
        }
        Ok(())
    }

    fn plain(&self, id: ValueId) -> Result<Arc<[u8]>, EngineError> {
        let value = self.plan.graph.value(id);
        let bytes = match &value.role {
            Role::Constant(Content::Bytes(bytes)) => bytes.clone(),
            Role::Constant(Content::Weight(weight)) => {
                self.weights.bytes(value, weight).map_err(|reason| missing(&value.name, reason))?
            }
            _ => return Err(missing(&value.name, "it is no constant").into()),
        };
        let expected = value_bytes(&self.plan.graph, id).map_err(PlanError::from)?;
        if bytes.len() as u64 != expected {
            return Err(missing(&value.name, format!("{} bytes where its shape takes {expected}", bytes.len())).into());
        }
        Ok(bytes)
    }

    /// The plugin packs from one part of the staging range to another; the host copies the result.
    fn pack_on_chip(
        &mut self,
        dispatch: usize,
        input: u32,
        plain: &[u8],
        constant: &Constant,
        at: u64,
    ) -> Result<(), EngineError> {
        let dispatch = &self.plan.dispatches[dispatch];
        let operation = &dispatch.operation;
        let packed_at = (plain.len() as u64).next_multiple_of(4096);
        let bytes = (packed_at + constant.bytes).next_multiple_of(SEGMENT_ALIGN);
        let layout = self.executor.layout();
        if bytes > layout.staging {
            return Err(EngineError::ArenaFull { what: "packing", needed: bytes, available: layout.staging });
        }
        let staging = Region::anonymous("sunmao-staging", bytes)?;
        staging.write_at(0, plain)?;
        let operand = operation.inputs.get(input as usize).and_then(Option::as_ref);
        let Some(operand) = operand else { return Err(missing(&operation.op, "no such input").into()) };
        let view = abi::View {
            offset: layout.staging_at as u32,
            slotted: false,
            dtype: operand.dtype,
            shape: operand.shape.clone(),
            strides: Vec::new(),
            layout: 0,
        };
        let dst = layout.staging_at + packed_at;
        self.packer.pack(self.executor, &staging, dispatch, input, &view, dst, constant.bytes)?;
        let mut chunk = vec![0; CHUNK.min(constant.bytes as usize)];
        let mut done = 0;
        while done < constant.bytes {
            let part = chunk.len().min((constant.bytes - done) as usize);
            staging.read_at(packed_at + done, &mut chunk[..part])?;
            self.region.write_at(at - self.start + done, &chunk[..part])?;
            done += part as u64;
        }
        Ok(())
    }
}
