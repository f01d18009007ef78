//! Convolution computed directly from a band of input rows, for what a matrix product would spend its time packing: depthwise filters, few
//! filters, or wide ones.
//!
//! Either one filter at a time with 16 pixels in four vectors, or a panel of 8 filters with 4 pixels (the tile of the matrix product, its columns
//! read through offsets).

use super::band::Band;
use super::geometry::Geometry;
use crate::arguments::{Op, shards_for};
use crate::epilogue::Epilogue;
use crate::panels::{Matrix, pack_all_rows, row_panel_floats};
use crate::tile::{COLUMNS, Columns, Ends, ROWS, edge_tile, tile};
use crate::vector::{LANES, at_least, at_most, copy, copy_loose, fma, load, load_splat, map, splat, store, v128};
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// Pixels of one filter that are summed at a time.
const PIXELS: usize = 4 * LANES;

/// Rows shorter than this are computed together: the band's rows as one run, from which the pixels are then picked.
const SHORT_ROW: usize = 48;

/// A convolution by direct sums.
pub(super) struct DirectConv {
    geometry: Geometry,
    epilogue: Epilogue,
    band: Band,
    /// Whether filters come in panels of 8.
    panels: bool,
    nanoseconds: f64,
}

impl DirectConv {
    /// The better of the two ways for a convolution.
    pub(super) fn new(op: Op<'_>, geometry: Geometry) -> Option<Self> {
        let g = &geometry;
        let epilogue = Epilogue::new(op, op.own(2).map(|_| 2), false)?;
        let floats = if g.group_channels() == 1 { 4096 } else { g.workspace_floats(6 * 1024, 16 * 1024) };
        let band = Band::new(g, floats);
        let pixels = (g.batch * g.output[0] * g.groups) as f64;
        let sums = |filters: usize, width: usize| pixels * (filters * width * g.depth()) as f64;
        let filters = g.group_filters();
        let row = if g.output[1] < SHORT_ROW {
            ((band.rows - 1) * band.pitch + g.output[1]).next_multiple_of(PIXELS).div_ceil(band.rows)
        } else {
            g.output[1].next_multiple_of(PIXELS)
        };
        let one_by_one = sums(filters, row) / 6.5;
        let in_panels = sums(filters.next_multiple_of(ROWS), g.output[1].next_multiple_of(COLUMNS)) / 12.0;
        let lines = 1.0 + (g.kernel[0] - 1) as f64 / band.rows as f64;
        let copies = pixels * lines * (g.group_channels() * g.stride[0] * g.stride[1] * band.pitch) as f64 * 0.5;
        let panels = in_panels < one_by_one;
        Some(Self { geometry, epilogue, band, panels, nanoseconds: one_by_one.min(in_panels) + copies + 500.0 })
    }

    /// About how long one shard takes.
    pub(super) fn nanoseconds(&self) -> f64 {
        self.nanoseconds
    }

    fn panel_floats(&self) -> usize {
        row_panel_floats(self.geometry.group_filters(), self.geometry.depth())
    }

    /// Floats of a filter with every weight in all lanes.
    fn lane_floats(&self) -> usize {
        if self.panels { 0 } else { LANES * self.geometry.depth() }
    }

    /// Floats of the run that short rows are computed in.
    fn run_floats(&self) -> usize {
        if self.panels || self.geometry.output[1] >= SHORT_ROW { 0 } else { self.band.rows * self.band.pitch + PIXELS }
    }
}

