//! Sixteen bytes at a time: loads that end where a tensor ends, and sums that become bytes.

use super::Less;
use crate::vector::v128;
use core::arch::wasm32::*;

/// Bytes in a vector.
pub(crate) const BYTES: usize = 16;

/// Sixteen bytes, of which no more are read than `room`; the others are zero.
///
/// # Safety
/// `room` bytes are readable at `from`.
#[inline(always)]
pub(crate) unsafe fn load(from: *const u8, room: usize) -> v128 {
    // SAFETY: sixteen bytes, or as many single ones as there are.
    unsafe {
        if room >= BYTES {
            return v128_load(from.cast());
        }
        let mut all = [0u8; BYTES];
        core::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), room);
        v128_load(all.as_ptr().cast())
    }
}

/// What every result of an operation has in common.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The zero point of the results, made unsigned.
    pub(crate) zero: u8,
    /// What makes the results signed again.
    pub(crate) flip: u8,
}

impl Less {
    /// Sixteen bytes, less the zero point, as floats.
    #[inline(always)]
    pub(crate) fn numbers(self, bytes: v128) -> [v128; 4] {
        let (bytes, zero) = (v128_xor(bytes, u8x16_splat(self.flip)), i16x8_splat(i16::from(self.zero)));
        let low = i16x8_sub(u16x8_extend_low_u8x16(bytes), zero);
        let high = i16x8_sub(u16x8_extend_high_u8x16(bytes), zero);
        [
            f32x4_convert_i32x4(i32x4_extend_low_i16x8(low)),
            f32x4_convert_i32x4(i32x4_extend_high_i16x8(low)),
            f32x4_convert_i32x4(i32x4_extend_low_i16x8(high)),
            f32x4_convert_i32x4(i32x4_extend_high_i16x8(high)),
        ]
    }
}

/// What sums of one filter are multiplied with, and what is added to them before. The factor is finite: see [`Scaling::new`].
#[derive(Clone, Copy)]
pub(crate) struct Scaling {
    bias: i32,
    factor: f32,
}

impl Scaling {
    /// A factor that is no number makes zeros of all sums; one without bound behaves as one so large that every sum but zero saturates.
    pub(crate) fn new(bias: i32, factor: f32) -> Self {
        const BEYOND_EVERY_BYTE: f32 = 1e20;
        let factor = if factor.is_nan() { 0.0 } else { factor.clamp(-BEYOND_EVERY_BYTE, BEYOND_EVERY_BYTE) };
        Self { bias, factor }
    }

    /// Four sums, biased, multiplied in f32 and rounded half to even; beyond +-1024, where every byte saturates, +-1024.
    #[inline(always)]
    fn whole(self, sums: v128) -> v128 {
        // Between 2^23 and 2^24 the floats are the whole numbers, so the addition rounds; this one is even, so halves go where they should. Conversion by
        // wasm's own instruction has NaNs and overflow to look after and takes twice as many of the processor's.
        const SHIFT: f32 = 12_582_912.0;
        let scaled = f32x4_mul(f32x4_convert_i32x4(i32x4_add(sums, i32x4_splat(self.bias))), f32x4_splat(self.factor));
        let near = f32x4_pmin(f32x4_pmax(scaled, f32x4_splat(-1024.0)), f32x4_splat(1024.0));
        i32x4_sub(f32x4_add(near, f32x4_splat(SHIFT)), i32x4_splat(SHIFT.to_bits() as i32))
    }
}

impl Target {
    /// Four sums as bytes in a word, scaled, behind the zero point, saturated.
    #[inline(always)]
    pub(crate) fn bytes(&self, sums: v128, scaling: Scaling) -> u32 {
        self.saturated(scaling.whole(sums))
    }

    /// The same for four vectors of sums at once: word `i` is what comes of vector `i`.
    #[inline(always)]
    pub(crate) fn words(&self, sums: [v128; 4], scalings: [Scaling; 4]) -> v128 {
        let [a, b, c, d] = core::array::from_fn(|i| scalings[i].whole(sums[i]));
        let zero = i16x8_splat(i16::from(self.zero));
        let low = i16x8_add_sat(i16x8_narrow_i32x4(a, b), zero);
        let high = i16x8_add_sat(i16x8_narrow_i32x4(c, d), zero);
        v128_xor(u8x16_narrow_i16x8(low, high), u8x16_splat(self.flip))
    }

    /// The bytes nearest to four numbers, halves to the even one, behind the zero point, saturated. A NaN becomes `of_nan`.
    #[inline(always)]
    pub(crate) fn nearest(&self, numbers: v128, of_nan: u8) -> u32 {
        let bytes = self.saturated(i32x4_trunc_sat_f32x4(f32x4_nearest(numbers)));
        // As narrow as the bytes: all bits set where a number is one.
        let is_number = f32x4_eq(numbers, numbers);
        let is_number = i16x8_narrow_i32x4(is_number, is_number);
        let is_number = i8x16_narrow_i16x8(is_number, is_number);
        let is_number = i32x4_extract_lane::<0>(is_number) as u32;
        bytes & is_number | u32::from_ne_bytes([of_nan; 4]) & !is_number
    }

    /// Four whole numbers as bytes in a word, behind the zero point, saturated.
    #[inline(always)]
    fn saturated(&self, whole: v128) -> u32 {
        // Both steps saturate beyond what a byte holds, so nothing is lost by their order.
        let short = i16x8_add_sat(i16x8_narrow_i32x4(whole, whole), i16x8_splat(i16::from(self.zero)));
        i32x4_extract_lane::<0>(v128_xor(u8x16_narrow_i16x8(short, short), u8x16_splat(self.flip))) as u32
    }
}

/// The four words of a vector.
#[inline(always)]
pub(crate) fn apart(words: v128) -> [u32; 4] {
    [
        i32x4_extract_lane::<0>(words) as u32,
        i32x4_extract_lane::<1>(words) as u32,
        i32x4_extract_lane::<2>(words) as u32,
        i32x4_extract_lane::<3>(words) as u32,
    ]
}

/// Stores the first `count` bytes of a word.
///
/// # Safety
/// `count` bytes are writable at `to`.
#[inline(always)]
pub(crate) unsafe fn store(to: *mut u8, word: u32, count: usize) {
    // SAFETY: four bytes, or as many single ones as the caller said.
    unsafe {
        if count >= 4 {
            to.cast::<u32>().write_unaligned(word);
        } else {
            for (i, byte) in word.to_le_bytes().into_iter().enumerate().take(count) {
                to.add(i).write(byte);
            }
        }
    }
}
