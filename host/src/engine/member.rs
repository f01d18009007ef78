//! One thread's share of a model: an instance of the chip plugin, with everything mapped and bound. It can be thrown away at any time.

use super::constants::ConstantStore;
use super::{EngineError, Executor, Loaded};
use crate::device::Place;
use crate::memory::{Region, Sharing};
use crate::plan::{Argument, Dispatch};
use crate::plugin::{ChipInstance, KernelHandle, Plugin, PluginError};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use sunmao_plugin_sdk::abi;

/// What one thread runs a model with.
pub(super) struct Member {
    plugin: Option<Arc<Plugin>>,
    live: Option<Live>,
}

/// An instance and what it knows.
struct Live {
    instance: ChipInstance,
    segments: usize,
    bound: HashMap<u64, Bound>,
}

struct Bound {
    /// Whether anybody still holds the plan.
    plan: Weak<()>,
    first: u32,
    kernels: Vec<KernelHandle>,
}

impl Member {
    pub(super) fn new(plugin: Option<Arc<Plugin>>) -> Self {
        Self { plugin, live: None }
    }

    /// The next run is on a fresh instance.
    pub(super) fn drop_instance(&mut self) {
        self.live = None;
    }

    /// The instance, made and mapped when there is none.
    fn live(&mut self, executor: &Executor) -> Result<&mut Live, EngineError> {
        const NO_CHIP: &str = "chip dispatches are planned only where there is a chip plugin";
        let plugin = self.plugin.as_ref().expect(NO_CHIP);
        if self.live.as_ref().is_some_and(|live| live.instance.is_dead()) {
            self.live = None;
        }
        if self.live.is_none() {
            let layout = executor.layout();
            let mut instance = ChipInstance::new(plugin)?;
            instance.reserve(layout.bytes())?;
            let slots = executor.slots().expect(NO_CHIP);
            instance.map(layout.slots_at, slots, 0, slots.bytes(), Sharing::Shared)?;
            self.live = Some(Live { instance, segments: 0, bound: HashMap::new() });
        }
        Ok(self.live.as_mut().expect("made just now"))
    }

    /// Lets the chip pack a constant that lies in `staging`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn pack(
        &mut self,
        executor: &Executor,
        staging: &Region,
        dispatch: &Dispatch,
        input: u32,
        source: &abi::View,
        dst: u64,
        bytes: u64,
    ) -> Result<(), EngineError> {
        let staging_at = executor.layout().staging_at;
        let live = self.live(executor)?;
        live.instance.map(staging_at, staging, 0, staging.bytes(), Sharing::Shared)?;
        let broke = |error| EngineError::of_chip(&dispatch.operation, &dispatch.node, error);
        let kernel = live.instance.prepare(&dispatch.operation).map_err(broke)?;
        let packed = live.instance.pack(kernel, input, source, dst, bytes);
        live.instance.drop_kernel(kernel);
        if !live.instance.is_dead() {
            live.instance.unmap(staging_at, staging.bytes())?;
        }
        packed.map_err(broke)
    }

    /// Binds the chip's dispatches of `loaded` unless that is done. Answers the number of the first one.
    pub(super) fn ensure_bound(&mut self, executor: &Executor, loaded: &Loaded) -> Result<u32, EngineError> {
        if !loaded.has_chip_dispatches {
            return Ok(0);
        }
        let live = self.live(executor)?;
        if let Some(bound) = live.bound.get(&loaded.id) {
            return Ok(bound.first);
        }
        live.forget_dropped_plans();
        match live.bind(executor, loaded) {
            Ok(bound) => Ok(live.bound.entry(loaded.id).or_insert(bound).first),
            Err(error) => {
                // What was bound before the failure goes with the instance.
                self.live = None;
                Err(error)
            }
        }
    }

    /// Runs chip dispatches. The plan was bound by [`Member::ensure_bound`] just before.
    pub(super) fn run(
        &mut self,
        first: u32,
        count: u32,
        shard: u32,
        shards: u32,
        base: u32,
    ) -> Result<(), PluginError> {
        let live = self.live.as_mut().expect("bound before it runs");
        live.instance.run(first, count, shard, shards, base)
    }
}

impl Live {
    /// Binds the chip's dispatches of `loaded`, in order.
    fn bind(&mut self, executor: &Executor, loaded: &Loaded) -> Result<Bound, EngineError> {
        executor.with_constants(|store| self.map_segments(store))?;
        let mut kernels = Vec::new();
        let mut first = None;
        for dispatch in loaded.plan.dispatches.iter().filter(|dispatch| dispatch.place == Place::Chip) {
            let broke = |error| EngineError::of_chip(&dispatch.operation, &dispatch.node, error);
            let kernel = self.instance.prepare(&dispatch.operation).map_err(broke)?;
            let views = views(dispatch, &loaded.constants_at, executor);
            let workspace = (executor.layout().slots_at + dispatch.workspace) as u32;
            let workspace = if dispatch.workspace_bytes == 0 { 0 } else { workspace };
            let number = self.instance.bind(kernel, &views, workspace).map_err(broke)?;
            let expected = first.map(|first: u32| first + kernels.len() as u32);
            if expected.is_some_and(|expected| expected != number) {
                let what = format!("dispatch number {number} where {expected:?} was due");
                return Err(broke(PluginError::broken("bind", what)));
            }
            first.get_or_insert(number);
            kernels.push(kernel);
        }
        Ok(Bound { plan: Arc::downgrade(&loaded.alive), first: first.unwrap_or(0), kernels })
    }

    /// Gives back the kernels of plans that were evicted and that no request runs any more.
    fn forget_dropped_plans(&mut self) {
        let dropped = self.bound.extract_if(|_, bound| bound.plan.strong_count() == 0);
        for (_, bound) in dropped {
            bound.kernels.into_iter().for_each(|kernel| self.instance.drop_kernel(kernel));
        }
    }

    fn map_segments(&mut self, store: &ConstantStore) -> Result<(), EngineError> {
        for segment in store.segments(self.segments) {
            let (region, offset) = (&segment.constants.region, segment.constants.offset);
            self.instance.map(segment.at, region, offset, segment.bytes, Sharing::CopyOnWrite)?;
            self.segments += 1;
        }
        Ok(())
    }
}

/// The views of a dispatch, offsets relative to the arena's start.
pub(super) fn views(dispatch: &Dispatch, constants_at: &[u64], executor: &Executor) -> Vec<abi::View> {
    let operation = &dispatch.operation;
    let inputs = operation.inputs.len();
    let present = operation.inputs.iter().chain(&operation.outputs).enumerate();
    let present = present.filter_map(|(index, operand)| operand.as_ref().map(|operand| (index, operand)));
    let view = |((index, operand), argument): ((usize, &abi::Operand), &Argument)| {
        let packed = dispatch.packed.iter().find(|packed| index < inputs && packed.input as usize == index);
        let (offset, slotted) = match argument {
            Argument::Constant(constant) => (constants_at[*constant], false),
            Argument::Slot(offset) => (executor.layout().slots_at + offset, true),
        };
        abi::View {
            offset: offset as u32,
            slotted,
            dtype: if packed.is_some() { 2 } else { operand.dtype },
            shape: packed.map_or_else(|| operand.shape.clone(), |packed| vec![packed.bytes]),
            strides: Vec::new(),
            layout: operand.layout,
        }
    };
    present.zip(&dispatch.arguments).map(view).collect()
}