impl Kernel for DirectConv {
    fn requirements(&self) -> Requirements {
        let g = &self.geometry;
        let packed = PackedConstant {
            input: 1,
            bytes: (4 * self.panel_floats() * g.groups) as u32,
            align: 64,
            key: format!("conv-rows8 {} {}", g.groups, g.depth()),
        };
        Requirements {
            workspace: (4 * (self.band.floats() + self.run_floats() + self.lane_floats())) as u32,
            shards: shards_for(self.nanoseconds as u64),
            packed: if self.panels { vec![packed] } else { Vec::new() },
            estimated_ns: self.nanoseconds as u64,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let (rows, k) = (self.geometry.group_filters(), self.geometry.depth());
        for group in 0..self.geometry.groups {
            let filters = source.as_ptr().cast::<f32>().wrapping_add(group * rows * k);
            let panels = packed.as_mut_ptr().cast::<f32>().wrapping_add(group * self.panel_floats());
            // SAFETY: the SDK checked that `source` holds the weights and `packed` the bytes that `requirements` asked for.
            unsafe { pack_all_rows(Matrix { start: filters, row_stride: k, column_stride: 1 }, rows, k, panels) };
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (geometry, band, panels) = (self.geometry, self.band, self.panels);
        let lane_floats = self.lane_floats();
        let (panel_floats, offsets) = (self.panel_floats(), self.band.offsets(&self.geometry));
        let epilogue = self.epilogue.bind(bindings)?;
        let (input, output) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        let weights = if panels { bindings.packed::<f32>(1)? } else { bindings.input::<f32>(1)? };
        Ok(Box::new(move |call: &Call| {
            let g = &geometry;
            let workspace = call.workspace::<f32>().as_mut_ptr();
            let lanes = workspace.wrapping_add(band.floats());
            let run = lanes.wrapping_add(lane_floats);
            let (bias, weights) = (epilogue.bias(call), call.read(&weights).as_ptr());
            let (input, output) = (call.read(&input).as_ptr(), call.write(&output).as_mut_ptr());
            let bands = g.output[0].div_ceil(band.rows);
            for unit in call.share(g.batch * g.groups * bands, 1) {
                let (item, top) = (unit / bands, unit % bands * band.rows);
                let (image, group) = (item / g.groups, item % g.groups);
                let rows = band.rows.min(g.output[0] - top);
                let channel = image * g.channels + group * g.group_channels();
                let first = group * g.group_filters();
                let job =
                    Job { g, band: &band, offsets: &offsets, from: workspace, run, rows, range: epilogue.range() };
                // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other, and the workspace is as
                // `requirements` asked.
                unsafe {
                    band.fill(g, input.add(channel * g.input_plane()), top, rows, workspace);
                    let at = |filter: usize| (image * g.filters + filter) * g.output_plane() + top * g.output[1];
                    if panels {
                        for filter in (0..g.group_filters()).step_by(ROWS) {
                            let a = weights.add(group * panel_floats + filter * g.depth());
                            let bias = if bias.is_null() { bias } else { bias.add(first + filter) };
                            job.panel(a, ROWS.min(g.group_filters() - filter), bias, output.add(at(first + filter)));
                        }
                    }
                    for filter in first..first + g.group_filters() {
                        let to = output.add(at(filter));
                        if !panels {
                            let bias = splat(if bias.is_null() { 0.0 } else { bias.add(filter).read() });
                            for k in 0..g.depth() {
                                store(lanes.add(k * LANES), load_splat(weights.add(filter * g.depth() + k)));
                            }
                            job.filter(lanes, bias, to);
                        }
                        epilogue.finish(call, to, at(filter), rows * g.output[1]);
                    }
                }
            }
            Ok(())
        }))
    }
}

/// The output rows of one band.
struct Job<'a> {
    g: &'a Geometry,
    band: &'a Band,
    offsets: &'a [u32],
    from: *const f32,
    run: *mut f32,
    rows: usize,
    range: Option<(f32, f32)>,
}

impl Job<'_> {
    /// A panel of 8 filters; the rows of `filters` of them are stored, an output plane apart.
    ///
    /// # Safety
    /// The band is filled; `a` holds the panel, `bias` (unless null) and `to` the filters that there are.
    unsafe fn panel(&self, a: *const f32, filters: usize, bias: *const f32, to: *mut f32) {
        let mut ends = Ends { range: self.range, ..Ends::plain() };
        if !bias.is_null() {
            ends.bias = bias;
        }
        let (k, plane, width) = (self.offsets.len(), self.g.output_plane(), self.g.output[1]);
        for row in 0..self.rows {
            for x in (0..width).step_by(COLUMNS) {
                let columns = COLUMNS.min(width - x);
                // SAFETY: runs behind the offsets hold the row and the slack; the pixels lie in the output row.
                unsafe {
                    let b = Columns::Scattered(self.from.add(row * self.band.pitch + x), self.offsets.as_ptr());
                    let c = to.add(row * width + x);
                    if filters == ROWS && columns == COLUMNS {
                        tile(k, a, b, c, plane, &ends);
                    } else {
                        edge_tile(k, a, b, c, plane, &ends, (filters, columns));
                    }
                }
            }
        }
    }

