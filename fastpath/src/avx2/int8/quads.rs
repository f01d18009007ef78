//! The matrix product of constant weights and unsigned bytes, four numbers along the depth (a quad) at a time.
//!
//! `vpmaddubsw` multiplies pairs of an unsigned and a signed byte and adds the two products in 16 bits, and `vpmaddwd` by ones adds two such sums in
//! 32: three instructions for 32 products where 16-bit numbers take four. But 16 bits are too few for some pairs of weights. Whether they are is known when weights
//! are packed: two products of one sign fit if their weights are at most 128 together, two of different signs always do. So a quad is *narrow* in a tile
//! of rows where all of its weights allow that, and *wide*, multiplied in 16-bit numbers, where one does not. Nothing ever saturates.
//!
//! The zero point of the bytes is not taken off: the sums hold it as often as the weights of a row say, and those are added up when they are packed.
//! Padding holds the zero point.
//!
//! Left: where each tile of six rows begins, and then the tiles without a gap, so that they are read as one stream. A tile: the number of its narrow quads;
//! the sum of the weights of each row; narrow quads and then wide ones, each the place of the quad in a panel and the weights of all rows. Right, a panel
//! of sixteen columns: for each quad the four bytes of each column.

use super::super::lanes::LANES;
use super::micro::{COLUMNS, ROWS};
use super::pack::word;
use std::arch::x86_64::*;

/// Numbers along the depth in a quad.
pub(crate) const QUAD: usize = 4;
/// Bytes of a quad in a panel.
pub(crate) const QUAD_BYTES: usize = QUAD * COLUMNS;
/// Words before the first quad of a tile.
const HEAD: usize = 1 + ROWS;
/// Words of a narrow quad.
const NARROW: usize = 1 + ROWS;
/// Words of a wide one: weights 0 and 2 of each row, then weights 1 and 3.
const WIDE: usize = 1 + 2 * ROWS;

/// Words of a left side of so many rows and quads, whichever they are.
pub(crate) fn left_words(rows: usize, quads: usize) -> usize {
    rows.div_ceil(ROWS) * (1 + HEAD + quads * WIDE)
}

/// Packs a left side. `number` answers row and place along the depth, or none beyond the end.
///
/// # Safety
/// [`left_words`] words are writable at `to`, and nobody else's.
pub(crate) unsafe fn pack_left(rows: usize, quads: usize, to: *mut i32, number: impl Fn(usize, usize) -> Option<i16>) {
    // SAFETY: tiles have a place each, and at most the words of a head and of as many wide quads.
    let put = |at: usize, value: i32| unsafe { to.add(at).write_unaligned(value) };
    let tiles = rows.div_ceil(ROWS);
    let mut end = tiles;
    let mut wide = Vec::new();
    for tile in 0..tiles {
        put(tile, end as i32);
        let head = end;
        end += HEAD;
        let mut sums = [0i32; ROWS];
        for quad in 0..quads {
            let mut weights = [[0i16; QUAD]; ROWS];
            for r in 0..ROWS.min(rows - tile * ROWS) {
                for i in 0..QUAD {
                    weights[r][i] = number(tile * ROWS + r, quad * QUAD + i).unwrap_or(0);
                    sums[r] += i32::from(weights[r][i]);
                }
            }
            let place = (quad * QUAD_BYTES) as i32;
            if weights.iter().all(|row| fits(row[0], row[1]) && fits(row[2], row[3])) {
                put(end, place);
                for r in 0..ROWS {
                    put(end + 1 + r, i32::from_le_bytes(weights[r].map(|weight| weight as u8)));
                }
                end += NARROW;
            } else {
                wide.push(place);
                wide.extend(weights.map(|row| word(row[0], row[2])));
                wide.extend(weights.map(|row| word(row[1], row[3])));
            }
        }
        put(head, ((end - head - HEAD) / NARROW) as i32);
        sums.into_iter().enumerate().for_each(|(r, sum)| put(head + 1 + r, sum));
        for value in wide.drain(..) {
            put(end, value);
            end += 1;
        }
    }
}

