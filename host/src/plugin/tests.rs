//! Chips, good and bad, through the doors that the host uses.

use super::testing::{Scratch, chip, chip_with, hasty_chip, load, mode, patient, quick, runtime};
use super::{ChipInstance, Kind, Plugin, PluginError};
use crate::memory::{Mapping, Region, Sharing};
use std::sync::Arc;
use std::time::Instant;
use sunmao_plugin_sdk::{ErrorCode, abi};

const PAGE: u64 = 65536;

fn with_arena(bytes: u64) -> ChipInstance {
    arena_of(&chip(), bytes)
}

fn arena_of(plugin: &Arc<Plugin>, bytes: u64) -> ChipInstance {
    let mut instance = ChipInstance::new(plugin).unwrap();
    instance.reserve(bytes).unwrap();
    instance
}

fn operand(constant: bool) -> Option<abi::Operand> {
    Some(abi::Operand {
        dtype: 1,
        shape: vec![16],
        layout: 0,
        constant,
        literal: None,
        quantisation: None,
        extents: Vec::new(),
        ext: Vec::new(),
    })
}

fn add() -> abi::Operation {
    abi::Operation {
        op: "Add".into(),
        revision: 14,
        attributes: vec![abi::Kv { key: "a".into(), val: abi::Attribute::Integers(vec![1, 2]) }],
        inputs: vec![operand(false), operand(true)],
        outputs: vec![operand(false)],
        epilogue: Vec::new(),
        ext: Vec::new(),
    }
}

fn view(offset: u32) -> abi::View {
    abi::View { offset, slotted: true, dtype: 1, shape: vec![16], strides: Vec::new(), layout: 0 }
}

#[test]
fn a_chip_says_who_it_is() {
    let plugin = chip();
    let Kind::Chip(facts) = plugin.kind() else { panic!("not a chip") };
    assert_eq!((facts.info.id.as_str(), facts.info.alignment, facts.info.max_shards), ("wat-chip", 64, 4));
    assert_eq!(facts.operators.len(), 1);
    assert_eq!((facts.operators[0].op.as_str(), facts.operators[0].revision_max), ("Add", 14));
    assert!(plugin.compiled().polls > 5, "{:?}", plugin.compiled());
}

#[test]
fn a_kernel_is_prepared_bound_and_run() {
    let mut instance = with_arena(PAGE);
    let kernel = instance.prepare(&add()).unwrap();
    assert_eq!(instance.requirements(kernel).unwrap().shards, 4);
    assert_eq!(instance.bind(kernel, &[view(0), view(64), view(128)], 0).unwrap(), 0);
    assert_eq!(instance.bind(kernel, &[view(0), view(64), view(128)], 0).unwrap(), 1);
    instance.run(mode::OK, 1, 0, 1, 0).unwrap();
    instance.run(mode::LOG, 1, 0, 1, 0).unwrap();
    instance.drop_kernel(kernel);
    assert!(matches!(instance.requirements(kernel), Err(PluginError::Misuse { .. })));
    let other = with_arena(PAGE).prepare(&add()).unwrap();
    assert!(matches!(instance.requirements(other), Err(PluginError::Misuse { .. })), "a handle of another instance");
    assert!(matches!(instance.bind(kernel, &[view(u32::MAX)], 0), Err(PluginError::Misuse { .. })));
}

#[test]
fn instances_and_the_host_meet_in_one_region() {
    let region = Region::anonymous("slots", 4 * PAGE).unwrap();
    let host = Mapping::reserve(4 * PAGE).unwrap();
    host.map(0, &region, 0, 4 * PAGE, Sharing::Shared).unwrap();
    host.write(PAGE, &41u32.to_le_bytes()).unwrap();
    let mut instances: Vec<_> = (0..2).map(|_| with_arena(4 * PAGE)).collect();
    for instance in &mut instances {
        instance.map(0, &region, 0, 4 * PAGE, Sharing::Shared).unwrap();
        instance.run(mode::TOUCH, 1, 0, 1, PAGE as u32).unwrap();
    }
    let mut word = [0; 4];
    host.read(PAGE, &mut word).unwrap();
    assert_eq!(u32::from_le_bytes(word), 43);

    let instance = &mut instances[0];
    instance.map(0, &region, 0, 4 * PAGE, Sharing::CopyOnWrite).unwrap();
    instance.run(mode::TOUCH, 1, 0, 1, PAGE as u32).unwrap();
    instance.unmap(0, 4 * PAGE).unwrap();
    instance.run(mode::TOUCH, 1, 0, 1, PAGE as u32).unwrap();
    host.read(PAGE, &mut word).unwrap();
    assert_eq!(u32::from_le_bytes(word), 43, "neither a private copy nor private zeros reach the region");
    assert!(instance.map(3 * PAGE, &region, 0, 2 * PAGE, Sharing::Shared).is_err(), "beyond the arena");
}

