//! A strip of Q4_K: blocks of two half floats, eight scales and eight minima of 6 bits, and eight groups of 32 numbers of 4 bits. Two groups share the
//! halves of the same bytes.

use super::row::{GROUP, Group, Row};
use super::{STRIP, half_floats};
use crate::vector::{fma, mul, splat, v128};
use core::arch::wasm32::*;

/// Bytes of a block of a strip, of its half floats, and of its half floats, scales and minima.
const BLOCK: usize = STRIP * 144;
const HALVES: usize = STRIP * 4;
const HEAD: usize = STRIP * 16;

/// Scales and minima of four columns: two half floats, and a byte for each of eight groups.
#[derive(Clone, Copy)]
struct Head {
    scale: v128,
    minimum: v128,
    scales: [v128; 2],
    minima: [v128; 2],
}

impl Head {
    /// Those of a half of the columns.
    ///
    /// # Safety
    /// A block is readable.
    #[inline(always)]
    unsafe fn of(block: *const u8, half: usize) -> Self {
        // SAFETY: two halves of each column, then three dwords.
        let (scale, minimum, scales, minima, mixed) = unsafe {
            let dword = |number: usize| v128_load(block.add(HALVES + 32 * number + 16 * half).cast());
            let halves = |number: usize| half_floats(block.add(16 * number + 8 * half));
            (halves(0), halves(1), dword(0), dword(1), dword(2))
        };
        let (six, four, top) = (i8x16_splat(0x3F), i8x16_splat(0x0F), i8x16_splat(0x30));
        // The upper two bits of the last four groups lie above those of the first four.
        let above = |of| v128_and(i32x4_shr(of, 2), top);
        Self {
            scale,
            minimum,
            scales: [v128_and(scales, six), v128_or(v128_and(mixed, four), above(scales))],
            minima: [v128_and(minima, six), v128_or(v128_and(i32x4_shr(mixed, 4), four), above(minima))],
        }
    }
}

/// Which byte of each dword comes where: that of group g of four in both words, and alone in front.
static SPREAD: [[u32; 4]; 4] = spread(0x8000_8000, 0x0001_0001);
static ALONE: [[u32; 4]; 4] = spread(0x8080_8000, 1);

const fn spread(first: u32, each: u32) -> [[u32; 4]; 4] {
    let mut all = [[0; 4]; 4];
    let mut at = 0;
    while at < 16 {
        all[at / 4][at % 4] = first + each * (at / 4 + at % 4 * 4) as u32;
        at += 1;
    }
    all
}

/// A row times the columns of a strip.
///
/// # Safety
/// The strip and the row, with its groups, have `blocks` blocks.
#[inline(never)]
pub(super) unsafe fn strip(weights: *const u8, blocks: usize, row: Row, as_floats: bool) -> [v128; 2] {
    let mut sums = [splat(0.0); 2];
    // Hidden, because a loop that is unrolled loads everything first, and keeps it on the stack.
    let steps = core::hint::black_box(8);
    for number in 0..blocks {
        // SAFETY: the block is one of the strip's, and the groups of the row are those that it meets.
        unsafe {
            let block = weights.add(number * BLOCK);
            let row = Row { x: row.x.add(number * 8 * GROUP), groups: row.groups.add(number * 8) };
            let heads = [Head::of(block, 0), Head::of(block, 1)];
            let (mut scaled, mut offsets) = ([splat(0.0); 2], [splat(0.0); 2]);
            for group in 0..8 {
                let x = row.groups.add(group);
                if (&raw const (*x).is_fixed).read() == 0 || as_floats {
                    floats(block, &heads, group, row.x.add(group * GROUP), &mut sums);
                    continue;
                }
                let numbers = block.add(HEAD + group / 2 * 256);
                let whole = match group % 2 {
                    0 => digit_sums::<0>(numbers, steps, x),
                    _ => digit_sums::<4>(numbers, steps, x),
                };
                let (four, place) = (group / 4, group % 4);
                let (spread, alone) =
                    (v128_load(SPREAD[place].as_ptr().cast()), v128_load(ALONE[place].as_ptr().cast()));
                let (unit, sum_of_x) = ((&raw const (*x).unit).read(), (&raw const (*x).sum).read());
                for half in 0..2 {
                    let scales = i8x16_relaxed_swizzle(heads[half].scales[four], spread);
                    // At most 2 * 30720 * 63, and so 256 times as much and as much again still fits.
                    let [low, middle, high] = whole[half].map(|sum| i32x4_dot_i16x8(sum, scales));
                    let upper = f32x4_convert_i32x4(i32x4_add(i32x4_shl(high, 8), middle));
                    let all = fma(upper, splat(256.0), f32x4_convert_i32x4(low));
                    scaled[half] = fma(all, splat(unit), scaled[half]);
                    let minimum = f32x4_convert_i32x4(i8x16_relaxed_swizzle(heads[half].minima[four], alone));
                    offsets[half] = fma(minimum, splat(sum_of_x), offsets[half]);
                }
            }
            for half in 0..2 {
                sums[half] = fma(scaled[half], heads[half].scale, sums[half]);
                sums[half] = fma(f32x4_neg(offsets[half]), heads[half].minimum, sums[half]);
            }
        }
    }
    sums
}

