//! A band of input rows between zeros, laid out so that every tap of a filter is a plain run of floats behind an offset.
//!
//! Rows and columns are sorted by their remainders modulo the strides: pixel (y, x) of the output and tap (v, u) of the filter meet at
//! `offset(v, u) + y * pitch + x`, whatever the strides and dilations are.

use super::geometry::Geometry;
use crate::vector::{LANES, copy, copy_loose, evens, fill, load, store};

/// Pixels that an inner loop may read beyond the end of the last row.
const SLACK: usize = 16;

/// How a band lies in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    /// Output rows computed from one band.
    pub(super) rows: usize,
    /// Floats from one row to the next.
    pub(super) pitch: usize,
    /// Floats of the rows and columns with one pair of remainders.
    plane: usize,
    /// Floats of one channel.
    channel: usize,
    channels: usize,
}

impl Band {
    /// A band for as many output rows as fit into `floats`, at least one.
    pub(super) fn new(g: &Geometry, floats: usize) -> Self {
        let channels = g.group_channels();
        let reach = |axis: usize| (g.kernel[axis] - 1) * g.dilation[axis] / g.stride[axis];
        let pitch = g.output[1] + reach(1);
        let each = channels * g.stride[0] * g.stride[1] * pitch;
        let rows = (floats / each).saturating_sub(reach(0)).clamp(1, g.output[0]);
        let plane = (rows + reach(0)) * pitch;
        Self { rows, pitch, plane, channel: g.stride[0] * g.stride[1] * plane, channels }
    }

    /// Floats of workspace.
    pub(super) fn floats(&self) -> usize {
        (self.channels * self.channel + SLACK).next_multiple_of(LANES)
    }

    /// Where the run of each tap starts: (channel, row, column of the filter) in order.
    pub(super) fn offsets(&self, g: &Geometry) -> Vec<u32> {
        (0..g.depth())
            .map(|k| {
                let (channel, tap) = (k / g.taps(), k % g.taps());
                let (y, x) = (tap / g.kernel[1] * g.dilation[0], tap % g.kernel[1] * g.dilation[1]);
                let phase = y % g.stride[0] * g.stride[1] + x % g.stride[1];
                (channel * self.channel + phase * self.plane + y / g.stride[0] * self.pitch + x / g.stride[1]) as u32
            })
            .collect()
    }

    /// Fills the band for output rows `top .. top + rows`.
    ///
    /// # Safety
    /// `source` holds the channels' input planes, `to` holds [`Band::floats`].
    #[inline(never)]
    pub(super) unsafe fn fill(&self, g: &Geometry, source: *const f32, top: usize, rows: usize, to: *mut f32) {
        let lines = (rows - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1;
        let step = g.stride[1];
        for channel in 0..self.channels {
            for line in 0..lines {
                let y = (top * g.stride[0] + line) as isize - g.pad[0] as isize;
                let place = line % g.stride[0] * step * self.plane + line / g.stride[0] * self.pitch;
                // SAFETY: `place` lies in the channel's part of the band, and `y` is checked against the plane.
                unsafe {
                    let to = to.add(channel * self.channel + place);
                    if y < 0 || y >= g.input[0] as isize {
                        for phase in 0..step {
                            fill(to.add(phase * self.plane), self.pitch, 0.0);
                        }
                        continue;
                    }
                    let row = source.add(channel * g.input_plane() + y as usize * g.input[1]);
                    for phase in 0..step {
                        // Element i of the phase is column `i * step + phase - pad`.
                        let to = to.add(phase * self.plane);
                        let low = g.pad[1].saturating_sub(phase).div_ceil(step).min(self.pitch);
                        let end = (g.input[1] + g.pad[1]).saturating_sub(phase).div_ceil(step).clamp(low, self.pitch);
                        fill(to, low, 0.0);
                        let from = row.wrapping_offset((low * step + phase) as isize - g.pad[1] as isize);
                        if step == 1 && g.stride[0] == 1 && (y as usize) + 1 < g.input[0] && g.input[1] >= LANES {
                            // What is copied too much comes from the next row, and is overwritten by what follows in the band.
                            copy_loose(from, to.add(low), end - low);
                        } else {
                            copy_strided(from, step, to.add(low), end - low);
                        }
                        fill(to.add(end), self.pitch - end, 0.0);
                    }
                }
            }
        }
    }
}

/// Copies every `step`-th float.
///
/// # Safety
/// `from` holds `(len - 1) * step + 1` floats, `to` holds `len`.
#[inline(always)]
pub(super) unsafe fn copy_strided(from: *const f32, step: usize, to: *mut f32, len: usize) {
    // SAFETY: the vector loop reads 8 floats for 4 and stops while a further element follows; the rest goes one by one.
    unsafe {
        if step == 1 {
            copy(from, to, len);
            return;
        }
        let mut i = 0;
        while step == 2 && i + LANES < len {
            store(to.add(i), evens(load(from.add(2 * i)), load(from.add(2 * i + LANES))));
            i += LANES;
        }
        for i in i..len {
            to.add(i).write(from.add(i * step).read());
        }
    }
}
