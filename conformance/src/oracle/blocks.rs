//! Weights in blocks, as GGUF files hold them: each element by itself, from the bits that it is made of.

use super::float::format;
use super::tensor::{block, dtype};

/// The elements of blocks that lie one behind the other; with each, the size of what it is the difference of. None for another format.
pub(super) fn decode(stored: u16, bytes: &[u8]) -> Option<Vec<(f64, f64)>> {
    let (elements, length) = block(stored)?;
    let element = match stored {
        dtype::Q4_0 => q4_0,
        dtype::Q8_0 => q8_0,
        dtype::Q4_K => q4_k,
        dtype::Q5_K => q5_k,
        dtype::Q6_K => q6_k,
        _ => return None,
    };
    Some(bytes.chunks(length).flat_map(|block| (0..elements).map(move |i| element(block, i))).collect())
}

/// The half float at a byte.
fn half(block: &[u8], at: usize) -> f64 {
    let format = format(dtype::F16).expect("half floats are known");
    format.decode(u64::from(u16::from_le_bytes([block[at], block[at + 1]])))
}

/// So many bits of a byte, from bit `from` on.
fn bits(byte: u8, from: usize, count: usize) -> u8 {
    byte >> from & ((1 << count) - 1)
}

fn plain(value: f64) -> (f64, f64) {
    (value, value.abs())
}

/// A scale; 16 bytes of two numbers that count from -8, the first 16 in the low halves.
fn q4_0(block: &[u8], i: usize) -> (f64, f64) {
    plain(half(block, 0) * (f64::from(bits(block[2 + i % 16], i / 16 * 4, 4)) - 8.0))
}

/// A scale and 32 signed bytes.
fn q8_0(block: &[u8], i: usize) -> (f64, f64) {
    plain(half(block, 0) * f64::from(block[2 + i] as i8))
}

/// `number` of group `i / 32` of a block that begins with a scale and a minimum of all groups, and 12 bytes with 6 bits of each for every group: those of the
/// first four groups lie together; of the others the low four bits lie together and the high two above the first four's.
fn grouped(block: &[u8], i: usize, number: u8) -> (f64, f64) {
    let (group, packed) = (i / 32, &block[4..16]);
    let (scale, minimum) = if group < 4 {
        (bits(packed[group], 0, 6), bits(packed[group + 4], 0, 6))
    } else {
        let low = packed[group + 4];
        let high = |at: usize| bits(packed[at], 6, 2) << 4;
        (bits(low, 0, 4) | high(group - 4), bits(low, 4, 4) | high(group))
    };
    let (factor, offset) = (half(block, 0) * f64::from(scale), half(block, 2) * f64::from(minimum));
    let value = factor * f64::from(number);
    (value - offset, value.abs() + offset.abs())
}

/// Two groups share 32 bytes, the first has the low halves.
fn q4_k(block: &[u8], i: usize) -> (f64, f64) {
    grouped(block, i, bits(block[16 + i / 64 * 32 + i % 32], i / 32 % 2 * 4, 4))
}

/// The same behind 32 bytes with the fifth bits: bit g of each is group g's.
fn q5_k(block: &[u8], i: usize) -> (f64, f64) {
    let low = bits(block[48 + i / 64 * 32 + i % 32], i / 32 % 2 * 4, 4);
    grouped(block, i, low | bits(block[16 + i % 32], i / 32, 1) << 4)
}

/// Two halves of 128 elements: 64 bytes of low four bits and 32 bytes of high two bits each; then a signed scale for each 16 elements, and one for all.
fn q6_k(block: &[u8], i: usize) -> (f64, f64) {
    let (half_of, quarter, at) = (i / 128, i % 128 / 32, i % 32);
    let low = bits(block[half_of * 64 + quarter % 2 * 32 + at], quarter / 2 * 4, 4);
    let high = bits(block[128 + half_of * 32 + at], quarter * 2, 2);
    let scale = f64::from(block[192 + i / 16] as i8);
    plain(half(block, 208) * scale * (f64::from(low | high << 4) - 32.0))
}
