//! A strip of Q8_0: blocks of a scale and 32 signed bytes.

use super::row::{GROUP, Group, Row};
use super::{STRIP, half_floats};
use crate::vector::{fma, mul, splat, v128};
use core::arch::wasm32::*;

/// Bytes of a block of a strip, and of its scales.
const BLOCK: usize = STRIP * 34;
const SCALES: usize = STRIP * 2;

/// A row times the columns of a strip.
///
/// # Safety
/// The strip and the row, with its groups, have `blocks` blocks.
#[inline(never)]
pub(super) unsafe fn strip(weights: *const u8, blocks: usize, row: Row, as_floats: bool) -> [v128; 2] {
    let mut sums = [splat(0.0); 2];
    for number in 0..blocks {
        // SAFETY: the block is one of the strip's, and the group of the row is the one that it meets.
        unsafe {
            let (block, group) = (weights.add(number * BLOCK), row.groups.add(number));
            if (&raw const (*group).is_fixed).read() != 0 && !as_floats {
                let whole = digit_sums(block.add(SCALES), group);
                let unit = splat((&raw const (*group).unit).read());
                for half in 0..2 {
                    let scale = half_floats(block.add(8 * half));
                    let upper = f32x4_convert_i32x4(whole[half][1]);
                    let all = fma(upper, splat(65536.0), f32x4_convert_i32x4(whole[half][0]));
                    sums[half] = fma(mul(all, unit), scale, sums[half]);
                }
            } else {
                floats(block, row.x.add(number * GROUP), &mut sums);
            }
        }
    }
    sums
}

/// The sums of products with each digit: at most 32 of 128 and 32768.
///
/// # Safety
/// The bytes of a block are readable at `numbers`, and a group at `group`.
#[inline(always)]
unsafe fn digit_sums(numbers: *const u8, group: *const Group) -> [[v128; 2]; 2] {
    let mut sums = [[i32x4_splat(0); 2]; 2];
    for t in 0..8 {
        // SAFETY: the caller's promise.
        unsafe {
            let digit = |number: usize| (&raw const (*group).digits[2 * t + number]).read();
            let (low, high) = ([digit(0), digit(1)], [digit(16), digit(17)]);
            for (half, sums) in sums.iter_mut().enumerate() {
                let all = v128_load(numbers.add(32 * t + 16 * half).cast());
                // The first and third bytes of each four, and the second and fourth.
                let numbers = [i16x8_shr(i16x8_shl(all, 8), 8), i16x8_shr(all, 8)];
                for place in 0..2 {
                    sums[0] = i32x4_add(sums[0], i32x4_dot_i16x8(numbers[place], low[place]));
                    sums[1] = i32x4_add(sums[1], i32x4_dot_i16x8(numbers[place], high[place]));
                }
            }
        }
    }
    sums
}

/// Adds a block that is multiplied as floats.
///
/// # Safety
/// The block and 32 floats are readable.
#[inline(never)]
unsafe fn floats(block: *const u8, x: *const f32, sums: &mut [v128; 2]) {
    for (half, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let scale = half_floats(block.add(8 * half));
            for t in 0..8 {
                let all = v128_load(block.add(SCALES + 32 * t + 16 * half).cast());
                for j in 0..4 {
                    let number = f32x4_convert_i32x4(i32x4_shr(i32x4_shl(all, 24 - 8 * j), 24));
                    *sum = fma(mul(scale, number), splat(x.add(4 * t + j as usize).read_unaligned()), *sum);
                }
            }
        }
    }
}
