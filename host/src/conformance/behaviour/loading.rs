//! C-01 to C-12: what is no plugin, or one for another host; and what plugins claim about themselves.

use super::forge::replaced;
use super::lab::{Lab, ask};
use super::probe::{Bed, Probe};
use super::{Check, Trouble, ensure};
use crate::config::FastPaths;
use crate::device::{BrokenPromises, Chip, FastPathRules, Place, Placer, Registry, Scout, Selector};
use crate::plugin::{LoadOptions, Plugin, PluginError};
use std::sync::Arc;

pub(super) const CHECKS: &[Check] = &[
    Check { id: "C-01", title: "a file that is not WebAssembly is refused", run: not_wasm },
    Check { id: "C-02", title: "a core module is refused, with what to do about it", run: core_module },
    Check { id: "C-03", title: "an import that the host does not know is refused by name", run: unknown_import },
    Check { id: "C-04", title: "a plugin for ABI 1.9 is refused with both versions", run: later_minor },
    Check { id: "C-05", title: "a plugin for ABI 2.0 is refused with both versions", run: later_major },
    Check { id: "C-06", title: "WASI that was not granted is refused, and inert WASI is granted", run: wasi },
    Check { id: "C-07", title: "a node that `prepare` refuses against its table runs elsewhere", run: broken_promise },
    Check { id: "C-08", title: "what the plugin's table covers is prepared, in any subset and order", run: any_subset },
    Check { id: "C-09", title: "a trap in `describe` refuses the plugin", run: describe_traps },
    Check { id: "C-10", title: "a table of a million rows is refused", run: endless_table },
    Check { id: "C-11", title: "a plugin with another one's id does not take its place", run: stolen_id },
    Check { id: "C-12", title: "a patch version that this host does not have is refused", run: later_patch },
];

/// The plugin must be refused in these words.
fn refused(loaded: Result<Arc<Plugin>, PluginError>, words: &[&str]) -> Result<(), Trouble> {
    match loaded {
        Ok(_) => Err(Trouble::Failed("it was loaded".into())),
        Err(error) => {
            let text = error.to_string();
            let missing = words.iter().find(|word| !text.contains(**word));
            ensure(missing.is_none(), || format!("no `{}` in: {text}", missing.unwrap_or(&"")))
        }
    }
}

fn not_wasm(lab: &Lab) -> Result<(), Trouble> {
    refused(lab.load("text", b"this is a text, and no plugin"), &["not WebAssembly"])
}

fn core_module(lab: &Lab) -> Result<(), Trouble> {
    refused(lab.load("module", b"\0asm\x01\0\0\0"), &["core module", "build-plugins"])
}

fn unknown_import(lab: &Lab) -> Result<(), Trouble> {
    let bytes = replaced(&lab.guest_bytes("guest.wasm")?, "sunmao:kernel/log@", "sunmao:kernel/lag@");
    refused(lab.load("unknown-import", &bytes), &["sunmao:kernel/lag"])
}

/// The guest as if it had been built for another version of the ABI.
fn built_for(lab: &Lab, version: &str) -> Result<(), Trouble> {
    let bytes = replaced(&lab.guest_bytes("guest.wasm")?, "@0.1.0", &format!("@{version}"));
    refused(lab.load(&format!("abi-{version}"), &bytes), &[version, "0.1.0"])
}

fn later_minor(lab: &Lab) -> Result<(), Trouble> {
    built_for(lab, "1.9.9")
}

fn later_major(lab: &Lab) -> Result<(), Trouble> {
    built_for(lab, "2.0.0")
}

fn later_patch(lab: &Lab) -> Result<(), Trouble> {
    built_for(lab, "0.1.9")
}

fn wasi(lab: &Lab) -> Result<(), Trouble> {
    let bytes = lab.guest_bytes("guest-wasi.wasm")?;
    refused(lab.load("guest-wasi", &bytes), &["wasi:"])?;
    let options = LoadOptions { wasi_inert: true, ..LoadOptions::default() };
    let plugin = lab.runtime.load(&lab.file("guest-wasi.wasm", &bytes), &options)?;
    let name = plugin.chip().map(|facts| facts.info.name.clone()).unwrap_or_default();
    ensure(name == "wasi: 0 variables, clock stands still", || format!("the inert WASI shows `{name}`"))
}

fn broken_promise(lab: &Lab) -> Result<(), Trouble> {
    let chip = Chip::new("guest".into(), Vec::new(), FastPaths::Off, lab.guest(11)??);
    let broken = BrokenPromises::default();
    let scout = Scout::new(&chip, &broken);
    let mut selector = Selector { chip: Some(scout), fast_paths: FastPathRules::off("not asked for"), strict: false };
    let mut operation = Probe::sum().operation;
    // The guest's table promises it.
    operation.op = "MatMul".into();
    operation.inputs[1].as_mut().expect("a sum has two inputs").shape = vec![40, 40];
    let placed = selector.place("node", &operation)?;
    ensure(placed.place == Place::Portable && placed.reason.contains("broken promise"), || {
        format!("it was placed on {}: {}", placed.place, placed.reason)
    })
}

fn any_subset(lab: &Lab) -> Result<(), Trouble> {
    let probes = Probe::of(&lab.plugin)?;
    let mut random = 1u64;
    for _ in 0..20 {
        let mut bed = Bed::new(&lab.plugin)?;
        // A subset in an order of its own, each on the same instance.
        for _ in 0..probes.len() {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let probe = &probes[(random >> 33) as usize % probes.len()];
            let kernel = bed.instance.prepare(&probe.operation).map_err(|error| format!("{}: {error}", probe.op()))?;
            let needs = bed.instance.requirements(kernel)?;
            let again = bed.instance.requirements(kernel)?;
            ensure(needs == again, || format!("{}: `requirements` answers differently the second time", probe.op()))?;
        }
    }
    Ok(())
}

fn describe_traps(lab: &Lab) -> Result<(), Trouble> {
    match lab.guest(29)? {
        Err(PluginError::Trap { call: "describe", .. }) => Ok(()),
        other => Err(Trouble::Failed(format!("{other:?}"))),
    }
}

fn endless_table(lab: &Lab) -> Result<(), Trouble> {
    refused(lab.guest(24)?, &["operators"])
}

fn stolen_id(lab: &Lab) -> Result<(), Trouble> {
    let thief = lab.guest(34)??;
    ensure(thief.id() == "portable", || format!("the guest calls itself {}", thief.id()))?;
    let registry = Registry::default();
    registry.add_chip(Chip::new("portable".into(), Vec::new(), FastPaths::Off, lab.guest(0)??));
    registry.add_chip(Chip::new("thief".into(), Vec::new(), FastPaths::Off, thief.clone()));
    let kept = registry.chip("portable")?.plugin.number();
    ensure(kept != thief.number(), || "the name `portable` leads to the thief".into())?;
    let (session, _) = lab.serve("thief", thief)?;
    ensure(ask(&session, 5)?, || "under a name of its own it answers wrong".into())
}
