//! One operation, prepared on a chip plugin or as a native kernel, run as often as one likes.

use super::arena::{ARENA_BYTES, Placement};
use super::arrangement::Arrangement;
use crate::conformance::blame;
use crate::device::{Place, native_kernel};
use crate::engine::Solo;
use crate::memory::{Region, Sharing};
use crate::plugin::{ChipInstance, KernelHandle, Kind, Plugin, PluginError};
use std::sync::Arc;
use sunmao_conformance::Verdict;
use sunmao_conformance::oracle::{Answer, Question};
use sunmao_plugin_sdk::{self as sdk, Reader, Writer, abi};

/// Start of the range that constants are packed in, behind everything that operands take.
const STAGING_AT: u64 = ARENA_BYTES / 2;
/// Slots start at a multiple of it, bytes.
const SLOT_ALIGNMENT: u64 = 4096;
/// Alignment for native kernels, bytes.
const NATIVE_ALIGNMENT: u32 = 64;

/// What runs a kernel.
#[derive(Clone)]
pub(super) enum Device {
    Chip(Arc<Plugin>),
    Native(Place),
}

/// Runs one shard: its number, of how many, for the slot that begins that many bytes behind the first.
type ShardRunner<'a> = Box<dyn FnMut(u32, u32, u64) -> Result<(), Failure> + 'a>;

impl Device {
    pub(super) fn name(&self) -> String {
        match self {
            Device::Chip(plugin) => match plugin.kind() {
                Kind::Chip(facts) => facts.info.id.clone(),
                Kind::Importer(_) => "an importer".into(),
            },
            Device::Native(Place::FastPath(path)) => format!("the host's {path} kernel"),
            Device::Native(_) => "the host's portable kernel".into(),
        }
    }

    /// Whether the chip says that the same inputs give the same bits.
    pub(super) fn deterministic(&self) -> bool {
        match self {
            Device::Chip(plugin) => plugin.chip().is_some_and(|facts| facts.info.deterministic),
            Device::Native(_) => true,
        }
    }
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn wrong(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, reason: reason.into() }
    }

    fn native(error: &sdk::Error) -> Self {
        let verdict = match error.code {
            sdk::ErrorCode::Unsupported | sdk::ErrorCode::LimitExceeded => Verdict::Declined,
            sdk::ErrorCode::Internal => Verdict::Crash,
            _ => Verdict::BrokenPromise,
        };
        Self { verdict, reason: error.message.clone() }
    }

    fn plugin(error: &PluginError) -> Self {
        let too_large = matches!(error, PluginError::Plugin { code: sdk::ErrorCode::LimitExceeded, .. });
        let refusal = if too_large { Verdict::Declined } else { Verdict::BrokenPromise };
        Self { verdict: blame::plugin(error, refusal), reason: error.to_string() }
    }

    fn memory(error: impl std::fmt::Display) -> Self {
        Self { verdict: Verdict::Crash, reason: format!("the suite's own memory: {error}") }
    }
}

enum Kernel {
    Chip { instance: Box<ChipInstance>, handle: KernelHandle },
    Native(Box<dyn sdk::Kernel>),
}

/// An operation made ready.
pub(super) struct Bench<'a> {
    question: &'a Question,
    answers: &'a [Answer],
    operation: abi::Operation,
    kernel: Kernel,
    needs: abi::Requirements,
    packed: Vec<(u32, Vec<u8>)>,
    region: Region,
    alignment: u32,
}

impl<'a> Bench<'a> {
    /// Prepares the operation, and packs the constants that the kernel wants packed. `ext` goes along with the operation.
    pub(super) fn new(
        device: &Device,
        question: &'a Question,
        answers: &'a [Answer],
        ext: &[abi::Kv],
    ) -> Result<Self, Failure> {
        let mut operation = question.operation(answers);
        operation.ext.extend_from_slice(ext);
        let region = Region::anonymous("sunmao-conformance", ARENA_BYTES).map_err(Failure::memory)?;
        let (kernel, needs, alignment) = match device {
            Device::Native(place) => {
                let kernel = native_kernel(*place, &operation).map_err(|error| Failure::native(&error))?;
                let needs = kernel.requirements();
                (Kernel::Native(kernel), needs, NATIVE_ALIGNMENT)
            }
            Device::Chip(plugin) => {
                let failed = |error: PluginError| Failure::plugin(&error);
                let mut instance = Box::new(ChipInstance::new(plugin).map_err(failed)?);
                instance.reserve(ARENA_BYTES).map_err(failed)?;
                instance.map(0, &region, 0, ARENA_BYTES, Sharing::Shared).map_err(failed)?;
                let handle = instance.prepare(&operation).map_err(failed)?;
                let needs = instance.requirements(handle).map_err(failed)?;
                let alignment = plugin.chip().map_or(1, |facts| facts.info.alignment);
                (Kernel::Chip { instance, handle }, needs, alignment)
            }
        };
        let mut bench = Self { question, answers, operation, kernel, needs, packed: Vec::new(), region, alignment };
        for form in bench.needs.packed.clone() {
            let bytes = bench.pack(&form)?;
            bench.packed.push((form.input, bytes));
        }
        Ok(bench)
    }

