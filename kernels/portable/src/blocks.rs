//! Block-quantised weights in the layouts of GGUF files: how many elements and bytes a block has, and what its elements are.
//!
//! Every element is exact in `f32` arithmetic as the format defines it: half floats are widened, and each product is rounded once.

use half::f16;

/// The largest block.
pub(crate) const BLOCK_MAX: usize = 256;

/// A block format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Q4_0,
    Q4K,
    Q5K,
    Q6K,
    Q8_0,
}

impl Format {
    /// The format of an element type of the ABI.
    pub(crate) fn of(dtype: u16) -> Option<Self> {
        match dtype {
            0x100 => Some(Format::Q4_0),
            0x101 => Some(Format::Q4K),
            0x102 => Some(Format::Q5K),
            0x103 => Some(Format::Q6K),
            0x104 => Some(Format::Q8_0),
            _ => None,
        }
    }

    /// Elements of a block.
    pub(crate) fn elements(self) -> usize {
        match self {
            Format::Q4_0 | Format::Q8_0 => 32,
            Format::Q4K | Format::Q5K | Format::Q6K => BLOCK_MAX,
        }
    }

    /// Bytes of a block.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Format::Q4_0 => 2 + 16,
            Format::Q4K => 2 + 2 + 12 + 128,
            Format::Q5K => 2 + 2 + 12 + 32 + 128,
            Format::Q6K => 128 + 64 + 16 + 2,
            Format::Q8_0 => 2 + 32,
        }
    }

    /// The elements of a block of [`Format::bytes`] bytes.
    pub(crate) fn decode(self, block: &[u8], into: &mut [f32]) {
        match self {
            Format::Q4_0 => q4_0(block, into),
            Format::Q4K => q4_k(block, into),
            Format::Q5K => q5_k(block, into),
            Format::Q6K => q6_k(block, into),
            Format::Q8_0 => q8_0(block, into),
        }
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// A scale, and 32 numbers of 4 bits less 8: the first 16 in the low halves, the others in the high ones.
fn q4_0(block: &[u8], into: &mut [f32]) {
    let scale = half(block, 0);
    for (i, byte) in block[2..18].iter().enumerate() {
        into[i] = scale * (f32::from(byte & 15) - 8.0);
        into[i + 16] = scale * (f32::from(byte >> 4) - 8.0);
    }
}

/// A scale and 32 signed bytes.
fn q8_0(block: &[u8], into: &mut [f32]) {
    let scale = half(block, 0);
    for (value, byte) in into.iter_mut().zip(&block[2..34]) {
        *value = scale * f32::from(*byte as i8);
    }
}

/// Scale and minimum of group `group` of eight, 6 bits each, packed into 12 bytes: the upper two bits of the last four groups lie above
/// those of the first four.
fn scale_and_minimum(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, minimum) = match group {
        0..4 => (packed[group] & 63, packed[group + 4] & 63),
        _ => (
            (packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4),
            (packed[group + 4] >> 4) | (packed[group] >> 6 << 4),
        ),
    };
    (f32::from(scale), f32::from(minimum))
}

/// Eight groups of 32 numbers of 4 bits, each with a scale and a minimum; two groups share 32 bytes.
fn q4_k(block: &[u8], into: &mut [f32]) {
    let (scale, minimum, packed) = (half(block, 0), half(block, 2), &block[4..16]);
    for (group, values) in into.chunks_mut(32).enumerate() {
        let (own_scale, own_minimum) = scale_and_minimum(packed, group);
        let (factor, offset) = (scale * own_scale, minimum * own_minimum);
        let bytes = &block[16 + group / 2 * 32..];
        for (value, byte) in values.iter_mut().zip(bytes) {
            let number = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
            *value = factor * f32::from(number) - offset;
        }
    }
}

/// The same with a fifth bit, that of group g being bit g of 32 bytes that all groups share.
fn q5_k(block: &[u8], into: &mut [f32]) {
    let (scale, minimum, packed) = (half(block, 0), half(block, 2), &block[4..16]);
    let top = &block[16..48];
    for (group, values) in into.chunks_mut(32).enumerate() {
        let (own_scale, own_minimum) = scale_and_minimum(packed, group);
        let (factor, offset) = (scale * own_scale, minimum * own_minimum);
        let bytes = &block[48 + group / 2 * 32..];
        for ((value, byte), top) in values.iter_mut().zip(bytes).zip(top) {
            let low = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
            *value = factor * f32::from(low | (top >> group & 1) << 4) - offset;
        }
    }
}

