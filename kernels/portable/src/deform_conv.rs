//! `DeformConv`: a convolution whose taps read between elements, each at an offset that an input gives.

use crate::arguments::{Op, dims};
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::table::{LATEST, Row, same};
use crate::window::{Axis, Window};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Bindings, Call, Input, Kernel, Output, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row::new("DeformConv", (19, LATEST), same(5, 1, FLOATS), Tolerance::Accumulate(8.0), deform_conv)]
}

#[derive(Clone, Copy)]
struct Plan {
    batches: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
    offset_groups: usize,
    high: Axis,
    wide: Axis,
}

impl Plan {
    fn of(op: Op<'_>) -> Result<Self> {
        let (x, w, y) = (op.shape(0)?, op.shape(1)?, op.output_shape(0)?);
        let (&[batches, channels, ..], &[outputs, per_group, ..], 4, 4, 4) =
            (&x[..], &w[..], x.len(), w.len(), y.len())
        else {
            return Err(op.unsupported(format_args!("shapes {x:?} and {w:?}: two spatial axes are taken")));
        };
        let group = |key: &str| usize::try_from(op.attributes().integer(key).unwrap_or(1)).unwrap_or(0);
        let (groups, offset_groups) = (group("group"), group("offset_group"));
        let fits = groups > 0
            && offset_groups > 0
            && per_group * groups == channels
            && outputs % groups == 0
            && channels % offset_groups == 0;
        if !fits {
            return Err(op.invalid(format_args!("{groups} and {offset_groups} groups for shapes {x:?} and {w:?}")));
        }
        let window = Window::of(op, &x[2..], &y[2..], Some(&w[2..]))?;
        let [_, high, wide] = window.0;
        op.expect_output(0, &[batches, outputs, high.output, wide.output])?;
        let taps = offset_groups * high.kernel * wide.kernel;
        op.expect_input(2, &[batches, 2 * taps, high.output, wide.output])?;
        if op.optional(3).is_some() {
            op.expect_input(3, &[outputs])?;
        }
        if let Some(mask) = op.optional(4)
            && dims(mask) != [batches, taps, high.output, wide.output]
        {
            return Err(op.invalid(format_args!("a mask of shape {:?}", mask.shape)).at(4));
        }
        Ok(Self { batches, channels, outputs, groups, offset_groups, high, wide })
    }
}

struct Bound<S: Stored> {
    plan: Plan,
    x: Input<S::Element>,
    w: Input<S::Element>,
    offsets: Input<S::Element>,
    bias: Option<Input<S::Element>>,
    mask: Option<Input<S::Element>>,
    y: Output<S::Element>,
}

fn deform_conv(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let plan = Plan::of(op)?;
    let rows = plan.batches * plan.high.output;
    let work = (rows * plan.wide.output * plan.high.kernel * plan.wide.kernel * plan.channels) as u64;
    let mut requirements = needs(work * (10 + plan.outputs as u64), rows);
    requirements.workspace =
        u32::try_from(plan.outputs * 8).map_err(|_| op.unsupported(format_args!("{} outputs", plan.outputs)))?;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            let bound = Bound::<S>::of(plan, bindings)?;
            Ok(Box::new(move |call: &Call| {
                for row in call.share(rows, 1) {
                    for column in 0..plan.wide.output {
                        bound.point(call, row / plan.high.output, row % plan.high.output, column);
                    }
                }
                Ok(())
            }))
        })
    })
}

impl<S: Stored> Bound<S> {
    fn of(plan: Plan, bindings: &Bindings<'_>) -> Result<Self> {
        let input = |index: usize| match bindings.has_input(index) {
            true => bindings.input::<S::Element>(index).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            plan,
            x: bindings.input(0)?,
            w: bindings.input(1)?,
            offsets: bindings.input(2)?,
            bias: input(3)?,
            mask: input(4)?,
            y: bindings.output(0)?,
        })
    }

    /// All channels of one place of the output: each sample of the input is read once and goes to every output of its group.
    fn point(&self, call: &Call, batch: usize, row: usize, column: usize) {
        let Plan { channels, outputs, groups, offset_groups, high, wide, .. } = self.plan;
        let (x, w, offsets, y) =
            (call.read(&self.x), call.read(&self.w), call.read(&self.offsets), call.write(&self.y));
        let mask = self.mask.as_ref().map(|mask| call.read(mask));
        let sums = call.workspace::<f64>().part(0..outputs);
        match &self.bias {
            Some(bias) => {
                let bias = call.read(bias);
                (0..outputs).for_each(|output| sums.set(output, S::load(bias.get(output)).to_f64()));
            }
            None => sums.fill(0.0),
        }
        let (taps, places) = (high.kernel * wide.kernel, high.output * wide.output);
        let place = row * wide.output + column;
        let (inputs, per_group) = (channels / groups, outputs / groups);
        for channel in 0..channels {
            let set = batch * offset_groups + channel / (channels / offset_groups);
            let from = (batch * channels + channel) * high.input * wide.input;
            let plane = x.part(from..from + high.input * wide.input);
            for tap in 0..taps {
                let offset =
                    |part: usize| S::load(offsets.get(((set * taps + tap) * 2 + part) * places + place)).to_f64();
                let origin = |axis: &Axis, out: usize, tap: usize| {
                    (out * axis.stride + tap * axis.dilation) as f64 - axis.pad as f64
                };
                let down = origin(&high, row, tap / wide.kernel) + offset(0);
                let across = origin(&wide, column, tap % wide.kernel) + offset(1);
                let mut value = between::<S>(&plane, (down, high.input), (across, wide.input));
                if let Some(mask) = &mask {
                    value *= S::load(mask.get((set * taps + tap) * places + place)).to_f64();
                }
                if value == 0.0 {
                    continue;
                }
                let group = channel / inputs;
                for output in group * per_group..(group + 1) * per_group {
                    let weight = w.get((output * inputs + channel % inputs) * taps + tap);
                    sums.set(output, sums.get(output) + value * S::load(weight).to_f64());
                }
            }
        }
        for output in 0..outputs {
            let value = S::Value::from_f64(sums.get(output));
            y.set((batch * outputs + output) * places + place, S::store(value));
        }
    }
}

/// The picture at a place between elements; zeros lie around it.
fn between<S: Stored>(
    plane: &Reader<'_, S::Element>,
    (down, height): (f64, usize),
    (across, width): (f64, usize),
) -> f64 {
    let (top, left) = (down.floor(), across.floor());
    let mut sum = 0.0;
    for (y, v) in [(top, 1.0 - (down - top)), (top + 1.0, down - top)] {
        for (x, h) in [(left, 1.0 - (across - left)), (left + 1.0, across - left)] {
            let inside = y >= 0.0 && y < height as f64 && x >= 0.0 && x < width as f64;
            if inside {
                sum += v * h * S::load(plane.get(y as usize * width + x as usize)).to_f64();
            }
        }
    }
    sum
}
