//! `ConvTranspose` in one to three dimensions.
//!
//! Outputs that lie a stride apart take the same taps and read neighbouring inputs: each row of the output is computed phase by phase, so that
//! the inner loop is contiguous on both sides.

use crate::arguments::Op;
use crate::element::{Stored, dispatch};
use crate::epilogue::{Epilogue, STEPS};
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::table::{LATEST, Row, same};
use crate::window::{Axis, Window};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    let row = |dtypes: &[u16]| {
        Row::new("ConvTranspose", (1, LATEST), same(3, 1, dtypes), Tolerance::Accumulate(1.0), conv_transpose)
            .explicit_pads()
    };
    vec![row(&[1]).epilogues(STEPS), row(&[11, 10, 16])]
}

#[derive(Clone, Copy)]
struct Transposed {
    window: Window,
    batches: usize,
    groups: usize,
    /// Channels of one group.
    inputs: usize,
    outputs: usize,
}

fn conv_transpose(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (x, w) = (op.shape(0)?, op.shape(1)?);
    let y = op.output_shape(0)?;
    let groups = op.attributes().integer("group").unwrap_or(1);
    let fits = x.len() >= 3
        && w.len() == x.len()
        && y.len() == x.len()
        && groups > 0
        && w[0] == x[1]
        && x[1] as i64 % groups == 0
        && y[..2] == [x[0], w[1] * groups as usize];
    if !fits {
        return Err(op.invalid(format_args!("{groups} groups with shapes {x:?}, {w:?} and {y:?}")));
    }
    let mut window = Window::attributes(op, &x[2..], Some(&w[2..]))?;
    let extra = op.attributes().integers("output_padding").filter(|list| !list.is_empty());
    let asked = op.attributes().integers("output_shape").is_some_and(|list| !list.is_empty());
    for (i, axis) in window.spatial_mut(x.len() - 2).iter_mut().enumerate() {
        axis.output = y[2 + i];
        let extra = extra.and_then(|list| list.get(i)).copied().unwrap_or(0);
        let full =
            (axis.input as i64 - 1) * axis.stride as i64 + ((axis.kernel - 1) * axis.dilation) as i64 + 1 + extra;
        let expected = full - axis.pad as i64 - axis.pad_end as i64;
        // With an `output_shape`, the host has worked out the pads, and they may leave one element more or less.
        if expected != axis.output as i64 && !asked {
            return Err(op.invalid(format_args!("an output of shape {y:?} where the window gives {expected}")));
        }
    }
    let groups = groups as usize;
    let shape = Transposed { window, batches: x[0], groups, inputs: x[1] / groups, outputs: w[1] };
    let units = shape.batches * y[1] * window.0[0].output * window.0[1].output;
    let work = x.iter().chain([&w[1], &window.taps()]).fold(1u64, |work, &n| work.saturating_mul(n as u64));
    dispatch!(op.input(0)?.dtype, floats, S => {
        let epilogue = Epilogue::<S>::of(op, op.optional(2).map(|_| 2), 1)?;
        kernel(needs(work, units), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, w) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?);
            let output = bindings.output::<E<S>>(0)?;
            let epilogue = epilogue.bind(bindings)?;
            Ok(Box::new(move |call: &Call| {
                let (x, w, out) = (call.read(&x), call.read(&w), call.write(&output));
                let [_, high, wide] = shape.window.0;
                let mut sums = [<S as Stored>::Value::default(); CHUNK];
                for unit in call.share(units, 1) {
                    for from in (0..wide.output).step_by(CHUNK) {
                        let sums = &mut sums[..CHUNK.min(wide.output - from)];
                        shape.row::<S>(&x, &w, unit, from, sums);
                        let at = unit * wide.output + from;
                        let rows = shape.window.0[0].output * high.output;
                        epilogue.apply(call, sums, at, unit / rows % (shape.groups * shape.outputs), 0);
                        let to = out.part(at..at + sums.len());
                        for (i, &sum) in sums.iter().enumerate() {
                            to.set(i, S::store(sum));
                        }
                    }
                }
                Ok(())
            }))
        })
    })
}

impl Transposed {
    /// The sums of a part of one row of the output. Rows are counted over batches, channels and the outer spatial axes.
    fn row<S: Stored>(
        &self,
        x: &Reader<'_, S::Element>,
        w: &Reader<'_, S::Element>,
        unit: usize,
        from: usize,
        sums: &mut [S::Value],
    ) {
        let [deep, high, wide] = self.window.0;
        let rows = deep.output * high.output;
        let channels = self.groups * self.outputs;
        let (batch, channel, row) = (unit / rows / channels, unit / rows % channels, unit % rows);
        let (group, output) = (channel / self.outputs, channel % self.outputs);
        let (plane, taps) = (self.window.input_len(), self.window.taps());
        let mut phase_sums = [S::Value::default(); CHUNK];
        for phase in 0..wide.stride.min(sums.len()) {
            // Outputs from + phase, from + phase + stride, ...
            let count = (sums.len() - phase).div_ceil(wide.stride);
            let phase_sums = &mut phase_sums[..count];
            phase_sums.fill(S::Value::default());
            for input in group * self.inputs..(group + 1) * self.inputs {
                let first = (batch * self.groups * self.inputs + input) * plane;
                let weights = (input * self.outputs + output) * taps;
                for tap_d in 0..deep.kernel {
                    let Some(d) = source(&deep, row / high.output, tap_d) else { continue };
                    for tap_h in 0..high.kernel {
                        let Some(h) = source(&high, row % high.output, tap_h) else { continue };
                        let line = first + (d * high.input + h) * wide.input;
                        for tap_w in 0..wide.kernel {
                            // Input of the first output of the phase; the next output reads the next input.
                            let reach = (from + phase + wide.pad) as isize - (tap_w * wide.dilation) as isize;
                            if reach.rem_euclid(wide.stride as isize) != 0 {
                                continue;
                            }
                            let start = reach.div_euclid(wide.stride as isize);
                            let low = (-start).clamp(0, count as isize) as usize;
                            let high_end = (wide.input as isize - start).clamp(low as isize, count as isize) as usize;
                            if low == high_end {
                                continue;
                            }
                            let weight = w.get(weights + (tap_d * high.kernel + tap_h) * wide.kernel + tap_w);
                            let factor = S::load(weight);
                            let read = line + (start + low as isize) as usize;
                            let line = x.part(read..read + high_end - low);
                            for (sum, element) in phase_sums[low..high_end].iter_mut().zip(line.iter()) {
                                *sum = sum.add(S::load(element).mul(factor));
                            }
                        }
                    }
                }
            }
            for (i, &sum) in phase_sums.iter().enumerate() {
                sums[phase + i * wide.stride] = sum;
            }
        }
    }
}

/// Input index that reaches output `out` through tap `tap`, if there is one.
fn source(axis: &Axis, out: usize, tap: usize) -> Option<usize> {
    let reach = (out + axis.pad).checked_sub(tap * axis.dilation)?;
    (reach.is_multiple_of(axis.stride) && reach / axis.stride < axis.input).then_some(reach / axis.stride)
}
