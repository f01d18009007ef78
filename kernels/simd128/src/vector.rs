//! Four floats at a time: the few vector operations that every kernel here is written with.
//!
//! `fma` is the relaxed one: a fused multiply-add wherever the processor has it. Every element that one operator computes goes
//! through the same sequence of operations, whatever shard or position it has, so the bits depend on the inputs alone.
//!
//! Hot loops stand in functions of their own that are never inlined: in a large function Cranelift keeps even the base of linear memory,
//! and the accumulators, on the stack (a depthwise convolution was 2.5 times slower for it).

pub(crate) use core::arch::wasm32::v128;
use core::arch::wasm32::*;

/// Floats in a vector.
pub(crate) const LANES: usize = 4;

/// The same value in every lane.
#[inline(always)]
pub(crate) fn splat(value: f32) -> v128 {
    f32x4_splat(value)
}

/// `a * b + c`.
#[inline(always)]
pub(crate) fn fma(a: v128, b: v128, c: v128) -> v128 {
    f32x4_relaxed_madd(a, b, c)
}

/// Lane-wise sum.
#[inline(always)]
pub(crate) fn add(a: v128, b: v128) -> v128 {
    f32x4_add(a, b)
}

/// Lane-wise difference.
#[inline(always)]
pub(crate) fn sub(a: v128, b: v128) -> v128 {
    f32x4_sub(a, b)
}

/// Lane-wise product.
#[inline(always)]
pub(crate) fn mul(a: v128, b: v128) -> v128 {
    f32x4_mul(a, b)
}

/// Lane-wise quotient.
#[inline(always)]
pub(crate) fn div(a: v128, b: v128) -> v128 {
    f32x4_div(a, b)
}

/// `value` where it is not below `floor`; NaN stays NaN. One instruction, unlike `f32x4_max`.
#[inline(always)]
pub(crate) fn at_least(value: v128, floor: v128) -> v128 {
    f32x4_pmax(value, floor)
}

/// `value` where it is not above `ceiling`; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_most(value: v128, ceiling: v128) -> v128 {
    f32x4_pmin(value, ceiling)
}

/// `yes` where the mask is all ones, `no` where it is zero.
#[inline(always)]
pub(crate) fn select(mask: v128, yes: v128, no: v128) -> v128 {
    v128_bitselect(yes, no, mask)
}

/// Sum of the lanes: `(0 + 2) + (1 + 3)`.
#[inline(always)]
pub(crate) fn sum_lanes(v: v128) -> f32 {
    let pairs = add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
    f32x4_extract_lane::<0>(pairs) + f32x4_extract_lane::<1>(pairs)
}

/// Reads four floats; no alignment is needed.
///
/// # Safety
/// `from` points at 16 readable bytes.
#[inline(always)]
pub(crate) unsafe fn load(from: *const f32) -> v128 {
    // SAFETY: the caller's promise.
    unsafe { v128_load(from.cast()) }
}

/// Writes four floats; no alignment is needed.
///
/// # Safety
/// `to` points at 16 writable bytes.
#[inline(always)]
pub(crate) unsafe fn store(to: *mut f32, value: v128) {
    // SAFETY: the caller's promise.
    unsafe { v128_store(to.cast(), value) }
}

/// Reads one float into every lane.
///
/// # Safety
/// `from` points at a readable float.
#[inline(always)]
pub(crate) unsafe fn load_splat(from: *const f32) -> v128 {
    // SAFETY: the caller's promise.
    unsafe { v128_load32_splat(from.cast()) }
}

/// Reads `count` (1 to 3) floats into the first lanes; the rest are zero.
///
/// # Safety
/// `from` points at `count` readable floats.
#[inline(always)]
pub(crate) unsafe fn load_part(from: *const f32, count: usize) -> v128 {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            1 => v128_load32_zero(from.cast()),
            2 => v128_load64_zero(from.cast()),
            _ => v128_load32_lane::<2>(v128_load64_zero(from.cast()), from.add(2).cast()),
        }
    }
}

