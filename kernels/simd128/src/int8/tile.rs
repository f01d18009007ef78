//! The innermost loop of the integer products: 8 rows and 4 columns, as the f32 tile has them, and in the same order of loads and shuffles.

use super::Form;
use crate::vector::v128;
use core::arch::wasm32::*;

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;
/// Columns of a tile.
pub(crate) const COLUMNS: usize = 4;

/// The sums of a tile, row by row.
pub(crate) type Sums = [i32; ROWS * COLUMNS];

static NOTHING: Sums = [0; ROWS * COLUMNS];

macro_rules! lane {
    ($v:expr, $lane:literal) => {
        i32x4_shuffle::<$lane, $lane, $lane, $lane>($v, $v)
    };
}

/// One step: `$product!(row, columns, sum)` for each row.
macro_rules! step {
    ($product:ident, $acc:ident, $a:ident, $b:ident) => {
        let (low, high, b) = (v128_load($a.cast()), v128_load($a.add(4).cast()), v128_load($b.cast()));
        $acc[0] = $product!(lane!(low, 0), b, $acc[0]);
        $acc[1] = $product!(lane!(low, 1), b, $acc[1]);
        $acc[2] = $product!(lane!(low, 2), b, $acc[2]);
        $acc[3] = $product!(lane!(low, 3), b, $acc[3]);
        $acc[4] = $product!(lane!(high, 0), b, $acc[4]);
        $acc[5] = $product!(lane!(high, 1), b, $acc[5]);
        $acc[6] = $product!(lane!(high, 2), b, $acc[6]);
        $acc[7] = $product!(lane!(high, 3), b, $acc[7]);
        $a = $a.add(ROWS);
        $b = $b.add(COLUMNS);
    };
}

macro_rules! wide {
    ($a:expr, $b:expr, $sum:expr) => {
        i32x4_add(i32x4_dot_i16x8($a, $b), $sum)
    };
}

macro_rules! narrow {
    ($a:expr, $b:expr, $sum:expr) => {
        i32x4_relaxed_dot_i8x16_i7x16_add($a, $b, $sum)
    };
}

/// Multiplies `words` words of 8 rows with as many of 4 columns.
///
/// # Safety
/// `words` times [`ROWS`] words are readable at `rows`, and `words` times [`COLUMNS`] at `columns`.
pub(crate) unsafe fn tile(form: Form, words: usize, rows: *const i32, columns: *const i32, into: &mut Sums) {
    // SAFETY: the caller's promise.
    unsafe {
        match form {
            Form::Wide => wide_tile(words, rows, columns, into),
            Form::Narrow => narrow_tile(words, rows, columns, into),
        }
    }
}

macro_rules! tiles {
    ($($name:ident $product:ident;)*) => { $(
        /// # Safety
        /// As for [`tile`].
        #[inline(never)]
        unsafe fn $name(words: usize, rows: *const i32, columns: *const i32, into: &mut Sums) {
            // SAFETY: each step reads eight words of the rows and four of the columns, and there are `words` steps.
            unsafe {
                // Zeros are read rather than written out, as in the f32 tile: from constants, the sums would be spilled.
                let zero = |i: usize| v128_load(NOTHING.as_ptr().add(i * COLUMNS).cast());
                let mut acc: [v128; ROWS] = core::array::from_fn(zero);
                let (mut a, mut b) = (rows, columns);
                for _ in 0..words {
                    step!($product, acc, a, b);
                }
                for (i, acc) in acc.iter().enumerate() {
                    v128_store(into.as_mut_ptr().add(i * COLUMNS).cast(), *acc);
                }
            }
        }
    )* };
}

tiles! {
    wide_tile wide;
    narrow_tile narrow;
}
