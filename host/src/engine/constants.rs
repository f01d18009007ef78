//! Puts constants where kernels find them: plain or packed, once for all plans of a model, in segments that nobody writes to when they are full.
//!
//! A segment that the model's shelf of the store has is mapped as it is; any other is filled (`packing`), in a file of the store where there is one.

use super::member::Member;
use super::packing::{Fresh, Packing};
use super::{EngineError, Executor};
use crate::device::{DeviceError, Place};
use crate::memory::{Region, Sharing};
use crate::plan::{Constant, Form, Plan, PlanError};
use crate::store::{Constants, Piece};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use sunmao_graph::{Content, Role, Weight, Weights};

/// Segments start on pages of their own.
pub(super) const SEGMENT_ALIGN: u64 = 65536;
/// Segments of one model that are kept: more come from shapes that keep changing, and would only fill the store.
const KEPT_MAX: usize = 16;

/// What a constant is, whichever plan names it.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Identity {
    Weight(Weight),
    Digest([u8; 32]),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: Identity,
    bytes: u64,
    /// none: plain.
    packed: Option<(Place, String)>,
}

/// Constants that lie in the arena.
pub(super) struct Segment {
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) constants: Constants,
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

    /// Offsets in the arena for all constants of `plan`; those that are not there yet are mapped, or written, packed by `packer` where a chip wants it.
    pub(super) fn place(
        &mut self,
        plan: &Plan,
        weights: &(dyn Weights + Sync),
        executor: &Executor,
        packer: &mut Member,
    ) -> Result<Vec<u64>, EngineError> {
        let keys = plan.constants.iter().map(|constant| key(plan, constant)).collect::<Result<Vec<_>, _>>()?;
        let start = self.end.next_multiple_of(SEGMENT_ALIGN);
        let mut end = start;
        let mut fresh = Vec::new();
        let mut fresh_at = HashMap::new();
        let mut name = Sha256::new();
        for (constant, key) in plan.constants.iter().zip(&keys) {
            if self.placed.contains_key(key) || fresh_at.contains_key(key) {
                continue;
            }
            let at = end.next_multiple_of(u64::from(constant.align));
            end = at + constant.bytes;
            fresh_at.insert(key.clone(), at);
            fresh.push(Fresh { constant, at: at - start });
            key.write_to(at - start, &mut name);
        }
        if end > executor.layout().constants {
            return Err(EngineError::ArenaFull {
                what: "constants",
                needed: end - start,
                available: executor.layout().constants.saturating_sub(start),
            });
        }
        if end > start {
            let bytes = (end - start).next_multiple_of(SEGMENT_ALIGN);
            let packing = Packing { plan, weights, executor, fresh: &fresh };
            let constants = self.segment(&packing, packer, &name.finalize(), bytes)?;
            executor.mapping().map(start, &constants.region, constants.offset, bytes, Sharing::CopyOnWrite)?;
            // The first request reads nearly all of it.
            executor.mapping().populate(start, bytes)?;
            self.segments.push(Arc::new(Segment { at: start, bytes, constants }));
            self.end = end;
        }
        // Constants of no bytes have a place too.
        self.placed.extend(fresh_at);
        Ok(keys.iter().map(|key| self.placed[key]).collect())
    }

    /// A full segment: from the store, or filled in a file of the store, or in memory where there is no room on disk.
    fn segment(
        &self,
        packing: &Packing<'_>,
        packer: &mut Member,
        name: &[u8],
        bytes: u64,
    ) -> Result<Constants, EngineError> {
        if let Some(shelf) = packing.executor.shelf().filter(|_| self.segments.len() < KEPT_MAX) {
            let pieces: Vec<Piece> =
                packing.fresh.iter().map(|fresh| Piece { at: fresh.at, bytes: fresh.constant.bytes }).collect();
            if let Some(constants) = shelf.constants(name, bytes, &pieces, packing.executor.threads()) {
                return Ok(constants);
            }
            if let Some(draft) = shelf.draft(bytes) {
                match packing.fill(draft.constants(), packer, |bytes| Some(shelf.sum(bytes))) {
                    Ok(sums) => return Ok(draft.finish(name, bytes, &sums)),
                    // A full disk: memory may do.
                    Err(EngineError::Memory(error)) => tracing::warn!(%error, "packed constants are not kept"),
                    Err(error) => return Err(error),
                }
            }
        }
        let constants = Constants { region: Region::anonymous("sunmao-constants", bytes)?, offset: 0 };
        packing.fill(&constants, packer, |_| None)?;
        constants.region.seal()?;
        Ok(constants)
    }
}

impl Key {
    /// Everything that decides the bytes of a constant and where it lies, beside model, chip and code.
    fn write_to(&self, at: u64, name: &mut Sha256) {
        let mut text = |text: &str| {
            name.update((text.len() as u64).to_le_bytes());
            name.update(text);
        };
        match &self.packed {
            None => text("plain"),
            Some((place, key)) => {
                text(&place.to_string());
                text(key);
            }
        }
        match &self.identity {
            Identity::Weight(weight) => {
                text(&weight.encoding);
                for number in [u64::from(weight.source), weight.offset, weight.length] {
                    name.update(number.to_le_bytes());
                }
            }
            Identity::Digest(digest) => {
                text("bytes");
                name.update(digest);
            }
        }
        name.update(at.to_le_bytes());
        name.update(self.bytes.to_le_bytes());
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
        Form::Packed { place, key, .. } => Some((*place, key.clone())),
    };
    Ok(Key { identity, bytes: constant.bytes, packed })
}

pub(super) fn missing(value: &str, reason: impl ToString) -> PlanError {
    DeviceError::Constant { value: value.to_owned(), reason: reason.to_string() }.into()
}
