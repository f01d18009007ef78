//! `Resize`: nearest, linear and cubic interpolation over any axes, with all coordinate transformations, and antialiasing.
//!
//! What each output reads is settled axis by axis in `prepare`: a list of input indices and weights for every coordinate.

use crate::arguments::Op;
use crate::element::{EVERY, FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{count, dense_strides};
use crate::table::{LATEST, MAX_RANK, Row, signature};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::{Attribute, Tolerance};
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = |dtypes: &[u16]| {
        let roi = [1, 11, 10, 16];
        dtypes.iter().flat_map(|&d| roi.map(|roi| signature(&[d, roi, 1, 7], &[d]))).collect::<Vec<_>>()
    };
    let row = |dtypes, tolerance| {
        Row::new("Resize", (11, LATEST), signatures(dtypes), tolerance, resize).constants(&[1, 2, 3])
    };
    vec![row(EVERY, Tolerance::Exact).limit("mode", Attribute::Text("nearest".into())), row(FLOATS, Tolerance::Ulp(2))]
}

/// What the coordinates of one axis read: those of coordinate `i` are `taps[ends[i - 1]..ends[i]]`. No taps: the extrapolation value.
struct Axis {
    ends: Vec<usize>,
    taps: Vec<(usize, f64)>,
}

impl Axis {
    fn taps(&self, at: usize) -> &[(usize, f64)] {
        &self.taps[if at == 0 { 0 } else { self.ends[at - 1] }..self.ends[at]]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

/// Computes a row of the output, handing each element to the last argument.
type Fill<E> = fn(&Plan, &Reader<'_, E>, usize, &mut dyn FnMut(usize, E));

struct Plan {
    outer: Vec<Axis>,
    strides: Vec<usize>,
    inner: Axis,
    outside: f64,
}

fn resize(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, out) = (op.shape(0)?, op.output_shape(0)?);
    if shape.len() != out.len() {
        return Err(op.invalid(format_args!("an output of shape {out:?} from {shape:?}")));
    }
    let scales = scales(op, &shape, &out)?;
    let axes = resized_axes(op, shape.len())?;
    let roi = op.numbers(1)?.unwrap_or_default();
    let mut walks = Vec::new();
    for (axis, (&from, &to)) in shape.iter().zip(&out).enumerate() {
        let place = axes.iter().position(|&a| a == axis);
        let roi = match place {
            Some(i) if roi.len() == 2 * axes.len() => (roi[i], roi[axes.len() + i]),
            _ => (0.0, 1.0),
        };
        let resized = place.is_some() && (scales[axis] != 1.0 || roi != (0.0, 1.0) || from != to);
        if from == 0 && to > 0 || !resized && from != to {
            return Err(op.invalid(format_args!("an output of shape {out:?} from {shape:?}")));
        }
        walks.push(if resized {
            Coordinates { op, from, to, scale: scales[axis], roi }.axis()?
        } else {
            straight(from)
        });
    }
    // A scalar has nothing to resize; it is a row of one element.
    let inner = walks.pop().unwrap_or_else(|| straight(1));
    let plan = Arc::new(Plan {
        outer: walks,
        strides: dense_strides(&shape).iter().map(|&stride| stride as usize).collect(),
        inner,
        outside: op.attributes().number("extrapolation_value").unwrap_or(0.0),
    });
    let nearest = matches!(op.attributes().text("mode"), "" | "nearest");
    let rows = count(&out[..out.len().saturating_sub(1)]);
    let work = count(&out) as u64 * if nearest { 2 } else { 12 };
    if nearest {
        return dispatch!(op.input(0)?.dtype, every, S => plan.kernel(needs(work, rows), rows, Plan::pick::<S>));
    }
    dispatch!(op.input(0)?.dtype, floats, S => plan.kernel(needs(work, rows), rows, Plan::blend::<S>))
}

fn straight(length: usize) -> Axis {
    Axis { ends: (1..=length).collect(), taps: (0..length).map(|at| (at, 1.0)).collect() }
}

fn resized_axes(op: Op<'_>, rank: usize) -> Result<Vec<usize>> {
    match op.attributes().integers("axes").filter(|axes| !axes.is_empty()) {
        Some(axes) => op.normalise_all(axes, rank),
        None => Ok((0..rank).collect()),
    }
}

/// Output length over input length, for every axis.
fn scales(op: Op<'_>, shape: &[usize], out: &[usize]) -> Result<Vec<f64>> {
    let axes = resized_axes(op, shape.len())?;
    let mut all = vec![1.0; shape.len()];
    let given = op.numbers(2)?.filter(|scales| !scales.is_empty());
    if let Some(given) = given {
        if given.len() != axes.len() || given.iter().any(|&scale| scale.is_nan() || scale <= 0.0) {
            return Err(op.invalid(format_args!("scales {given:?} for {} axes", axes.len())).at(2));
        }
        for (&axis, scale) in axes.iter().zip(given) {
            all[axis] = scale;
        }
        return Ok(all);
    }
    let sizes = op.integers(3)?.filter(|sizes| sizes.len() == axes.len());
    let sizes = sizes.ok_or_else(|| op.invalid(format_args!("neither scales nor sizes for {} axes", axes.len())))?;
    let ratio = |i: usize| sizes[i] as f64 / shape[axes[i]] as f64;
    let ratios = (0..axes.len()).map(ratio);
    let common = match op.attributes().text("keep_aspect_ratio_policy") {
        "not_larger" => Some(ratios.fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(ratios.fold(0.0, f64::max)),
        _ => None,
    };
    for &axis in &axes {
        all[axis] = common.unwrap_or(out[axis] as f64 / shape[axis] as f64);
    }
    Ok(all)
}

/// One axis while it is worked out.
struct Coordinates<'a> {
    op: Op<'a>,
    from: usize,
    to: usize,
    scale: f64,
    roi: (f64, f64),
}

impl Coordinates<'_> {
    /// The coordinate in the input of coordinate `at` of the output.
    fn source(&self, at: f64) -> Result<f64> {
        let (from, scale) = (self.from as f64, self.scale);
        // The length that the scale asks for, before it was cut to an integer.
        let length = from * scale;
        Ok(match self.op.attributes().text("coordinate_transformation_mode") {
            "" | "half_pixel" => (at + 0.5) / scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = self.to as f64 / length;
                from / 2.0 * (1.0 - adjustment) + (at + 0.5) / scale - 0.5
            }
            "pytorch_half_pixel" if self.to == 1 => 0.0,
            "pytorch_half_pixel" => (at + 0.5) / scale - 0.5,
            "align_corners" if length == 1.0 => 0.0,
            "align_corners" => at * (from - 1.0) / (length - 1.0),
            "asymmetric" => at / scale,
            "tf_crop_and_resize" if self.to == 1 => 0.5 * (self.roi.0 + self.roi.1) * (from - 1.0),
            "tf_crop_and_resize" => {
                let (start, end) = self.roi;
                start * (from - 1.0) + at * (end - start) * (from - 1.0) / (self.to as f64 - 1.0)
            }
            "tf_half_pixel_for_nn" => (at + 0.5) / scale,
            other => return Err(self.op.unsupported(format_args!("coordinate_transformation_mode `{other}`"))),
        })
    }