    /// What the kernel wants.
    pub(super) fn needs(&self) -> &abi::Requirements {
        &self.needs
    }

    fn pack(&mut self, form: &abi::PackedConstant) -> Result<Vec<u8>, Failure> {
        let operand = self.question.inputs.get(form.input as usize).and_then(Option::as_ref);
        let plain = operand
            .map(|operand| &operand.tensor)
            .ok_or_else(|| Failure::wrong("it packs an operand that is not there"))?;
        let mut bytes = vec![0; form.bytes as usize];
        match &mut self.kernel {
            Kernel::Native(kernel) => {
                let packed = kernel.pack(form.input, Reader::of(&plain.bytes), Writer::of(&mut bytes));
                packed.map_err(|error| Failure::native(&error))?;
            }
            Kernel::Chip { instance, handle } => {
                let target = (STAGING_AT + plain.bytes.len() as u64).next_multiple_of(4096);
                self.region.write_at(STAGING_AT, &plain.bytes).map_err(Failure::memory)?;
                self.region.write_at(target, &bytes).map_err(Failure::memory)?;
                let source = abi::View {
                    offset: STAGING_AT as u32,
                    slotted: false,
                    dtype: plain.dtype,
                    shape: plain.shape.iter().map(|&dim| dim as u32).collect(),
                    strides: Vec::new(),
                    layout: 0,
                };
                let packed = instance.pack(*handle, form.input, &source, target, bytes.len() as u64);
                packed.map_err(|error| Failure::plugin(&error))?;
                self.region.read_at(target, &mut bytes).map_err(Failure::memory)?;
            }
        }
        Ok(bytes)
    }

    /// Runs it in one arrangement; the bytes of its outputs.
    pub(super) fn run(&mut self, arrangement: &Arrangement) -> Result<Vec<Vec<u8>>, Failure> {
        let Arrangement { shards, slot, poison, alias, .. } = *arrangement;
        let place =
            Placement::new(self.question, self.answers, &self.needs, &self.packed, alias, shards, self.alignment);
        let base = slot * place.end(0).next_multiple_of(SLOT_ALIGNMENT);
        if place.end(base) > STAGING_AT {
            let reason = format!("{} bytes of operands and scratch are more than the suite has", place.end(base));
            return Err(Failure { verdict: Verdict::Declined, reason });
        }
        let before = place.image(self.question, &self.packed, base, poison);
        self.region.write_at(0, &before).map_err(Failure::memory)?;
        let mut run = self.bound(&place)?;
        for i in 0..shards {
            let shard = if arrangement.backwards { shards - 1 - i } else { i };
            run(shard, shards, base)?;
        }
        drop(run);
        let mut after = vec![0; before.len()];
        self.region.read_at(0, &mut after).map_err(Failure::memory)?;
        place.results(&before, &after, base).map_err(Failure::wrong)
    }

    /// Runs it `times` times on one thread, warm, and gives the seconds of each.
    pub(super) fn time(&mut self, mut enough: impl FnMut(f64) -> bool) -> Result<Vec<f64>, Failure> {
        let place = Placement::new(self.question, self.answers, &self.needs, &self.packed, None, 1, self.alignment);
        if place.end(0) > STAGING_AT {
            return Err(Failure::wrong("the operands are more than the arena holds"));
        }
        let image = place.image(self.question, &self.packed, 0, 0);
        self.region.write_at(0, &image).map_err(Failure::memory)?;
        let mut run = self.bound(&place)?;
        run(0, 1, 0)?;
        let mut times = Vec::new();
        loop {
            let start = std::time::Instant::now();
            run(0, 1, 0)?;
            let seconds = start.elapsed().as_secs_f64();
            times.push(seconds);
            if enough(seconds) {
                return Ok(times);
            }
        }
    }

    /// Binds the kernel to a placement; what it gives runs one shard.
    fn bound(&mut self, place: &Placement) -> Result<ShardRunner<'_>, Failure> {
        match &mut self.kernel {
            Kernel::Native(kernel) => {
                let solo =
                    Solo::bind(&self.region, &self.operation, &**kernel, &place.views, place.workspace, self.alignment);
                let solo = solo.map_err(|error| Failure::native(&error))?;
                Ok(Box::new(move |shard, shards, base| {
                    solo.run(shard, shards, base).map_err(|error| Failure::native(&error))
                }))
            }
            Kernel::Chip { instance, handle } => {
                let number = instance.bind(*handle, &place.views, place.workspace as u32);
                let number = number.map_err(|error| Failure::plugin(&error))?;
                Ok(Box::new(move |shard, shards, base| {
                    instance.run(number, 1, shard, shards, base as u32).map_err(|error| Failure::plugin(&error))
                }))
            }
        }
    }
}
