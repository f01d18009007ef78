//! `Conv` in one to three dimensions with groups, strides and dilations, and `ConvInteger` and `QLinearConv`, whose sums are exact.
//!
//! Two loops. With several output channels to a group, the windows are gathered into the right side of a matrix product (never as a whole, a
//! strip at a time). With one or two (depthwise), each row of the output is summed up tap by tap, along the row.

use crate::arguments::{Op, dims};
use crate::element::{Stored, dispatch};
use crate::epilogue::{Epilogue, STEPS};
use crate::matmul::Byte;
use crate::number::Number;
use crate::product::{Left, Product, Right};
use crate::requantise::{Finish, Line, Scales, by_line};
use crate::settle::{CHUNK, kernel, needs};
use crate::table::{LATEST, Row, same, signature};
use crate::window::Window;
use std::ops::Range;
use sunmao_plugin_sdk::abi::{Requirements, Tolerance};
use sunmao_plugin_sdk::{Call, Element, Kernel, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    let (mut integer, mut quantised) = (Vec::new(), Vec::new());
    for (x, w) in [(2, 2), (2, 3), (3, 2), (3, 3)] {
        integer.push(signature(&[x, w, x, w], &[6]));
        quantised.extend([2, 3].map(|y| signature(&[x, 1, x, w, 1, w, 1, y, 6], &[y])));
    }
    vec![
        Row::new("Conv", (1, LATEST), same(3, 1, &[1]), Tolerance::Accumulate(1.0), conv)
            .epilogues(STEPS)
            .explicit_pads(),
        Row::new("Conv", (1, LATEST), same(3, 1, &[11, 10, 16]), Tolerance::Accumulate(1.0), conv).explicit_pads(),
        Row::new("ConvInteger", (10, LATEST), integer, Tolerance::Exact, conv_integer).explicit_pads(),
        Row::new("QLinearConv", (10, LATEST), quantised, Tolerance::Exact, qlinear_conv).explicit_pads(),
    ]
}

/// A convolution's shapes.
#[derive(Clone, Copy)]
struct Convolution {
    window: Window,
    batches: usize,
    groups: usize,
    /// Channels of one group.
    inputs: usize,
    outputs: usize,
}

impl Convolution {
    /// With input and weights as those inputs of the operation.
    fn of(op: Op<'_>, x: usize, w: usize) -> Result<Self> {
        let (x, w) = (op.shape(x)?, op.shape(w)?);
        if x.len() < 3 || w.len() != x.len() {
            return Err(op.invalid(format_args!("shapes {x:?} and {w:?}")));
        }
        let groups = op.attributes().integer("group").unwrap_or(1);
        let fits = groups > 0 && w[1] as i64 * groups == x[1] as i64 && w[0] as i64 % groups == 0;
        if !fits {
            return Err(op.invalid(format_args!("{groups} groups with shapes {x:?} and {w:?}")));
        }
        let groups = groups as usize;
        let y = op.output_shape(0)?;
        if y.len() != x.len() || y[..2] != [x[0], w[0]] {
            return Err(op.invalid(format_args!("an output of shape {y:?} from {x:?} and {w:?}")));
        }
        Ok(Self {
            window: Window::of(op, &x[2..], &y[2..], Some(&w[2..]))?.flattened(),
            batches: x[0],
            groups,
            inputs: w[1],
            outputs: w[0] / groups,
        })
    }

    fn product(&self) -> Product {
        Product {
            batches: self.batches * self.groups,
            rows: self.outputs,
            columns: self.window.output_len(),
            depth: self.inputs * self.window.taps(),
        }
    }

    fn is_direct(&self) -> bool {
        self.outputs < 3
    }

    fn requirements<V: Number>(&self) -> Requirements {
        let product = self.product();
        if !self.is_direct() {
            return product.requirements::<V>();
        }
        let work = product.batches as u64 * product.rows as u64 * product.columns as u64 * product.depth as u64;
        needs(work, product.batches * product.rows * self.window.0[0].output * self.window.0[1].output)
    }

