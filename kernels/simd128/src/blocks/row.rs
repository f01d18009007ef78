//! A row of the left side in whole numbers.
//!
//! Each group of 32 elements becomes whole numbers times a power of two that suits the largest: of 24 bits in three digits of signed bytes, or of 32 bits
//! in two digits of 16. An element is rounded when it is much smaller than the largest of its group. Where that would be more than the tolerance of the
//! operator allows, which is in proportion to each product and grows with the depth, the group is multiplied as floats; so are groups that hold a NaN or an
//! infinity.

use crate::vector::{LANES, add, fma, load, mul, splat, sum_lanes, v128};
use core::arch::wasm32::*;

/// Elements of a group.
pub(super) const GROUP: usize = 32;

/// A group of a row.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// Digits, from the lowest on, each dword in all lanes, because Cranelift repeats none while it loads it. Three: eight dwords of each, four elements to a
    /// dword. Two: sixteen dwords of each, the first and third of four elements in one dword, the second and fourth in the next.
    pub(super) digits: [v128; 32],
    /// What the last digit counts.
    pub(super) unit: f32,
    pub(super) sum: f32,
    /// Not zero: whole numbers do.
    pub(super) is_fixed: u32,
}

/// A row: its elements, and room for its groups.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) x: *const f32,
    pub(super) groups: *mut Group,
}

impl Row {
    /// Writes the groups of a row of `depth` elements, in `DIGITS` digits.
    ///
    /// # Safety
    /// The elements are readable, and the groups writable.
    #[inline(never)]
    pub(super) unsafe fn write<const DIGITS: usize>(self, depth: usize) {
        // Half of what the class allows, the other half being for what floats are rounded in the end.
        let rounding = depth as f32 * (f32::EPSILON / 4.0);
        for group in 0..depth / GROUP {
            // SAFETY: the group is one of the row's.
            unsafe { write::<DIGITS>(self.x.add(group * GROUP), rounding, self.groups.add(group)) };
        }
    }
}

/// # Safety
/// 32 floats are readable at `x`, and a group is writable at `to`.
#[inline(always)]
unsafe fn write<const DIGITS: usize>(x: *const f32, rounding: f32, to: *mut Group) {
    let (mut largest, mut sum) = (splat(0.0), splat(0.0));
    for at in (0..GROUP).step_by(LANES) {
        // SAFETY: the caller's promise.
        let elements = unsafe { load(x.add(at)) };
        largest = f32x4_pmax(largest, f32x4_abs(elements));
        sum = add(sum, elements);
    }
    let lane = |v: v128| {
        [f32x4_extract_lane::<0>(v), f32x4_extract_lane::<1>(v), f32x4_extract_lane::<2>(v), f32x4_extract_lane::<3>(v)]
    };
    // A NaN that is lost here is found below, for no comparison is true of it.
    let bits = lane(largest).map(f32::to_bits).into_iter().max().unwrap_or(0);
    // The power of two such that the largest has all bits but the sign; one more where it is so near the next one that its highest digit would not hold it.
    let exponent = (bits + 0x2_0000) >> 23;
    let below = if DIGITS == 3 { 22 } else { 30 };
    let is_in_range = (40..=250).contains(&exponent);
    let (unit, inverse) = match is_in_range {
        true => (f32::from_bits((exponent - below) << 23), f32::from_bits((254 + below - exponent) << 23)),
        // Zeros, or no whole numbers.
        false => (0.0, 0.0),
    };
    let mut good = i32x4_splat(-1);
    for t in 0..GROUP / LANES {
        // SAFETY: as above; four elements have a dword of each digit, or two.
        unsafe {
            let elements = load(x.add(t * LANES));
            let mut whole = i32x4_relaxed_trunc_f32x4(f32x4_nearest(mul(elements, splat(inverse))));
            let error = fma(f32x4_neg(f32x4_convert_i32x4(whole)), splat(unit), elements);
            good = v128_and(good, f32x4_le(f32x4_abs(error), mul(f32x4_abs(elements), splat(rounding))));
            let digits = (&raw mut (*to).digits).cast::<v128>();
            for digit in 0..DIGITS {
                if DIGITS == 3 {
                    let bytes = i8x16_shuffle::<0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12>(whole, whole);
                    digits.add(digit * 8 + t).write(bytes);
                    let low = i32x4_shr(i32x4_shl(whole, 24), 24);
                    whole = i32x4_shr(i32x4_sub(whole, low), 8);
                } else {
                    let odd = i16x8_shuffle::<0, 4, 0, 4, 0, 4, 0, 4>(whole, whole);
                    let even = i16x8_shuffle::<2, 6, 2, 6, 2, 6, 2, 6>(whole, whole);
                    digits.add(digit * 16 + 2 * t).write(odd);
                    digits.add(digit * 16 + 2 * t + 1).write(even);
                    let low = i32x4_shr(i32x4_shl(whole, 16), 16);
                    whole = i32x4_shr(i32x4_sub(whole, low), 16);
                }
            }
        }
    }
    let is_fixed = i32x4_all_true(good) && (is_in_range || bits == 0);
    // SAFETY: the caller's promise.
    unsafe {
        (&raw mut (*to).unit).write(unit);
        (&raw mut (*to).sum).write(sum_lanes(sum));
        (&raw mut (*to).is_fixed).write(is_fixed.into());
    }
}
