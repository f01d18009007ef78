//! `GridSample`: a picture of one to three spatial axes, read at the places that a grid names.

use crate::arguments::Op;
use crate::element::{FLOATS, NUMBERS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::{Attribute, Tolerance};
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = |types: &[u16]| {
        types.iter().flat_map(|&d| FLOATS.iter().map(move |&grid| signature(&[d, grid], &[d]))).collect::<Vec<_>>()
    };
    let nearest = Attribute::Text("nearest".into());
    vec![
        Row::new("GridSample", (16, LATEST), signatures(NUMBERS), Tolerance::Exact, grid_sample).limit("mode", nearest),
        Row::new("GridSample", (16, LATEST), signatures(FLOATS), Tolerance::Ulp(4), grid_sample),
    ]
}

/// Spatial axes, at most.
const AXES: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

#[derive(Clone, Copy)]
struct Plan {
    mode: Mode,
    padding: Padding,
    align_corners: bool,
    axes: usize,
    /// Lengths of the spatial axes.
    lengths: [usize; AXES],
}

/// What one axis reads: places and weights, no place where the picture is padded with zeros.
#[derive(Clone, Copy)]
struct Taps {
    count: usize,
    places: [Option<usize>; 4],
    weights: [f64; 4],
}

fn grid_sample(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (x, grid) = (op.shape(0)?, op.shape(1)?);
    let axes = x.len().saturating_sub(2);
    let fits = (1..=AXES).contains(&axes) && grid.len() == x.len() && grid[0] == x[0] && grid[axes + 1] == axes;
    if !fits {
        return Err(op.invalid(format_args!("a grid of shape {grid:?} for an input of {x:?}")));
    }
    let points = count(&grid[1..=axes]);
    op.expect_output(0, &[&x[..2], &grid[1..=axes]].concat())?;
    let mode = match op.attributes().text("mode") {
        "" | "linear" | "bilinear" => Mode::Linear,
        "nearest" => Mode::Nearest,
        "cubic" | "bicubic" => Mode::Cubic,
        other => return Err(op.unsupported(format_args!("mode `{other}`"))),
    };
    let padding = match op.attributes().text("padding_mode") {
        "" | "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(op.unsupported(format_args!("padding_mode `{other}`"))),
    };
    let mut lengths = [1; AXES];
    lengths[..axes].copy_from_slice(&x[2..]);
    if points > 0 && count(&x) == 0 {
        return Err(op.invalid(format_args!("an input of shape {x:?}, in which there is nothing to read")));
    }
    let plan = Plan { mode, padding, align_corners: op.attributes().flag("align_corners"), axes, lengths };
    let (channels, plane, units) = (x[1], count(&x[2..]), x[0] * points);
    let work = units as u64 * (40 + channels as u64 * if mode == Mode::Cubic { 60 } else { 12 });
    let grid_dtype = op.input(1)?.dtype;
    dispatch!(op.input(0)?.dtype, numbers, S => dispatch!(grid_dtype, floats, G => {
        kernel(needs(work, units), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, grid) = (bindings.input::<E<S>>(0)?, bindings.input::<E<G>>(1)?);
            let y = bindings.output::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, grid, y) = (call.read(&x), call.read(&grid), call.write(&y));
                for unit in call.share(units, 1) {
                    // The grid names the last axis first.
                    let mut taps = [Taps::NONE; AXES];
                    for (axis, taps) in taps[..axes].iter_mut().enumerate() {
                        let place = G::load(grid.get(unit * axes + axes - 1 - axis)).to_f64();
                        *taps = plan.taps(axis, place);
                    }
                    let (batch, point) = (unit / points, unit % points);
                    for channel in 0..channels {
                        let from = (batch * channels + channel) * plane;
                        let value = plan.read::<S>(&x.part(from..from + plane), &taps);
                        y.set((batch * channels + channel) * points + point, value);
                    }
                }
                Ok(())
            }))
        })
    }))
}