    /// Computes this shard's part. `load_x` and `load_w` (with the output channel) turn elements into numbers, `finish` takes sums with the batch,
    /// the output channel and the place in its plane.
    fn run<X: Element, W: Element, V: Number>(
        &self,
        call: &Call,
        x: &Reader<'_, X>,
        w: &Reader<'_, W>,
        load_x: impl Fn(X) -> V,
        load_w: impl Fn(usize, W) -> V,
        finish: impl Fn(usize, usize, usize, &mut [V]),
    ) {
        if self.is_direct() {
            return self.run_direct(call, x, w, load_x, load_w, finish);
        }
        let product = self.product();
        let left = |batch, rows: Range<usize>, into: &Left<'_, V>| {
            for i in 0..Left::<V>::ROWS {
                let channel = batch % self.groups * self.outputs + rows.start + i;
                if rows.start + i >= rows.end {
                    (0..product.depth).for_each(|k| into.set(i, k, V::ZERO));
                    continue;
                }
                let weights = w.part(channel * product.depth..(channel + 1) * product.depth);
                for k in 0..product.depth {
                    into.set(i, k, load_w(channel, weights.get(k)));
                }
            }
        };
        let plane = self.window.input_len();
        let right = |batch, columns: Range<usize>, into: &Right<'_, V>| {
            // Groups of one batch follow each other, as their channels do.
            let first = batch * self.inputs * plane;
            let mut k = 0;
            for channel in 0..self.inputs {
                let x = x.part(first + channel * plane..first + (channel + 1) * plane);
                let [deep, high, wide] = self.window.0;
                for tap_d in 0..deep.kernel {
                    for tap_h in 0..high.kernel {
                        for tap_w in 0..wide.kernel {
                            self.gather(&x, [tap_d, tap_h, tap_w], columns.clone(), &load_x, |j, v| into.set(k, j, v));
                            k += 1;
                        }
                    }
                }
            }
        };
        product.run(call, left, right, |batch, row, column, sums: &mut [V]| {
            finish(batch / self.groups, batch % self.groups * self.outputs + row, column, sums);
        });
    }

    /// What one tap reads for a range of outputs of a plane; zero in the padding.
    #[inline]
    fn gather<X: Element, V: Number>(
        &self,
        x: &Reader<'_, X>,
        taps: [usize; 3],
        columns: Range<usize>,
        load: impl Fn(X) -> V,
        mut set: impl FnMut(usize, V),
    ) {
        let [deep, high, wide] = self.window.0;
        let valid = wide.valid(taps[2]);
        let mut at = columns.start;
        while at < columns.end {
            let (row, from) = (at / wide.output, at % wide.output);
            let to = wide.output.min(from + columns.end - at);
            let source = deep
                .source(row / high.output, taps[0])
                .zip(high.source(row % high.output, taps[1]))
                .map(|(d, h)| (d * high.input + h) * wide.input);
            let first = at - columns.start;
            let inside = match source {
                Some(_) => valid.start.clamp(from, to)..valid.end.clamp(from, to),
                None => to..to,
            };
            for out in from..inside.start.min(to) {
                set(first + out - from, V::ZERO);
            }
            if let Some(source) = source
                && !inside.is_empty()
            {
                let mut read = source + inside.start * wide.stride + taps[2] * wide.dilation - wide.pad;
                for out in inside.clone() {
                    set(first + out - from, load(x.get(read)));
                    read += wide.stride;
                }
            }
            for out in inside.end.max(inside.start)..to {
                set(first + out - from, V::ZERO);
            }
            at += to - from;
        }
    }

    fn run_direct<X: Element, W: Element, V: Number>(
        &self,
        call: &Call,
        x: &Reader<'_, X>,
        w: &Reader<'_, W>,
        load_x: impl Fn(X) -> V,
        load_w: impl Fn(usize, W) -> V,
        finish: impl Fn(usize, usize, usize, &mut [V]),
    ) {
        let [deep, high, wide] = self.window.0;
        let (plane, taps) = (self.window.input_len(), self.window.taps());
        let rows = deep.output * high.output;
        let channels = self.groups * self.outputs;
        let mut sums = [V::ZERO; CHUNK];
        for unit in call.share(self.batches * channels * rows, 1) {
            let (batch, channel, row) = (unit / rows / channels, unit / rows % channels, unit % rows);
            let group = channel / self.outputs;
            let first = (batch * self.groups + group) * self.inputs * plane;
            for from in (0..wide.output).step_by(CHUNK) {
                let to = wide.output.min(from + CHUNK);
                let sums = &mut sums[..to - from];
                sums.fill(V::ZERO);
                for input in 0..self.inputs {
                    let x = x.part(first + input * plane..first + (input + 1) * plane);
                    let weight = (channel * self.inputs + input) * taps;
                    let mut tap = 0;
                    for tap_d in 0..deep.kernel {
                        for tap_h in 0..high.kernel {
                            let source =
                                deep.source(row / high.output, tap_d).zip(high.source(row % high.output, tap_h));
                            let Some((d, h)) = source else {
                                tap += wide.kernel;
                                continue;
                            };
                            let line = x.part((d * high.input + h) * wide.input..(d * high.input + h + 1) * wide.input);
                            for tap_w in 0..wide.kernel {
                                let factor = load_w(channel, w.get(weight + tap));
                                tap += 1;
                                let valid = wide.valid(tap_w);
                                let inside = valid.start.clamp(from, to)..valid.end.clamp(from, to);
                                if inside.is_empty() {
                                    continue;
                                }
                                let read = inside.start * wide.stride + tap_w * wide.dilation - wide.pad;
                                let sums = &mut sums[inside.start - from..inside.end - from];
                                if wide.stride == 1 {
                                    let line = line.part(read..read + sums.len());
                                    for (sum, element) in sums.iter_mut().zip(line.iter()) {
                                        *sum = sum.add(load_x(element).mul(factor));
                                    }
                                } else {
                                    for (i, sum) in sums.iter_mut().enumerate() {
                                        *sum = sum.add(load_x(line.get(read + i * wide.stride)).mul(factor));
                                    }
                                }
                            }
                        }
                    }
                }
                finish(batch, channel, row * wide.output + from, sums);
            }
        }
    }
}