/// Writes the first `count` (1 to 3) lanes.
///
/// # Safety
/// `to` points at `count` writable floats.
#[inline(always)]
pub(crate) unsafe fn store_part(to: *mut f32, value: v128, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            1 => v128_store32_lane::<0>(value, to.cast()),
            2 => v128_store64_lane::<0>(value, to.cast()),
            _ => {
                v128_store64_lane::<0>(value, to.cast());
                v128_store32_lane::<2>(value, to.add(2).cast());
            }
        }
    }
}

/// Rows become columns.
#[inline(always)]
pub(crate) fn transpose(r: [v128; 4]) -> [v128; 4] {
    let a = i32x4_shuffle::<0, 4, 1, 5>(r[0], r[1]);
    let b = i32x4_shuffle::<2, 6, 3, 7>(r[0], r[1]);
    let c = i32x4_shuffle::<0, 4, 1, 5>(r[2], r[3]);
    let d = i32x4_shuffle::<2, 6, 3, 7>(r[2], r[3]);
    [i64x2_shuffle::<0, 2>(a, c), i64x2_shuffle::<1, 3>(a, c), i64x2_shuffle::<0, 2>(b, d), i64x2_shuffle::<1, 3>(b, d)]
}

/// Elements 0, 2, 4, 6 of eight.
#[inline(always)]
pub(crate) fn evens(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 2, 4, 6>(a, b)
}

/// Elements 1, 3, 5, 7 of eight.
#[inline(always)]
pub(crate) fn odds(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<1, 3, 5, 7>(a, b)
}

/// Applies `f` to each of `len` elements. The last few go through the same operations as the others.
///
/// # Safety
/// `from` holds `len` readable floats and `to` as many writable ones; they are the same place or do not overlap.
#[inline(never)]
pub(crate) unsafe fn map(from: *const f32, to: *mut f32, len: usize, f: impl Fn(v128) -> v128) {
    let whole = len - len % LANES;
    let mut i = 0;
    // SAFETY: `i + 4 <= whole <= len` in the loop, and the rest is shorter than a vector.
    unsafe {
        while i < whole {
            store(to.add(i), f(load(from.add(i))));
            i += LANES;
        }
        if whole < len {
            store_part(to.add(whole), f(load_part(from.add(whole), len - whole)), len - whole);
        }
    }
}

/// Copies `len` floats between places that do not overlap; short runs without a call.
///
/// # Safety
/// `from` holds `len` readable floats and `to` as many writable ones.
#[inline(always)]
pub(crate) unsafe fn copy(from: *const f32, to: *mut f32, len: usize) {
    // SAFETY: `i + 4 <= len` in the first loop, `i < len` in the second.
    unsafe {
        let mut i = 0;
        while i + LANES <= len {
            store(to.add(i), load(from.add(i)));
            i += LANES;
        }
        while i < len {
            to.add(i).write_unaligned(from.add(i).read_unaligned());
            i += 1;
        }
    }
}

/// Copies `len` floats in whole vectors, and so up to three more.
///
/// # Safety
/// `from` holds `len` readable floats and three more, `to` as many writable ones; they do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_loose(from: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    while i < len {
        // SAFETY: the caller's promise.
        unsafe { store(to.add(i), load(from.add(i))) };
        i += LANES;
    }
}

/// Sets `len` floats.
///
/// # Safety
/// `to` holds `len` writable floats.
#[inline(always)]
pub(crate) unsafe fn fill(to: *mut f32, len: usize, value: f32) {
    let v = splat(value);
    // SAFETY: as in `copy`.
    unsafe {
        let mut i = 0;
        while i + LANES <= len {
            store(to.add(i), v);
            i += LANES;
        }
        while i < len {
            to.add(i).write_unaligned(value);
            i += 1;
        }
    }
}
