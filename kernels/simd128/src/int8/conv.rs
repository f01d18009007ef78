//! `QLinearConv` as a matrix product: the filters of a group, packed once, times the patches of an image, packed a block of columns at a time.

use super::bytes::{self, BYTES, Scaling};
use super::quantised::{Opened, Quantised};
use super::tile::{COLUMNS, ROWS, Sums, tile};
use super::{Form, patches};
use crate::arguments::shards_for;
use core::arch::wasm32::v128_load;
use core::array;
use core::ops::Range;
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// Rows of which the sums become bytes together.
const FOUR: usize = 4;

/// Words of a block of columns in the workspace.
const BLOCK_WORDS: usize = 48 * 1024;

/// A convolution with several channels to a group.
#[derive(Clone, Copy)]
struct Conv {
    quantised: Quantised,
    /// Words along the depth.
    words: usize,
    /// Columns of a block, a multiple of sixteen.
    width: usize,
}

pub(crate) fn prepare(quantised: Quantised) -> Option<Box<dyn Kernel>> {
    let g = quantised.geometry;
    let words = g.taps() * g.group_channels().div_ceil(2);
    let most = (BLOCK_WORDS / words / BYTES * BYTES).max(BYTES);
    let width = most.min(g.output_plane().next_multiple_of(BYTES));
    Some(Box::new(Conv { quantised, words, width }))
}

impl Conv {
    /// Words of the packed filters of one group.
    fn group_words(&self) -> usize {
        self.quantised.geometry.group_filters().next_multiple_of(ROWS) * self.words
    }

    /// Whether shards get filters rather than columns of a product: where there are more of those to share.
    fn by_rows(&self) -> bool {
        let g = self.quantised.geometry;
        g.output_plane() < 32 * BYTES && g.group_filters() / ROWS > g.output_plane() / BYTES
    }

    /// Products of a group and an image, and in how many parts each is shared out.
    fn units(&self) -> (usize, usize) {
        let g = self.quantised.geometry;
        let each = if self.by_rows() { g.group_filters().div_ceil(ROWS) } else { g.output_plane().div_ceil(BYTES) };
        (g.batch * g.groups, each)
    }

    /// # Safety
    /// The packed filters are readable, `right` holds a block; rows begin at whole panels and columns at multiples of sixteen; the results of that part
    /// are writable.
    unsafe fn run(
        &self,
        opened: &Opened,
        product: usize,
        filters: *const i32,
        right: *mut i32,
        (rows, columns): (Range<usize>, Range<usize>),
    ) {
        let g = self.quantised.geometry;
        let group = product % g.groups;
        let plane = g.output_plane();
        let mut sums: Sums = [0; ROWS * COLUMNS];
        // SAFETY: the caller's promise; channels and filters of a group follow each other, and so do groups and images.
        unsafe {
            let planes = opened.planes.add(product * g.group_channels() * g.input_plane());
            let results = opened.results.add(product * g.group_filters() * plane);
            let left = filters.add(group * self.group_words());
            for column in columns.clone().step_by(self.width) {
                let end = columns.end.min(column + self.width);
                patches::pack(&g, planes, (column, end - column), self.words, opened.x, right);
                for row in rows.clone().step_by(ROWS) {
                    // Rows that only fill the panel up are scaled as the last one, and not stored.
                    let last = rows.end - 1;
                    let filter = |i: usize| opened.filter(group * g.group_filters() + last.min(row + i));
                    let scalings: [[Scaling; FOUR]; ROWS / FOUR] =
                        array::from_fn(|four| array::from_fn(|i| filter(four * FOUR + i)));
                    for at in (column..end).step_by(COLUMNS) {
                        let panel = right.add((at - column) * self.words);
                        tile(Form::Wide, self.words, left.add(row * self.words), panel, &mut sums);
                        for (four, scalings) in scalings.iter().enumerate() {
                            let sums = sums.as_ptr().add(four * FOUR * COLUMNS);
                            let sums = array::from_fn(|i| v128_load(sums.add(i * COLUMNS).cast()));
                            let words = bytes::apart(opened.target.words(sums, *scalings));
                            for (row, word) in (row + four * FOUR..rows.end).zip(words) {
                                bytes::store(results.add(row * plane + at), word, COLUMNS.min(end - at));
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Kernel for Conv {
    fn requirements(&self) -> Requirements {
        let g = self.quantised.geometry;
        let operations = 2.0 * (g.batch * g.filters * g.output_plane()) as f64 * g.depth() as f64;
        let nanoseconds = (operations / 40.0) as u64 + 500;
        let weight = self.quantised.weight;
        Requirements {
            workspace: (self.quantised.factor_bytes() + 4 * self.width * self.words) as u32,
            shards: shards_for(nanoseconds),
            packed: vec![PackedConstant {
                input: 3,
                bytes: (4 * g.groups * self.group_words()) as u32,
                align: 64,
                key: format!(
                    "int8-rows8 {} {} {} {} {} {}",
                    g.groups,
                    g.group_filters(),
                    g.group_channels(),
                    g.taps(),
                    weight.flip,
                    weight.zero
                ),
            }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let g = self.quantised.geometry;
        let (channels, taps) = (g.group_channels(), g.taps());
        for filter in 0..g.filters {
            let (group, row) = (filter / g.group_filters(), filter % g.group_filters());
            let panel = group * self.group_words() + row / ROWS * ROWS * self.words + row % ROWS;
            for channel in 0..channels {
                for tap in 0..taps {
                    let number = self.quantised.weight.number(source.get((filter * channels + channel) * taps + tap));
                    let word = panel + (tap * channels.div_ceil(2) + channel / 2) * ROWS;
                    let [low, high] = number.to_le_bytes();
                    packed.set(4 * word + channel % 2 * 2, low);
                    packed.set(4 * word + channel % 2 * 2 + 1, high);
                }
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let conv = *self;
        let bound = self.quantised.bind(bindings)?;
        let filters = bindings.packed::<i32>(3)?;
        Ok(Box::new(move |call: &Call| {
            let g = conv.quantised.geometry;
            let workspace = call.workspace::<u8>().as_mut_ptr();
            let (products, units) = conv.units();
            let (granule, length) = if conv.by_rows() { (ROWS, g.group_filters()) } else { (BYTES, g.output_plane()) };
            // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other; the workspace holds the factors and a block.
            unsafe {
                let opened = bound.open(call, workspace.cast());
                let right = workspace.add(conv.quantised.factor_bytes()).cast::<i32>();
                let filters = call.read(&filters).as_ptr();
                let share = call.share(products * units, 1);
                let mut at = share.start;
                while at < share.end {
                    let (product, first) = (at / units, at % units);
                    let end = units.min(first + share.end - at);
                    let range = first * granule..length.min(end * granule);
                    let part = match conv.by_rows() {
                        true => (range, 0..g.output_plane()),
                        false => (0..g.group_filters(), range),
                    };
                    conv.run(&opened, product, filters, right, part);
                    at += end - first;
                }
            }
            Ok(())
        }))
    }
}
