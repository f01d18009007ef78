//! Packs rows of bytes into panels of eight: the words of a step together.

use super::tile::ROWS;
use super::{Form, Less};
use core::arch::wasm32::*;

/// Packs `rows` rows of `depth` bytes; what fills up the last panel is zero. In narrow form the sum of the packed bytes of each row goes to `sums`.
///
/// # Safety
/// `rows * depth` bytes are readable at `from`; whole panels of words are writable at `to`, and as many sums as there are rows in them at `sums`.
#[inline(never)]
pub(crate) unsafe fn pack(
    form: Form,
    from: *const u8,
    rows: usize,
    depth: usize,
    less: Less,
    to: *mut i32,
    sums: *mut i32,
) {
    let words = form.words(depth);
    for row in 0..rows.next_multiple_of(ROWS) {
        // SAFETY: word `w` of the row lies at step `w` of its panel; rows behind the last one are filled with zeros.
        unsafe {
            let to = to.add(row / ROWS * ROWS * words + row % ROWS);
            if row >= rows {
                for word in 0..words {
                    to.add(word * ROWS).write(0);
                }
                sums.add(row).write(0);
                continue;
            }
            let from = from.add(row * depth);
            match form {
                Form::Wide => wide(from, depth, less, to),
                Form::Narrow => sums.add(row).write(narrow(from, depth, less.flip, to)),
            }
        }
    }
}

/// Writes a word of two numbers to every eighth place.
///
/// # Safety
/// `depth` bytes are readable at `from`; a word for each two of them is writable at every eighth place from `to` on.
unsafe fn wide(from: *const u8, depth: usize, less: Less, to: *mut i32) {
    let (flip, zero) = (u8x16_splat(less.flip), i16x8_splat(i16::from(less.zero)));
    let mut at = 0;
    // SAFETY: sixteen bytes at a time, then single ones below `depth`.
    unsafe {
        while at + 16 <= depth {
            let bytes = v128_xor(v128_load(from.add(at).cast()), flip);
            let halves = [u16x8_extend_low_u8x16(bytes), u16x8_extend_high_u8x16(bytes)];
            for (half, numbers) in halves.into_iter().enumerate() {
                let words = i16x8_sub(numbers, zero);
                let to = to.add((at / 2 + 4 * half) * ROWS).cast::<u32>();
                v128_store32_lane::<0>(words, to);
                v128_store32_lane::<1>(words, to.add(ROWS));
                v128_store32_lane::<2>(words, to.add(2 * ROWS));
                v128_store32_lane::<3>(words, to.add(3 * ROWS));
            }
            at += 16;
        }
        while at < depth {
            let first = less.number(from.add(at).read());
            let second = if at + 1 < depth { less.number(from.add(at + 1).read()) } else { 0 };
            to.add(at / 2 * ROWS).write(i32::from(first as u16) | i32::from(second) << 16);
            at += 2;
        }
    }
}

/// Writes a word of four bytes, each less 128, to every eighth place; answers their sum.
///
/// # Safety
/// As for [`wide`], with a word for each four bytes.
unsafe fn narrow(from: *const u8, depth: usize, flip: u8, to: *mut i32) -> i32 {
    let turn = flip ^ 0x80;
    let turns = u8x16_splat(turn);
    let mut total = i32x4_splat(0);
    let mut at = 0;
    // SAFETY: sixteen bytes at a time, then single ones below `depth`.
    unsafe {
        while at + 16 <= depth {
            let bytes = v128_xor(v128_load(from.add(at).cast()), turns);
            let to = to.add(at / 4 * ROWS).cast::<u32>();
            v128_store32_lane::<0>(bytes, to);
            v128_store32_lane::<1>(bytes, to.add(ROWS));
            v128_store32_lane::<2>(bytes, to.add(2 * ROWS));
            v128_store32_lane::<3>(bytes, to.add(3 * ROWS));
            let pairs = i16x8_extadd_pairwise_i8x16(bytes);
            total = i32x4_add(total, i32x4_extadd_pairwise_i16x8(pairs));
            at += 16;
        }
        let mut sum = i32x4_extract_lane::<0>(total)
            + i32x4_extract_lane::<1>(total)
            + i32x4_extract_lane::<2>(total)
            + i32x4_extract_lane::<3>(total);
        while at < depth {
            let mut word = [0u8; 4];
            for (i, byte) in word.iter_mut().enumerate().take(depth - at) {
                *byte = from.add(at + i).read() ^ turn;
                sum += i32::from(*byte as i8);
            }
            to.add(at / 4 * ROWS).write(i32::from_le_bytes(word));
            at += 4;
        }
        sum
    }
}