/// Sixteen groups of 16 numbers of 6 bits less 32, each group with a scale of 8 bits. Halves of 128 elements lie one behind the other;
/// in each, four elements share the bits of a place 32 further on.
fn q6_k(block: &[u8], into: &mut [f32]) {
    let scale = half(block, 208);
    let scales = &block[192..208];
    for (at, value) in into.iter_mut().enumerate() {
        let (part, quarter, place) = (at / 128, at % 128 / 32, at % 32);
        let low = block[part * 64 + quarter % 2 * 32 + place];
        let low = if quarter < 2 { low & 15 } else { low >> 4 };
        let high = block[128 + part * 32 + place] >> (2 * quarter) & 3;
        let number = i32::from(low | high << 4) - 32;
        *value = scale * f32::from(scales[at / 16] as i8) * number as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(format: Format, block: &[u8]) -> Vec<f32> {
        assert_eq!(block.len(), format.bytes());
        let mut into = vec![f32::NAN; format.elements()];
        format.decode(block, &mut into);
        into
    }

    fn with_half(block: &mut [u8], at: usize, value: f32) {
        block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    }

    #[test]
    fn small_blocks_hold_a_scale_and_their_numbers() {
        let mut block = vec![0; 18];
        with_half(&mut block, 0, 0.5);
        block[2] = 0xF1;
        let values = decoded(Format::Q4_0, &block);
        assert_eq!((values[0], values[16], values[1]), (-3.5, 3.5, -4.0));

        let mut block = vec![0; 34];
        with_half(&mut block, 0, 2.0);
        block[2] = 0x80;
        block[33] = 7;
        let values = decoded(Format::Q8_0, &block);
        assert_eq!((values[0], values[31]), (-256.0, 14.0));
    }

    #[test]
    fn groups_of_the_k_formats_have_scales_and_minima_of_six_bits() {
        // Group 1: scale 5, minimum 9. Group 6: scale 0b10_0011, minimum 0b01_0100.
        let mut packed = [0u8; 12];
        packed[1] = 5;
        packed[5] = 9;
        packed[10] = 0b0100_0011;
        packed[2] = 0b1000_0000;
        packed[6] = 0b0100_0000;
        assert_eq!(scale_and_minimum(&packed, 1), (5.0, 9.0));
        assert_eq!(scale_and_minimum(&packed, 6), (35.0, 20.0));

        let mut block = vec![0; 144];
        with_half(&mut block, 0, 0.25);
        with_half(&mut block, 2, 0.5);
        block[4..16].copy_from_slice(&packed);
        // Group 1 lies in the high halves of the first 32 bytes, group 6 in the low ones of the last 32.
        block[16] = 0xC0;
        block[16 + 96 + 31] = 0x0B;
        let values = decoded(Format::Q4K, &block);
        assert_eq!(values[32], 0.25 * 5.0 * 12.0 - 0.5 * 9.0);
        assert_eq!(values[6 * 32 + 31], 0.25 * 35.0 * 11.0 - 0.5 * 20.0);
        assert_eq!(values[0], 0.0);
    }

    #[test]
    fn the_fifth_bit_of_a_group_lies_in_the_shared_bytes() {
        let mut block = vec![0; 176];
        with_half(&mut block, 0, 1.0);
        block[4..8].fill(1);
        block[16 + 3] = 0b0000_0100;
        block[48 + 32 + 3] = 0x07;
        let values = decoded(Format::Q5K, &block);
        assert_eq!((values[2 * 32 + 3], values[3]), (23.0, 0.0));
    }

    #[test]
    fn six_bits_are_put_together_from_two_places() {
        let mut block = vec![0; 210];
        with_half(&mut block, 208, 0.5);
        block[192..208].fill(2);
        block[192 + 13] = 0xFF;
        // Element 128 + 64 + 16 + 1: second half, third quarter, place 17; scale 13 is -1.
        block[64 + 17] = 0xA0;
        block[128 + 32 + 17] = 0b0001_0000;
        let values = decoded(Format::Q6K, &block);
        assert_eq!(values[128 + 64 + 17], -0.5 * (26.0 - 32.0));
        assert_eq!(values[0], -32.0);
    }
}
