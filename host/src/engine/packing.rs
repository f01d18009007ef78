//! Fills a segment of constants: reads them, has their kernels pack them, writes them, on as many threads as the model has.
//!
//! What a chip packs is packed one after the other, by one instance; native kernels pack side by side.

use super::constants::{SEGMENT_ALIGN, missing};
use super::member::Member;
use super::native::pack_native;
use super::{EngineError, Executor};
use crate::device::{Place, value_bytes};
use crate::memory::{Region, give_back};
use crate::plan::{Constant, Form, Plan, PlanError};
use crate::store::{Constants, PIECE_BYTES, Sum};
use std::sync::atomic::{AtomicUsize, Ordering};
use sunmao_graph::{Content, Role, ValueId, Weights};
use sunmao_plugin_sdk::abi;

/// What a large copy is cut into; a multiple of what is summed in one.
const CHUNK: usize = 16 * PIECE_BYTES;
/// Below this another thread costs more than it saves.
const WORTH_A_THREAD_BYTES: u64 = 1 << 20;
/// Larger buffers are given back at once.
const KEPT_BUFFER_BYTES: usize = 16 << 20;

/// A constant that has a place and no bytes there yet.
pub(super) struct Fresh<'a> {
    pub(super) constant: &'a Constant,
    /// From the segment's start.
    pub(super) at: u64,
}

/// The constants of one segment.
pub(super) struct Packing<'a> {
    pub(super) plan: &'a Plan,
    pub(super) weights: &'a (dyn Weights + Sync),
    pub(super) executor: &'a Executor,
    pub(super) fresh: &'a [Fresh<'a>],
}

