//! C-49 to C-54: plugins that fail, come back, are replaced, and are loaded again and again.

use super::lab::{Lab, answer, ask};
use super::probe::{Bed, Probe};
use super::{Check, Trouble, ensure};
use crate::memory::pss_bytes;
use crate::plugin::{LoadOptions, Runtime, RuntimeOptions};
use crate::session::InferError;

pub(super) const CHECKS: &[Check] = &[
    // On a fresh instance of the same chip: another device is taken when the chip keeps failing (C-50).
    Check {
        id: "C-49",
        title: "a trap in `run` costs a retry on a fresh instance, and nobody an answer",
        run: one_trap,
    },
    Check {
        id: "C-50",
        title: "three failures in a minute set the chip aside, and its models run on without it",
        run: many_traps,
    },
    Check { id: "C-51", title: "a session dropped while it runs ends in its own time", run: dropped_while_running },
    Check { id: "C-52", title: "compiled code that was changed on disk is never used", run: changed_blobs },
    Check { id: "C-53", title: "a cached component never stands for another one", run: no_collision },
    Check { id: "C-54", title: "a hundred loads leave the process as large as it was", run: reloads },
];

fn one_trap(lab: &Lab) -> Result<(), Trouble> {
    let (session, chip) = lab.serve("traps-once", lab.guest(5)??)?;
    // The first call of every instance traps, so both tries fail, and the request with them.
    ensure(matches!(answer(&session, 3), Err(InferError::Failed { .. })), || "two traps were no failure".into())?;
    ensure(chip.faults() == 1, || "the chip was not marked".into())?;
    let (session, chip) = lab.serve("traps-sometimes", lab.guest(4)??)?;
    for request in 0..6 {
        ensure(ask(&session, 3)?, || format!("request {request} was answered wrong"))?;
    }
    ensure(chip.faults() == 0, || "the chip was marked for a request that was answered".into())
}

fn many_traps(lab: &Lab) -> Result<(), Trouble> {
    const FAILURES_MAX: usize = 3;
    let (host, chip) = lab.host_with("traps-always", lab.guest(3)??)?;
    // A model learns which node its chip fails at; the chip is judged by all its models.
    for failure in 0..FAILURES_MAX {
        if chip.is_set_aside() {
            break;
        }
        let session = lab.session(&host, &chip)?;
        ensure(ask(&session, 3).is_err(), || format!("failure {failure} was none"))?;
        ensure(ask(&session, 3)?, || format!("after failure {failure} the answer is wrong"))?;
    }
    ensure(chip.is_set_aside(), || format!("{FAILURES_MAX} failures, and the chip is still in use"))?;
    let session = lab.session(&host, &chip)?;
    ensure(ask(&session, 3)?, || "without the chip the answer is wrong".into())
}

fn dropped_while_running(lab: &Lab) -> Result<(), Trouble> {
    let (session, _) = lab.serve("hangs", lab.guest(2)??)?;
    let running = std::thread::spawn(move || {
        let ended = answer(&session, 3);
        // The last hold on the session goes here.
        drop(session);
        ended
    });
    // Meanwhile the same file becomes another component, under the same name.
    let (replaced, _) = lab.serve("hangs", lab.guest(0)??)?;
    ensure(ask(&replaced, 3)?, || "the new plugin answers wrong".into())?;
    match running.join() {
        Ok(Err(InferError::Failed { .. })) => Ok(()),
        Ok(other) => Err(Trouble::Failed(format!("the old one came to {other:?}"))),
        Err(_) => Err(Trouble::Failed("the host panicked".into())),
    }
}

fn changed_blobs(lab: &Lab) -> Result<(), Trouble> {
    let directory = lab.path("blobs");
    let options = RuntimeOptions { cache_dir: Some(directory.clone()), ..RuntimeOptions::default() };
    let path = lab.file("blob.wasm", &lab.guest_bytes("guest.wasm")?);
    let expected = lab.guest_bed(0)?.run(&Probe::sum(), 0, 1)?.output;
    Runtime::new(options.clone())?.load(&path, &LoadOptions::default())?;
    let mut random = 7u64;
    for number in 0..lab.depth.blobs {
        for entry in std::fs::read_dir(&directory)?.flatten().filter(|entry| entry.path().is_file()) {
            let mut bytes = std::fs::read(entry.path())?;
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (random >> 20) as usize % bytes.len().max(1);
            match number % 3 {
                0 => bytes.truncate(at),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (random >> 60 & 7)),
            }
            std::fs::write(entry.path(), bytes)?;
        }
        let plugin = Runtime::new(options.clone())?.load(&path, &LoadOptions::default())?;
        ensure(!plugin.compiled().cached, || format!("change {number}: the changed file was used"))?;
        let output = Bed::new(&plugin)?.run(&Probe::sum(), 0, 1)?.output;
        ensure(output == expected, || format!("change {number}: the answer is another one"))?;
    }
    Ok(())
}

fn no_collision(lab: &Lab) -> Result<(), Trouble> {
    let (honest, idle) = (lab.guest_bytes("guest.wasm")?, lab.guest(21)??);
    let expected = lab.guest_bed(0)?.run(&Probe::sum(), 0xA5, 1)?.output;
    // One file name, two contents, each twice: compiled, then from the cache.
    let idle_bytes = std::fs::read(idle.path())?;
    for round in 0..2 {
        let output = Bed::new(&lab.load("same-name", &honest)?)?.run(&Probe::sum(), 0xA5, 1)?.output;
        ensure(output == expected, || format!("round {round}: the honest guest answers as another one"))?;
        let output = Bed::new(&lab.load("same-name", &idle_bytes)?)?.run(&Probe::sum(), 0xA5, 1)?.output;
        ensure(output.iter().all(|&byte| byte == 0xA5), || {
            format!("round {round}: the idle guest does another's work")
        })?;
    }
    Ok(())
}

fn reloads(lab: &Lab) -> Result<(), Trouble> {
    let probe = Probe::of(&lab.plugin)?.swap_remove(0);
    let options = LoadOptions { wasi_inert: true, ..LoadOptions::default() };
    let load = |times: usize| -> Result<(), Trouble> {
        for _ in 0..times {
            Bed::new(&lab.runtime.load(lab.plugin.path(), &options)?)?.run(&probe, 0, 1)?;
        }
        Ok(())
    };
    load(20)?;
    let before = pss_bytes()?;
    load(100)?;
    let after = pss_bytes()?;
    ensure(after as f64 <= before as f64 * 1.05, || format!("{before} bytes before and {after} after a hundred loads"))
}
