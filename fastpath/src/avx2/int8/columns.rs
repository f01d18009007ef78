//! The matrix product of unsigned bytes and constant weights on the right: [`super::quads`] with the sides changed over.
//!
//! Right: where each panel of sixteen columns begins, and then the panels without a gap. A panel: the number of its narrow quads, the sum of the weights
//! of each column, the place of each quad in a tile of the left side, and the weights of all columns; narrow quads come first. Left, a tile of six rows:
//! for each quad the four bytes of each row, and then the same in 16 bits, bytes 0 and 2 of each row, and bytes 1 and 3.

use super::super::lanes::LANES;
use super::micro::{COLUMNS, ROWS};
use super::pack::word;
use super::quads::{QUAD, fits};
use std::arch::x86_64::*;

/// Where the sums of the columns begin.
const SUMS: usize = COLUMNS;
/// Where the places begin.
const PLACES: usize = SUMS + COLUMNS;
/// Words of a narrow quad.
const NARROW: usize = COLUMNS;
/// Words of a quad in a tile of the left side.
const TILE: usize = 3 * ROWS;
/// Words of a wide one: weights 0 and 2 of each column, then weights 1 and 3.
const WIDE: usize = 2 * COLUMNS;

/// Words of a right side of so many columns and quads, whichever they are.
pub(crate) fn right_words(columns: usize, quads: usize) -> Option<usize> {
    let panels = columns.div_ceil(COLUMNS);
    panels.next_multiple_of(COLUMNS).checked_add(panels.checked_mul(weights(quads) + quads * WIDE)?)
}

/// Where the weights of a panel begin.
fn weights(quads: usize) -> usize {
    PLACES + quads.next_multiple_of(COLUMNS)
}

/// Packs a right side. `number` answers place along the depth and column.
///
/// # Safety
/// [`right_words`] words are writable at `to`, and nobody else's.
pub(crate) unsafe fn pack_right(depth: usize, columns: usize, to: *mut i32, number: impl Fn(usize, usize) -> i16) {
    // SAFETY: panels have a place each, and at most the words of as many wide quads.
    let put = |at: usize, value: i32| unsafe { to.add(at).write_unaligned(value) };
    let (quads, panels) = (depth.div_ceil(QUAD), columns.div_ceil(COLUMNS));
    let mut end = panels.next_multiple_of(COLUMNS);
    let mut wide = Vec::new();
    for panel in 0..panels {
        put(panel, end as i32);
        let head = end;
        end += weights(quads);
        let mut narrow = 0;
        let mut sums = [0i32; COLUMNS];
        for quad in 0..quads {
            let mut numbers = [[0i16; QUAD]; COLUMNS];
            for c in 0..COLUMNS.min(columns - panel * COLUMNS) {
                for i in 0..QUAD.min(depth - quad * QUAD) {
                    numbers[c][i] = number(quad * QUAD + i, panel * COLUMNS + c);
                    sums[c] += i32::from(numbers[c][i]);
                }
            }
            if numbers.iter().all(|column| fits(column[0], column[1]) && fits(column[2], column[3])) {
                put(head + PLACES + narrow, (quad * TILE) as i32);
                for c in 0..COLUMNS {
                    put(end + c, i32::from_le_bytes(numbers[c].map(|weight| weight as u8)));
                }
                (narrow, end) = (narrow + 1, end + NARROW);
            } else {
                wide.push((quad, numbers));
            }
        }
        put(head, narrow as i32);
        sums.into_iter().enumerate().for_each(|(c, sum)| put(head + SUMS + c, sum));
        for (i, (quad, numbers)) in wide.drain(..).enumerate() {
            put(head + PLACES + narrow + i, (quad * TILE) as i32);
            for c in 0..COLUMNS {
                put(end + c, word(numbers[c][0], numbers[c][2]));
                put(end + COLUMNS + c, word(numbers[c][1], numbers[c][3]));
            }
            end += WIDE;
        }
    }
}

/// A panel of a right side.
///
/// # Safety
/// A packed right side of more than `panel` panels is readable at `right`.
pub(crate) unsafe fn panel(right: *const i32, panel: usize) -> *const i32 {
    // SAFETY: the right side begins with the places of its panels.
    unsafe { right.add(right.add(panel).read() as usize) }
}

/// Words of a left side of so many rows and quads.
pub(crate) fn left_words(rows: usize, quads: usize) -> usize {
    rows.div_ceil(ROWS) * TILE * quads
}