/// A tile of a left side.
///
/// # Safety
/// A packed left side of more than `tile` tiles is readable at `left`.
pub(crate) unsafe fn tile(left: *const i32, tile: usize) -> *const i32 {
    // SAFETY: the left side begins with the places of its tiles.
    unsafe { left.add(left.add(tile).read() as usize) }
}

/// Whether two weights are signed bytes, and their products with any two unsigned ones together fit 16 bits.
pub(crate) fn fits(first: i16, second: i16) -> bool {
    let byte = i16::from(i8::MIN)..=i16::from(i8::MAX);
    byte.contains(&first)
        && byte.contains(&second)
        && first.max(0) + second.max(0) <= 128
        && first.min(0) + second.min(0) >= -128
}

/// The sum of the weights of row `r` of a tile.
///
/// # Safety
/// A packed tile is readable at `tile`.
pub(crate) unsafe fn sum(tile: *const i32, r: usize) -> i32 {
    // SAFETY: the head of a tile holds a sum for each row.
    unsafe { tile.add(1 + r).read() }
}

/// The sums of `R` rows of a tile and `C` vectors of columns of a panel, on top of a number for each row.
///
/// # Safety
/// The CPU has AVX2 and FMA; a packed tile and a panel of `quads` quads are readable; `R` and `C` are at most the rows, and the vectors of columns, of a
/// tile.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn multiply<const R: usize, const C: usize>(
    quads: usize,
    tile: *const i32,
    panel: *const u8,
    start: [i32; R],
) -> [[__m256i; C]; R] {
    let mut sums = [[_mm256_setzero_si256(); C]; R];
    for r in 0..R {
        sums[r] = [_mm256_set1_epi32(start[r]); C];
    }
    let ones = _mm256_set1_epi16(1);
    // SAFETY: the tile begins with the number of its narrow quads, and holds those and then the others; each names a place inside the panel.
    unsafe {
        let narrow = tile.read() as usize;
        let mut at = tile.add(HEAD);
        for _ in 0..narrow {
            let columns: [__m256i; C] = load(panel.add(at.read() as usize));
            for r in 0..R {
                let row = _mm256_set1_epi32(at.add(1 + r).read());
                for c in 0..C {
                    let pairs = _mm256_maddubs_epi16(columns[c], row);
                    sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(pairs, ones));
                }
            }
            at = at.add(NARROW);
        }
        for _ in narrow..quads {
            for odd in [false, true] {
                let mut columns: [__m256i; C] = load(panel.add(at.read() as usize));
                for c in 0..C {
                    columns[c] = match odd {
                        false => _mm256_and_si256(columns[c], _mm256_set1_epi16(0xFF)),
                        true => _mm256_srli_epi16::<8>(columns[c]),
                    };
                }
                for r in 0..R {
                    let row = _mm256_set1_epi32(at.add(1 + usize::from(odd) * ROWS + r).read());
                    for c in 0..C {
                        sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(columns[c], row));
                    }
                }
            }
            at = at.add(WIDE);
        }
    }
    sums
}

/// # Safety
/// The CPU has AVX2 and FMA; `C` vectors are readable at `from`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load<const C: usize>(from: *const u8) -> [__m256i; C] {
    let mut vectors = [_mm256_setzero_si256(); C];
    for c in 0..C {
        // SAFETY: the caller's promise.
        vectors[c] = unsafe { _mm256_loadu_si256(from.add(c * LANES * QUAD).cast()) };
    }
    vectors
}

/// Writes a quad of a panel: bytes of four places along the depth for each of sixteen columns.
///
/// # Safety
/// The CPU has AVX2 and FMA; [`QUAD_BYTES`] bytes are writable at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn put(to: *mut u8, [a, b, c, d]: [__m128i; QUAD]) {
    let (low, high) =
        ([_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d)], [_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d)]);
    // SAFETY: four vectors of sixteen bytes.
    unsafe {
        _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(low[0], low[1]));
        _mm_storeu_si128(to.add(16).cast(), _mm_unpackhi_epi16(low[0], low[1]));
        _mm_storeu_si128(to.add(32).cast(), _mm_unpacklo_epi16(high[0], high[1]));
        _mm_storeu_si128(to.add(48).cast(), _mm_unpackhi_epi16(high[0], high[1]));
    }
}
