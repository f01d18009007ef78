//! `Conv` with 3 x 3 filters and stride 1 by Winograd's minimal filtering, where that is faster than the plain matrix product.
//!
//! The outputs of all images are cut into tiles. For a block of tiles, patches are transformed into columns of small matrices, one for each element of a
//! patch; each is multiplied with its transformed filters, which were packed once, and the products are transformed back. A sum over channels runs in
//! order, so results depend neither on the block nor on the shard that a tile falls into.

mod input;
mod output;
mod tiling;
mod transform;

use super::conv::Convolution;
use super::micro::{self, COLUMNS, Left, ROWS, Right, Tile};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use crate::steps::Steps;
use output::Destination;
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};
use tiling::Tiling;

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "Conv",
        path: "avx2-winograd",
        revisions: (1, LATEST),
        // The transforms add roundings that the plain sum does not have.
        tolerance: Tolerance::Accumulate(2.0),
        prepare: winograd,
    }]
}

/// With fewer channels or filters than this, the transforms cost more than they save.
const CHANNELS_MIN: usize = 8;
const FILTERS_MIN: usize = 16;

/// The faster of the two tilings, if it is faster than the plain product.
fn choose(conv: &Convolution) -> Option<Tiling> {
    let axes = [conv.window.high, conv.window.wide];
    let fits = axes.iter().all(|axis| axis.kernel == 3 && axis.stride == 1 && axis.dilation == 1);
    let enough = conv.inputs >= CHANNELS_MIN && conv.outputs >= FILTERS_MIN && conv.results() > 0;
    if !fits || !enough || conv.groups != 1 {
        return None;
    }
    let cheaper = |a: Tiling, b: Tiling| if b.cost() < a.cost() { b } else { a };
    let chosen = [4, 6].into_iter().filter_map(|patch| Tiling::new(conv, patch)).reduce(cheaper)?;
    (chosen.cost() < conv.product_cost()).then_some(chosen)
}

fn winograd(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let conv = Convolution::of(request)?;
    if !request.operand(1)?.constant {
        return None;
    }
    let tiling = choose(&conv)?;
    let epilogue = conv.epilogue(request)?;
    let units = tiling.all_panels().max(tiling.filter_tiles());
    let mut requirements = needs(tiling.cost() + epilogue.cost(conv.results()), units);
    requirements.workspace = tiling.workspace_bytes();
    let key = format!("avx2-winograd{} f32 {}x{}", tiling.out, conv.outputs, conv.inputs);
    requirements.packed = vec![packed(1, tiling.filter_floats(), key)?];
    let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
        let (source, to) = (source.as_ptr().cast(), to.as_mut_ptr().cast());
        // SAFETY: the kernel checked that `source` holds the filters and `to` as many transformed ones.
        unsafe {
            match tiling.patch {
                6 => pack_filters::<6>(&tiling, source, to),
                _ => pack_filters::<4>(&tiling, source, to),
            }
        }
    };
    let packing = Packing { source_bytes: conv.outputs * conv.inputs * 9 * 4, pack: Box::new(pack) };
    Some(kernel(requirements, Some(packing), move |bindings| {
        let (x, w) = (bindings.input::<f32>(0)?, bindings.packed::<f32>(1)?);
        let output = bindings.output::<f32>(0)?;
        let epilogue = epilogue.bind(bindings)?;
        Ok(Box::new(move |call: &Call| {
            let work = Work {
                tiling: &tiling,
                planes: call.read(&x).as_ptr(),
                filters: call.read(&w).as_ptr(),
                results: call.write(&output).as_mut_ptr(),
                workspace: call.workspace::<f32>().as_mut_ptr(),
                steps: Steps::open(&epilogue, call),
            };
            let (panels, rows) = shares(&tiling, call);
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2 and FMA. `prepare` matched the shapes of the operands with each other, and the bindings with the shapes; the
            // shares of shards are disjoint; the workspace has the size that was asked for.
            unsafe {
                match tiling.patch {
                    6 => work.run::<6>(panels, rows),
                    _ => work.run::<4>(panels, rows),
                }
            }
            Ok(())
        }))
    }))
}

/// The panels of tiles and the filters of a shard: cut by whichever splits more evenly. Where filters are cut, every shard transforms all patches.
fn shares(tiling: &Tiling, call: &Call) -> (Range<usize>, Range<usize>) {
    let shards = call.shards.max(1) as usize;
    let uneven = |units: usize| (units.div_ceil(shards) * shards) as f64 / units.max(1) as f64;
    if uneven(tiling.all_panels()) <= 1.05 * uneven(tiling.filter_tiles()) {
        (call.share(tiling.all_panels(), 1), 0..tiling.filters)
    } else {
        let tiles = call.share(tiling.filter_tiles(), 1);
        (0..tiling.all_panels(), tiles.start * ROWS..tiling.filters.min(tiles.end * ROWS))
    }
}

