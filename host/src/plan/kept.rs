//! Plans, kept. What a plan follows from is its maker's to name; one that is found was made by the same code for the same question.

use super::{Argument, Constant, Dispatch, Form, MemoryUse, Phase, Plan, Port, Schedule, Step};
use crate::device::Place;
use crate::store::{kept_choice, kept_record};

kept_record! {
    Constant { value, form, bytes, align }
    Dispatch {
        node, place, reason, operation, arguments, packed, in_place, shards, work, workspace, workspace_bytes,
    }
    MemoryUse { slot, live, tensors, constants, staging }
    Phase { first, end, shards }
    Plan { graph, alignment, dispatches, constants, inputs, outputs, memory, alone, shared }
    Port { name, dtype, shape, bytes, at }
    Schedule { steps, phases }
}

kept_choice! {
    Argument { 0 = Constant(index), 1 = Slot(offset) }
    Form { 0 = Plain, 1 = Packed { place, key, dispatch, input } }
    Place { 0 = FastPath, 1 = Chip, 2 = Portable }
    Step { 0 = Chip { first, count }, 1 = Native(index) }
}
