//! How the outputs of all images are cut into tiles, and how tiles are gathered into blocks that are worked on at a time.

use super::super::conv::Convolution;
use super::super::lanes::LANES;
use super::super::micro::{COLUMNS, ROWS};
use super::super::sliding::Sliding;
use super::transform::OUTPUTS_MAX;
use std::ops::Range;

/// Most panels of sixteen tiles in a block.
const PANELS_MAX: usize = 4;
/// Most tiles in a block.
pub(super) const TILES_MAX: usize = PANELS_MAX * COLUMNS;
/// Floats of the transformed patches of a block, if there may be fewer than one panel's: they and the products stay in a second-level cache.
const PATCHES_FLOATS: usize = 80 * 1024;
/// Floats of the products of a block.
const PRODUCTS_FLOATS: usize = 48 * 1024;
/// Between the small matrices of a block, so that neighbours do not fall into the same few sets of a cache.
const GAP: usize = COLUMNS;
/// Floats of workspace that a shard may use: 2 MiB, for the patches of one panel of up to about 700 channels.
const WORKSPACE_FLOATS: usize = 512 * 1024;

/// The tiles of a convolution with patches of `patch` x `patch`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    pub(super) window: Sliding,
    pub(super) channels: usize,
    pub(super) filters: usize,
    /// Length of a patch.
    pub(super) patch: usize,
    /// Length of the outputs of a patch.
    pub(super) out: usize,
    /// Tiles down and across one plane.
    pub(super) high: usize,
    pub(super) wide: usize,
    /// Tiles of all images.
    pub(super) tiles: usize,
    /// Most panels of a block.
    pub(super) panels: usize,
    /// Filters whose products are kept at a time.
    pub(super) rows: usize,
}

/// Neighbouring tiles of one row of tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strip {
    pub(super) image: usize,
    /// Row of tiles in the image, and first tile in the row.
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) len: usize,
    /// Number of the first tile within the block.
    pub(super) first: usize,
}

impl Tiling {
    /// None where a panel of patches is too large for the workspace.
    pub(super) fn new(conv: &Convolution, patch: usize) -> Option<Self> {
        let out = patch - 2;
        let (high, wide) = (conv.window.high.output.div_ceil(out), conv.window.wide.output.div_ceil(out));
        let tiles = conv.images * high * wide;
        let panel = patch * patch * conv.inputs * COLUMNS;
        let panels = (PATCHES_FLOATS / panel.max(1)).clamp(1, PANELS_MAX).min(tiles.div_ceil(COLUMNS).max(1));
        let rows = PRODUCTS_FLOATS / (patch * patch * panels * COLUMNS) / ROWS * ROWS;
        // Pieces of nearly equal height.
        let filters = conv.outputs.next_multiple_of(ROWS).max(ROWS);
        let rows = filters.div_ceil(filters.div_ceil(rows)).next_multiple_of(ROWS);
        let window = conv.window;
        let tiling =
            Self { window, channels: conv.inputs, filters: conv.outputs, patch, out, high, wide, tiles, panels, rows };
        (tiling.workspace_floats() <= WORKSPACE_FLOATS).then_some(tiling)
    }

    /// Panels of all tiles.
    pub(super) fn all_panels(&self) -> usize {
        self.tiles.div_ceil(COLUMNS)
    }

    /// Tiles of six filters.
    pub(super) fn filter_tiles(&self) -> usize {
        self.filters.div_ceil(ROWS)
    }

    /// Floats of the transformed filters: for each element of a patch, tile after tile of six filters, as the micro-kernel reads them.
    pub(super) fn filter_floats(&self) -> usize {
        self.patch * self.patch * self.filter_tiles() * ROWS * self.channels
    }

    /// Floats from the transformed patches of one element of a patch to those of the next.
    pub(super) fn patches_step(&self) -> usize {
        self.panels * self.channels * COLUMNS + GAP
    }

    /// Floats from the products of one element of a patch to those of the next.
    pub(super) fn products_step(&self) -> usize {
        self.panels * self.rows * COLUMNS + GAP
    }

    /// Floats of a row of a strip that is transformed along one axis.
    pub(super) fn strip_row(&self) -> usize {
        let tiles = self.wide.min(self.panels * COLUMNS);
        (tiles * self.out + self.patch - self.out).next_multiple_of(LANES)
    }

    /// Floats of a strip.
    pub(super) fn strip_floats(&self) -> usize {
        self.patch * self.strip_row()
    }

    /// Most strips of a block.
    fn strips(&self) -> usize {
        (self.panels * COLUMNS + self.wide.saturating_sub(2)) / self.wide.max(1) + 1
    }

    /// Floats of workspace: transformed patches, products, and strips of one channel.
    pub(super) fn workspace_parts(&self) -> [usize; 3] {
        let elements = self.patch * self.patch;
        [elements * self.patches_step(), elements * self.products_step(), self.strips() * self.strip_floats()]
    }

    fn workspace_floats(&self) -> usize {
        self.workspace_parts().iter().sum()
    }

    /// Bytes of workspace.
    pub(super) fn workspace_bytes(&self) -> u32 {
        (self.workspace_floats() * 4) as u32
    }

    /// The strips of a block of tiles.
    pub(super) fn strips_of(&self, block: Range<usize>) -> impl Iterator<Item = Strip> {
        let (high, wide) = (self.high, self.wide);
        let (mut row, mut x) = (block.start / wide, block.start % wide);
        let mut tile = block.start;
        std::iter::from_fn(move || {
            (tile < block.end).then(|| {
                let len = (wide - x).min(block.end - tile);
                let strip = Strip { image: row / high, y: row % high, x, len, first: tile - block.start };
                (row, x, tile) = (row + 1, 0, tile + len);
                strip
            })
        })
    }

    /// About how many nanoseconds everything takes on one core.
    pub(super) fn cost(&self) -> f64 {
        let elements = (self.patch * self.patch) as f64;
        let (channels, rows) = (self.channels as f64, (self.filter_tiles() * ROWS) as f64);
        let panels = self.tiles.div_ceil(LANES) as f64 / 2.0;
        // The micro-kernel, at a little less than the peak.
        let products = elements * panels * rows * channels * 2.0 * COLUMNS as f64 / 82.0;
        let transforms = elements * panels * COLUMNS as f64 * (0.17 * channels + 0.15 * rows);
        // The filters come from memory or a far cache once for every block.
        let blocks = (self.all_panels() as f64 / self.panels as f64).ceil();
        let filters = elements * rows * channels * 4.0 * (1.0 / 25.0 + (blocks - 1.0) / 100.0);
        products + transforms + filters
    }
}

/// Outputs of a tile that lie inside the plane, from where the first one lies in the results on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) flat: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Tiling {
    /// The places of the tiles of a block in the plane of filter 0.
    pub(super) fn places(&self, block: Range<usize>) -> [Place; TILES_MAX] {
        let (high, wide) = (self.window.high.output, self.window.wide.output);
        let mut places = [Place::default(); TILES_MAX];
        for strip in self.strips_of(block) {
            for tile in 0..strip.len {
                let (y, x) = (strip.y * self.out, (strip.x + tile) * self.out);
                places[strip.first + tile] = Place {
                    flat: (strip.image * self.filters * high + y) * wide + x,
                    rows: OUTPUTS_MAX.min(self.out).min(high - y),
                    columns: OUTPUTS_MAX.min(self.out).min(wide - x),
                };
            }
        }
        places
    }
}