    fn axis(&self) -> Result<Axis> {
        let attributes = self.op.attributes();
        let crops = attributes.text("coordinate_transformation_mode") == "tf_crop_and_resize";
        let last = self.from as f64 - 1.0;
        let mut axis = Axis { ends: Vec::new(), taps: Vec::new() };
        for at in 0..self.to {
            let source = self.source(at as f64)?;
            if !crops || (0.0..=last).contains(&source) {
                match attributes.text("mode") {
                    "" | "nearest" => {
                        let nearest = match attributes.text("nearest_mode") {
                            "" | "round_prefer_floor" => (source - 0.5).ceil(),
                            "round_prefer_ceil" => (source + 0.5).floor(),
                            "floor" => source.floor(),
                            "ceil" => source.ceil(),
                            other => return Err(self.op.unsupported(format_args!("nearest_mode `{other}`"))),
                        };
                        axis.taps.push((nearest.clamp(0.0, last) as usize, 1.0));
                    }
                    "linear" => self.blend(&mut axis.taps, source, 1.0, |x| (1.0 - x.abs()).max(0.0)),
                    "cubic" => {
                        let a = attributes.number("cubic_coeff_a").unwrap_or(-0.75);
                        self.blend(&mut axis.taps, source, 2.0, |x| cubic(x.abs(), a));
                    }
                    other => return Err(self.op.unsupported(format_args!("mode `{other}`"))),
                }
            }
            axis.ends.push(axis.taps.len());
        }
        Ok(axis)
    }

