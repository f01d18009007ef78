//! 3 x 3 convolution with stride 1 by Winograd's minimal filtering.
//!
//! The output is cut into tiles of O x O pixels. Four tiles at a time, one to a lane, their patches are transformed into columns of P * P small
//! matrices; each is multiplied with its transformed filters (packed once), and the products are transformed back. Blocks of tiles are chosen
//! so that the transformed columns stay in the second cache.

use super::geometry::Geometry;
use super::transform::{F2, F4, Scheme};
use crate::arguments::{Op, shards_for};
use crate::epilogue::{BoundEpilogue, Epilogue};
use crate::gemm::split;
use crate::panels::row_panel_floats;
use crate::tile::{Columns, Ends, ROWS, tile};
use crate::vector::{
    LANES, add, at_least, at_most, copy, fill, load, load_part, splat, store, store_part, transpose, v128,
};
use core::hint::black_box;
use core::marker::PhantomData;
use core::ops::Range;
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// How the work on one image is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Tiles down and across.
    tiles: [usize; 2],
    /// Groups of four tiles transformed at a time.
    block: usize,
    /// Floats of one row of the padded band.
    band_row: usize,
    band_floats: usize,
    /// Floats from one small matrix of transformed columns to the next.
    matrix: usize,
}

impl Cut {
    fn new(g: &Geometry, patch: usize, out: usize) -> Self {
        let tiles = [g.output[0].div_ceil(out), g.output[1].div_ceil(out)];
        let groups = (tiles[0] * tiles[1]).div_ceil(LANES);
        let each = patch * patch * g.channels * LANES;
        let fit = (g.workspace_floats(28 * 1024, 128 * 1024) / each).max(2);
        let block = groups.div_ceil(groups.div_ceil(fit));
        let band_row = tiles[1] * out + patch - out;
        let rows = ((block * LANES - 1).div_ceil(tiles[1]) + 1).min(tiles[0]);
        let band_floats = ((rows - 1) * out + patch) * band_row;
        // Not a power of two apart, or all matrices would fall into the same few sets of the cache.
        Self { tiles, block, band_row, band_floats, matrix: block * g.channels * LANES + 16 }
    }

    fn groups(&self) -> usize {
        (self.tiles[0] * self.tiles[1]).div_ceil(LANES)
    }

    /// About how long one image takes on one shard.
    fn nanoseconds(&self, g: &Geometry, patch: usize) -> f64 {
        let groups = self.groups() as f64;
        let (channels, filters) = (g.channels as f64, row_panel_floats(g.filters, 1) as f64);
        let products = (patch * patch) as f64 * groups * channels * filters * (LANES * 2) as f64 / 27.0;
        // Moving a patch in and a tile out, per element of the patch.
        let transforms = (patch * patch) as f64 * groups * (1.3 * channels + 1.5 * g.filters as f64);
        let stream =
            (patch * patch) as f64 * channels * filters * 4.0 / 12.0 * (self.groups().div_ceil(self.block)) as f64;
        products.max(stream) + 0.3 * stream.min(products) + transforms
    }
}

/// The Winograd kernel for a convolution that it computes faster than in `direct` nanoseconds.
pub(super) fn prepare(op: Op<'_>, g: Geometry, direct: f64) -> Option<Box<dyn Kernel>> {
    let fits = g.kernel == [3, 3] && g.stride == [1, 1] && g.dilation == [1, 1] && g.groups == 1;
    if !fits || g.channels < 8 || g.filters < 8 || g.output_plane() < 16 {
        return None;
    }
    let direct = direct / g.batch as f64;
    let (small, large) = (Cut::new(&g, 4, 2), Cut::new(&g, 6, 4));
    let (small_time, large_time) = (small.nanoseconds(&g, 4), large.nanoseconds(&g, 6));
    if direct < small_time.min(large_time) {
        return None;
    }
    if large_time < 0.92 * small_time {
        Some(Box::new(Winograd::<F4, 6, 4>::new(op, g, large, large_time)?))
    } else {
        Some(Box::new(Winograd::<F2, 4, 2>::new(op, g, small, small_time)?))
    }
}

struct Winograd<S, const P: usize, const O: usize> {
    geometry: Geometry,
    epilogue: Epilogue,
    cut: Cut,
    nanoseconds: u64,
    scheme: PhantomData<fn() -> S>,
}

