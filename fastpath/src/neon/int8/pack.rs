//! The packed forms of the two sides, in words of four signed bytes that are neighbours along the depth.
//!
//! Left: tiles of eight rows, within a tile the rows of one quad together. Right: panels of twelve columns, within a panel the columns of one quad
//! together. Behind the quads of a tile or panel lie the sums of its rows or columns. What fills up the last tile, panel or quad is zero.

use super::dot::{COLUMNS, ROWS};
use super::{QUAD, signed};

/// Words of a left side of so many rows and quads.
pub(super) fn left_words(rows: usize, quads: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * (quads + 1)
}

/// Words of a panel of so many quads.
pub(super) fn panel_words(quads: usize) -> usize {
    COLUMNS * (quads + 1)
}

/// Words of a right side of so many columns and quads.
pub(super) fn right_words(columns: usize, quads: usize) -> Option<usize> {
    columns.div_ceil(COLUMNS).checked_mul(panel_words(quads))
}

/// Packs `rows` rows of `depth` bytes each as a left side.
///
/// # Safety
/// `rows * depth` bytes are readable at `from`; [`left_words`] words are writable at `to`, and nobody else's.
pub(super) unsafe fn left(from: *const u8, rows: usize, depth: usize, flip: u8, to: *mut i32) {
    let quads = depth.div_ceil(QUAD);
    for row in 0..rows.next_multiple_of(ROWS) {
        // Bytes of rows behind the last one, and behind the end of a row, are zero once they are signed.
        let depth = if row < rows { depth } else { 0 };
        let to = to.wrapping_add(left_words(row / ROWS * ROWS, quads) + row % ROWS);
        let mut sum = 0i32;
        for quad in 0..quads {
            let at = quad * QUAD;
            let mut bytes = [flip ^ 0x80; QUAD];
            // SAFETY: the row has `depth` bytes, and its tile a word of the row for each quad.
            unsafe {
                match depth.saturating_sub(at) {
                    QUAD.. => bytes = from.add(row * depth + at).cast::<[u8; QUAD]>().read(),
                    count => (0..count).for_each(|i| bytes[i] = from.add(row * depth + at + i).read()),
                }
                let numbers = bytes.map(|byte| signed(byte, flip));
                sum = numbers.iter().fold(sum, |sum, &number| sum.wrapping_add(number.into()));
                to.add(quad * ROWS).write(i32::from_le_bytes(numbers.map(|number| number as u8)));
            }
        }
        // SAFETY: behind the quads of the tile there is a word for each row.
        unsafe { to.add(quads * ROWS).write(sum) };
    }
}

/// Packs a right side. `byte` answers place along the depth and column.
///
/// # Safety
/// [`right_words`] words are writable at `to`, and nobody else's.
pub(super) unsafe fn right(depth: usize, columns: usize, to: *mut i32, byte: impl Fn(usize, usize) -> i8) {
    let quads = depth.div_ceil(QUAD);
    for column in 0..columns.next_multiple_of(COLUMNS) {
        let depth = if column < columns { depth } else { 0 };
        let to = to.wrapping_add(column / COLUMNS * panel_words(quads) + column % COLUMNS);
        let mut sum = 0i32;
        for quad in 0..quads {
            let mut numbers = [0; QUAD];
            for i in 0..QUAD.min(depth.saturating_sub(quad * QUAD)) {
                numbers[i] = byte(quad * QUAD + i, column);
                sum = sum.wrapping_add(numbers[i].into());
            }
            // SAFETY: the panel has a word of the column for each quad; where the constant is packed to need not be aligned.
            unsafe { to.add(quad * COLUMNS).write_unaligned(i32::from_le_bytes(numbers.map(|number| number as u8))) };
        }
        // SAFETY: behind the quads of the panel there is a word for each column.
        unsafe { to.add(quads * COLUMNS).write_unaligned(sum) };
    }
}
