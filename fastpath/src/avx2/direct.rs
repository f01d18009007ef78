//! `Conv` straight from bands of the input: the planes of a group are copied with their padding, and every tap of a vector of outputs is a vector of the
//! copy. Nothing is unrolled into patches, which would cost more than the products where there are few filters or few channels.

use super::bands::Bands;
use super::conv::Convolution;
use super::lanes::LANES;
use super::math;
use super::micro::ROWS;
use super::steps;
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, WORKSPACE_FLOATS, kernel, needs, packed};
use crate::steps::{Finish, Steps};
use std::arch::x86_64::*;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "Conv",
        path: "avx2-direct",
        revisions: (1, LATEST),
        tolerance: Tolerance::Accumulate(1.0),
        prepare: direct,
    }]
}

/// What the bands of all channels should fit in: half of a second-level cache.
const BANDS_FLOATS: usize = 64 * 1024;
/// What two vectors of outputs may read of them, in whole lines of the cache, so that the next filters find it in a first-level cache.
const NEAR_FLOATS: usize = 6 * 1024;
/// With so few filters it is read so few times that it may come from further away.
const FILTERS_FEW: usize = 2 * ROWS;
/// Narrower rows would waste too much of their vectors.
const WIDTH_MIN: usize = 2 * LANES;
/// Bands of a plane, where it has as many rows: something to share out.
const BANDS_MIN: usize = 8;
const LINE: usize = 16;

/// Whether this is where patches cost too much.
fn is_worth_it(conv: &Convolution) -> bool {
    let (high, wide) = (conv.window.high, conv.window.wide);
    let lines_of_row = (2 * LANES + (wide.extent() - 1) / wide.stride) / LINE + 2;
    let near = conv.inputs.saturating_mul(high.kernel * wide.stride * lines_of_row * LINE);
    let reads_near = near <= NEAR_FLOATS || conv.outputs <= FILTERS_FEW;
    conv.window.taps() > 1 && wide.output >= WIDTH_MIN && reads_near && conv.results() > 0 && conv.inputs > 0
}

/// A convolution and its bands.
struct Plan {
    conv: Convolution,
    bands: Bands,
    /// Filters that are computed together; the last ones may be fewer.
    tile: usize,
}

impl Plan {
    fn depth(&self) -> usize {
        self.conv.inputs * self.conv.window.taps()
    }

    /// Floats of the packed filters of one group: tile after tile, in it the filters of one tap together.
    fn filter_floats(&self) -> usize {
        self.conv.outputs.next_multiple_of(self.tile) * self.depth()
    }

    fn cost(&self) -> f64 {
        let products = (self.conv.results() * self.depth()) as f64 / 38.0;
        let copied = self.conv.images * self.conv.groups * self.conv.inputs * self.bands.count() * self.bands.floats();
        products + copied as f64 / 4.0
    }
}