impl<S: Scheme<P, O> + 'static, const P: usize, const O: usize> Winograd<S, P, O> {
    fn new(op: Op<'_>, geometry: Geometry, cut: Cut, nanoseconds: f64) -> Option<Self> {
        let bias = op.own(2).map(|_| 2);
        let epilogue = Epilogue::new(op, bias, true)?;
        let nanoseconds = (nanoseconds * geometry.batch as f64) as u64;
        Some(Self { geometry, epilogue, cut, nanoseconds, scheme: PhantomData })
    }

    /// Floats of the products of one panel of filters with a block of tiles.
    fn product_floats(&self) -> usize {
        P * P * self.cut.block * ROWS * LANES
    }
}

impl<S: Scheme<P, O> + 'static, const P: usize, const O: usize> Kernel for Winograd<S, P, O> {
    fn requirements(&self) -> Requirements {
        let g = &self.geometry;
        let floats = P * P * self.cut.matrix + self.product_floats() + self.cut.band_floats;
        Requirements {
            workspace: (4 * floats) as u32,
            shards: shards_for(self.nanoseconds),
            packed: vec![PackedConstant {
                input: 1,
                bytes: (4 * P * P * row_panel_floats(g.filters, g.channels)) as u32,
                align: 64,
                key: format!("winograd{O}-rows8"),
            }],
            estimated_ns: self.nanoseconds,
            ..Requirements::simple()
        }
    }

    /// Filters become [panel of 8][matrix][channel][8].
    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let g = &self.geometry;
        let (source, packed) = (source.as_ptr().cast::<f32>(), packed.as_mut_ptr().cast::<f32>());
        for filter in 0..g.filters {
            for channel in 0..g.channels {
                // SAFETY: the SDK checked that `source` holds the weights and `packed` the bytes that `requirements` asked for.
                unsafe {
                    let taps = source.add((filter * g.channels + channel) * 9);
                    let rows: [[f64; P]; 3] = core::array::from_fn(|y| {
                        S::filter(core::array::from_fn(|x| f64::from(taps.add(3 * y + x).read())))
                    });
                    let columns: [[f64; 3]; P] = core::array::from_fn(|x| rows.map(|row| row[x]));
                    for (x, column) in columns.into_iter().enumerate() {
                        let column = S::filter(column);
                        for (y, value) in column.into_iter().enumerate() {
                            let panel = filter / ROWS * P * P + y * P + x;
                            packed.add((panel * g.channels + channel) * ROWS + filter % ROWS).write(value as f32);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (geometry, cut, product_floats) = (self.geometry, self.cut, self.product_floats());
        let epilogue = self.epilogue.bind(bindings)?;
        let (input, weights, output) =
            (bindings.input::<f32>(0)?, bindings.packed::<f32>(1)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let workspace = call.workspace::<f32>().as_mut_ptr();
            let products = workspace.wrapping_add(P * P * cut.matrix);
            let job = Job {
                g: &geometry,
                cut: &cut,
                columns: workspace,
                products,
                band: products.wrapping_add(product_floats),
                filters: call.read(&weights).as_ptr(),
                output: call.write(&output).as_mut_ptr(),
                bias: epilogue.bias(call),
                first: epilogue.first(call),
                epilogue: &epilogue,
                call,
            };
            // Cut by filters, every shard transforms the whole input.
            let repeated = 8.0 / geometry.filters as f32;
            let (filters, tiles) = split(call, geometry.filters, cut.groups() * LANES, (repeated, 0.0));
            for image in 0..geometry.batch {
                let source =
                    call.read(&input).as_ptr().wrapping_add(image * geometry.channels * geometry.input_plane());
                let mut group = tiles.start / LANES;
                let end = tiles.end / LANES;
                while group < end {
                    let block = group..(group + cut.block).min(end);
                    // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other, and the workspace is as
                    // `requirements` asked: transformed columns, products, band.
                    unsafe {
                        job.transform_input::<S, P, O>(source, block.clone());
                        for filter in filters.clone().step_by(ROWS) {
                            job.multiply::<P>(filter, block.len());
                            for row in filter..(filter + ROWS).min(filters.end) {
                                job.transform_output::<S, P, O>(image, row, block.clone());
                            }
                        }
                    }
                    group += cut.block;
                }
            }
            Ok(())
        }))
    }
}

/// One run of one shard.
struct Job<'a> {
    g: &'a Geometry,
    cut: &'a Cut,
    columns: *mut f32,
    products: *mut f32,
    band: *mut f32,
    filters: *const f32,
    output: *mut f32,
    bias: *const f32,
    first: *const f32,
    epilogue: &'a BoundEpilogue,
    call: &'a Call,
}

