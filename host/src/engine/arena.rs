//! How the arena of a model is divided. Offsets are relative to its start, the same in every instance and in the host's own mapping.

use super::EngineError;
use crate::plan::MemoryUse;

/// Everything starts at a multiple of a wasm page.
const PAGE: u64 = 65536;
/// Slots start at a multiple of a huge page.
const HUGE_PAGE: u64 = 2 << 20;
/// What a 4 GiB memory leaves beside the plugin's private part.
const MAX_ARENA: u64 = (4 << 30) - (256 << 20);
/// Room for constants of later plans (other shapes may pack differently). Address space only, no memory.
const SPARE_CONSTANTS: u64 = 64 << 20;
/// The smallest stride of a slot. Address space only.
const MIN_SLOT: u64 = 16 << 20;

/// The division of an arena: constants, staging for packing, slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes for constants, from offset 0.
    pub constants: u64,
    /// Where packing happens.
    pub staging_at: u64,
    /// Bytes for packing.
    pub staging: u64,
    /// Where slot 0 starts.
    pub slots_at: u64,
    /// Bytes from one slot to the next.
    pub slot_stride: u64,
    /// Requests in flight.
    pub slots: u64,
}

impl Layout {
    /// A layout that holds a plan of `memory` with room to grow, for `slots` requests in flight.
    pub fn for_plan(memory: MemoryUse, slots: u64) -> Result<Self, EngineError> {
        let page = |bytes: u64| bytes.next_multiple_of(PAGE);
        let roomy = Self::new(
            page(memory.constants + memory.constants / 2 + SPARE_CONSTANTS),
            page(memory.staging * 2 + PAGE),
            page((memory.slot * 4).max(MIN_SLOT)),
            slots,
        );
        // Packing aligns its result to 4096, a constant segment starts on a page of its own.
        let tight =
            Self::new(page(memory.constants + PAGE), page(memory.staging + PAGE), page(memory.slot.max(1)), slots);
        [roomy, tight]
            .into_iter()
            .find(|layout| layout.bytes() <= MAX_ARENA)
            .ok_or(EngineError::TooLarge { needed: tight.bytes(), limit: MAX_ARENA })
    }

    fn new(constants: u64, staging: u64, slot_stride: u64, slots: u64) -> Self {
        let slots_at = (constants + staging).next_multiple_of(HUGE_PAGE);
        Self { constants, staging_at: constants, staging, slots_at, slot_stride, slots }
    }

    /// The whole arena.
    pub fn bytes(&self) -> u64 {
        self.slots_at + self.slots * self.slot_stride
    }

    /// Whether a slot takes several huge pages, so that a part of one does not count.
    pub fn is_large(&self) -> bool {
        self.slot_stride > MIN_SLOT
    }

    /// Whether a plan of `memory`, `more` bytes of whose constants are new, may fit beside `placed` bytes of constants.
    pub fn has_room(&self, memory: MemoryUse, placed: u64, more: u64) -> bool {
        memory.slot <= self.slot_stride
            && memory.staging + PAGE <= self.staging
            && placed + more + PAGE <= self.constants
    }
}
