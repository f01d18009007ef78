//! The exported interface, written without the SDK's export macro so that every function can be made to lie.

use crate::honest::{self, Bound, Work};
use crate::{misdeeds, mode};
use core::arch::wasm32::memory_grow;
use std::cell::{Cell, RefCell};
use sunmao_plugin_sdk::__chip_bindings as bindings;
use sunmao_plugin_sdk::abi::{Alias, Info, Operation, OperatorSupport, PackedConstant, Requirements, View};
use sunmao_plugin_sdk::{Call, Error, ErrorCode, Result, check_views};

use bindings::exports::sunmao::kernel::device::{Guest, GuestKernel, Kernel};

thread_local! {
    /// Start and end of the arena.
    static ARENA: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    static DISPATCHES: RefCell<Vec<Option<Bound>>> = const { RefCell::new(Vec::new()) };
    /// Calls of `run` in the life of this instance.
    static RUNS: Cell<u32> = const { Cell::new(0) };
    /// The first result of the run before.
    static FORMER: Cell<f32> = const { Cell::new(0.0) };
    /// Calls of `requirements`.
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

struct Guests;

impl Guest for Guests {
    type Kernel = Handle;

    fn describe() -> Info {
        let mut info = honest::describe();
        match mode() {
            7 => misdeeds::spin(),
            23 => misdeeds::chatter(),
            27 => info.id = "../../../tmp/owned".into(),
            28 => {
                info.name = "N".repeat(1 << 20);
                info.vendor = "V".repeat(1 << 20);
                info.version = "9".repeat(1 << 20);
            }
            29 => misdeeds::trap(),
            34 => info.id = "portable".into(),
            44 => info.alignment = 1 << 31,
            35 => {
                info.alignment = 3;
                info.max_shards = 0;
            }
            _ => {}
        }
        info
    }

    fn operators() -> Vec<OperatorSupport> {
        let mut rows = honest::operators();
        match mode() {
            11 => rows.extend([honest::row("Conv", 1, 3), honest::row("MatMul", 1, 2), honest::row("Gemm", 1, 3)]),
            24 => {
                let row = OperatorSupport { op: "A".into(), signatures: Vec::new(), ..honest::row("A", 1, 0) };
                // A row takes some 300 bytes until it is lowered.
                let count = misdeeds::affordable(1_000_000, 320);
                rows.extend(std::iter::repeat_n(row, count));
            }
            _ => {}
        }
        rows
    }

    fn reserve(bytes: u32, align: u32) -> Result<u32> {
        if mode() == 36 {
            misdeeds::spin();
        }
        if mode() == 18 {
            return Ok(misdeeds::memory_bytes() as u32);
        }
        let size = misdeeds::memory_bytes();
        let start = size.next_multiple_of(u64::from(align.max(65536)));
        let pages = (start - size + u64::from(bytes)).div_ceil(65536);
        if memory_grow(0, pages as usize) == usize::MAX {
            return Err(Error::new(ErrorCode::OutOfMemory, format!("an arena of {bytes} bytes was denied")));
        }
        ARENA.set((start as u32, (start + u64::from(bytes)).min(u64::from(u32::MAX)) as u32));
        Ok(match mode() {
            15 => 0xffff_0000,
            16 => start as u32 + 13,
            17 => 65536,
            _ => start as u32,
        })
    }

    fn run(first: u32, count: u32, shard: u32, shards: u32, base: u32) -> Result<()> {
        RUNS.set(RUNS.get() + 1);
        match mode() {
            1 => misdeeds::spin(),
            2 => misdeeds::spin_over_memory(),
            3 => misdeeds::trap(),
            4 if RUNS.get() == 4 => misdeeds::trap(),
            5 if RUNS.get() == 1 => misdeeds::trap(),
            9 => return Err(Error::invalid(format!("the bottom was at {}", misdeeds::recurse()))),
            23 => misdeeds::chatter(),
            39 => return Err(Error::invalid(format!("{} calls", misdeeds::call_tree()))),
            40 => _ = misdeeds::take_memory(),
            41 => misdeeds::leak(),
            42 | 43 => return Err(Error::invalid(format!("read {}", misdeeds::touch_beyond(mode() == 43)))),
            26 => return Err(Error::new(ErrorCode::Internal, "not today").at(usize::MAX >> 1)),
            _ => {}
        }
        DISPATCHES.with_borrow(|dispatches| {
            for number in first..first.saturating_add(count) {
                let index = if mode() == 25 { (number / 1000) as usize } else { number as usize };
                let Some(Some(bound)) = dispatches.get(index) else {
                    return Err(Error::invalid("no such dispatch").at(number as usize));
                };
                // SAFETY: linear memory starts at address 0, and `bind` checked every view against the arena.
                let call = unsafe { Call::new(std::ptr::null_mut(), base, 0, 0, shard, shards) };
                run_one(bound, &call);
            }
            if mode() == 20 {
                let numbers = first as usize..first as usize + count as usize;
                // SAFETY: as above.
                let call = unsafe { Call::new(std::ptr::null_mut(), base, 0, 0, shard, shards) };
                let keep: Vec<_> =
                    dispatches[numbers].iter().flatten().map(|bound| bound.output_bytes(&call)).collect();
                let (start, end) = ARENA.get();
                misdeeds::scribble(start as usize..end as usize, &keep);
            }
            Ok(())
        })
    }
}

fn run_one(bound: &Bound, call: &Call) {
    match mode() {
        21 => return,
        22 => return bound.fill(call, f32::NAN),
        _ => bound.run(call),
    }
    match mode() {
        46 => bound.spoil(call, |_| RUNS.get() as f32),
        47 => bound.spoil(call, |first| FORMER.replace(first)),
        48 => {
            let last = bound.last_operand(call);
            bound.spoil(call, |_| last);
        }
        _ => {}
    }
    if mode() == 19 {
        let (start, end) = ARENA.get();
        let output = bound.output_bytes(call);
        let around = output.start.saturating_sub(4096).max(start as usize)..(output.end + 4096).min(end as usize);
        misdeeds::scribble(around, &[output]);
    }
}

/// A kernel that the host holds.
struct Handle {
    operation: Operation,
    work: Work,
    dispatches: RefCell<Vec<usize>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if mode() == 32 {
            misdeeds::trap();
        }
        DISPATCHES.with_borrow_mut(|dispatches| {
            for &number in self.dispatches.borrow().iter() {
                dispatches[number] = None;
            }
        });
    }
}