fn direct(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let conv = Convolution::of(request)?;
    if !request.operand(1)?.constant || !is_worth_it(&conv) {
        return None;
    }
    let bands = Bands::sized(conv.window, BANDS_FLOATS / conv.inputs, WORKSPACE_FLOATS / conv.inputs)?;
    let bands = bands.at_least(BANDS_MIN);
    let epilogue = conv.epilogue(request)?;
    // Tiles of nearly equal height.
    let tile = conv.outputs.div_ceil(conv.outputs.div_ceil(ROWS));
    let plan = Arc::new(Plan { conv, bands, tile });
    let units = conv.images * conv.groups * plan.bands.count();
    let mut requirements = needs(plan.cost() + epilogue.cost(conv.results()), units);
    requirements.workspace = u32::try_from(conv.inputs * plan.bands.floats() * 4).ok()?;
    let depth = plan.depth();
    let key = format!("avx2-taps f32 {}x{}x{depth}", conv.groups, conv.outputs);
    requirements.packed = vec![packed(1, conv.groups * plan.filter_floats(), key)?];
    let pack = {
        let plan = plan.clone();
        move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
            let (source, to) = (source.as_ptr().cast::<f32>(), to.as_mut_ptr().cast::<f32>());
            for group in 0..conv.groups {
                // SAFETY: the kernel checked that `source` holds the filters of all groups and `to` as many packed ones.
                unsafe {
                    let source = source.add(group * conv.outputs * depth);
                    pack_filters(&plan, source, to.add(group * plan.filter_floats()));
                }
            }
        }
    };
    let source_bytes = conv.groups * conv.outputs * depth * 4;
    let packing = Packing { source_bytes, pack: Box::new(pack) };
    Some(kernel(requirements, Some(packing), move |bindings| {
        let (x, w) = (bindings.input::<f32>(0)?, bindings.packed::<f32>(1)?);
        let output = bindings.output::<f32>(0)?;
        let epilogue = epilogue.bind(bindings)?;
        let plan = plan.clone();
        Ok(Box::new(move |call: &Call| {
            let mut steps = Steps::open(&epilogue, call);
            let finish = steps.take_finish();
            let work = Work {
                plan: &plan,
                planes: call.read(&x).as_ptr(),
                filters: call.read(&w).as_ptr(),
                results: call.write(&output).as_mut_ptr(),
                workspace: call.workspace::<f32>().as_mut_ptr(),
                finish,
                steps,
            };
            for unit in call.share(units, 1) {
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `prepare` matched the shapes of the operands with each other, and the bindings with the shapes;
                // shards have different bands; the workspace has the size that was asked for.
                unsafe { work.band(unit / plan.bands.count(), unit % plan.bands.count()) };
            }
            Ok(())
        }))
    }))
}

/// # Safety
/// The filters of a group are readable at `source`; [`Plan::filter_floats`] floats are writable at `to`, and nobody else's.
unsafe fn pack_filters(plan: &Plan, source: *const f32, to: *mut f32) {
    let (depth, filters) = (plan.depth(), plan.conv.outputs);
    for place in 0..plan.filter_floats() {
        let (first, k, r) = (place / (plan.tile * depth) * plan.tile, place / plan.tile % depth, place % plan.tile);
        let filter = first + r;
        // SAFETY: filter and tap are below their counts.
        unsafe {
            let value = if filter < filters { source.add(filter * depth + k).read_unaligned() } else { 0.0 };
            to.add(place).write_unaligned(value);
        }
    }
}

/// One run of one shard.
struct Work<'a> {
    plan: &'a Plan,
    planes: *const f32,
    filters: *const f32,
    results: *mut f32,
    workspace: *mut f32,
    finish: Finish,
    steps: Steps,
}

/// Where the outputs of a block are.
#[derive(Clone, Copy)]
struct Place {
    /// Tap (0, 0) of the first channel at column 0.
    taps: *const f32,
    /// Packed filters of the tile.
    filters: *const f32,
    /// First filter as the epilogue counts them.
    row: usize,
    /// Number of the first filter's result at column 0.
    flat: usize,
}

