//! Numbers of 16 bits in packed forms: words of two that are neighbours along the depth, with the zero point taken off.
//!
//! Left: tiles of six rows, within a tile the rows of one pair together. Right: panels of sixteen columns, within a panel the columns of one pair
//! together. What fills up the last tile, panel or pair is zero.

use super::micro::ROWS;

pub(crate) use crate::bytes::Less;

/// Two numbers of 16 bits as a word, the first one in the low half.
pub(crate) fn word(first: i16, second: i16) -> i32 {
    i32::from(first as u16) | i32::from(second) << 16
}

/// Words of a left side of so many rows and pairs.
pub(crate) fn left_words(rows: usize, pairs: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * pairs
}
