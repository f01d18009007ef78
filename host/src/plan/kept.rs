//! Plans, kept. What a plan follows from is its maker's to name; one that is found was made by the same code for the same question.

use super::{Argument, Constant, Dispatch, Form, MemoryUse, Phase, Plan, Port, Schedule, Step};
use crate::device::Place;
use crate::plugin::Digest;
use crate::store::{Kept, Reader, kept_choice, kept_record};

kept_record! {
    Constant { value, form, bytes, align }
    Dispatch {
        node, place, reason, operation, arguments, packed, in_place, shards, work, workspace, workspace_bytes,
    }
    MemoryUse { slot, live, tensors, constants, staging }
    Phase { first, end, shards }
    Plan { graph, alignment, dispatches, constants, inputs, outputs, memory, alone, shared, tuned_by }
    Port { name, dtype, shape, bytes, at }
    Schedule { steps, phases }
}

kept_choice! {
    Argument { 0 = Constant(index), 1 = Slot(offset) }
    Form { 0 = Plain, 1 = Packed { place, key, dispatch, input } }
    Step { 0 = Chip { first, count }, 1 = Native(index) }
}

/// A fast path by its name, which must still be one.
impl Kept for Place {
    fn put(&self, out: &mut Vec<u8>) {
        (*self == Place::Chip, self.fast_path().map(str::to_owned)).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(match <(bool, Option<String>)>::take(from)? {
            (true, None) => Place::Chip,
            (false, None) => Place::Portable,
            (true, Some(_)) => return None,
            (false, Some(name)) => {
                let entry = sunmao_fastpath::registered().into_iter().find(|entry| entry.path == name)?;
                Place::FastPath(entry.path)
            }
        })
    }
}

impl Kept for Digest {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_string().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        String::take(from)?.parse().ok()
    }
}
