//! Lays pieces of memory with lifetimes out in one arena, as tightly as a few heuristics manage.
//!
//! Exact packing is NP-hard; largest-first is usually optimal for inference graphs. The best of several orders wins, and when all
//! miss the lower bound, orders are perturbed for a bounded number of rounds from a fixed seed: same input, same layout.

/// A piece of memory: its size and the closed interval of positions in which it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Size.
    pub bytes: u64,
    /// First position that needs it.
    pub first: u32,
    /// Last position that needs it.
    pub last: u32,
}

/// Rounds of perturbation. Each costs as much as one heuristic.
const ROUNDS: usize = 200;
/// Work bound for the perturbation, in pairs of items looked at.
const MAX_PAIRS: usize = 20_000_000;

/// The largest sum of sizes that are needed at one position. No layout is smaller.
pub fn lower_bound(items: &[Item]) -> u64 {
    let mut events: Vec<(u32, bool, u64)> = Vec::with_capacity(items.len() * 2);
    for item in items {
        events.push((item.first, false, item.bytes));
        events.push((item.last + 1, true, item.bytes));
    }
    // At one position the ends (which belong to the position before) come first.
    events.sort_unstable_by_key(|&(position, end, _)| (position, !end));
    let (mut live, mut peak) = (0u64, 0u64);
    for (_, end, bytes) in events {
        live = if end { live - bytes } else { live + bytes };
        peak = peak.max(live);
    }
    peak
}

/// An offset for each item, multiples of `alignment`, such that items needed at the same position do not overlap; and the end of the last.
pub fn assign(items: &[Item], alignment: u64) -> (Vec<u64>, u64) {
    let rounded: Vec<Item> =
        items.iter().map(|item| Item { bytes: item.bytes.next_multiple_of(alignment), ..*item }).collect();
    let bound = lower_bound(&rounded);
    let mut order: Vec<usize> = (0..rounded.len()).collect();
    let mut best: Option<(Vec<u64>, u64, Vec<usize>)> = None;
    let duration = |i: usize| u64::from(rounded[i].last - rounded[i].first + 1);
    let keys: [&dyn Fn(usize) -> (u64, u64); 4] = [
        &|i| (u64::MAX - rounded[i].bytes, u64::MAX - duration(i)),
        &|i| (u64::MAX - duration(i), u64::MAX - rounded[i].bytes),
        &|i| (u64::MAX - rounded[i].bytes.saturating_mul(duration(i)), 0),
        &|i| (u64::from(rounded[i].first), u64::MAX - rounded[i].bytes),
    ];
    for key in keys {
        order.sort_by_key(|&i| (key(i), i));
        keep_better(&mut best, &rounded, &order);
        if best.as_ref().is_some_and(|(_, peak, _)| *peak == bound) {
            break;
        }
    }
    let rounds = ROUNDS.min(MAX_PAIRS / (items.len() * items.len()).max(1));
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..rounds {
        let Some((offsets, peak, order)) = &best else { break };
        if *peak == bound {
            break;
        }
        // Whatever sticks out highest is placed earlier: at the front, or at a random place before its own.
        let mut order = order.clone();
        let top = (0..order.len()).max_by_key(|&at| offsets[order[at]] + rounded[order[at]].bytes).unwrap_or(0);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let from = if random & 3 == 0 { (random >> 8) as usize % order.len() } else { top };
        let to = (random >> 32) as usize % (from + 1);
        let item = order.remove(from);
        order.insert(to, item);
        keep_better(&mut best, &rounded, &order);
    }
    best.map_or((Vec::new(), 0), |(offsets, peak, _)| (offsets, peak))
}

fn keep_better(best: &mut Option<(Vec<u64>, u64, Vec<usize>)>, items: &[Item], order: &[usize]) {
    let (offsets, peak) = place(items, order);
    if best.as_ref().is_none_or(|(_, other, _)| peak <= *other) {
        *best = Some((offsets, peak, order.to_vec()));
    }
}

/// Places items in `order`, each into the smallest gap that it fits between those placed before that it meets in time.
fn place(items: &[Item], order: &[usize]) -> (Vec<u64>, u64) {
    let mut offsets = vec![0u64; items.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(items.len());
    let mut peak = 0;
    for &i in order {
        let item = items[i];
        let mut best: Option<(u64, u64)> = None;
        let mut end = 0u64;
        // `placed` is sorted by offset, so one sweep sees every gap.
        for &j in &placed {
            let other = items[j];
            if other.last < item.first || item.last < other.first {
                continue;
            }
            let gap = offsets[j].saturating_sub(end);
            if gap >= item.bytes && best.is_none_or(|(size, _)| gap < size) {
                best = Some((gap, end));
            }
            end = end.max(offsets[j] + other.bytes);
        }
        offsets[i] = best.map_or(end, |(_, at)| at);
        peak = peak.max(offsets[i] + item.bytes);
        let at = placed.partition_point(|&j| offsets[j] <= offsets[i]);
        placed.insert(at, i);
    }
    (offsets, peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(bytes: u64, first: u32, last: u32) -> Item {
        Item { bytes, first, last }
    }

    #[track_caller]
    fn check(items: &[Item], expected_peak: u64) {
        let (offsets, peak) = assign(items, 64);
        assert_eq!(peak, expected_peak);
        for (i, a) in items.iter().enumerate() {
            assert!(offsets[i].is_multiple_of(64) && offsets[i] + a.bytes <= peak);
            for (j, b) in items.iter().enumerate().skip(i + 1) {
                let meet = a.first <= b.last && b.first <= a.last;
                let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                assert!(!meet || apart, "items {i} and {j} overlap");
            }
        }
    }

    #[test]
    fn a_chain_needs_two_neighbours_at_a_time() {
        let chain: Vec<Item> = (0..10).map(|i| item(640, i, i + 1)).collect();
        check(&chain, 1280);
    }

    #[test]
    fn a_long_lived_item_leaves_no_hole() {
        check(&[item(64, 0, 9), item(6400, 0, 1), item(128, 2, 3), item(6400, 3, 4), item(64, 4, 9)], 6592);
    }

    #[test]
    fn nothing_takes_nothing() {
        check(&[], 0);
    }

    #[test]
    fn random_lifetimes_stay_near_the_lower_bound() {
        let mut random = 7u64;
        let mut next = |n: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % n
        };
        for _ in 0..20 {
            let items: Vec<Item> =
                (0..120u32).map(|i| item((1 + next(64)) * 1024, i, i + 1 + next(6) as u32)).collect();
            let (offsets, peak) = assign(&items, 64);
            assert_eq!(offsets.len(), items.len());
            let bound = lower_bound(&items);
            assert!(peak * 100 <= bound * 115, "peak {peak} against a bound of {bound}");
        }
    }
}
