//! C-26 to C-40: reads and writes where nothing belongs to the plugin, allocators that lie, numbers that overflow, handles that are gone.

use super::forge::with_allocator_answering;
use super::lab::{Lab, answer, ask};
use super::probe::{Bed, Probe};
use super::{Check, Trouble, ensure};
use crate::config::FastPaths;
use crate::device::{BrokenPromises, Chip, FastPathRules, Place, Placer, Scout, Selector};
use crate::memory::{Region, Sharing};
use crate::plugin::PluginError;
use crate::session::{LoadError, Session};
use sunmao_plugin_sdk::abi::View;

pub(super) const CHECKS: &[Check] = &[
    Check { id: "C-26", title: "a read beyond memory traps", run: read_beyond },
    Check { id: "C-27", title: "a write beyond memory traps", run: write_beyond },
    Check { id: "C-28", title: "offsets that overflow are refused before the plugin sees them", run: overflow },
    Check { id: "C-29", title: "a read of 2^32 - 1 bytes by an importer is refused", run: vast_read },
    Check { id: "C-30", title: "an allocator that answers 0 harms the plugin alone", run: allocator_zero },
    Check { id: "C-31", title: "an allocator that answers a crooked address traps", run: allocator_crooked },
    Check { id: "C-32", title: "an allocator that answers beyond memory traps", run: allocator_beyond },
    Check { id: "C-33", title: "a workspace of 4 GiB is refused, and the node runs elsewhere", run: vast_workspace },
    Check { id: "C-34", title: "alignments 3 and 2^31 are refused", run: odd_alignment },
    Check { id: "C-35", title: "a plugin that takes overlapping tensors gets none", run: overlap },
    Check { id: "C-36", title: "no run writes outside of its output and workspace", run: canaries },
    Check { id: "C-37", title: "an alias that was not declared is refused, or computed right", run: undeclared_alias },
    Check { id: "C-38", title: "a dispatch of a dropped kernel does not run", run: stale },
    Check { id: "C-39", title: "a kernel dropped twice, or trapping in the drop, is dropped once", run: double_drop },
    Check { id: "C-40", title: "writes to weights reach nobody", run: weights },
];

/// What a plugin must answer with when it leaves its memory.
fn trapped(lab: &Lab, mode: u8) -> Result<(), Trouble> {
    match lab.guest_bed(mode)?.run(&Probe::sum(), 0, 1) {
        Err(PluginError::Trap { call: "run", .. }) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => Err(Trouble::Failed("it ran".into())),
    }
}

fn read_beyond(lab: &Lab) -> Result<(), Trouble> {
    trapped(lab, 42)
}

fn write_beyond(lab: &Lab) -> Result<(), Trouble> {
    trapped(lab, 43)
}

fn overflow(lab: &Lab) -> Result<(), Trouble> {
    let mut instance = Lab::instance(&lab.guest(0)??)?;
    let region = Region::anonymous("sunmao-check", 65536)?;
    ensure(instance.map(u64::MAX - 4095, &region, 0, 65536, Sharing::Shared).is_err(), || "mapped at 2^64".into())?;
    ensure(instance.map(0, &region, u64::MAX - 4095, 65536, Sharing::Shared).is_err(), || "mapped from 2^64".into())?;
    let kernel = instance.prepare(&Probe::sum().operation)?;
    let view = |offset| View { offset, slotted: true, dtype: 1, shape: vec![6, 40], strides: Vec::new(), layout: 0 };
    let refusals = [
        instance.bind(kernel, &[view(u32::MAX), view(0), view(4096)], 0).map(drop),
        instance.bind(kernel, &[view(0), view(4096), view(8192)], u32::MAX).map(drop),
        instance.pack(kernel, 1, &view(0), u64::MAX - 8, 64),
        instance.pack(kernel, 1, &view(0), 0, u64::MAX),
    ];
    let bad = refusals.iter().find(|refusal| !matches!(refusal, Err(PluginError::Misuse { .. })));
    ensure(bad.is_none(), || format!("not refused: {bad:?}"))
}