impl Taps {
    /// An axis that is not there.
    const NONE: Taps = Taps { count: 1, places: [Some(0), None, None, None], weights: [1.0, 0.0, 0.0, 0.0] };
}

impl Plan {
    /// What axis `axis` reads for a coordinate from -1 to 1.
    fn taps(&self, axis: usize, place: f64) -> Taps {
        let length = self.lengths[axis] as f64;
        let (low, high) = if self.align_corners { (0.0, length - 1.0) } else { (-0.5, length - 0.5) };
        let mut at = match self.align_corners {
            true => (place + 1.0) / 2.0 * (length - 1.0),
            false => ((place + 1.0) * length - 1.0) / 2.0,
        };
        if self.mode == Mode::Nearest {
            at = at.round_ties_even();
        }
        if at < low || at > high {
            at = match self.padding {
                Padding::Zeros => at,
                Padding::Border => at.clamp(0.0, length - 1.0),
                Padding::Reflection => reflect(at, low, high),
            };
        }
        let base = at.floor();
        let rest = at - base;
        let (first, count, weights) = match self.mode {
            Mode::Nearest => (0.0, 1, [1.0, 0.0, 0.0, 0.0]),
            Mode::Linear => (0.0, 2, [1.0 - rest, rest, 0.0, 0.0]),
            Mode::Cubic => (-1.0, 4, [1.0 + rest, rest, 1.0 - rest, 2.0 - rest].map(cubic)),
        };
        let mut places = [None; 4];
        for (i, place) in places[..count].iter_mut().enumerate() {
            let index = base + first + i as f64;
            let index = match self.padding {
                Padding::Zeros => index,
                Padding::Border => index.clamp(0.0, length - 1.0),
                // Towards zero, for what lies half an element outside.
                Padding::Reflection => reflect(index, low, high).trunc().clamp(0.0, length - 1.0),
            };
            *place = (index >= 0.0 && index < length).then_some(index as usize);
        }
        Taps { count, places, weights }
    }

    /// The weighted sum of what the axes read; nearest moves an element as it is.
    fn read<S: Stored>(&self, plane: &Reader<'_, S::Element>, taps: &[Taps; AXES]) -> S::Element {
        let place = |choice: [usize; AXES]| {
            let mut at = 0;
            for axis in 0..self.axes {
                at = at * self.lengths[axis] + taps[axis].places[choice[axis]]?;
            }
            Some(at)
        };
        if self.mode == Mode::Nearest {
            return place([0; AXES]).map_or(S::store(S::Value::ZERO), |at| plane.get(at));
        }
        let mut sum = 0.0;
        for first in 0..taps[0].count {
            for second in 0..taps[1].count {
                for third in 0..taps[2].count {
                    let weight = taps[0].weights[first] * taps[1].weights[second] * taps[2].weights[third];
                    if let Some(at) = place([first, second, third]) {
                        sum += weight * S::load(plane.get(at)).to_f64();
                    }
                }
            }
        }
        S::store(S::Value::from_f64(sum))
    }
}

/// Folds a coordinate back at the borders until it lies between them.
fn reflect(at: f64, low: f64, high: f64) -> f64 {
    let range = high - low;
    if range <= 0.0 || !at.is_finite() {
        return low.max(0.0);
    }
    let outside = if at < low { low - at } else { at - high };
    if outside <= 0.0 {
        return at;
    }
    let turns = (outside / range).trunc();
    let rest = outside - turns * range;
    let from_low = (at < low) == (turns % 2.0 == 0.0);
    if from_low { low + rest } else { high - rest }
}

/// The cubic convolution kernel with a = -0.75 (Keys 1981), by the distance.
fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.75;
    if distance <= 1.0 {
        ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
    } else {
        ((A * distance - 5.0 * A) * distance + 8.0 * A) * distance - 4.0 * A
    }
}