    /// One filter.
    ///
    /// # Safety
    /// The band is filled; `weights` holds the filter, each weight in all lanes; `to` holds its rows.
    unsafe fn filter(&self, weights: *const f32, bias: v128, to: *mut f32) {
        let (min, max) = self.range.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (min, max) = (splat(min), splat(max));
        let cut = |v: v128| at_most(at_least(v, min), max);
        let (width, pitch) = (self.g.output[1], self.band.pitch);
        // SAFETY: runs behind the offsets hold the rows and the slack; what a short run holds is picked row by row.
        unsafe {
            if width < SHORT_ROW {
                let len = (self.rows - 1) * pitch + width;
                for x in (0..len).step_by(PIXELS) {
                    sum(self.offsets, self.from.add(x), weights, bias, self.run.add(x));
                }
                // In order, each row overwrites what the one before wrote too much.
                for row in 0..self.rows - 1 {
                    copy_loose(self.run.add(row * pitch), to.add(row * width), width);
                }
                let last = self.rows - 1;
                copy(self.run.add(last * pitch), to.add(last * width), width);
                if self.range.is_some() {
                    map(to, to, self.rows * width, cut);
                }
                return;
            }
            for row in 0..self.rows {
                let (from, to) = (self.from.add(row * pitch), to.add(row * width));
                let mut x = 0;
                while x + PIXELS <= width {
                    sum(self.offsets, from.add(x), weights, bias, to.add(x));
                    x += PIXELS;
                }
                if x < width {
                    let mut last = [0.0f32; PIXELS];
                    sum(self.offsets, from.add(x), weights, bias, last.as_mut_ptr());
                    copy(last.as_ptr(), to.add(x), width - x);
                }
            }
            if self.range.is_some() {
                map(to, to, self.rows * width, cut);
            }
        }
    }
}

/// Sums of 16 neighbouring pixels.
///
/// # Safety
/// 16 floats lie behind every offset from `from` on, `weights` holds the filter, each weight in all lanes, and `to` holds 16 floats.
#[inline(never)]
unsafe fn sum(offsets: &[u32], from: *const f32, weights: *const f32, first: v128, to: *mut f32) {
    let [mut a, mut b, mut c, mut d] = [first; 4];
    let (mut offset, mut weight) = (offsets.as_ptr(), weights);
    let end = offset.wrapping_add(offsets.len());
    // SAFETY: the caller's promise; there are as many weights as offsets.
    unsafe {
        while offset != end {
            let w = load(weight);
            let run = from.add(offset.read() as usize);
            a = fma(load(run), w, a);
            b = fma(load(run.add(LANES)), w, b);
            c = fma(load(run.add(2 * LANES)), w, c);
            d = fma(load(run.add(3 * LANES)), w, d);
            offset = offset.add(1);
            weight = weight.add(LANES);
        }
        store(to, a);
        store(to.add(LANES), b);
        store(to.add(2 * LANES), c);
        store(to.add(3 * LANES), d);
    }
}
