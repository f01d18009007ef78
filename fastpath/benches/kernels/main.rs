//! Every family of fast paths on its own, beside what the machine can do at most.
//!
//! `cargo bench -p sunmao-fastpath` times them all and prints a roofline first: for each case the operations and bytes that it cannot do without, the time
//! that they take at the measured peak and bandwidth, and the share of it that the kernel reaches. One thread, operands in cache where they fit.
//!
//! `cargo bench -p sunmao-fastpath -- --list-cases` names the cases, and `-- --once NAME` runs one of them once: `cargo xtask figures instructions` counts its
//! instructions under callgrind.

mod cases;
mod ready;

use criterion::{Criterion, Throughput};
use ready::Ready;
use std::time::{Duration, Instant};
use sunmao_fastpath::machine;

/// Memory that the bandwidth is measured over.
const PROBED_BYTES: usize = 256 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cases = cases::all();
    if arguments.iter().any(|argument| argument == "--list-cases") {
        cases.iter().for_each(|case| println!("{}", case.name));
        return;
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--once") {
        let name = arguments.get(at + 1).expect("--once NAME");
        let case = cases.iter().find(|case| case.name == name).expect("one of --list-cases");
        let ready = Ready::new(case).expect("the case has a fast path on this machine");
        // What is loaded lazily, and caches, are warm for the one that counts.
        ready.run();
        counted(&ready);
        return;
    }
    let ready: Vec<(&cases::Case, Ready)> = cases.iter().filter_map(|case| Some((case, Ready::new(case)?))).collect();
    roofline(&ready);
    let mut criterion = Criterion::default().configure_from_args();
    for (case, ready) in &ready {
        let mut group = criterion.benchmark_group(case.operation.op.as_str());
        group.throughput(Throughput::Elements(case.operations));
        group.sample_size(20).measurement_time(Duration::from_secs(2));
        group.bench_function(case.name, |bencher| bencher.iter(|| ready.run()));
        group.finish();
    }
    criterion.final_summary();
}

/// A name of its own, so that a profiler can be told to count here alone.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn sunmao_counted(ready: *const Ready) {
    // SAFETY: `counted` alone calls this, with a reference that lives until it returns.
    unsafe { &*ready }.run();
}

fn counted(ready: &Ready) {
    sunmao_counted(std::hint::black_box(ready));
}

fn roofline(ready: &[(&cases::Case, Ready)]) {
    let (Some(flops), Some(read)) = (machine::flops(1), machine::read_bytes_per_second(1, PROBED_BYTES)) else {
        return;
    };
    println!("peak {:.1} GFLOP/s, read {:.1} GB/s, one thread", flops / 1e9, read / 1e9);
    println!("{:<28} {:>9} {:>9} {:>9} {:>9} {:>7}", "case", "Mop", "MB", "us", "GFLOP/s", "roof");
    for (case, ready) in ready {
        let least = (case.operations as f64 / flops).max(ready.bytes as f64 / read);
        let seconds = seconds(ready);
        println!(
            "{:<28} {:>9.2} {:>9.3} {:>9.1} {:>9.1} {:>6.0}%",
            case.name,
            case.operations as f64 / 1e6,
            ready.bytes as f64 / 1e6,
            seconds * 1e6,
            case.operations as f64 / seconds / 1e9,
            least / seconds * 100.0
        );
    }
}

/// The median of a tenth of a second.
fn seconds(ready: &Ready) -> f64 {
    ready.run();
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < 3 || start.elapsed() < Duration::from_millis(100) {
        let before = Instant::now();
        ready.run();
        times.push(before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