/// The sums of products of the numbers of a group, which lie `DOWN` bits up in each byte, with each digit, two for each column: at most 16 products of 15
/// and 128.
///
/// # Safety
/// The numbers of two groups are readable at `numbers`, `steps` vectors of each half of the columns, and a group of the row at `x`.
#[inline(never)]
unsafe fn digit_sums<const DOWN: u32>(numbers: *const u8, steps: usize, x: *const Group) -> [[v128; 3]; 2] {
    let four = i8x16_splat(15);
    let mut sums = [[i16x8_splat(0); 3]; 2];
    let (mut at, mut digits) = (numbers, x.cast::<v128>());
    let end = numbers.wrapping_add(32 * steps);
    while at < end {
        // SAFETY: eight vectors of each half, as many dwords of each digit.
        unsafe {
            let halves = [v128_load(at.cast()), v128_load(at.add(16).cast())];
            let halves = halves.map(|both| v128_and(u16x8_shr(both, DOWN), four));
            let digit = [0, 8, 16].map(|first| digits.add(first).read());
            for half in 0..2 {
                for (sum, digit) in sums[half].iter_mut().zip(digit) {
                    *sum = i16x8_add(*sum, i16x8_relaxed_dot_i8x16_i7x16(digit, halves[half]));
                }
            }
            at = at.add(32);
            digits = digits.add(1);
        }
    }
    sums
}

/// Adds a group that is multiplied as floats.
///
/// # Safety
/// The block and 32 floats are readable, and `group` is one of the block's.
#[inline(never)]
unsafe fn floats(block: *const u8, heads: &[Head; 2], group: usize, x: *const f32, sums: &mut [v128; 2]) {
    let (four, down) = (group / 4, group as u32 % 4 * 8);
    let byte = |of: v128| f32x4_convert_i32x4(v128_and(u32x4_shr(of, down), i32x4_splat(0xFF)));
    for (half, (head, sum)) in heads.iter().zip(sums).enumerate() {
        let (factor, offset) = (mul(head.scale, byte(head.scales[four])), mul(head.minimum, byte(head.minima[four])));
        for t in 0..8 {
            // SAFETY: the caller's promise.
            unsafe {
                let all = v128_load(block.add(HEAD + group / 2 * 256 + 32 * t + 16 * half).cast());
                for j in 0..4 {
                    let number = v128_and(u32x4_shr(all, 8 * j as u32 + group as u32 % 2 * 4), i32x4_splat(15));
                    let weight = fma(f32x4_convert_i32x4(number), factor, f32x4_neg(offset));
                    *sum = fma(weight, splat(x.add(4 * t + j).read_unaligned()), *sum);
                }
            }
        }
    }
}
