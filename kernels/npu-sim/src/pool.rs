//! The pooling units: `MaxPool` on f32 and 8-bit integers, `AveragePool` on f32.

use crate::blocked::{Planes, wishes};
use crate::cost::Work;
use crate::operation::{Byte, F32, Op, elements, lengths};
use crate::vector::Bounds;
use crate::window::Window;
use sunmao_plugin_sdk::abi::Requirements;
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Result};

struct Pool {
    batches: usize,
    window: Window,
    x: Planes,
    y: Planes,
    dtype: u16,
    average: bool,
    /// Whether padding counts in an average.
    padding: bool,
    bounds: Bounds,
    requirements: Requirements,
}

pub(crate) fn prepare(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (op.input(0)?, op.output()?);
    let (from, to) = (lengths(x), lengths(y));
    if from.len() < 3 || to.len() != from.len() || from[..2] != to[..2] {
        return Err(op.invalid(format_args!("an output of {to:?} from {from:?}")));
    }
    let kernel = op.attributes().integers("kernel_shape").unwrap_or_default();
    let fits = |&length: &i64| usize::try_from(length).ok().filter(|length| (1..1 << 16).contains(length));
    let kernel: Option<Vec<usize>> = kernel.iter().map(fits).collect();
    let kernel = kernel.ok_or_else(|| op.unsupported("a kernel_shape beyond 65535"))?;
    let window = Window::of(op, &from[2..], &to[2..], &kernel)?;
    let taps = (elements(y) as u64).saturating_mul(window.kernel() as u64);
    let work = Work { bytes: op.bytes(), vector: taps, ..Work::default() };
    let mut requirements = work.requirements(to[0] * to[1]);
    requirements.layouts = wishes([(0, x), (op.0.inputs.len(), y)]);
    Ok(Box::new(Pool {
        batches: from[0],
        window,
        x: Planes::of(op, x)?,
        y: Planes::of(op, y)?,
        dtype: x.dtype,
        average: op.0.op == "AveragePool",
        padding: op.attributes().flag("count_include_pad"),
        bounds: Bounds::of(op.0),
        requirements,
    }))
}

/// Where the windows of all channels are.
#[derive(Clone, Copy)]
struct Windows {
    batches: usize,
    window: Window,
    x: Planes,
    y: Planes,
}

impl Windows {
    /// Calls `output` for each output of this shard's channels with its place in memory and in the plane, and the places of its window.
    fn run(&self, call: &Call, output: impl Fn(usize, [usize; 2], &mut dyn Iterator<Item = usize>)) {
        for plane in call.share(self.batches * self.x.channels, 1) {
            let (batch, channel) = (plane / self.x.channels, plane % self.x.channels);
            let ((from, step), (to, apart)) = (self.x.start(batch, channel), self.y.start(batch, channel));
            for row in 0..self.window.high.output {
                for column in 0..self.window.wide.output {
                    let place = to + (row * self.window.wide.output + column) * apart;
                    let mut taps = self.window.taps(row, column).map(|(_, at)| from + at * step);
                    output(place, [row, column], &mut taps);
                }
            }
        }
    }
}

impl Kernel for Pool {
    fn requirements(&self) -> Requirements {
        self.requirements.clone()
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let windows = Windows { batches: self.batches, window: self.window, x: self.x, y: self.y };
        if self.dtype != F32 {
            let byte = Byte::of(self.dtype);
            let (x, y) = (bindings.input_bits::<u8>(0)?, bindings.output_bits::<u8>(0)?);
            return Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                windows.run(call, |to, _, taps| {
                    // A window without elements has the lowest number.
                    let largest = taps.map(|at| byte.number(x.get(at))).max();
                    y.set(to, largest.map_or_else(|| byte.saturated(f64::NEG_INFINITY), |number| number as u8));
                });
                Ok(())
            }));
        }
        let (x, y) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        let bounds = self.bounds.clone();
        if !self.average {
            let larger = |best: f32, x: f32| if x > best || x.is_nan() { x } else { best };
            return Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                windows.run(call, |to, _, taps| {
                    y.set(to, bounds.apply(taps.map(|at| x.get(at)).fold(f32::NEG_INFINITY, larger)));
                });
                Ok(())
            }));
        }
        let padding = self.padding;
        Ok(Box::new(move |call: &Call| {
            let (x, y) = (call.read(&x), call.write(&y));
            windows.run(call, |to, [row, column], taps| {
                let count = windows.window.high.count(row, padding) * windows.window.wide.count(column, padding);
                let sum: f64 = taps.map(|at| f64::from(x.get(at))).sum();
                y.set(to, bounds.apply((sum / count as f64) as f32));
            });
            Ok(())
        }))
    }
}
