//! The packed forms of matrices of bytes: words of two numbers of 16 bits, which are neighbours along the depth, with the zero point taken off.
//!
//! Left: tiles of six rows, within a tile the rows of one pair together. Right: panels of sixteen columns, within a panel the columns of one pair
//! together. What fills up the last tile, panel or pair is zero.

use super::micro::{COLUMNS, ROWS};

/// Two numbers of 16 bits as a word, the first one in the low half.
pub(crate) fn word(first: i16, second: i16) -> i32 {
    i32::from(first as u16) | i32::from(second) << 16
}

/// A number as it is multiplied: a byte less its zero point.
#[derive(Clone, Copy)]
pub(crate) struct Less {
    /// What makes the byte unsigned.
    pub(crate) flip: u8,
    /// The zero point, made unsigned too.
    pub(crate) zero: u8,
}

impl Less {
    pub(crate) fn number(self, byte: u8) -> i16 {
        i16::from(byte ^ self.flip) - i16::from(self.zero)
    }
}

/// Words of a left side of so many rows and pairs.
pub(crate) fn left_words(rows: usize, pairs: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * pairs
}

/// Words of a right side of so many columns and pairs.
pub(crate) fn right_words(columns: usize, pairs: usize) -> usize {
    columns.div_ceil(COLUMNS) * COLUMNS * pairs
}

/// Packs a right side of `depth` rows of `columns` bytes each.
///
/// # Safety
/// `depth * columns` bytes are readable at `from`; [`right_words`] words are writable at `to`, and nobody else's.
pub(crate) unsafe fn right(from: *const u8, depth: usize, columns: usize, less: Less, to: *mut i32) {
    let pairs = depth.div_ceil(2);
    for panel in 0..columns.div_ceil(COLUMNS) {
        for pair in 0..pairs {
            for c in 0..COLUMNS {
                let column = panel * COLUMNS + c;
                let number = |row: usize| {
                    if row < depth && column < columns {
                        // SAFETY: row and column are the matrix's.
                        less.number(unsafe { from.add(row * columns + column).read() })
                    } else {
                        0
                    }
                };
                let value = word(number(2 * pair), number(2 * pair + 1));
                // SAFETY: place `(panel * pairs + pair) * COLUMNS + c` of the packed form.
                unsafe { to.add((panel * pairs + pair) * COLUMNS + c).write_unaligned(value) };
            }
        }
    }
}

/// Packs `rows` rows of `depth` bytes each as a left side.
///
/// # Safety
/// `rows * depth` bytes are readable at `from`; [`left_words`] words are writable at `to`, and nobody else's.
pub(crate) unsafe fn left_rows(from: *const u8, rows: usize, depth: usize, less: Less, to: *mut i32) {
    let pairs = depth.div_ceil(2);
    for tile in 0..rows.div_ceil(ROWS) {
        let to = to.wrapping_add(tile * ROWS * pairs);
        for r in 0..ROWS {
            let row = tile * ROWS + r;
            for pair in 0..pairs {
                let number = |place: usize| {
                    if row < rows && place < depth {
                        // SAFETY: row and place are the matrix's.
                        less.number(unsafe { from.add(row * depth + place).read() })
                    } else {
                        0
                    }
                };
                let value = word(number(2 * pair), number(2 * pair + 1));
                // SAFETY: the tile takes `pairs * ROWS` words.
                unsafe { to.add(pair * ROWS + r).write_unaligned(value) };
            }
        }
    }
}
