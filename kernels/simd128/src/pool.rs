//! MaxPool and AveragePool over one or two axes: first down the columns of a window, a vector of pixels at a time, then along the row.

use crate::arguments::{Op, shards_for};
use crate::vector::{LANES, add, evens, fill, load, mul, odds, splat, store, store_part, v128};
use core::arch::wasm32::f32x4_max;
use sunmao_plugin_sdk::abi::Requirements;
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Result};

/// A pooling over windows of pixels.
#[derive(Clone)]
struct Pool {
    average: bool,
    /// Planes: batch times channels.
    planes: usize,
    input: [usize; 2],
    output: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    /// Padding behind the last row and column.
    pad_end: [usize; 2],
    include_pad: bool,
    /// Floats of a row between its padding.
    line: usize,
}

/// The fast kernel for a pooling operation, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let (x, y) = (op.f32_shape(0)?, op.f32_output()?);
    let axes = x.len().checked_sub(2)?;
    if !(1..=2).contains(&axes) || !op.0.epilogue.is_empty() || y.len() != x.len() {
        return None;
    }
    let list = |key: &str, default: i64, len: usize| -> Option<Vec<usize>> {
        let given = op.attributes().integers(key).map_or_else(|| vec![default; len], <[i64]>::to_vec);
        given.into_iter().map(|v| usize::try_from(v).ok()).collect::<Option<Vec<_>>>().filter(|v| v.len() == len)
    };
    let pair = |v: &[usize], default: usize| if axes == 1 { [default, v[0]] } else { [v[0], v[1]] };
    let pads = list("pads", 0, 2 * axes)?;
    if list("dilations", 1, axes)?.iter().any(|&d| d != 1) || !matches!(op.attributes().text("auto_pad"), "" | "NOTSET")
    {
        return None;
    }
    let mut pool = Pool {
        average: op.name() == "AveragePool",
        planes: x[0] * x[1],
        input: pair(&x[2..], 1),
        output: pair(&y[2..], 1),
        kernel: pair(&list("kernel_shape", 0, axes)?, 1),
        stride: pair(&list("strides", 1, axes)?, 1),
        pad: pair(&pads[..axes], 0),
        pad_end: pair(&pads[axes..], 0),
        include_pad: op.integer("count_include_pad", 0) != 0,
        line: 0,
    };
    if pool.kernel.contains(&0) || pool.stride.contains(&0) || pool.input.contains(&0) || pool.planes == 0 {
        return None;
    }
    // The last vector of outputs may read beyond the last window.
    pool.line = (pool.output[1].next_multiple_of(LANES) + LANES) * pool.stride[1] + pool.kernel[1] + LANES;
    pool.line = pool.line.max(pool.pad[1] + pool.input[1] + LANES);
    Some(Box::new(pool))
}

impl Kernel for Pool {
    fn requirements(&self) -> Requirements {
        let reads = self.planes * self.output[0] * (self.input[1] * self.kernel[0] + self.output[1] * self.kernel[1]);
        let nanoseconds = (reads as f32 * 0.3) as u64 + 100;
        Requirements {
            workspace: (4 * self.line) as u32,
            shards: shards_for(nanoseconds),
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let pool = self.clone();
        let (x, y) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            let line = call.workspace::<f32>().as_mut_ptr();
            let [height, width] = pool.output;
            for row in call.share(pool.planes * height, 1) {
                let (plane, y) = (row / height, row % height);
                // SAFETY: `bind` checked that the tensors hold their planes, and the workspace holds a line.
                unsafe {
                    let plane = from.add(plane * pool.input[0] * pool.input[1]);
                    if pool.average {
                        pool.row(plane, y, line, to.add(row * width), 0.0, add);
                        pool.divide(y, to.add(row * width));
                    } else {
                        pool.row(plane, y, line, to.add(row * width), f32::NEG_INFINITY, |a, b| f32x4_max(a, b));
                    }
                }
            }
            Ok(())
        }))
    }
}

impl Pool {
    /// Input positions of window `index` along an axis, those outside left out.
    fn window(&self, axis: usize, index: usize) -> core::ops::Range<usize> {
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.pad[axis]).min(self.input[axis]);
        start.saturating_sub(self.pad[axis]).min(end)..end
    }

    /// Folds the windows of output row `y` into `to`.
    ///
    /// # Safety
    /// `plane` holds an input plane, `line` and `to` a line and an output row.
    #[inline(never)]
    unsafe fn row(
        &self,
        plane: *const f32,
        y: usize,
        line: *mut f32,
        to: *mut f32,
        start: f32,
        f: impl Fn(v128, v128) -> v128,
    ) {
        let (rows, width) = (self.window(0, y), self.input[1]);
        // SAFETY: the line holds `pad + width` floats and a vector; windows read it up to where it was filled.
        unsafe {
            fill(line, self.pad[1], start);
            let columns = line.add(self.pad[1]);
            let mut x = 0;
            while x < width {
                let mut v = splat(start);
                let left = (width - x).min(LANES);
                for row in rows.clone() {
                    let from = plane.add(row * width + x);
                    v = f(v, if left == LANES { load(from) } else { crate::vector::load_part(from, left) });
                }
                store(columns.add(x), v);
                x += LANES;
            }
            fill(columns.add(width), self.line - self.pad[1] - width, start);
            let step = self.stride[1];
            let mut x = 0;
            while x < self.output[1] {
                let from = line.add(x * step);
                let mut v = splat(start);
                match step {
                    1 => {
                        for k in 0..self.kernel[1] {
                            v = f(v, load(from.add(k)));
                        }
                    }
                    2 => {
                        let mut k = 0;
                        while k < self.kernel[1] {
                            let (a, b) = (load(from.add(k)), load(from.add(k + 4)));
                            v = f(v, evens(a, b));
                            if k + 1 < self.kernel[1] {
                                v = f(v, odds(a, b));
                            }
                            k += 2;
                        }
                    }
                    _ => {
                        for k in 0..self.kernel[1] {
                            let lanes: [f32; 4] = core::array::from_fn(|i| from.add(i * step + k).read());
                            v = f(v, load(lanes.as_ptr()));
                        }
                    }
                }
                let left = self.output[1] - x;
                if left >= LANES {
                    store(to.add(x), v);
                } else {
                    store_part(to.add(x), v, left);
                }
                x += LANES;
            }
        }
    }

    /// Divides the sums of a row by the number of pixels that each window counts.
    ///
    /// # Safety
    /// `to` holds an output row.
    #[inline(never)]
    unsafe fn divide(&self, y: usize, to: *mut f32) {
        let counted = |axis: usize, index: usize| {
            if self.include_pad {
                // Padding counts, but not what lies beyond it in a window that was rounded up.
                let start = index * self.stride[axis];
                (start + self.kernel[axis]).min(self.input[axis] + self.pad[axis] + self.pad_end[axis]) - start
            } else {
                self.window(axis, index).len()
            }
        };
        let rows = counted(0, y);
        let full = splat(1.0 / (rows * self.kernel[1]) as f32);
        let whole = |x: usize| counted(1, x) == self.kernel[1];
        let mut x = 0;
        // SAFETY: `x` stays below the row's length.
        unsafe {
            while x < self.output[1] {
                if x + LANES <= self.output[1] && whole(x) && whole(x + LANES - 1) {
                    store(to.add(x), mul(load(to.add(x)), full));
                    x += LANES;
                } else {
                    let count = (rows * counted(1, x)).max(1);
                    // The same product as in the vectors, so that the bits do not depend on the position.
                    to.add(x).write(to.add(x).read() * (1.0 / count as f32));
                    x += 1;
                }
            }
        }
    }
}