fn conv(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = Convolution::of(op, 0, 1)?;
    dispatch!(op.input(0)?.dtype, floats, S => {
        type E<S> = <S as Stored>::Element;
        type V<S> = <S as Stored>::Value;
        let epilogue = Epilogue::<S>::of(op, op.optional(2).map(|_| 2), 1)?;
        kernel(shape.requirements::<V<S>>(), move |bindings| {
            let (x, w) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?);
            let output = bindings.output::<E<S>>(0)?;
            let epilogue = epilogue.bind(bindings)?;
            Ok(Box::new(move |call: &Call| {
                let (x, w, out) = (call.read(&x), call.read(&w), call.write(&output));
                let plane = shape.window.output_len();
                let channels = shape.groups * shape.outputs;
                shape.run(call, &x, &w, S::load, |_, e| S::load(e), |batch, channel, place, sums: &mut [V<S>]| {
                    let at = (batch * channels + channel) * plane + place;
                    epilogue.apply(call, sums, at, channel, 0);
                    let to = out.part(at..at + sums.len());
                    for (i, &sum) in sums.iter().enumerate() {
                        to.set(i, S::store(sum));
                    }
                });
                Ok(())
            }))
        })
    })
}

fn conv_integer(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    integer_convolution(op, [0, 2, 1, 3], None)
}

fn qlinear_conv(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    integer_convolution(op, [0, 2, 3, 5], Some([1, 4, 6]))
}

/// An exact convolution; padding counts as the zero point of the input, so it adds nothing. `inputs` are the input, its zero point, the weights and
/// theirs; `scales` as [`Scales::of`] takes them, and then a bias may be input 8.
fn integer_convolution(op: Op<'_>, inputs: [usize; 4], scales: Option<[usize; 3]>) -> Result<Box<dyn Kernel>> {
    let [x, x_zero, w, w_zero] = inputs;
    let shape = Convolution::of(op, x, w)?;
    let channels = shape.groups * shape.outputs;
    by_line(op, x_zero, 1, Line::Row)?;
    let w_each = by_line(op, w_zero, channels, Line::Column)?;
    let bias = scales.and_then(|_| op.optional(8)).map(dims);
    if bias.as_ref().is_some_and(|bias| *bias != [channels]) {
        return Err(op.invalid(format_args!("a bias of shape {bias:?} for {channels} channels")).at(8));
    }
    let scales = scales.map(|scales| Scales::of(op, scales, 1, channels)).transpose()?;
    let (x_byte, w_byte) = (Byte::of(op.input(x)?.dtype), Byte::of(op.input(w)?.dtype));
    kernel(shape.requirements::<i32>(), move |bindings| {
        let zero = |index: usize| bindings.has_input(index).then(|| bindings.input_bits::<u8>(index)).transpose();
        let (zero_x, zero_w) = (zero(x_zero)?, zero(w_zero)?);
        let (x, w) = (bindings.input_bits::<u8>(x)?, bindings.input_bits::<u8>(w)?);
        let bias = bias.as_ref().map(|_| bindings.input::<i32>(8)).transpose()?;
        let finish = Finish::bind(bindings, scales)?;
        Ok(Box::new(move |call: &Call| {
            let (x, w) = (call.read(&x), call.read(&w));
            let plane = shape.window.output_len();
            let zero_x = zero_x.as_ref().map_or(0, |zero| x_byte.number(call.read(zero).get(0)));
            let zero_w = zero_w.as_ref().map(|zero| call.read(zero));
            let bias = bias.as_ref().map(|bias| call.read(bias));
            let load_x = |e: u8| x_byte.number(e) - zero_x;
            let load_w = |channel: usize, e: u8| {
                let at = if w_each { channel } else { 0 };
                w_byte.number(e) - zero_w.as_ref().map_or(0, |zero| w_byte.number(zero.get(at)))
            };
            shape.run(call, &x, &w, load_x, load_w, |batch, channel, place, sums: &mut [i32]| {
                if let Some(bias) = &bias {
                    let bias = bias.get(channel);
                    sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(bias));
                }
                finish.store(call, (batch * channels + channel) * plane + place, 0, channel, false, sums);
            });
            Ok(())
        }))
    })
}
