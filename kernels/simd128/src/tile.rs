//! The innermost loop: a tile of 8 rows and 4 columns of a matrix product.
//!
//! `a` is a panel of 8 rows, stored as [k][8]; `b` a panel of 4 columns, stored as [k][4] or scattered. Per step of k: three loads, eight lane shuffles that
//! spread the elements of `a`, eight fused multiply-adds. Two steps to a turn: Cranelift moves all loads of a block to its start, and six
//! loaded vectors beside eight accumulators are what sixteen registers hold (measured on a Zen core at 2.9 GHz: 35 GFLOP/s; one step 31;
//! three or more, rotations in place of shuffles, or other tile shapes 20 to 31).

use crate::vector::{add, at_least, at_most, fma, load, load_splat, splat, store, v128};
use core::arch::wasm32::i32x4_shuffle;

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;
/// Columns of a tile.
pub(crate) const COLUMNS: usize = 4;

static NOTHING: [f32; ROWS] = [0.0; ROWS];

/// Where a tile begins and how it ends.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    /// 8 floats, one added to each row.
    pub(crate) bias: *const f32,
    /// 8 zeros, read rather than written out: from constants, Cranelift's registers for the sums spill in the loop (resnet50 1.5x slower).
    pub(crate) zeros: *const f32,
    /// A tile's worth of floats to start from, or null.
    pub(crate) start: *const f32,
    /// Floats from one row of `start` to the next; 0 repeats the row.
    pub(crate) start_stride: usize,
    /// The result is cut to this range.
    pub(crate) range: Option<(f32, f32)>,
}

impl Ends {
    /// Starts from zero and ends with the plain sum.
    pub(crate) fn plain() -> Self {
        Self { bias: NOTHING.as_ptr(), zeros: NOTHING.as_ptr(), start: core::ptr::null(), start_stride: 0, range: None }
    }
}

/// The column operand of a tile.
#[derive(Clone, Copy)]
pub(crate) enum Columns {
    /// A packed panel, [k][4].
    Panel(*const f32),
    /// Step p lies at the first pointer plus the p-th offset.
    Scattered(*const f32, *const u32),
}

macro_rules! lane {
    ($v:expr, $lane:literal) => {
        i32x4_shuffle::<$lane, $lane, $lane, $lane>($v, $v)
    };
}

/// Adds the products of one step.
macro_rules! step {
    ($acc:ident, $low:expr, $high:expr, $b:expr) => {
        $acc[0] = fma(lane!($low, 0), $b, $acc[0]);
        $acc[1] = fma(lane!($low, 1), $b, $acc[1]);
        $acc[2] = fma(lane!($low, 2), $b, $acc[2]);
        $acc[3] = fma(lane!($low, 3), $b, $acc[3]);
        $acc[4] = fma(lane!($high, 0), $b, $acc[4]);
        $acc[5] = fma(lane!($high, 1), $b, $acc[5]);
        $acc[6] = fma(lane!($high, 2), $b, $acc[6]);
        $acc[7] = fma(lane!($high, 3), $b, $acc[7]);
    };
}

/// `c = cut(a * b + (start + bias))`, with rows of `c` `stride` floats apart. The products are summed over k in order, in one chain for each
/// element, from zero: a long sum cut into blocks of k then rounds like its blocks, not like one long chain, and a large bias
/// does not coarsen every step.
///
/// # Safety
/// `a` holds `k * 8` floats and `b` has `k` steps of 4; `ends.bias` holds 8; `ends.start`, unless null, and `c` hold 8 rows of 4 floats at their strides.
#[inline(never)]
pub(crate) unsafe fn tile(k: usize, a: *const f32, b: Columns, c: *mut f32, stride: usize, ends: &Ends) {
    // SAFETY: the caller's promise; each turn reads 16 + 8 floats, and there are k / 2 of them and one more step when k is odd.
    unsafe {
        let mut acc: [v128; ROWS] = core::array::from_fn(|i| load_splat(ends.zeros.add(i)));
        match b {
            Columns::Panel(b) => {
                let (mut a, mut b) = (a, b);
                for _ in 0..k / 2 {
                    let (b0, b1) = (load(b), load(b.add(4)));
                    let (low0, high0) = (load(a), load(a.add(4)));
                    let (low1, high1) = (load(a.add(8)), load(a.add(12)));
                    step!(acc, low0, high0, b0);
                    step!(acc, low1, high1, b1);
                    a = a.add(2 * ROWS);
                    b = b.add(2 * COLUMNS);
                }
                if k % 2 == 1 {
                    let (b0, low, high) = (load(b), load(a), load(a.add(4)));
                    step!(acc, low, high, b0);
                }
            }
            Columns::Scattered(b, offsets) => {
                let (mut a, mut offset) = (a, offsets);
                for _ in 0..k / 2 {
                    let (b0, b1) = (load(b.add(offset.read() as usize)), load(b.add(offset.add(1).read() as usize)));
                    let (low0, high0) = (load(a), load(a.add(4)));
                    let (low1, high1) = (load(a.add(8)), load(a.add(12)));
                    step!(acc, low0, high0, b0);
                    step!(acc, low1, high1, b1);
                    a = a.add(2 * ROWS);
                    offset = offset.add(2);
                }
                if k % 2 == 1 {
                    let (b0, low, high) = (load(b.add(offset.read() as usize)), load(a), load(a.add(4)));
                    step!(acc, low, high, b0);
                }
            }
        }
        for (i, acc) in acc.iter_mut().enumerate() {
            let bias = load_splat(ends.bias.add(i));
            let start =
                if ends.start.is_null() { bias } else { add(load(ends.start.add(i * ends.start_stride)), bias) };
            *acc = add(*acc, start);
        }
        if let Some((min, max)) = ends.range {
            let (min, max) = (splat(min), splat(max));
            for acc in &mut acc {
                *acc = at_most(at_least(*acc, min), max);
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            store(c.add(i * stride), *acc);
        }
    }
}

/// The same for a tile at the edge: only `rows` rows and `columns` columns of `c`, `ends.bias` and `ends.start` are there.
///
/// # Safety
/// As for [`tile`], within those bounds.
#[inline(never)]
pub(crate) unsafe fn edge_tile(
    k: usize,
    a: *const f32,
    b: Columns,
    c: *mut f32,
    stride: usize,
    ends: &Ends,
    (rows, columns): (usize, usize),
) {
    let (mut out, mut start, mut bias) = ([0.0f32; 32], [0.0f32; 32], [0.0f32; ROWS]);
    // SAFETY: the copies stay within `rows` and `columns`, which are at most 8 and 4; the local tiles are whole.
    unsafe {
        for (i, bias) in bias.iter_mut().enumerate().take(rows) {
            *bias = ends.bias.add(i).read();
        }
        let mut local = Ends { bias: bias.as_ptr(), start: core::ptr::null(), start_stride: COLUMNS, ..*ends };
        if !ends.start.is_null() {
            for i in 0..rows {
                for j in 0..columns {
                    start[i * COLUMNS + j] = ends.start.add(i * ends.start_stride + j).read();
                }
            }
            local.start = start.as_ptr();
        }
        tile(k, a, b, out.as_mut_ptr(), COLUMNS, &local);
        for i in 0..rows {
            for j in 0..columns {
                c.add(i * stride + j).write(out[i * COLUMNS + j]);
            }
        }
    }
}
