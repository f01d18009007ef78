//! Where a model's time goes: the traces of several runs, summed up by dispatch and by operator, and written as tables, as a page and for trace viewers.
//!
//! Recording is `engine`'s work, asking for it the command line's.

mod chrome;
mod page;
mod table;
mod timeline;

#[cfg(test)]
mod tests;

use crate::engine::{Event, Trace, What};
use serde::Serialize;
use std::collections::HashMap;

/// What was measured on what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The model's file.
    pub model: String,
    /// Name of the chip.
    pub chip: String,
    /// Threads of a request.
    pub threads: usize,
    /// The instruction set that fast paths are for.
    pub isa: String,
    /// Version of the host.
    pub version: String,
}

/// Several runs of one model, summed up.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    setting: Setting,
    /// Nanoseconds of each run, in order.
    runs: Vec<u64>,
    /// In order of execution.
    rows: Vec<Row>,
    /// By operator and device, the one that takes most time first.
    operators: Vec<OperatorRow>,
    /// Nanoseconds that a thread waits for others in one run: the median over runs, of the mean over threads.
    waiting: u64,
    /// Which run the spans are of: the one in the middle by its time.
    shown: usize,
    /// That run, in order of time.
    spans: Vec<Span>,
}

/// One dispatch, host operator or copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The node's name, or what is copied.
    pub node: String,
    /// Operator, with what was fused behind it.
    pub op: String,
    /// `fast-path`, `chip`, `portable` or `host`.
    pub device: String,
    /// Name of the fast path.
    pub path: Option<String>,
    /// Why nobody better runs it.
    pub reason: String,
    /// Shape of its first output.
    pub shape: Vec<u64>,
    /// Into how many parts it was split.
    pub shards: u32,
    /// How often it was run in one run of the model; more than once in loops alone.
    pub count: u64,
    /// Nanoseconds in one run of the model, from the start of the first shard to the end of the last: the median over runs.
    pub time: u64,
    /// Bytes of its operands in one run of the model.
    pub bytes: u64,
    /// Operations in one run of the model, as its definition counts them.
    pub flops: u64,
}

/// All dispatches of one operator on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorRow {
    /// Operator, with what was fused behind it.
    pub op: String,
    /// As in [`Row`].
    pub device: String,
    /// As in [`Row`].
    pub path: Option<String>,
    /// Dispatches in one run of the model.
    pub count: u64,
    /// The sum of their times, nanoseconds.
    pub time: u64,
    /// The sum of their bytes.
    pub bytes: u64,
    /// The sum of their operations.
    pub flops: u64,
}

/// What one thread did in the run that is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Number of the row; none: it waited for others.
    pub row: Option<usize>,
    /// Which thread.
    pub thread: u32,
    /// Which shard.
    pub shard: u32,
    /// Nanoseconds since the run began.
    pub start: u64,
    /// Nanoseconds.
    pub time: u64,
}

/// What events are told apart by: the plan's address and the dispatch, or what the host did.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Dispatch(usize, u32),
    Host(String, String),
    CopyIn,
    CopyOut,
}

/// One row in one run.
#[derive(Clone, Copy, Default)]
struct Sums {
    time: u64,
    count: u64,
}

impl Profile {
    /// Sums up runs that were traced, each with the nanoseconds that all of it took. None: there is no run.
    pub fn of(setting: Setting, runs: &[(std::sync::Arc<Trace>, u64)]) -> Option<Self> {
        let mut rows: Vec<Row> = Vec::new();
        let mut numbers: HashMap<Key, usize> = HashMap::new();
        let mut by_run: Vec<Vec<Sums>> = Vec::new();
        let mut waits: Vec<u64> = Vec::new();
        for (trace, _) in runs {
            let events = trace.events();
            for event in &events {
                let Some(key) = key(&event.what) else { continue };
                numbers.entry(key).or_insert_with(|| {
                    rows.push(row(&event.what));
                    rows.len() - 1
                });
            }
            let number = |event: &Event| key(&event.what).map(|key| numbers[&key]);
            by_run.push(timeline::sums(&events, number, rows.len()));
            let waited: u64 = events.iter().filter(|event| matches!(event.what, What::Wait)).map(length).sum();
            let threads = events.iter().map(|event| u64::from(event.thread) + 1).max().unwrap_or(1);
            waits.push(waited / threads);
        }
        for (index, row) in rows.iter_mut().enumerate() {
            let of_run = || by_run.iter().map(|sums| sums.get(index).copied().unwrap_or_default());
            row.time = median(of_run().map(|sums| sums.time).collect())?;
            row.count = of_run().map(|sums| sums.count).max().unwrap_or(0);
            row.bytes = row.bytes.saturating_mul(row.count);
            row.flops = row.flops.saturating_mul(row.count);
        }
        let times: Vec<u64> = runs.iter().map(|(_, time)| *time).collect();
        let middle = median(times.clone())?;
        let shown = times.iter().enumerate().min_by_key(|(_, time)| time.abs_diff(middle))?.0;
        let number = |event: &Event| key(&event.what).map(|key| numbers[&key]);
        let spans = timeline::spans(&runs[shown].0.events(), number);
        let operators = by_operator(&rows);
        Some(Self { setting, runs: times, rows, operators, waiting: median(waits)?, shown, spans })
    }

