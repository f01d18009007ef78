//! The chip's own layout: channels in blocks of 16, a block's channels side by side at each place of the plane.
//!
//! The last block has only the channels that are left, so a tensor has as many bytes as in the plain layout: the ABI has no word for a
//! layout that needs more.

use crate::operation::{Op, lengths};
use sunmao_plugin_sdk::Result;
use sunmao_plugin_sdk::abi::{LayoutChoice, Operand};

/// The code of the layout: [N, C, spatial...] stored as N, blocks of C, spatial, channel in the block.
pub(crate) const BLOCKED: u16 = 0x8000;
/// Channels of a block: the rows of a matrix unit.
pub(crate) const BLOCK: usize = 16;

/// Where the planes of an [N, C, spatial...] tensor lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    blocked: bool,
    pub(crate) channels: usize,
    /// Elements of a plane.
    pub(crate) plane: usize,
}

impl Planes {
    pub(crate) fn of(op: Op<'_>, operand: &Operand) -> Result<Self> {
        let shape = lengths(operand);
        let &[_, channels, ref spatial @ ..] = shape.as_slice() else {
            return Err(op.unsupported(format_args!("a tensor of shape {shape:?} where N and C were expected")));
        };
        Ok(Self { blocked: operand.layout == BLOCKED, channels, plane: spatial.iter().product() })
    }

    /// The first element of a channel's plane, and the step from one place of the plane to the next.
    pub(crate) fn start(&self, batch: usize, channel: usize) -> (usize, usize) {
        let before = batch * self.channels * self.plane;
        if !self.blocked {
            return (before + channel * self.plane, 1);
        }
        let first = channel / BLOCK * BLOCK;
        let lanes = BLOCK.min(self.channels - first);
        (before + first * self.plane + channel - first, lanes)
    }
}

/// The wish for blocks, for those of the operands (numbers over inputs and then outputs) that have channels enough.
pub(crate) fn wishes<'a>(operands: impl IntoIterator<Item = (usize, &'a Operand)>) -> Vec<LayoutChoice> {
    let worth = |operand: &Operand| operand.shape.len() >= 3 && operand.shape[1] as usize >= BLOCK && !operand.constant;
    let wish = |(number, _)| LayoutChoice { operand: number as u32, layout: BLOCKED };
    operands.into_iter().filter(|(_, operand)| worth(operand)).map(wish).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_element_once_even_where_the_last_is_narrow() {
        for channels in [1, 15, 16, 17, 40] {
            let planes = Planes { blocked: true, channels, plane: 6 };
            let mut seen = vec![0; 2 * channels * 6];
            for (batch, channel) in (0..2).flat_map(|batch| (0..channels).map(move |channel| (batch, channel))) {
                let (start, step) = planes.start(batch, channel);
                (0..6).for_each(|place| seen[start + place * step] += 1);
            }
            assert!(seen.iter().all(|&times| times == 1), "{channels} channels: {seen:?}");
        }
    }

    #[test]
    fn neighbours_in_a_block_are_neighbours_in_memory() {
        let planes = Planes { blocked: true, channels: 32, plane: 10 };
        assert_eq!(planes.start(0, 3), (3, 16));
        assert_eq!(planes.start(0, 17), (161, 16));
        assert_eq!(Planes { blocked: false, ..planes }.start(1, 2), (340, 1));
    }
}
