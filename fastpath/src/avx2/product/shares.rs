//! How evenly a product can be shared out.

/// How much longer the longest share of `batches` times `length` rows or columns is than a fair one, if shares are cut as [`sunmao_plugin_sdk::Call::share`] cuts units of
/// `granule`. The last unit of a batch may be a small one.
pub(super) fn uneven(length: usize, granule: usize, shards: usize, batches: usize) -> f64 {
    let units = length.div_ceil(granule).max(1);
    let before = |shard: usize| {
        let unit = batches * units * shard / shards;
        unit / units * length + (unit % units * granule).min(length)
    };
    let longest = (0..shards).map(|shard| before(shard + 1) - before(shard)).max().unwrap_or(0);
    (longest * shards) as f64 / (batches * length).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::uneven;
    use crate::avx2::micro::{COLUMNS, ROWS};

    #[test]
    fn a_share_is_as_long_as_its_rows_or_columns() {
        // Three panels of sixteen and one of a single column.
        assert_eq!(uneven(49, COLUMNS, 2, 1), 64.0 / 49.0);
        assert_eq!(uneven(49, COLUMNS, 2, 8), 1.0);
        assert_eq!(uneven(512, ROWS, 2, 1), 258.0 / 256.0);
        assert_eq!(uneven(0, COLUMNS, 3, 2), 0.0);
        assert_eq!(uneven(5, ROWS, 4, 1), 4.0);
    }
}