    /// Everything that was run, in order of execution.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Nanoseconds of one run: the median.
    pub fn time(&self) -> u64 {
        median(self.runs.clone()).unwrap_or(0)
    }
}

fn by_operator(rows: &[Row]) -> Vec<OperatorRow> {
    let mut operators: Vec<OperatorRow> = Vec::new();
    for row in rows {
        let same = |one: &&mut OperatorRow| one.op == row.op && one.device == row.device && one.path == row.path;
        let sum = match operators.iter_mut().find(same) {
            Some(sum) => sum,
            None => {
                let (op, device, path) = (row.op.clone(), row.device.clone(), row.path.clone());
                operators.push(OperatorRow { op, device, path, count: 0, time: 0, bytes: 0, flops: 0 });
                operators.last_mut().expect("pushed just now")
            }
        };
        sum.count += row.count;
        sum.time = sum.time.saturating_add(row.time);
        sum.bytes = sum.bytes.saturating_add(row.bytes);
        sum.flops = sum.flops.saturating_add(row.flops);
    }
    operators.sort_by_key(|one| std::cmp::Reverse(one.time));
    operators
}

fn key(what: &What) -> Option<Key> {
    match what {
        What::Dispatch { plan, index, .. } => Some(Key::Dispatch(std::sync::Arc::as_ptr(plan).addr(), *index)),
        What::Host { op, node } => Some(Key::Host(op.clone(), node.clone())),
        What::CopyIn { .. } => Some(Key::CopyIn),
        What::CopyOut { .. } => Some(Key::CopyOut),
        What::Wait => None,
    }
}

/// The row of something, with the bytes and operations of doing it once and no time yet.
fn row(what: &What) -> Row {
    let blank = Row {
        node: String::new(),
        op: String::new(),
        device: "host".into(),
        path: None,
        reason: String::new(),
        shape: Vec::new(),
        shards: 1,
        count: 0,
        time: 0,
        bytes: 0,
        flops: 0,
    };
    match what {
        What::Dispatch { plan, index, shards, .. } => {
            let dispatch = &plan.dispatches[*index as usize];
            let operation = &dispatch.operation;
            let steps = std::iter::once(&operation.op).chain(operation.epilogue.iter().map(|step| &step.op));
            let output = operation.outputs.iter().flatten().next();
            Row {
                node: dispatch.node.clone(),
                op: steps.map(String::as_str).collect::<Vec<_>>().join("+"),
                device: dispatch.place.to_string(),
                path: dispatch.place.fast_path().map(str::to_owned),
                reason: dispatch.reason.clone(),
                shape: output.iter().flat_map(|output| output.shape.iter().map(|&d| u64::from(d))).collect(),
                shards: *shards,
                bytes: dispatch.bytes(),
                flops: dispatch.flops(),
                ..blank
            }
        }
        What::Host { op, node } => Row { node: node.clone(), op: op.clone(), ..blank },
        What::CopyIn { bytes } => Row { node: "(inputs)".into(), op: "copy in".into(), bytes: *bytes, ..blank },
        What::CopyOut { bytes } => Row { node: "(outputs)".into(), op: "copy out".into(), bytes: *bytes, ..blank },
        What::Wait => Row { op: "wait".into(), ..blank },
    }
}

fn length(event: &Event) -> u64 {
    event.end.saturating_sub(event.start)
}

/// So many per second, in billions: a nanosecond each. None: nothing was counted, or no time was seen.
fn rate(amount: u64, nanos: u64) -> Option<f64> {
    (amount > 0 && nanos > 0).then(|| amount as f64 / nanos as f64)
}

/// The one in the middle, the smaller of two; none: there is none.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}
