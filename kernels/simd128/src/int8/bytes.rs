//! Sixteen bytes at a time: loads that end where a tensor ends, and sums that become bytes.

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

impl Target {
    /// Four sums as bytes in a word: `bias` added, multiplied by `factor` in f32, rounded half to even, behind the zero point, saturated.
    #[inline(always)]
    pub(crate) fn bytes(&self, sums: v128, bias: i32, factor: f32) -> u32 {
        let scaled = f32x4_mul(f32x4_convert_i32x4(i32x4_add(sums, i32x4_splat(bias))), f32x4_splat(factor));
        self.saturated(i32x4_trunc_sat_f32x4(f32x4_nearest(scaled)))
    }

    /// Four whole numbers as bytes in a word, behind the zero point, saturated.
    #[inline(always)]
    pub(crate) fn saturated(&self, whole: v128) -> u32 {
        // Both steps saturate beyond what a byte holds, so nothing is lost by their order.
        let short = i16x8_add_sat(i16x8_narrow_i32x4(whole, whole), i16x8_splat(i16::from(self.zero)));
        i32x4_extract_lane::<0>(v128_xor(u8x16_narrow_i16x8(short, short), u8x16_splat(self.flip))) as u32
    }
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
