//! Pools over regions of interest: `RoiAlign` samples each cell of a region between elements, `MaxRoiPool` takes the largest element in it.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::table::{LATEST, Row, same, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Error, ErrorCode, Kernel, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    let aligned = FLOATS.iter().map(|&d| signature(&[d, d, 7], &[d])).collect();
    vec![
        Row::new("RoiAlign", (10, LATEST), aligned, Tolerance::Ulp(4), roi_align),
        Row::new("MaxRoiPool", (1, LATEST), same(2, 1, FLOATS), Tolerance::Exact, max_roi_pool),
    ]
}

/// Pictures, and the cells that each region is divided into.
#[derive(Clone, Copy)]
struct Plan {
    batches: usize,
    channels: usize,
    height: usize,
    width: usize,
    regions: usize,
    rows: usize,
    columns: usize,
    scale: f64,
}

impl Plan {
    fn of(op: Op<'_>, columns_of_region: usize) -> Result<Self> {
        let (x, regions, out) = (op.shape(0)?, op.shape(1)?, op.output_shape(0)?);
        let (&[batches, channels, height, width], &[count, given], &[_, _, rows, columns]) =
            (&x[..], &regions[..], &out[..])
        else {
            return Err(op.invalid(format_args!("shapes {x:?}, {regions:?} and {out:?}")));
        };
        if given != columns_of_region || (count > 0 && height * width == 0) {
            return Err(op.invalid(format_args!("regions of shape {regions:?} in pictures of {x:?}")).at(1));
        }
        op.expect_output(0, &[count, channels, rows, columns])?;
        let scale = op.attributes().number("spatial_scale").unwrap_or(1.0);
        Ok(Self { batches, channels, height, width, regions: count, rows, columns, scale })
    }

    fn picture(&self, batch: Option<usize>) -> Result<usize> {
        batch.filter(|&batch| batch < self.batches).ok_or_else(|| {
            let message = format!("a region lies in none of the {} pictures: pass an index below it", self.batches);
            Error::new(ErrorCode::InvalidArgument, message)
        })
    }
}

/// Samples of one cell along one axis: from where, in steps of what, how many.
#[derive(Clone, Copy)]
struct Samples {
    start: f64,
    cell: f64,
    count: usize,
}

impl Samples {
    fn place(&self, cell: usize, sample: usize) -> f64 {
        self.start + cell as f64 * self.cell + (sample as f64 + 0.5) * self.cell / self.count as f64
    }
}

/// Samples that one cell may have along one axis; a region that is not finite would have no end of them.
const SAMPLES_MAX: f64 = 65536.0;

fn roi_align(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let plan = Plan::of(op, 4)?;
    op.expect_input(2, &[plan.regions])?;
    let attributes = op.attributes();
    let half = match attributes.text("coordinate_transformation_mode") {
        "" | "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(op.unsupported(format_args!("coordinate_transformation_mode `{other}`"))),
    };
    let largest = match attributes.text("mode") {
        "" | "avg" => false,
        "max" => true,
        other => return Err(op.unsupported(format_args!("mode `{other}`"))),
    };
    let ratio = attributes.integer("sampling_ratio").unwrap_or(0).max(0) as f64;
    let units = plan.regions * plan.channels;
    let work = (units * plan.rows * plan.columns) as u64 * 100;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(needs(work, units), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, regions) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?);
            let (pictures, y) = (bindings.input::<i64>(2)?, bindings.output::<E<S>>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, regions, y) = (call.read(&x), call.read(&regions), call.write(&y));
                let pictures = call.read(&pictures);
                for unit in call.share(units, 1) {
                    let (region, channel) = (unit / plan.channels, unit % plan.channels);
                    let batch = plan.picture(usize::try_from(pictures.get(region)).ok())?;
                    let from = (batch * plan.channels + channel) * plan.height * plan.width;
                    let plane = x.part(from..from + plan.height * plan.width);
                    let offset = if half { 0.5 } else { 0.0 };
                    let corner = |i: usize| S::load(regions.get(region * 4 + i)).to_f64() * plan.scale - offset;
                    let samples = |low: f64, high: f64, cells: usize| {
                        // Without the half pixel, regions are at least one element wide.
                        let size = if half { high - low } else { (high - low).max(1.0) };
                        let wanted = if ratio > 0.0 { ratio } else { (size / cells as f64).ceil() };
                        Samples { start: low, cell: size / cells as f64, count: wanted.clamp(0.0, SAMPLES_MAX) as usize }
                    };
                    let across = samples(corner(0), corner(2), plan.columns);
                    let down = samples(corner(1), corner(3), plan.rows);
                    for row in 0..plan.rows {
                        for column in 0..plan.columns {
                            let value = cell::<S>(&plan, &plane, (down, row), (across, column), largest);
                            let at = (unit * plan.rows + row) * plan.columns + column;
                            y.set(at, S::store(<S as Stored>::Value::from_f64(value)));
                        }
                    }
                }
                Ok(())
            }))
        })
    })
}