#[test]
fn a_constant_is_packed() {
    let region = Region::anonymous("constants", 2 * PAGE).unwrap();
    region.write_at(0, &[7; 64]).unwrap();
    let mut instance = with_arena(2 * PAGE);
    instance.map(0, &region, 0, 2 * PAGE, Sharing::Shared).unwrap();
    let kernel = instance.prepare(&add()).unwrap();
    instance.pack(kernel, 1, &view(0), PAGE, 64).unwrap();
    let mut packed = [0; 65];
    region.read_at(PAGE, &mut packed).unwrap();
    assert_eq!((packed[63], packed[64]), (7, 0));
    assert!(matches!(instance.pack(kernel, 1, &view(0), 2 * PAGE, 64), Err(PluginError::Misuse { .. })));
}

#[test]
fn an_error_leaves_the_instance_alive() {
    let mut instance = with_arena(PAGE);
    for (count, expected) in [(1, Some(7)), (0, None)] {
        let Err(PluginError::Plugin { code, message, index, .. }) = instance.run(mode::ERROR, count, 0, 1, 0) else {
            panic!("no error")
        };
        // It names dispatch 7, which is the one that was run, or none of them.
        assert_eq!((code, message.as_str(), index), (ErrorCode::InvalidArgument, "said no", expected));
    }
    instance.run(mode::OK, 1, 0, 1, 0).unwrap();
}

#[test]
fn what_traps_is_dead_and_its_successor_is_not() {
    for bad in [mode::TRAP, mode::RECURSE, mode::READ_FAR] {
        let mut instance = with_arena(PAGE);
        let error = instance.run(bad, 1, 0, 1, 0).unwrap_err();
        assert!(matches!(error, PluginError::Trap { .. }), "{bad}: {error}");
        assert!(instance.is_dead());
        assert!(matches!(instance.run(mode::OK, 1, 0, 1, 0), Err(PluginError::Dead)));
        assert!(matches!(instance.prepare(&add()), Err(PluginError::Dead)));
        with_arena(PAGE).run(mode::OK, 1, 0, 1, 0).unwrap();
    }
}

#[test]
fn whatever_does_not_come_back_is_stopped() {
    let limit = hasty_chip().limits().deadline;
    for bad in [mode::SPIN, mode::SPIN_INSIDE, mode::SPIN_MEMORY, mode::CALL_TREE, mode::FILL] {
        let mut instance = arena_of(&hasty_chip(), 256 << 20);
        let started = Instant::now();
        let error = instance.run(bad, 1, 0, 1, 0).unwrap_err();
        assert!(matches!(error, PluginError::Deadline { call: "run", .. }), "{bad}: {error}");
        // How soon after it is the bench's question: the machine may be busy with other tests.
        assert!(started.elapsed() >= limit, "{bad}");
        assert!(instance.is_dead());
    }
}

#[test]
fn a_deadline_stops_the_instance_that_passed_it_and_no_other() {
    let mut others: Vec<_> = (0..4).map(|_| with_arena(PAGE)).collect();
    let spinning = std::thread::spawn(|| {
        for _ in 0..5 {
            let error = arena_of(&hasty_chip(), PAGE).run(mode::SPIN, 1, 0, 1, 0).unwrap_err();
            assert!(matches!(error, PluginError::Deadline { .. }));
        }
    });
    while !spinning.is_finished() {
        for instance in &mut others {
            instance.run(mode::OK, 100, 0, 1, 0).unwrap();
        }
    }
    spinning.join().unwrap();
}

#[test]
fn bulk_operations_in_pieces_do_what_whole_ones_do() {
    let mut instance = with_arena(8 << 20);
    instance.run(mode::COPY, 1, 0, 1, 0).unwrap();
}

#[test]
fn memory_is_capped_and_the_arena_is_not_counted() {
    let mut instance = with_arena(64 << 20);
    let error = instance.run(mode::GROW, 1, 0, 1, 0).unwrap_err();
    assert!(matches!(error, PluginError::OutOfMemory { .. }), "{error}");
    let grown = instance.memory_bytes();
    assert_eq!(grown, (64 << 20) + (8 << 20), "the arena and the cap");
}

#[test]
fn an_arena_is_where_the_host_saw_it_and_dispatches_count_up() {
    let mut instance = ChipInstance::new(&chip()).unwrap();
    assert!(matches!(instance.reserve(0), Err(PluginError::Misuse { .. })));
    assert!(matches!(instance.reserve(1 << 32), Err(PluginError::Misuse { .. })));
    let start = instance.reserve(100).unwrap();
    assert!(start.is_multiple_of(PAGE) && start + PAGE == instance.memory_bytes());
    assert!(matches!(instance.reserve(PAGE), Err(PluginError::Misuse { .. })));

    let jumper = chip_with(|text| {
        text.replace("(call $ok (i32.sub (global.get $bound) (i32.const 1)))", "(call $ok (i32.const 3))")
    });
    let mut instance = arena_of(&load(&jumper, &patient()).unwrap(), PAGE);
    let kernel = instance.prepare(&add()).unwrap();
    let error = instance.bind(kernel, &[view(0), view(64), view(128)], 0).unwrap_err();
    assert!(matches!(error, PluginError::Broken { call: "bind", .. }), "{error}");

    let liar = chip_with(|text| text.replace("(;reserve;) (i32.const 0)", "(i32.const -65536)"));
    let mut instance = ChipInstance::new(&load(&liar, &patient()).unwrap()).unwrap();
    let error = instance.reserve(PAGE).unwrap_err();
    assert!(matches!(error, PluginError::Broken { .. }), "{error}");
    assert!(instance.is_dead());
}

