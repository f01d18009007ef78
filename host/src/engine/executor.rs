//! A model's arena and members, and the plans that are loaded on them.

use super::EngineError;
use super::arena::Layout;
use super::constants::ConstantStore;
use super::member::Member;
use super::native::NativeDispatch;
use crate::device::Place;
use crate::memory::{Mapping, Region, Sharing};
use crate::plan::Plan;
use crate::plugin::Plugin;
use crate::store::Shelf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use sunmao_graph::Weights;

/// A plan whose constants are in place and whose native dispatches are bound.
pub struct Loaded {
    /// The plan.
    pub plan: Arc<Plan>,
    pub(super) id: u64,
    pub(super) constants_at: Vec<u64>,
    pub(super) native: Vec<Option<NativeDispatch>>,
    pub(super) has_chip_dispatches: bool,
    /// Gone with the plan: members then give its kernels back.
    pub(super) alive: Arc<()>,
}

impl Loaded {
    /// Whether the chip runs any of it.
    pub fn uses_chip(&self) -> bool {
        self.has_chip_dispatches
    }
}

/// The arena of one model, its members, its constants.
pub struct Executor {
    layout: Layout,
    mapping: Mapping,
    /// What the members and the host's mapping share; none where the host alone computes.
    slots: Option<Region>,
    plugin: Option<Arc<Plugin>>,
    members: Vec<Mutex<Member>>,
    constants: Mutex<ConstantStore>,
    shelf: Option<Shelf>,
    next_plan: AtomicU64,
}

impl Executor {
    /// An arena of `layout` for `threads` members that run `plugin`; without one, for plans that the host runs alone.
    pub fn new(plugin: Option<Arc<Plugin>>, threads: usize, layout: Layout) -> Result<Self, EngineError> {
        let mapping = Mapping::reserve(layout.bytes())?;
        let bytes = layout.slots * layout.slot_stride;
        let slots = match &plugin {
            Some(_) => {
                let slots = Region::anonymous("sunmao-slots", bytes)?;
                mapping.map(layout.slots_at, &slots, 0, bytes, Sharing::Shared)?;
                Some(slots)
            }
            None => {
                mapping.map_own(layout.slots_at, bytes)?;
                if layout.is_large() {
                    mapping.prefer_huge_pages(layout.slots_at, bytes)?;
                }
                None
            }
        };
        let members = (0..threads).map(|_| Mutex::new(Member::new(plugin.clone()))).collect();
        Ok(Self {
            layout,
            mapping,
            slots,
            plugin,
            members,
            constants: Mutex::default(),
            shelf: None,
            next_plan: AtomicU64::new(0),
        })
    }

    /// The same, with constants that are kept on that shelf.
    pub(crate) fn keeping(self, shelf: Option<Shelf>) -> Self {
        Self { shelf, ..self }
    }

    /// Refuses what there is no memory for, before anything is loaded. Both in bytes.
    pub fn check_memory(needed: u64, available: u64) -> Result<(), EngineError> {
        if needed > available { Err(EngineError::OutOfMemory { needed, available }) } else { Ok(()) }
    }

    /// Bytes of the constants of `plan` that are not in place yet.
    pub fn unplaced_bytes(&self, plan: &Plan) -> Result<u64, EngineError> {
        self.with_constants(|store| store.unplaced_bytes(plan))
    }

    /// Places the constants of `plan` and binds its native dispatches.
    pub fn load(&self, plan: Arc<Plan>, weights: &(dyn Weights + Sync)) -> Result<Loaded, EngineError> {
        if plan.memory.slot > self.layout.slot_stride {
            return Err(EngineError::ArenaFull {
                what: "a slot",
                needed: plan.memory.slot,
                available: self.layout.slot_stride,
            });
        }
        let constants_at = {
            // An instance of its own: packing takes seconds, and the members may have requests to run meanwhile.
            let mut packer = Member::new(self.plugin.clone());
            let mut store = self.constants.lock().expect("constants lock: no holder panics");
            store.place(&plan, weights, self, &mut packer)?
        };
        let bind = |dispatch: &crate::plan::Dispatch| match dispatch.place {
            Place::Chip => Ok(None),
            _ => NativeDispatch::bind(dispatch, &constants_at, self, plan.alignment).map(Some),
        };
        let native = plan.dispatches.iter().map(bind).collect::<Result<_, _>>()?;
        let has_chip_dispatches = plan.uses_chip();
        let id = self.next_plan.fetch_add(1, Ordering::Relaxed);
        Ok(Loaded { plan, id, constants_at, native, has_chip_dispatches, alive: Arc::default() })
    }

    /// Binds `loaded` on every member now, so that the first request does not pay for it.
    pub fn warm(&self, loaded: &Loaded) -> Result<(), EngineError> {
        for index in 0..self.members.len() {
            self.member(index).ensure_bound(self, loaded)?;
        }
        Ok(())
    }

    /// Whether `plan` fits beside what is placed already, and finds a chip where it wants one.
    pub fn has_room(&self, plan: &Plan) -> Result<bool, EngineError> {
        if plan.uses_chip() && !self.has_chip() {
            return Ok(false);
        }
        let (placed, more) = self.with_constants(|store| (store.end(), store.unplaced_bytes(plan)));
        Ok(self.layout.has_room(plan.memory, placed, more?))
    }

    /// How the arena is divided.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether it has a chip.
    pub fn has_chip(&self) -> bool {
        self.plugin.is_some()
    }

    /// Number of members.
    pub fn threads(&self) -> usize {
        self.members.len()
    }

    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(super) fn shelf(&self) -> Option<&Shelf> {
        self.shelf.as_ref()
    }

    pub(super) fn slots(&self) -> Option<&Region> {
        self.slots.as_ref()
    }

    pub(super) fn with_constants<R>(&self, look: impl FnOnce(&ConstantStore) -> R) -> R {
        look(&self.constants.lock().expect("constants lock: no holder panics"))
    }

    /// Has those members begin anew: their next run is on fresh instances of the chip.
    pub fn renew(&self, members: &[usize]) {
        members.iter().for_each(|&index| self.member(index).drop_instance());
    }

    /// Member `index`, for this thread alone. A panic of a former holder leaves nothing half done that matters: it is bound anew.
    pub(super) fn member(&self, index: usize) -> MutexGuard<'_, Member> {
        self.members[index].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What is added to slot 0's offsets for slot `slot`.
    pub(super) fn base(&self, slot: usize) -> u64 {
        assert!((slot as u64) < self.layout.slots, "slot {slot} of {}", self.layout.slots);
        slot as u64 * self.layout.slot_stride
    }
}
