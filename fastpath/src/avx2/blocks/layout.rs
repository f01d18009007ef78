//! How block-quantised weights are packed: eight rows of the matrix (columns of the product) side by side, so that a lane of every vector is a column.
//!
//! A *strip* is eight columns from the first block to the last. A block of a strip has the half floats of its eight columns, then, dword by dword,
//! everything else as the format has it: a vector of eight dwords is one dword of each column. Nothing grows: a strip has the bytes of eight columns. Columns
//! that fill up the last strip are zeros.

use super::super::lanes::LANES;

/// A block format, as the ABI numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Q4_0,
    Q4K,
    Q5K,
    Q6K,
    Q8_0,
}

/// Weights of a group, whatever the format: what is decoded at a time.
pub(crate) const GROUP: usize = 32;

/// Where the parts of a stored block are.
struct Stored {
    bytes: usize,
    /// Offsets of half floats.
    halves: &'static [usize],
    /// Offset and number of the dwords.
    dwords: (usize, usize),
    /// What is flipped in each dword: signed bytes become unsigned ones, 128 more.
    flip: u32,
}

impl Format {
    pub(super) fn of(dtype: u16) -> Option<Self> {
        Some(match dtype {
            0x100 => Self::Q4_0,
            0x101 => Self::Q4K,
            0x102 => Self::Q5K,
            0x103 => Self::Q6K,
            0x104 => Self::Q8_0,
            _ => return None,
        })
    }

    /// Groups of a block.
    pub(super) fn groups(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q8_0 => 1,
            Self::Q4K | Self::Q5K | Self::Q6K => 8,
        }
    }

    fn stored(self) -> Stored {
        let (bytes, halves, dwords): (_, &'static [usize], _) = match self {
            Self::Q4_0 => (18, &[0], (2, 4)),
            Self::Q4K => (144, &[0, 2], (4, 35)),
            Self::Q5K => (176, &[0, 2], (4, 43)),
            Self::Q6K => (210, &[208], (0, 52)),
            Self::Q8_0 => (34, &[0], (2, 8)),
        };
        let flip = if self == Self::Q8_0 { 0x8080_8080 } else { 0 };
        Stored { bytes, halves, dwords, flip }
    }

    /// Bytes of a block of one column.
    pub(super) fn bytes(self) -> usize {
        self.stored().bytes
    }
}

/// Packs a matrix of `columns` columns of `blocks` blocks.
///
/// # Safety
/// The blocks are readable at `from`, one column behind the other; as many bytes, for columns rounded up to whole strips, are writable at `to` and
/// nobody else's, and are zeros.
pub(super) unsafe fn pack(format: Format, columns: usize, blocks: usize, from: *const u8, to: *mut u8) {
    let stored = format.stored();
    let column_bytes = blocks * stored.bytes;
    for column in 0..columns {
        let lane = column % LANES;
        for block in 0..blocks {
            // SAFETY: the block is that of a column; halves and dwords are inside it. A block of a strip begins at the bytes of the strips and blocks
            // before it, and has eight halves for each half and eight dwords for each dword.
            unsafe {
                let from = from.add(column * column_bytes + block * stored.bytes);
                let mut to = to.add(column / LANES * LANES * column_bytes + block * LANES * stored.bytes);
                for &half in stored.halves {
                    to.cast::<u16>().add(lane).write_unaligned(from.add(half).cast::<u16>().read_unaligned());
                    to = to.add(2 * LANES);
                }
                let (first, count) = stored.dwords;
                for dword in 0..count {
                    let value = from.add(first).cast::<u32>().add(dword).read_unaligned();
                    to.cast::<u32>().add(dword * LANES + lane).write_unaligned(value ^ stored.flip);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_its_halves_and_its_dwords() {
        for format in [Format::Q4_0, Format::Q4K, Format::Q5K, Format::Q6K, Format::Q8_0] {
            let Stored { bytes, halves, dwords: (first, count), .. } = format.stored();
            let mut covered = vec![0; bytes];
            halves.iter().for_each(|&at| covered[at..at + 2].iter_mut().for_each(|times| *times += 1));
            covered[first..first + 4 * count].iter_mut().for_each(|times| *times += 1);
            assert_eq!(covered, vec![1; bytes], "{format:?}");
        }
    }
}