impl GuestKernel for Handle {
    fn prepare(operation: Operation) -> Result<Kernel> {
        match mode() {
            6 => misdeeds::spin(),
            8 => return Err(misdeeds::grow_until_denied()),
            10 => return Err(misdeeds::shout()),
            _ => {}
        }
        let work = Work::new(&operation)?;
        Ok(Kernel::new(Self { operation, work, dispatches: RefCell::default() }))
    }

    fn requirements(&self) -> Requirements {
        ASKED.set(ASKED.get() + 1);
        let mut needs = honest::requirements(&self.work);
        match mode() {
            12 => needs.workspace = u32::MAX,
            13 => {
                let constant = PackedConstant { input: 1, bytes: 64, align: 64, key: "k".into() };
                needs.packed = vec![constant; 1_000_000];
            }
            14 => needs.shards = 0,
            30 => {
                needs.workspace = ASKED.get() * 64;
                needs.shards = 1 + ASKED.get() % 64;
            }
            31 => misdeeds::trap(),
            _ => {}
        }
        needs
    }

    fn pack(&self, input: u32, _src: View, _dst: u32) -> Result<()> {
        Err(Error::invalid("nothing is packed").at(input as usize))
    }

    fn bind(&self, args: Vec<View>, _workspace: u32) -> Result<u32> {
        if mode() == 33 {
            misdeeds::spin();
        }
        let (start, end) = ARENA.get();
        // Any output on any input, or else only what was granted: nothing.
        let alias = |input| Alias { output: 0, input };
        let granted: Vec<Alias> = if mode() == 45 { (0..2).map(alias).collect() } else { Vec::new() };
        let views = check_views(&self.operation, &[], &granted, &args, u64::from(start)..u64::from(end), 64)?;
        let bound = self.work.bind(&views)?;
        let number = DISPATCHES.with_borrow_mut(|dispatches| {
            dispatches.push(Some(bound));
            dispatches.len() - 1
        });
        self.dispatches.borrow_mut().push(number);
        Ok(if mode() == 25 { number as u32 * 1000 + 7 } else { number as u32 })
    }
}

bindings::export!(Guests with_types_in bindings);