impl Job<'_> {
    /// The tiles of a group, as (down, across); the last one repeats where there are fewer than four.
    fn group(&self, group: usize) -> [[usize; 2]; LANES] {
        let last = self.cut.tiles[0] * self.cut.tiles[1] - 1;
        core::array::from_fn(|lane| {
            let tile = (group * LANES + lane).min(last);
            [tile / self.cut.tiles[1], tile % self.cut.tiles[1]]
        })
    }

    /// Fills `columns` for a block of groups.
    ///
    /// # Safety
    /// `source` holds one image; the pointers of the job are as `requirements` asked.
    unsafe fn transform_input<S: Scheme<P, O>, const P: usize, const O: usize>(
        &self,
        source: *const f32,
        block: Range<usize>,
    ) {
        let (g, cut) = (self.g, self.cut);
        let (top, bottom) = (self.group(block.start)[0][0], self.group(block.end - 1)[LANES - 1][0]);
        for channel in 0..g.channels {
            // SAFETY: the band holds the rows of these tiles; matrix (y, x), group and channel address the columns.
            unsafe {
                self.fill_band(source.add(channel * g.input_plane()), top * O, (bottom - top) * O + P);
                for (index, group) in block.clone().enumerate() {
                    let patches = self
                        .group(group)
                        .map(|[y, x]| self.band.add((y - top) * O * cut.band_row + x * O).cast_const());
                    let to = self.columns.add((index * g.channels + channel) * LANES);
                    transform_patches::<S, P, O>(patches, cut.band_row, to, cut.matrix);
                }
            }
        }
    }

    /// Copies padded rows `top .. top + rows` of a plane into the band.
    ///
    /// # Safety
    /// `plane` holds an input plane, the band `rows` rows.
    #[inline(never)]
    unsafe fn fill_band(&self, plane: *const f32, top: usize, rows: usize) {
        let (g, width) = (self.g, self.cut.band_row);
        let left = g.pad[1].min(width);
        let len = g.input[1].min(width - left);
        for row in 0..rows {
            let y = (top + row) as isize - g.pad[0] as isize;
            // SAFETY: `y` is checked against the plane, and `left + len <= width`.
            unsafe {
                let to = self.band.add(row * width);
                if y < 0 || y >= g.input[0] as isize {
                    fill(to, width, 0.0);
                } else {
                    fill(to, left, 0.0);
                    copy(plane.add(y as usize * g.input[1]), to.add(left), len);
                    fill(to.add(left + len), width - left - len, 0.0);
                }
            }
        }
    }

    /// Products of one panel of filters with all columns of the block: [matrix][group][8][4].
    ///
    /// # Safety
    /// The columns were filled for `groups` groups.
    unsafe fn multiply<const P: usize>(&self, filter: usize, groups: usize) {
        let k = self.g.channels;
        let ends = Ends::plain();
        for matrix in 0..P * P {
            // SAFETY: panel and matrix address `k * 8` packed filters, group and matrix `k * 4` columns and a tile of products.
            unsafe {
                let a = self.filters.add((filter / ROWS * P * P + matrix) * k * ROWS);
                let b = self.columns.add(matrix * self.cut.matrix);
                let c = self.products.add(matrix * self.cut.block * ROWS * LANES);
                for group in 0..groups {
                    let b = Columns::Panel(b.add(group * k * LANES));
                    tile(k, a, b, c.add(group * ROWS * LANES), LANES, &ends);
                }
            }
        }
    }

    /// Turns the products of one filter into pixels.
    ///
    /// # Safety
    /// The products were computed for the block and the filter's panel.
    unsafe fn transform_output<S: Scheme<P, O>, const P: usize, const O: usize>(
        &self,
        image: usize,
        filter: usize,
        block: Range<usize>,
    ) {
        let (g, cut) = (self.g, self.cut);
        let tiles = cut.tiles[0] * cut.tiles[1];
        let plane = (image * g.filters + filter) * g.output_plane();
        let matrix = cut.block * ROWS * LANES;
        let (min, max) = self.epilogue.range().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (min, max) = (splat(min), splat(max));
        // SAFETY: a group's products lie in the workspace; pixels are checked against the output plane.
        unsafe {
            let bias = splat(if self.bias.is_null() { 0.0 } else { self.bias.add(filter).read() });
            for (index, group) in block.enumerate() {
                let products = self.products.add((index * ROWS + filter % ROWS) * LANES);
                let mut pixels = [[splat(0.0); LANES]; O];
                transform_products::<S, P, O>(products, matrix, &mut pixels);
                let places = self.group(group);
                for lane in 0..LANES.min(tiles - group * LANES) {
                    let [y, x] = places[lane].map(|tile| tile * O);
                    let (rows, columns) = (O.min(g.output[0] - y), O.min(g.output[1] - x));
                    for (row, pixels) in pixels.iter().enumerate().take(rows) {
                        let at = plane + (y + row) * g.output[1] + x;
                        let mut v = add(pixels[lane], bias);
                        if !self.first.is_null() {
                            let from = self.first.add(at);
                            v = add(v, if columns == LANES { load(from) } else { load_part(from, columns) });
                        }
                        let v = at_most(at_least(v, min), max);
                        if columns == LANES {
                            store(self.output.add(at), v);
                        } else {
                            store_part(self.output.add(at), v, columns);
                        }
                        if self.epilogue.has_rest() {
                            self.epilogue.finish(self.call, self.output.add(at), at, columns);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms four patches, one to a lane, whose rows are `row` floats apart, into P * P vectors, `matrix` floats apart.
///
/// # Safety
/// Each patch holds P rows of P floats; `to` holds the vectors.
#[inline(never)]
#[allow(clippy::needless_range_loop, reason = "the count is hidden from the compiler on purpose")]
unsafe fn transform_patches<S: Scheme<P, O>, const P: usize, const O: usize>(
    patches: [*const f32; LANES],
    row: usize,
    to: *mut f32,
    matrix: usize,
) {
    let mut half = [[splat(0.0); P]; P];
    // The loops stay loops: unrolled, their loads would all move to the front and spill.
    // SAFETY: P is 4 or 6; the second load of a row begins at its third float and ends with its last.
    unsafe {
        for y in 0..black_box(P) {
            let rows = patches.map(|patch| load(patch.add(y * row)));
            let first = transpose(rows);
            let mut d = [splat(0.0); P];
            d[..4].copy_from_slice(&first);
            if P > 4 {
                let rows = patches.map(|patch| load(patch.add(y * row + P - 4)));
                let last = transpose(rows);
                d[4..].copy_from_slice(&last[8 - P..]);
            }
            half[y] = S::input(d);
        }
        for x in 0..black_box(P) {
            let column: [v128; P] = core::array::from_fn(|y| half[y][x]);
            for (y, v) in S::input(column).into_iter().enumerate() {
                store(to.add((y * P + x) * matrix), v);
            }
        }
    }
}

/// Transforms P * P vectors, `matrix` floats apart, into pixels: `pixels[y][tile]` holds row y of a tile.
///
/// # Safety
/// `from` holds the vectors.
#[inline(never)]
#[allow(clippy::needless_range_loop, reason = "the count is hidden from the compiler on purpose")]
unsafe fn transform_products<S: Scheme<P, O>, const P: usize, const O: usize>(
    from: *const f32,
    matrix: usize,
    pixels: &mut [[v128; LANES]; O],
) {
    let mut half = [[splat(0.0); P]; O];
    for x in 0..black_box(P) {
        // SAFETY: the caller's promise.
        let column: [v128; P] = core::array::from_fn(|y| unsafe { load(from.add((y * P + x) * matrix)) });
        for (y, v) in S::output(column).into_iter().enumerate() {
            half[y][x] = v;
        }
    }
    for y in 0..black_box(O) {
        let row = S::output(half[y]);
        let mut lanes = [splat(0.0); LANES];
        lanes[..O].copy_from_slice(&row);
        pixels[y] = transpose(lanes);
    }
}
