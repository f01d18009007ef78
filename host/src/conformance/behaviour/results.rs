//! C-41 to C-48: answers. What a plugin computes is its own affair; what it may depend on is not.

use super::lab::{Lab, answer, ask};
use super::probe::{Bed, Probe};
use super::{Check, Trouble, ensure};
use crate::plugin::{LoadOptions, PluginError};

pub(super) const CHECKS: &[Check] = &[
    // No byte counts come from a plugin: dispatch numbers are what it answers for an operation.
    Check { id: "C-41", title: "dispatch numbers that do not count up end the instance", run: wrong_numbers },
    Check { id: "C-42", title: "after new shapes the answers have the new shapes, and are right", run: reshaped },
    Check { id: "C-43", title: "every byte of every output is written", run: poison },
    Check { id: "C-44", title: "NaN is an answer like any other, and stays the request's own", run: not_a_number },
    Check { id: "C-45", title: "a plugin that calls itself deterministic is", run: deterministic },
    Check { id: "C-46", title: "compiled code from the cache computes the same bits", run: saved },
    Check { id: "C-47", title: "nothing stays from one request to the next", run: leftovers },
    Check { id: "C-48", title: "a row does not depend on the rows beside it", run: neighbours },
];

fn wrong_numbers(lab: &Lab) -> Result<(), Trouble> {
    match lab.guest_bed(25)?.run(&Probe::sum(), 0, 1) {
        Err(PluginError::Broken { call: "bind", .. }) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => Err(Trouble::Failed("it ran".into())),
    }
}

fn reshaped(lab: &Lab) -> Result<(), Trouble> {
    let (session, _) = lab.serve("under-test", lab.plugin.clone())?;
    for batch in [1, 100, 7, 100, 1, 3000] {
        ensure(ask(&session, batch)?, || format!("the answer for {batch} rows is wrong"))?;
    }
    Ok(())
}

fn poison(lab: &Lab) -> Result<(), Trouble> {
    let left = lab.guest_bed(21)?.run(&Probe::sum(), 0xA5, 1)?.output;
    ensure(left.iter().all(|&byte| byte == 0xA5), || "the poison did not show a guest that writes nothing".into())?;
    for probe in Probe::of(&lab.plugin)? {
        let mut bed = Bed::new(&lab.plugin)?;
        for shards in [1, 2] {
            let (first, second) = (bed.run(&probe, 0xA5, shards)?.output, bed.run(&probe, 0x5A, shards)?.output);
            let differing = first.iter().zip(&second).filter(|(a, b)| a != b).count();
            ensure(differing == 0, || format!("{} left {differing} bytes of its output unwritten", probe.op()))?;
        }
    }
    Ok(())
}

fn not_a_number(lab: &Lab) -> Result<(), Trouble> {
    let (session, _) = lab.serve("nan", lab.guest(22)??)?;
    let tensor = answer(&session, 5)?;
    let numbers = tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    ensure(numbers.clone().count() == 20 && numbers.clone().all(f32::is_nan), || "the answer is not what came".into())
}

/// Whether runs of a probe on one instance, and split differently, give the same bits.
fn repeats(bed: &mut Bed, probe: &Probe) -> Result<bool, PluginError> {
    let first = bed.run(probe, 0, 1)?.output;
    for shards in [1, 2, 3, 1] {
        if bed.run(probe, 0, shards)?.output != first {
            return Ok(false);
        }
    }
    Ok(true)
}

fn deterministic(lab: &Lab) -> Result<(), Trouble> {
    ensure(!repeats(&mut lab.guest_bed(46)?, &Probe::sum())?, || "a guest that counts its runs was not seen".into())?;
    if !lab.plugin.chip().is_some_and(|facts| facts.info.deterministic) {
        // It promises nothing, and so breaks nothing.
        return Ok(());
    }
    for probe in Probe::of(&lab.plugin)? {
        ensure(repeats(&mut Bed::new(&lab.plugin)?, &probe)?, || format!("{} gave different bits", probe.op()))?;
    }
    Ok(())
}

fn saved(lab: &Lab) -> Result<(), Trouble> {
    let options = LoadOptions { wasi_inert: true, ..LoadOptions::default() };
    let load = || lab.runtime.load(lab.plugin.path(), &options);
    let (fresh, cached) = (load()?, load()?);
    ensure(cached.compiled().cached, || "the second time it was compiled again".into())?;
    for probe in Probe::of(&lab.plugin)? {
        let (first, second) = (Bed::new(&fresh)?.run(&probe, 0, 1)?, Bed::new(&cached)?.run(&probe, 0, 1)?);
        ensure(first.output == second.output, || format!("{} gives other bits from the cache", probe.op()))?;
    }
    Ok(())
}

/// The probe with other numbers in its first input, from element `from` on.
fn varied(probe: &Probe, from: usize) -> Probe {
    let mut other = probe.clone();
    for (i, number) in other.inputs[0].chunks_exact_mut(4).enumerate().skip(from) {
        // Among them those that spoil whatever they meet.
        let value = [f32::INFINITY, f32::NAN, 1e30, -2.5, 0.0][i % 5];
        number.copy_from_slice(&value.to_le_bytes());
    }
    other
}

/// Whether a request changes what the next one gets.
fn keeps_apart(bed: &mut Bed, probe: &Probe) -> Result<bool, PluginError> {
    let first = bed.run(probe, 0, 1)?.output;
    bed.run(&varied(probe, 0), 0, 1)?;
    Ok(bed.run(probe, 0, 1)?.output == first)
}

fn leftovers(lab: &Lab) -> Result<(), Trouble> {
    ensure(!keeps_apart(&mut lab.guest_bed(47)?, &Probe::sum())?, || "a guest that leaks was not seen".into())?;
    for probe in Probe::of(&lab.plugin)? {
        ensure(keeps_apart(&mut Bed::new(&lab.plugin)?, &probe)?, || {
            format!("{} answers differently after another request", probe.op())
        })?;
    }
    Ok(())
}

/// Whether the first half of the rows stays when the others change.
fn rows_stay(bed: &mut Bed, probe: &Probe) -> Result<bool, PluginError> {
    let (first, second) = (bed.run(probe, 0, 1)?.output, bed.run(&varied(probe, 120), 0, 1)?.output);
    Ok(first[..first.len() / 2] == second[..second.len() / 2])
}

fn neighbours(lab: &Lab) -> Result<(), Trouble> {
    // Of a sum both operands are rows; the guest looks at the second one.
    let turned = |probe: Probe| Probe { inputs: probe.inputs.into_iter().rev().collect(), ..probe };
    let mut seen = lab.guest_bed(48)?;
    let sum = turned(Probe::sum());
    let mut other = sum.clone();
    other.inputs[1] = varied(&Probe::sum(), 120).inputs.swap_remove(0);
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let caught = half(seen.run(&sum, 0, 1)?.output) != half(seen.run(&other, 0, 1)?.output);
    ensure(caught, || "a guest whose rows look at each other was not seen".into())?;
    for probe in Probe::of(&lab.plugin)?.into_iter().filter(|probe| probe.by_rows) {
        ensure(rows_stay(&mut Bed::new(&lab.plugin)?, &probe)?, || {
            format!("rows of {} depend on the rows beside them", probe.op())
        })?;
    }
    Ok(())
}
