//! Runs one operation again and again, on one thread or several.

use super::{I8, U8, quantised, width};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use sunmao_plugin_sdk::abi::{Operation, View};
use sunmao_plugin_sdk::{Call, Dispatch, Reader, Writer, check_views};

/// Whole cache lines, so that the arena's start is aligned as a mapping's is.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line {
    _floats: [f32; 16],
}

/// Seconds of runs. Where the core is shared with somebody's thread, the two differ.
pub(super) struct Times {
    /// Nobody disturbed it.
    pub(super) fastest: f64,
    pub(super) middle: f64,
}

/// Times an operation on as many threads as it splits into, at most `threads`.
pub(super) fn time(operation: &Operation, threads: usize) -> Result<Times, String> {
    let kernel = sunmao_fastpath::prepare(operation).ok_or("no fast path on this machine")?;
    let kernel = kernel.map_err(|error| error.to_string())?;
    let needs = kernel.requirements();
    let (mut views, mut end) = (Vec::new(), 0);
    let mut place = |floats: usize| {
        let at: usize = end;
        end = (at + floats).next_multiple_of(16);
        at
    };
    for (index, operand) in operation.inputs.iter().chain(&operation.outputs).enumerate() {
        let operand = operand.as_ref().ok_or("an operand is missing")?;
        let packed = needs.packed.iter().find(|packed| packed.input as usize == index);
        let (dtype, shape) = packed.map_or((operand.dtype, operand.shape.clone()), |packed| (U8, vec![packed.bytes]));
        let bytes = shape.iter().map(|&d| d as usize).product::<usize>() * width(dtype);
        let at = place(bytes.div_ceil(4));
        let offset = (at * 4) as u32;
        views.push(View { offset, slotted: true, dtype, shape, strides: Vec::new(), layout: 0 });
    }
    let shards = threads.min(needs.shards.max(1) as usize);
    let workspaces: Vec<usize> = (0..shards).map(|_| place(needs.workspace as usize / 4 + 16)).collect();
    let mut arena = vec![Line { _floats: [0.01; 16] }; end.div_ceil(16) + 1];
    let memory: *mut u8 = arena.as_mut_ptr().cast();
    for packed in &needs.packed {
        let operand = operation.inputs[packed.input as usize].as_ref().ok_or("packs nothing")?;
        let mut plain = vec![0u8; operand.shape.iter().map(|&d| d as usize).product::<usize>() * width(operand.dtype)];
        if operand.dtype == I8 {
            quantised::bell(&mut plain);
        }
        let mut form = vec![0u8; packed.bytes as usize];
        kernel.pack(packed.input, Reader::of(&plain), Writer::of(&mut form)).map_err(|error| error.to_string())?;
        let at = views[packed.input as usize].offset as usize;
        // SAFETY: `place` made room for the packed form inside the arena.
        unsafe { std::ptr::copy_nonoverlapping(form.as_ptr(), memory.add(at), form.len()) };
    }
    let bindings = check_views(operation, &needs.packed, &needs.in_place, &views, 0..(end * 4) as u64, 64)
        .map_err(|error| error.to_string())?;
    let dispatch = kernel.bind(&bindings).map_err(|error| error.to_string())?;
    let call = |shard: usize| {
        let workspace = (workspaces[shard] * 4) as u32;
        // SAFETY: the views were checked against the arena, which outlives the call; the workspace lies inside it, apart, and is this shard's.
        unsafe { Call::new(memory, 0, workspace, needs.workspace, shard as u32, shards as u32) }
    };
    let calls: Vec<Call> = (0..shards).map(call).collect();
    Ok(times(&*dispatch, &calls))
}

/// Runs the shards at the same time, each on a thread of its own, until there are times enough.
fn times(dispatch: &dyn Dispatch, calls: &[Call]) -> Times {
    let (round, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    const END: usize = usize::MAX;
    std::thread::scope(|scope| {
        for call in &calls[1..] {
            let call = Shard(call);
            let (round, done) = (&round, &done);
            scope.spawn(move || {
                let call = call;
                let mut seen = 0;
                loop {
                    let now = round.load(Ordering::Acquire);
                    if now == END {
                        return;
                    }
                    if now == seen {
                        std::hint::spin_loop();
                        continue;
                    }
                    seen = now;
                    dispatch.run(call.0).expect("shapes and views were checked");
                    done.fetch_add(1, Ordering::Release);
                }
            });
        }
        let (mut times, begin) = (Vec::new(), Instant::now());
        while begin.elapsed().as_secs_f64() < 0.15 || times.len() < 5 {
            let start = Instant::now();
            round.fetch_add(1, Ordering::Release);
            dispatch.run(&calls[0]).expect("shapes and views were checked");
            while done.load(Ordering::Acquire) < (times.len() + 1) * (calls.len() - 1) {
                std::hint::spin_loop();
            }
            times.push(start.elapsed().as_secs_f64());
        }
        round.store(END, Ordering::Release);
        times.sort_by(f64::total_cmp);
        Times { fastest: times[0], middle: times[times.len() / 2] }
    })
}

/// A call that another thread makes.
struct Shard<'a>(&'a Call);

// SAFETY: shards of a dispatch may run on any threads at the same time: they write to different places, and each has a workspace of its own.
unsafe impl Send for Shard<'_> {}
