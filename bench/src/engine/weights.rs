//! Operands for kernels on their own: numbers as they occur in models, drawn from a generator that is the same everywhere.

use std::sync::Arc;
use sunmao_graph::DType;

/// Numbers that look random and are always the same.
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        // Marsaglia's xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }

    /// Floats between -1 and 1.
    pub(super) fn floats(&mut self, count: usize) -> Vec<u8> {
        let one = |draw: &mut Self| (draw.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count).flat_map(|_| one(self).to_le_bytes()).collect()
    }

    /// Unsigned bytes, or the two's complement of numbers between -2^(bits-1) and 2^(bits-1) - 1.
    pub(super) fn bytes(&mut self, count: usize, bits: Option<u32>) -> Vec<u8> {
        let narrow = |byte: u8, bits: u32| ((byte as i8) >> (8 - bits)) as u8;
        (0..count).map(|_| self.byte()).map(|byte| bits.map_or(byte, |bits| narrow(byte, bits))).collect()
    }

    /// A matrix of `rows` x `columns` weights in a format of blocks, such that a product with it keeps the size of what it multiplies.
    pub(super) fn blocks(&mut self, format: DType, rows: usize, columns: usize) -> Option<Arc<[u8]>> {
        let mut bytes = Vec::new();
        match format {
            // A scale, then 32 signed bytes.
            DType::Q8_0 => {
                for _ in 0..rows * columns / 32 {
                    bytes.extend(half(-12, 0));
                    bytes.extend(self.bytes(32, None));
                }
            }
            // Scales of scales and of minima, 12 bytes with 8 scales and 8 minima of 6 bits, 256 weights of 4 bits.
            DType::Q4K => {
                for _ in 0..rows * columns / 256 {
                    bytes.extend(half(-14, 0));
                    // Minima are 7.5 times the scales, the middle of four bits, so that weights lie around zero.
                    bytes.extend(half(-12, 0x380));
                    bytes.extend(self.bytes(12 + 128, None));
                }
            }
            _ => return None,
        }
        Some(bytes.into())
    }
}

/// The bytes of the f16 that is `2^exponent * (1 + fraction / 1024)`.
fn half(exponent: i16, fraction: u16) -> [u8; 2] {
    ((((exponent + 15) as u16) << 10) | fraction).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_bits_are_seven_bits() {
        let drawn = Draw::new(3).bytes(10_000, Some(7));
        let numbers = || drawn.iter().map(|byte| *byte as i8);
        assert_eq!((numbers().min(), numbers().max()), (Some(-64), Some(63)));
    }

    #[test]
    fn blocks_have_the_size_of_their_format() {
        for (format, bits) in [(DType::Q8_0, 8.5), (DType::Q4K, 4.5)] {
            let bytes = Draw::new(1).blocks(format, 8, 512).expect("a known format").len();
            assert_eq!(bytes as f64, 8.0 * 512.0 * bits / 8.0);
            assert_eq!(format.bytes(8 * 512), Some(bytes as u64));
        }
        assert_eq!(half(0, 0), 0x3c00u16.to_le_bytes());
    }

    #[test]
    fn floats_lie_on_both_sides_of_zero() {
        let bytes = Draw::new(7).floats(1000);
        let numbers: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert!(numbers.iter().all(|x| (-1.0..1.0).contains(x)));
        assert!(numbers.iter().sum::<f32>().abs() < 100.0);
    }
}