/// Transforms the filters; rows that fill up the last tile of six are zero.
///
/// # Safety
/// The filters are readable at `source`; [`Tiling::filter_floats`] floats are writable at `to`, and nobody else's.
unsafe fn pack_filters<const P: usize>(tiling: &Tiling, source: *const f32, to: *mut f32) {
    for tile in 0..tiling.filter_tiles() {
        for channel in 0..tiling.channels {
            let mut taps = [[[0.0; ROWS]; 3]; 3];
            for row in 0..ROWS.min(tiling.filters - tile * ROWS) {
                let start = ((tile * ROWS + row) * tiling.channels + channel) * 9;
                for tap in 0..9 {
                    // SAFETY: filter, channel and tap are below their counts.
                    taps[tap / 3][tap % 3][row] = f64::from(unsafe { source.add(start + tap).read_unaligned() });
                }
            }
            // Along the columns, then along the rows: the transforms of both axes are the same.
            let columns: [[transform::Rows; P]; 3] =
                std::array::from_fn(|x| transform::filter([taps[0][x], taps[1][x], taps[2][x]]));
            for y in 0..P {
                let elements: [transform::Rows; P] = transform::filter([columns[0][y], columns[1][y], columns[2][y]]);
                for x in 0..P {
                    let at = (((y * P + x) * tiling.filter_tiles() + tile) * tiling.channels + channel) * ROWS;
                    // SAFETY: element, tile and channel are below their counts, and each place takes one float for each row.
                    unsafe { to.add(at).cast::<[f32; ROWS]>().write_unaligned(elements[x].map(|v| v as f32)) };
                }
            }
        }
    }
}

/// One run of one shard.
struct Work<'a> {
    tiling: &'a Tiling,
    planes: *const f32,
    filters: *const f32,
    results: *mut f32,
    workspace: *mut f32,
    steps: Steps,
}

impl Work<'_> {
    /// # Safety
    /// The CPU has AVX2 and FMA; `P` is the tiling's patch; the operands are as the tiling says; the workspace is as it asks for; the results of
    /// these panels and filters are nobody else's.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run<const P: usize>(&self, panels: Range<usize>, filters: Range<usize>) {
        let tiling = self.tiling;
        let mut steps = self.steps;
        let finish = steps.take_finish();
        let to = Destination { results: self.results, finish: &finish, steps: &steps };
        let [patches_floats, products_floats, _] = tiling.workspace_parts();
        let patches = self.workspace;
        let products = patches.wrapping_add(patches_floats);
        let strips = products.wrapping_add(products_floats);
        for panel in panels.clone().step_by(tiling.panels) {
            let end = panels.end.min(panel + tiling.panels);
            let block = panel * COLUMNS..tiling.tiles.min(end * COLUMNS);
            // SAFETY: the caller's promise; the block has at most as many panels, and the rows are at most as many, as the workspace was made for.
            unsafe {
                input::transform::<P>(tiling, self.planes, block.clone(), patches, strips);
                for row in filters.clone().step_by(tiling.rows) {
                    let rows = row..filters.end.min(row + tiling.rows);
                    self.multiply(patches, products, block.len(), rows.clone());
                    output::transform::<P>(tiling, products, block.clone(), rows, to);
                }
            }
        }
    }

    /// Multiplies the transformed patches of a block of `tiles` tiles with the filters `rows`.
    ///
    /// # Safety
    /// As for [`Work::run`], and the patches of the block are transformed.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn multiply(&self, patches: *const f32, products: *mut f32, tiles: usize, rows: Range<usize>) {
        let tiling = self.tiling;
        let depth = tiling.channels;
        for element in 0..tiling.patch * tiling.patch {
            for row in rows.clone().step_by(ROWS) {
                let filter_tile = element * tiling.filter_tiles() + row / ROWS;
                let left = Left::packed(self.filters.wrapping_add(filter_tile * ROWS * depth));
                for first in (0..tiles).step_by(COLUMNS) {
                    let panel = first / COLUMNS;
                    // SAFETY: the element's small matrices have a panel of patches and a row of products for each panel and filter of the block.
                    unsafe {
                        let right = patches.add(element * tiling.patches_step() + panel * depth * COLUMNS);
                        let to = (panel * tiling.rows + row - rows.start) * COLUMNS;
                        let tile = Tile {
                            start: products.add(element * tiling.products_step() + to),
                            stride: COLUMNS,
                            rows: ROWS.min(rows.end - row),
                            // Whole vectors: lanes without a tile are never read.
                            columns: (tiles - first).next_multiple_of(super::lanes::LANES).min(COLUMNS),
                            accumulate: false,
                        };
                        micro::multiply(depth, left, Right { start: right, step: COLUMNS }, tile, None);
                    }
                }
            }
        }
    }
}