/// The mean of the samples of a cell, or the largest weighted neighbour of them.
fn cell<S: Stored>(
    plan: &Plan,
    plane: &Reader<'_, S::Element>,
    (down, row): (Samples, usize),
    (across, column): (Samples, usize),
    largest: bool,
) -> f64 {
    let (mut sum, mut best) = (0.0, None::<f64>);
    for i in 0..down.count {
        let vertical = neighbours(down.place(row, i), plan.height);
        for j in 0..across.count {
            let horizontal = neighbours(across.place(column, j), plan.width);
            let (Some(vertical), Some(horizontal)) = (vertical, horizontal) else {
                best = Some(best.map_or(0.0, |best| best.max(0.0)));
                continue;
            };
            for (y, v) in vertical {
                for (x, h) in horizontal {
                    let term = v * h * S::load(plane.get(y * plan.width + x)).to_f64();
                    sum += term;
                    best = Some(best.map_or(term, |best| best.max(term)));
                }
            }
        }
    }
    if largest { best.unwrap_or(0.0) } else { sum / (down.count * across.count).max(1) as f64 }
}

/// The two elements around a place and their weights; none far outside of the picture.
fn neighbours(place: f64, length: usize) -> Option<[(usize, f64); 2]> {
    // Written so that a place that is no number is outside as well.
    if !(place >= -1.0 && place <= length as f64) {
        return None;
    }
    let place = place.max(0.0);
    let low = place as usize;
    if low + 1 >= length {
        return Some([(length - 1, 1.0), (length - 1, 0.0)]);
    }
    let rest = place - low as f64;
    Some([(low, 1.0 - rest), (low + 1, rest)])
}

fn max_roi_pool(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let plan = Plan::of(op, 5)?;
    let units = plan.regions * plan.channels;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(needs((units * plan.height * plan.width) as u64, units), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, regions) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?);
            let y = bindings.output::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, regions, y) = (call.read(&x), call.read(&regions), call.write(&y));
                for unit in call.share(units, 1) {
                    let (region, channel) = (unit / plan.channels, unit % plan.channels);
                    let number = |i: usize| S::load(regions.get(region * 5 + i)).to_f64();
                    let first = number(0);
                    let batch = plan.picture((first >= 0.0).then_some(first as usize))?;
                    let from = (batch * plan.channels + channel) * plan.height * plan.width;
                    let plane = x.part(from..from + plan.height * plan.width);
                    // Corners are rounded to elements, and both belong to the region.
                    let corner = |i: usize| (number(i) * plan.scale).round();
                    for row in 0..plan.rows {
                        let down = span(corner(2), corner(4), row, plan.rows, plan.height);
                        for column in 0..plan.columns {
                            let across = span(corner(1), corner(3), column, plan.columns, plan.width);
                            let mut best = None::<<S as Stored>::Value>;
                            for i in down.clone() {
                                for j in across.clone() {
                                    let value = S::load(plane.get(i * plan.width + j));
                                    best = Some(best.map_or(value, |best| value.larger(best)));
                                }
                            }
                            let at = (unit * plan.rows + row) * plan.columns + column;
                            y.set(at, S::store(best.unwrap_or(<S as Stored>::Value::ZERO)));
                        }
                    }
                }
                Ok(())
            }))
        })
    })
}

/// Elements of one axis that belong to cell `cell` of `cells` of the region from `low` to `high`, which are whole numbers. Integers, because a third of three,
/// three times, is not three elements in every arithmetic.
fn span(low: f64, high: f64, cell: usize, cells: usize, length: usize) -> std::ops::Range<usize> {
    let whole = |corner: f64| corner.clamp(-CORNER_MAX, CORNER_MAX) as i64;
    let (low, high) = (whole(low), whole(high));
    let (size, cells, cell) = ((high - low + 1).max(1), cells as i64, cell as i64);
    let inside = |place: i64| place.clamp(0, length as i64) as usize;
    let start = inside(low + cell * size / cells);
    start..inside(low + ((cell + 1) * size + cells - 1) / cells).max(start)
}

/// Corners farther out lie outside of every picture.
const CORNER_MAX: f64 = (1u64 << 30) as f64;
