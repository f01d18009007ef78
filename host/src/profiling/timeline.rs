//! Events of one run put together: what shards of one dispatch took from the first start to the last end.

use super::{Span, Sums};
use crate::engine::{Event, What};
use std::collections::HashMap;

/// Time and count of each of `rows` rows. `number` answers the row of an event. A dispatch that is run again (in a loop) counts again: the
/// n-th event of a shard, or of a thread that runs the whole by itself, belongs to its n-th time.
pub(super) fn sums(events: &[Event], number: impl Fn(&Event) -> Option<usize>, rows: usize) -> Vec<Sums> {
    let mut times: HashMap<(usize, u32), u64> = HashMap::new();
    let mut spans: HashMap<(usize, u64), (u64, u64)> = HashMap::new();
    for event in events {
        let Some(row) = number(event) else { continue };
        let nth = times.entry((row, lane(event))).or_default();
        let span = spans.entry((row, *nth)).or_insert((event.start, event.end));
        *span = (span.0.min(event.start), span.1.max(event.end));
        *nth += 1;
    }
    let mut sums = vec![Sums::default(); rows];
    for ((row, _), (start, end)) in spans {
        sums[row].time += end.saturating_sub(start);
        sums[row].count += 1;
    }
    sums
}

/// The events as spans.
pub(super) fn spans(events: &[Event], number: impl Fn(&Event) -> Option<usize>) -> Vec<Span> {
    let span = |event: &Event| {
        let time = event.end.saturating_sub(event.start);
        Span { row: number(event), thread: event.thread, shard: shard(event), start: event.start, time }
    };
    events.iter().map(span).collect()
}

fn shard(event: &Event) -> u32 {
    match event.what {
        What::Dispatch { shard, .. } => shard,
        What::Host { .. } | What::CopyIn { .. } | What::CopyOut { .. } | What::Wait => 0,
    }
}

/// What happens one after the other: the times of one shard, or what one thread does.
fn lane(event: &Event) -> u32 {
    match event.what {
        What::Dispatch { shard, shards, .. } if shards > 1 => shard,
        _ => event.thread,
    }
}