/// What a thread packs with, again and again.
#[derive(Default)]
struct Buffers {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Packing<'_> {
    /// Writes all constants. `sum` is given what was written, constant by constant in parts of [`PIECE_BYTES`]; its answers come in that order.
    pub(super) fn fill(
        &self,
        into: &Constants,
        packer: &mut Member,
        sum: impl Fn(&[u8]) -> Option<Sum> + Sync,
    ) -> Result<Vec<Sum>, EngineError> {
        let by_chip = |fresh: &Fresh<'_>| matches!(fresh.constant.form, Form::Packed { place: Place::Chip, .. });
        let (chips, natives): (Vec<usize>, Vec<usize>) =
            (0..self.fresh.len()).partition(|&index| by_chip(&self.fresh[index]));
        let bytes: u64 = natives.iter().map(|&index| self.fresh[index].constant.bytes).sum();
        let helpers = ((bytes / WORTH_A_THREAD_BYTES) as usize).min(self.executor.threads().saturating_sub(1));
        let next = AtomicUsize::new(0);
        let natives = || -> Result<Vec<(usize, Vec<Sum>)>, EngineError> {
            let mut buffers = Buffers::default();
            let mut done = Vec::new();
            while let Some(&index) = natives.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Whoever fails leaves nothing to do for the others.
                let sums = self.write(&self.fresh[index], into, &mut buffers, &sum);
                done.push((index, sums.inspect_err(|_| next.store(natives.len(), Ordering::Relaxed))?));
            }
            Ok(done)
        };
        let mut sums: Vec<Vec<Sum>> = self.fresh.iter().map(|_| Vec::new()).collect();
        let done = std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(natives)).collect();
            let mut buffers = Buffers::default();
            let by_chip = chips.iter().map(|&index| -> Result<(usize, Vec<Sum>), EngineError> {
                Ok((index, self.pack_on_chip(&self.fresh[index], into, packer, &mut buffers.plain, &sum)?))
            });
            let by_chip = by_chip.collect();
            let mut done = vec![by_chip, natives()];
            done.extend(helpers.into_iter().map(|helper| helper.join().unwrap_or(Err(EngineError::Panic))));
            done
        });
        for list in done {
            for (index, of_one) in list? {
                sums[index] = of_one;
            }
        }
        // What the weights were read into, before as much is mapped.
        give_back();
        Ok(sums.concat())
    }

    /// One constant that the host writes by itself.
    fn write(
        &self,
        fresh: &Fresh<'_>,
        into: &Constants,
        buffers: &mut Buffers,
        sum: &(impl Fn(&[u8]) -> Option<Sum> + Sync),
    ) -> Result<Vec<Sum>, EngineError> {
        let Form::Packed { place, dispatch, input, .. } = &fresh.constant.form else {
            return self.copy(fresh, into, sum);
        };
        let Buffers { plain, packed } = buffers;
        self.read(fresh.constant.value, plain)?;
        self.forget(fresh.constant.value);
        let operation = &self.plan.dispatches[*dispatch].operation;
        packed.clear();
        packed.resize(fresh.constant.bytes as usize, 0);
        pack_native(*place, operation, *input, plain, packed)?;
        into.region.write_at(into.offset + fresh.at, packed)?;
        let sums = packed.chunks(PIECE_BYTES).filter_map(sum).collect();
        for buffer in [plain, packed] {
            if buffer.len() > KEPT_BUFFER_BYTES {
                *buffer = Vec::new();
            }
        }
        Ok(sums)
    }

    /// One that nobody packs, without a buffer as large as it is.
    fn copy(
        &self,
        fresh: &Fresh<'_>,
        into: &Constants,
        sum: &(impl Fn(&[u8]) -> Option<Sum> + Sync),
    ) -> Result<Vec<Sum>, EngineError> {
        let id = fresh.constant.value;
        let value = self.plan.graph.value(id);
        let (mut sums, mut done, mut failed) = (Vec::new(), 0, None);
        let mut write = |bytes: &[u8]| {
            let written = into.region.write_at(into.offset + fresh.at + done, bytes);
            sums.extend(bytes.chunks(PIECE_BYTES).filter_map(sum));
            done += bytes.len() as u64;
            written.map_err(|error| failed.insert(error).to_string())
        };
        let outcome = match &value.role {
            Role::Constant(Content::Bytes(bytes)) => write(bytes),
            Role::Constant(Content::Weight(weight)) => self.weights.pieces(value, weight, CHUNK, &mut write),
            _ => Err("it is no constant".into()),
        };
        if let Some(error) = failed {
            return Err(error.into());
        }
        outcome.map_err(|reason| missing(&value.name, reason))?;
        self.expect(id, done)?;
        self.forget(id);
        Ok(sums)
    }

    /// Refuses a constant that has other than the bytes that its shape takes.
    fn expect(&self, id: ValueId, bytes: u64) -> Result<(), EngineError> {
        let expected = value_bytes(&self.plan.graph, id).map_err(PlanError::from)?;
        if bytes != expected {
            let name = &self.plan.graph.value(id).name;
            return Err(missing(name, format!("{bytes} bytes where its shape takes {expected}")).into());
        }
        Ok(())
    }

    /// Once a weight is packed nobody needs it, unless it is packed in two ways.
    fn forget(&self, id: ValueId) {
        let role = |id| &self.plan.graph.value(id).role;
        if let Role::Constant(Content::Weight(weight)) = role(id)
            && self.fresh.iter().filter(|fresh| role(fresh.constant.value) == role(id)).count() == 1
        {
            self.weights.forget(weight);
        }
    }

    /// The elements of a constant as they are, dense and row-major.
    fn read(&self, id: ValueId, into: &mut Vec<u8>) -> Result<(), EngineError> {
        let value = self.plan.graph.value(id);
        match &value.role {
            Role::Constant(Content::Bytes(bytes)) => {
                into.clear();
                into.extend_from_slice(bytes);
            }
            Role::Constant(Content::Weight(weight)) => {
                self.weights.bytes_into(value, weight, into).map_err(|reason| missing(&value.name, reason))?;
            }
            _ => return Err(missing(&value.name, "it is no constant").into()),
        }
        self.expect(id, into.len() as u64)
    }

    /// The plugin packs from one part of the staging range to another; the host copies the result.
    fn pack_on_chip(
        &self,
        fresh: &Fresh<'_>,
        into: &Constants,
        packer: &mut Member,
        plain: &mut Vec<u8>,
        sum: &(impl Fn(&[u8]) -> Option<Sum> + Sync),
    ) -> Result<Vec<Sum>, EngineError> {
        let constant = fresh.constant;
        let Form::Packed { dispatch, input, .. } = constant.form else {
            return Err(missing(&self.plan.graph.value(constant.value).name, "it is not packed").into());
        };
        self.read(constant.value, plain)?;
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
        packer.pack(self.executor, &staging, dispatch, input, &view, dst, constant.bytes)?;
        let mut sums = Vec::new();
        let mut done = 0;
        while done < constant.bytes {
            plain.resize(CHUNK.min((constant.bytes - done) as usize), 0);
            staging.read_at(packed_at + done, plain)?;
            into.region.write_at(into.offset + fresh.at + done, plain)?;
            sums.extend(plain.chunks(PIECE_BYTES).filter_map(sum));
            done += plain.len() as u64;
        }
        Ok(sums)
    }
}