    /// The taps around `source` of a filter that reaches that far; those outside of the axis read its ends.
    fn blend(&self, taps: &mut Vec<(usize, f64)>, source: f64, reach: f64, filter: impl Fn(f64) -> f64) {
        let attributes = self.op.attributes();
        // Antialiasing widens the filter to the distance between outputs.
        let squeeze = if attributes.flag("antialias") { self.scale.min(1.0) } else { 1.0 };
        let base = source.floor();
        let first = (-reach / squeeze).floor() + 1.0;
        let start = taps.len();
        let mut place = first;
        while place <= 1.0 - first {
            let mut weight = filter((place - (source - base)) * squeeze);
            let index = base + place;
            let inside = (0.0..self.from as f64).contains(&index);
            if attributes.flag("exclude_outside") && !inside {
                weight = 0.0;
            }
            taps.push((index.clamp(0.0, self.from as f64 - 1.0) as usize, weight));
            place += 1.0;
        }
        let sum: f64 = taps[start..].iter().map(|tap| tap.1).sum();
        if sum != 0.0 {
            taps[start..].iter_mut().for_each(|tap| tap.1 /= sum);
        }
    }
}

fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

impl Plan {
    fn kernel<E: sunmao_plugin_sdk::Element + Send + Sync>(
        self: Arc<Self>,
        requirements: sunmao_plugin_sdk::abi::Requirements,
        rows: usize,
        fill: Fill<E>,
    ) -> Result<Box<dyn Kernel>> {
        kernel(requirements, move |bindings| {
            let (x, y) = (bindings.input::<E>(0)?, bindings.output::<E>(0)?);
            let plan = self.clone();
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                let width = plan.inner.len();
                for row in call.share(rows, 1) {
                    let to = y.part(row * width..(row + 1) * width);
                    fill(&plan, &x, row, &mut |at, value| to.set(at, value));
                }
                Ok(())
            }))
        })
    }

    /// Coordinates of a row along the outer axes.
    fn place(&self, row: usize) -> [usize; MAX_RANK] {
        let mut place = [0; MAX_RANK];
        let mut rest = row;
        for (axis, at) in self.outer.iter().zip(&mut place).rev() {
            *at = rest % axis.len();
            rest /= axis.len();
        }
        place
    }

    /// Nearest: one tap on every axis.
    fn pick<S: Stored>(&self, x: &Reader<'_, S::Element>, row: usize, set: &mut dyn FnMut(usize, S::Element)) {
        let place = self.place(row);
        let mut from = Some(0);
        for ((axis, &at), stride) in self.outer.iter().zip(&place).zip(&self.strides) {
            from = from.zip(axis.taps(at).first()).map(|(from, tap)| from + tap.0 * stride);
        }
        for at in 0..self.inner.len() {
            let source = from.zip(self.inner.taps(at).first());
            set(
                at,
                match source {
                    Some((from, tap)) => x.get(from + tap.0),
                    None => S::store(S::Value::from_f64(self.outside)),
                },
            );
        }
    }

    /// A weighted sum over the taps of all axes.
    fn blend<S: Stored>(&self, x: &Reader<'_, S::Element>, row: usize, set: &mut dyn FnMut(usize, S::Element)) {
        let place = self.place(row);
        let mut sums = [0.0; CHUNK];
        let outer = || self.outer.iter().zip(&place).map(|(axis, &at)| axis.taps(at));
        let outside = outer().any(|taps| taps.is_empty());
        for start in (0..self.inner.len()).step_by(CHUNK) {
            let sums = &mut sums[..CHUNK.min(self.inner.len() - start)];
            sums.fill(0.0);
            // Counts through the combinations of outer taps.
            let mut choice = [0; MAX_RANK];
            loop {
                if outside {
                    break;
                }
                let (mut from, mut weight) = (0, 1.0);
                for ((taps, &chosen), stride) in outer().zip(&choice).zip(&self.strides) {
                    from += taps[chosen].0 * stride;
                    weight *= taps[chosen].1;
                }
                for (i, sum) in sums.iter_mut().enumerate() {
                    let taps = self.inner.taps(start + i).iter();
                    let value: f64 = taps.map(|&(at, w)| w * S::load(x.get(from + at)).to_f64()).sum();
                    *sum += weight * value;
                }
                let Some(next) = outer().zip(&choice).rposition(|(taps, &chosen)| chosen + 1 < taps.len()) else {
                    break;
                };
                choice[next] += 1;
                choice[next + 1..].fill(0);
            }
            for (i, &sum) in sums.iter().enumerate() {
                let outside = outside || self.inner.taps(start + i).is_empty();
                set(start + i, S::store(S::Value::from_f64(if outside { self.outside } else { sum })));
            }
        }
    }
}