/// Packs `rows` rows of `depth` bytes each as a left side, made unsigned by `flip`.
///
/// # Safety
/// `rows * depth` bytes are readable at `from`; [`left_words`] words are writable at `to`, and nobody else's.
pub(crate) unsafe fn pack_left(from: *const u8, rows: usize, depth: usize, flip: u8, to: *mut i32) {
    let quads = depth.div_ceil(QUAD);
    for row in 0..rows.next_multiple_of(ROWS) {
        // Rows behind the last one are the last one again, and nobody looks at their sums.
        let from = from.wrapping_add(row.min(rows - 1) * depth);
        let to = to.wrapping_add(row / ROWS * TILE * quads + row % ROWS);
        for quad in 0..quads {
            let mut bytes = [flip; QUAD];
            let count = QUAD.min(depth - quad * QUAD);
            // SAFETY: the row has `depth` bytes, and its tile `quads` times TILE words.
            unsafe {
                match count {
                    QUAD => bytes = from.add(quad * QUAD).cast::<[u8; QUAD]>().read(),
                    count => std::ptr::copy_nonoverlapping(from.add(quad * QUAD), bytes.as_mut_ptr(), count),
                }
                let word = u32::from_le_bytes(bytes) ^ u32::from_le_bytes([flip; QUAD]);
                let to = to.add(quad * TILE);
                to.write(word as i32);
                to.add(ROWS).write((word & 0x00FF_00FF) as i32);
                to.add(2 * ROWS).write((word >> 8 & 0x00FF_00FF) as i32);
            }
        }
    }
}

/// What the sums of a panel's columns begin with, so that they come out as those of bytes less `zero`.
///
/// # Safety
/// The CPU has AVX2 and FMA; a packed panel is readable.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn start(panel: *const i32, zero: u8) -> [__m256i; 2] {
    let less = _mm256_set1_epi32(-i32::from(zero));
    // SAFETY: the panel holds sixteen sums.
    let sums: [__m256i; 2] = unsafe { load(panel.add(SUMS)) };
    [_mm256_mullo_epi32(less, sums[0]), _mm256_mullo_epi32(less, sums[1])]
}

/// The sums of `R` rows of a tile and `C` vectors of columns of a panel, on top of those at the start.
///
/// # Safety
/// The CPU has AVX2 and FMA; a tile of `quads` quads and a packed panel are readable; `R` and `C` are at most the rows, and the vectors of columns, of a
/// tile.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn multiply<const R: usize, const C: usize>(
    quads: usize,
    tile: *const i32,
    panel: *const i32,
    start: [__m256i; 2],
) -> [[__m256i; C]; R] {
    let mut sums = [[_mm256_setzero_si256(); C]; R];
    for r in 0..R {
        sums[r].copy_from_slice(&start[..C]);
    }
    let ones = _mm256_set1_epi16(1);
    // SAFETY: the panel begins with the number of its narrow quads, and holds places and weights of those and then of the others; each place is one of a
    // quad of the tile.
    unsafe {
        let narrow = panel.read() as usize;
        let (places, mut from) = (panel.add(PLACES), panel.add(weights(quads)));
        for quad in 0..narrow {
            let columns: [__m256i; C] = load(from);
            from = from.add(NARROW);
            let rows = tile.add(places.add(quad).read() as usize);
            for r in 0..R {
                let row = _mm256_set1_epi32(rows.add(r).read());
                for c in 0..C {
                    let pairs = _mm256_maddubs_epi16(row, columns[c]);
                    sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        for quad in narrow..quads {
            let rows = tile.add(places.add(quad).read() as usize);
            for odd in 0..2 {
                let columns: [__m256i; C] = load(from);
                from = from.add(COLUMNS);
                for r in 0..R {
                    let row = _mm256_set1_epi32(rows.add((1 + odd) * ROWS + r).read());
                    for c in 0..C {
                        sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(row, columns[c]));
                    }
                }
            }
        }
    }
    sums
}

/// # Safety
/// The CPU has AVX2 and FMA; `C` vectors are readable at `from`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load<const C: usize>(from: *const i32) -> [__m256i; C] {
    let mut vectors = [_mm256_setzero_si256(); C];
    for c in 0..C {
        // SAFETY: the caller's promise.
        vectors[c] = unsafe { _mm256_loadu_si256(from.add(c * LANES).cast()) };
    }
    vectors
}
