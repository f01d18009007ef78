//! What the host adds to each dispatch, averaged over a whole plan of operators that do next to nothing.

use crate::figure::{Goal, Report};
use crate::rig::{Bench, On, Rig, Sketch, repeat};
use anyhow::Result;
use std::time::Duration;
use sunmao_graph::{DType, Graph};
use sunmao_host::plan::Schedule;

/// A chain of that many `Relu` on one number: sixteen took the portable kernel nearly half of the time that was counted as the host's.
fn chain(length: usize) -> Graph {
    let mut sketch = Sketch::new();
    let shape = [1];
    let mut value = sketch.input(DType::F32, &shape);
    for _ in 0..length {
        value = sketch.node("Relu", 14, &[value], (DType::F32, &shape));
    }
    sketch.finish(value)
}

/// Nanoseconds per dispatch: the slope between a short and a long plan, so that what a request costs once is left out.
fn slope(bench: impl Fn(usize) -> Result<Bench>, time: Duration) -> Result<f64> {
    let (short, long) = (bench(32)?, bench(1056)?);
    let mut failed = None;
    let mut measure = |bench: &Bench| {
        repeat(time, 50, || {
            if let Err(error) = bench.run() {
                failed = Some(error);
            }
        })
    };
    let difference = measure(&long) - measure(&short);
    match failed {
        Some(error) => Err(error),
        None => Ok(difference * 1e9 / (long.dispatches() - short.dispatches()) as f64),
    }
}

/// The three overhead figures.
pub(crate) fn measure(report: &mut Report<'_>, rig: &Rig, quick: bool) -> Result<()> {
    let time = Duration::from_millis(if quick { 200 } else { 1500 });
    let plugin = rig.chip("simd128")?;
    let alone = slope(|length| Bench::new(chain(length), On::Plugin(&plugin), 1, |_| ()), time)?;
    report.line("overhead.plugin.t1", alone, " ns", Goal::AtMost(100.0), 1024);
    let sharded = |length| {
        Bench::new(chain(length), On::Plugin(&plugin), 2, |plan| {
            for dispatch in &mut plan.dispatches {
                dispatch.shards = 2;
            }
            plan.shared = Schedule::new(&plan.dispatches, 2);
        })
    };
    report.line("overhead.sharded.t2", slope(sharded, time)?, " ns", Goal::AtMost(600.0), 1024);
    let native = slope(|length| Bench::new(chain(length), On::Portable, 1, |_| ()), time)?;
    report.line("overhead.native.t1", native, " ns", Goal::AtMost(60.0), 1024);
    Ok(())
}
