//! Columns of a convolution's matrix, packed straight from the input: row (channel, y, x of the filter), column (pixel of the output).

use super::band::copy_strided;
use super::geometry::Geometry;
use crate::panels::{interleave, interleave_one};
use crate::tile::COLUMNS;
use crate::vector::fill;

/// One image's channels of one group.
#[derive(Clone, Copy)]
pub(crate) struct Gather<'a> {
    pub(crate) geometry: &'a Geometry,
    pub(crate) input: *const f32,
}

/// Rows gathered at a time.
const ROWS: usize = 4;

/// Floats behind the packed block that [`Gather::pack`] uses to gather rows.
pub(crate) fn scratch_floats(geometry: &Geometry, width: usize) -> usize {
    if geometry.is_pointwise() { 0 } else { ROWS * width }
}

impl Gather<'_> {
    /// Packs rows `from .. from + depth` and columns `column .. column + columns` into panels of `depth * 4` floats at `to`; `scratch` holds
    /// [`scratch_floats`].
    ///
    /// # Safety
    /// The input holds the group's channels; rows and columns lie in the matrix; `to` holds the panels.
    pub(crate) unsafe fn pack(
        &self,
        (from, depth): (usize, usize),
        (column, columns): (usize, usize),
        to: *mut f32,
        scratch: *mut f32,
    ) {
        let panel = depth * COLUMNS;
        let pointwise = self.geometry.is_pointwise();
        let plane = self.geometry.input_plane();
        // SAFETY: the caller's promise; each row holds `columns` floats, in the input or in the scratch.
        unsafe {
            let row = |k: usize, slot: usize| -> *const f32 {
                if pointwise {
                    return self.input.add(k * plane + column);
                }
                let row = scratch.add(slot * columns);
                self.gather(k, column, columns, row);
                row
            };
            let mut p = 0;
            while p + ROWS <= depth {
                let sources = [row(from + p, 0), row(from + p + 1, 1), row(from + p + 2, 2), row(from + p + 3, 3)];
                interleave(sources, columns, to, panel, p);
                p += ROWS;
            }
            for p in p..depth {
                interleave_one(row(from + p, 0), columns, to, panel, p);
            }
        }
    }

    /// Writes columns `column .. column + columns` of row `k`.
    ///
    /// # Safety
    /// As for [`Gather::pack`]; `to` holds `columns` floats.
    #[inline(never)]
    unsafe fn gather(&self, k: usize, column: usize, columns: usize, to: *mut f32) {
        let g = self.geometry;
        let (tap, width) = (k % g.taps(), g.output[1]);
        let (ky, kx) = (tap / g.kernel[1], tap % g.kernel[1]);
        let step = g.stride[1];
        // Input x of output x = 0; columns whose input lies in the row are `low .. high`.
        let origin = (kx * g.dilation[1]) as isize - g.pad[1] as isize;
        let low = ((-origin).max(0) as usize).div_ceil(step).min(width);
        let last = g.input[1] as isize - 1 - origin;
        let high = if last < 0 { low } else { (last as usize / step + 1).clamp(low, width) };
        let (mut y, mut x) = (column / width, column % width);
        let (mut to, mut left) = (to, columns);
        // SAFETY: `to` advances by what was written, `left` says how much may follow; the columns read are `low .. high` of a row that exists.
        unsafe {
            let plane = self.input.add(k / g.taps() * g.input_plane());
            while left > 0 {
                let len = left.min(width - x);
                let row = (y * g.stride[0] + ky * g.dilation[0]) as isize - g.pad[0] as isize;
                if row < 0 || row >= g.input[0] as isize {
                    fill(to, len, 0.0);
                } else {
                    let (a, b) = (low.clamp(x, x + len), high.clamp(x, x + len));
                    fill(to, a - x, 0.0);
                    if b > a {
                        let source = plane.offset(row * g.input[1] as isize + origin + (a * step) as isize);
                        copy_strided(source, step, to.add(a - x), b - a);
                    }
                    fill(to.add(b - x), x + len - b, 0.0);
                }
                to = to.add(len);
                left -= len;
                x = 0;
                y += 1;
            }
        }
    }
}