#[test]
fn a_large_arena_takes_no_memory() {
    let before = crate::memory::pss_bytes().unwrap();
    let mut instance = with_arena(3 << 30);
    instance.run(mode::OK, 1, 0, 1, 0).unwrap();
    assert!(crate::memory::pss_bytes().unwrap() < before + (512 << 20));
}

#[track_caller]
fn refusal(bytes: &[u8]) -> PluginError {
    load(bytes, &patient()).unwrap_err()
}

#[test]
fn what_breaks_while_it_is_loaded_is_refused() {
    let loops = chip_with(|text| text.replace("(;describe;)", "(loop $l (br $l))"));
    assert!(matches!(load(&loops, &quick()).unwrap_err(), PluginError::Deadline { call: "describe", .. }));
    let traps = chip_with(|text| text.replace("(;describe;)", "unreachable"));
    assert!(matches!(refusal(&traps), PluginError::Trap { call: "describe", .. }));
    let starts = chip_with(|text| {
        text.replace("(;describe;)", "").replacen("(func $ok", "(start $go) (func $go (loop $l (br $l))) (func $ok", 1)
    });
    assert!(matches!(load(&starts, &quick()).unwrap_err(), PluginError::Deadline { call: "instantiate", .. }));
    let nonsense = chip_with(|text| text.replace(r#""wat-chip""#, r#""WAT chip""#));
    assert!(matches!(refusal(&nonsense), PluginError::Broken { call: "describe", .. }));
    let huge = chip_with(|text| text.replace(r#"(memory (export "memory") 16)"#, r#"(memory (export "memory") 4096)"#));
    assert!(matches!(refusal(&huge), PluginError::OutOfMemory { call: "instantiate", .. }));
    // A list of 2^31 operators.
    let list = chip_with(|text| text.replace(r#""\90\04\00\00\01\00\00\00""#, r#""\00\00\00\00\00\00\00\80""#));
    assert!(matches!(refusal(&list), PluginError::Trap { call: "operators", .. }));
    let reserved =
        chip_with(|text| text.replace(r#"(memory (export "memory") 16)"#, r#"(memory (export "memory") 16 0x5afe)"#));
    assert!(refusal(&reserved).to_string().contains("reserves"));
}

#[test]
fn a_pin_is_kept() {
    let bytes = chip_with(|text| text);
    let mut options = patient();
    options.pin = Some(super::Digest::of(&bytes));
    load(&bytes, &options).unwrap();
    options.pin = Some(super::Digest::of(b"another"));
    let error = load(&bytes, &options).unwrap_err().to_string();
    assert!(error.contains("pinned"), "{error}");
}

#[test]
fn files_that_are_no_plugins_are_refused() {
    let scratch = Scratch::new();
    let load = |path: &std::path::Path| runtime().load(path, &quick()).unwrap_err();
    assert!(matches!(load(&scratch.0.join("nothing.wasm")), PluginError::Unreadable { .. }));
    assert!(matches!(load(&scratch.0), PluginError::Refused { .. }));
    let large = scratch.file("large.wasm", b"");
    std::fs::File::options().write(true).open(&large).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(load(&large).to_string().contains("larger than 64 MiB"));
}

#[test]
fn mutated_components_are_refused_or_harmless() {
    let bytes = chip_with(|text| text);
    let mut seed = 1u64;
    for _ in 0..300 {
        let mut bytes = bytes.clone();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] = (seed >> 16) as u8;
        }
        if let Ok(plugin) = load(&bytes, &quick()) {
            let mut instance = ChipInstance::new(&plugin).unwrap();
            let _ = instance.reserve(PAGE);
            let _ = instance.run(mode::OK, 1, 0, 1, 0);
        }
    }
}

#[test]
fn a_component_without_the_exports_is_refused() {
    let error = refusal(&wat::parse_str("(component)").unwrap());
    assert!(matches!(error, PluginError::Refused { .. }), "{error}");
    let empty = r#"(component (instance $i) (export "sunmao:kernel/device@0.1.0" (instance $i)))"#;
    let error = refusal(&wat::parse_str(empty).unwrap());
    assert!(matches!(error, PluginError::Refused { .. }), "{error}");
}