fn vast_read(lab: &Lab) -> Result<(), Trouble> {
    let host = lab.host_reading_with(&[lab.importer(15)?])?;
    match Session::load(&lab.file("vast.guest", b"guest"), &host, super::lab::options("reader")) {
        Err(LoadError::Import(error)) => ensure(error.to_string().contains("16 MiB"), || error.to_string()),
        Err(other) => Err(other.into()),
        Ok(_) => Err(Trouble::Failed("4 GiB were read".into())),
    }
}

/// What `prepare` comes to when its arguments are put at `address`.
fn with_allocator(lab: &Lab, address: i32) -> Result<Result<(), PluginError>, Trouble> {
    let bytes = with_allocator_answering(&lab.guest_bytes("guest.wasm")?, address).map_err(Trouble::Failed)?;
    let plugin = lab.load(&format!("allocator-{address}"), &bytes)?;
    Ok(Lab::instance(&plugin)?.prepare(&Probe::sum().operation).map(drop))
}

fn allocator_zero(lab: &Lab) -> Result<(), Trouble> {
    // Address 0 is memory of its own, which its arguments then overwrite: anything may come of it, but to itself.
    match with_allocator(lab, 0)? {
        Err(error @ (PluginError::Memory(_) | PluginError::Runtime(_))) => Err(error.into()),
        _ => Ok(()),
    }
}

fn allocator_crooked(lab: &Lab) -> Result<(), Trouble> {
    match with_allocator(lab, 1)? {
        Err(PluginError::Trap { call: "prepare", .. }) => Ok(()),
        other => Err(Trouble::Failed(format!("{other:?}"))),
    }
}

fn allocator_beyond(lab: &Lab) -> Result<(), Trouble> {
    match with_allocator(lab, -65536)? {
        Err(PluginError::Trap { call: "prepare", .. }) => Ok(()),
        other => Err(Trouble::Failed(format!("{other:?}"))),
    }
}

fn vast_workspace(lab: &Lab) -> Result<(), Trouble> {
    let chip = Chip::new("guest".into(), Vec::new(), FastPaths::Off, lab.guest(12)??);
    let broken = BrokenPromises::default();
    let scout = Scout::new(&chip, &broken);
    let mut selector = Selector { chip: Some(scout), fast_paths: FastPathRules::off("not asked for"), strict: false };
    let placed = selector.place("node", &Probe::sum().operation)?;
    ensure(placed.place == Place::Portable && placed.reason.contains("workspace"), || {
        format!("it was placed on {}: {}", placed.place, placed.reason)
    })?;
    ensure(chip.broken_promises() == 1, || "the broken promise was not counted".into())
}

fn odd_alignment(lab: &Lab) -> Result<(), Trouble> {
    for mode in [35, 44] {
        match lab.guest(mode)? {
            Err(PluginError::Broken { call: "describe", .. }) => {}
            other => return Err(Trouble::Failed(format!("mode {mode}: {other:?}"))),
        }
    }
    Ok(())
}

fn overlap(lab: &Lab) -> Result<(), Trouble> {
    let plugin = lab.guest(45)??;
    let taken = Bed::new(&plugin)?.run_in_place(&Probe::sum()).is_ok();
    ensure(taken, || "the guest refuses overlap, so this shows nothing".into())?;
    let (session, _) = lab.serve("overlapping", plugin)?;
    ensure(ask(&session, 100)?, || "the answer is wrong".into())?;
    let plan = session.plan(&[vec![100, 4]])?;
    let shared = plan.dispatches.iter().any(|dispatch| {
        let (output, inputs) = dispatch.arguments.split_last().expect("a dispatch has an output");
        inputs.contains(output)
    });
    ensure(!shared, || "an output was planned on an input that nobody granted".into())
}