impl Work<'_> {
    /// Computes band `number` of all filters of `batch`, an image and group.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the operands are as the plan says; the workspace is as it asks for; the results of the band are nobody else's.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn band(&self, batch: usize, number: usize) {
        let Plan { conv, bands, tile } = self.plan;
        let rows = bands.rows(number);
        let width = conv.window.wide.output;
        let group = batch % conv.groups;
        let filters = self.filters.wrapping_add(group * self.plan.filter_floats());
        // SAFETY: the caller's promise; channels have their parts of the workspace, filters their planes of the results.
        unsafe {
            for channel in 0..conv.inputs {
                let plane = self.planes.add((batch * conv.inputs + channel) * conv.window.input_len());
                bands.load(plane, rows.clone(), 0.0, self.workspace.add(channel * bands.floats()));
            }
            for row in rows.clone() {
                let taps = self.workspace.add((row - rows.start) * conv.window.high.stride * bands.row_step());
                let mut column = 0;
                while column < width {
                    let vectors = vectors(*tile, (width - column).div_ceil(LANES));
                    for first in (0..conv.outputs).step_by(*tile) {
                        let plane = batch * conv.outputs + first;
                        let place = Place {
                            taps,
                            filters: filters.add(first * self.plan.depth()),
                            row: group * conv.outputs + first,
                            flat: plane * conv.window.output_len() + row * width,
                        };
                        self.tile((*tile).min(conv.outputs - first), vectors, place, column);
                    }
                    column += vectors * LANES;
                }
            }
            if !self.steps.is_empty() {
                for filter in 0..conv.outputs {
                    let flat = (batch * conv.outputs + filter) * conv.window.output_len() + rows.start * width;
                    let results = self.results.add(flat);
                    steps::apply(&self.steps, results, rows.len() * width, group * conv.outputs + filter, 0, flat);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Work::band`], whose band is loaded; the place is the band's, and `vectors` are what [`vectors`] says.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile(&self, filters: usize, vectors: usize, place: Place, column: usize) {
        // SAFETY: the caller's promise, with the numbers of filters and vectors as constants.
        unsafe {
            match (filters, vectors) {
                (6, 2) => self.block::<6, 2>(place, column),
                (6, _) => self.block::<6, 1>(place, column),
                (5, 2) => self.block::<5, 2>(place, column),
                (5, _) => self.block::<5, 1>(place, column),
                (4, 2) => self.block::<4, 2>(place, column),
                (4, _) => self.block::<4, 1>(place, column),
                (3, 2) => self.block::<3, 2>(place, column),
                (3, _) => self.block::<3, 1>(place, column),
                (2, 4) => self.block::<2, 4>(place, column),
                (2, 2) => self.block::<2, 2>(place, column),
                (2, _) => self.block::<2, 1>(place, column),
                (_, 8) => self.block::<1, 8>(place, column),
                (_, 4) => self.block::<1, 4>(place, column),
                (_, 2) => self.block::<1, 2>(place, column),
                (_, _) => self.block::<1, 1>(place, column),
            }
        }
    }

    /// Computes `V` vectors of outputs from `column` on for `R` filters. Vectors that would leave the row begin earlier and compute some outputs again.
    ///
    /// # Safety
    /// As for [`Work::tile`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block<const R: usize, const V: usize>(&self, place: Place, column: usize) {
        let Plan { conv, bands, tile } = self.plan;
        let last = conv.window.wide.output - LANES;
        let columns: [usize; V] = std::array::from_fn(|v| last.min(column + v * LANES));
        let mut sums = [[_mm256_setzero_ps(); V]; R];
        let mut filters = place.filters;
        for channel in 0..conv.inputs {
            let plane = place.taps.wrapping_add(channel * bands.floats());
            for &tap in bands.taps() {
                // SAFETY: the band holds every tap of every whole vector of its rows; the packed filters have a tile for each tap.
                unsafe {
                    let from = plane.add(tap);
                    let mut inputs = [_mm256_setzero_ps(); V];
                    for v in 0..V {
                        inputs[v] = _mm256_loadu_ps(from.add(columns[v]));
                    }
                    for r in 0..R {
                        let weight = _mm256_set1_ps(filters.add(r).read());
                        for v in 0..V {
                            sums[r][v] = _mm256_fmadd_ps(weight, inputs[v], sums[r][v]);
                        }
                    }
                }
                filters = filters.wrapping_add(*tile);
            }
        }
        let (low, high) = (_mm256_set1_ps(self.finish.low), _mm256_set1_ps(self.finish.high));
        for r in 0..R {
            let flat = place.flat + r * conv.window.output_len();
            // SAFETY: biases have an element for each filter, the second tensor one for each result; vectors lie inside their row.
            unsafe {
                let bias = match self.finish.row_bias.is_null() {
                    true => 0.0,
                    false => self.finish.row_bias.add(place.row + r).read(),
                };
                for v in 0..V {
                    let at = flat + columns[v];
                    let mut value = _mm256_add_ps(sums[r][v], _mm256_set1_ps(bias));
                    if !self.finish.addend.is_null() {
                        value = _mm256_add_ps(value, _mm256_loadu_ps(self.finish.addend.add(at)));
                    }
                    _mm256_storeu_ps(self.results.add(at), math::limit(value, low, high));
                }
            }
        }
    }
}

/// How many of the `left` vectors of a row are computed together: as many sums as stay in registers, and enough that none waits for itself.
fn vectors(tile: usize, left: usize) -> usize {
    let most = match tile {
        1 => 8,
        2 => 4,
        _ => 2,
    };
    // A power of two: the rest of a row is computed in smaller ones.
    most.min(1 << left.max(1).ilog2())
}