fn canaries(lab: &Lab) -> Result<(), Trouble> {
    let caught = lab.guest_bed(19)?.run(&Probe::sum(), 0, 1)?.strays;
    ensure(!caught.is_empty(), || "the canaries did not see a guest that writes around its output".into())?;
    for probe in Probe::of(&lab.plugin)? {
        for shards in [1, 3] {
            let strays = Bed::new(&lab.plugin)?.run(&probe, 0xA5, shards)?.strays;
            let first = strays.first();
            ensure(first.is_none(), || {
                format!("{} wrote {} bytes outside, first at {first:?}", probe.op(), strays.len())
            })?;
        }
    }
    Ok(())
}

fn undeclared_alias(lab: &Lab) -> Result<(), Trouble> {
    for probe in Probe::of(&lab.plugin)? {
        let (from, to) = (&probe.operation.inputs[0], &probe.operation.outputs[0]);
        if from.as_ref().map(|operand| &operand.shape) != to.as_ref().map(|operand| &operand.shape) {
            continue;
        }
        let right = Bed::new(&lab.plugin)?.run(&probe, 0, 1)?.output;
        match Bed::new(&lab.plugin)?.run_in_place(&probe) {
            Ok(ran) => {
                ensure(ran.output == right, || format!("{} in place is wrong, and was not refused", probe.op()))?
            }
            Err(PluginError::Plugin { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

fn stale(lab: &Lab) -> Result<(), Trouble> {
    let probe = Probe::of(&lab.plugin)?.swap_remove(0);
    let mut bed = Bed::new(&lab.plugin)?;
    // It was dispatch 0, and its kernel is gone.
    bed.run(&probe, 0, 1)?;
    match bed.instance.run(0, 1, 0, 1, 0) {
        Err(PluginError::Plugin { .. } | PluginError::Trap { .. }) => {}
        other => return Err(Trouble::Failed(format!("a dropped kernel's dispatch: {other:?}"))),
    }
    let mut instance = Lab::instance(&lab.plugin)?;
    let kernel = instance.prepare(&probe.operation)?;
    instance.drop_kernel(kernel);
    match instance.requirements(kernel) {
        Err(PluginError::Misuse { .. }) => Ok(()),
        other => Err(Trouble::Failed(format!("a dropped kernel answers {other:?}"))),
    }
}

fn double_drop(lab: &Lab) -> Result<(), Trouble> {
    let operation = Probe::sum().operation;
    let mut instance = Lab::instance(&lab.guest(0)??)?;
    let (first, second) = (instance.prepare(&operation)?, instance.prepare(&operation)?);
    instance.drop_kernel(first);
    instance.drop_kernel(first);
    instance.requirements(second)?;
    let mut instance = Lab::instance(&lab.guest(32)??)?;
    let kernel = instance.prepare(&operation)?;
    instance.drop_kernel(kernel);
    instance.drop_kernel(kernel);
    match instance.prepare(&operation) {
        Err(PluginError::Dead) => Ok(()),
        other => Err(Trouble::Failed(format!("after a trap in a drop: {other:?}"))),
    }
}

fn weights(lab: &Lab) -> Result<(), Trouble> {
    const BYTES: u64 = 65536;
    let weights = Region::anonymous("sunmao-check", BYTES)?;
    weights.write_at(0, &[0x77; BYTES as usize])?;
    weights.seal()?;
    let mut bed = lab.guest_bed(20)?;
    // Behind what the probe uses, as weights are for their readers.
    bed.instance.map(512 << 10, &weights, 0, BYTES, Sharing::CopyOnWrite)?;
    bed.run(&Probe::sum(), 0, 1)?;
    let mut after = vec![0; BYTES as usize];
    weights.read_at(0, &mut after)?;
    ensure(after.iter().all(|&byte| byte == 0x77), || "a plugin wrote to the weights".into())?;
    // A guest that writes over everything but its outputs, in a session of its own.
    let (session, _) = lab.serve("scribbling", lab.guest(20)??)?;
    answer(&session, 3).map(drop).or_else(|error| ensure(false, || error.to_string()))
}
