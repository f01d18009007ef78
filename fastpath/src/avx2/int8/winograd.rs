//! `QLinearConv` of 3x3 windows that move by one, after Winograd: F(2x2, 3x3), in integers and exact.
//!
//! Four outputs that form a square come from sixteen inputs d and nine weights g: Y = A' [(G g G') * (B' d B)] A, with sixteen products in place of 36. B
//! and A hold 0, 1 and -1. G holds halves, so 2G is used, and the results are four times what they should be: sums of integers all the same, and
//! divided by a shift. A transformed input is a sum of four bytes less their zero points, at most 1020; a transformed weight one of nine, each
//! times 1, 2 or 4 in all 9 at most, so at most 2295: both fit 16 bits. What wraps in between is made good by what it is added to, as long as four
//! times the sum itself fits 32 bits: so for up to [`CHANNELS_MAX`] channels.
//!
//! (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, section 4.1.)

use super::super::lanes::LANES;
use super::super::sliding::{Axis, Sliding};
use super::conv::{Opened, Quantised, Split};
use super::micro::{self, COLUMNS, ROWS, Sums};
use super::pack::{self, Less};
use super::patches::Patches;
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use std::arch::x86_64::*;
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "QLinearConv",
        path: "avx2-int8-winograd",
        revisions: (10, LATEST),
        tolerance: Tolerance::Exact,
        prepare: winograd,
    }]
}

/// 4 * 9 * 255 * 255 times this is below 2^31.
const CHANNELS_MAX: usize = 896;
/// With fewer channels on either side the transforms cost more than they save.
const CHANNELS_MIN: usize = 24;
/// Places of a transformed tile: as many products run side by side.
const PLACES: usize = 16;
/// Words of transformed inputs in the workspace: they share a second-level cache of 512 KiB with weights.
const RIGHT_WORDS: usize = 80 * 1024;

/// A convolution at a fixed shape. A column is a tile of 2x2 outputs, tiles go from left to right and from top to bottom.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    pairs: usize,
    /// Panels of a block of transformed inputs.
    panels: usize,
    /// Windows of 4x4 that move by two.
    inputs: Patches,
    /// Of the outputs.
    high: usize,
    wide: usize,
}

/// Where the operands of one image and group are.
#[derive(Clone, Copy)]
struct Addresses {
    /// The products' left sides, one behind the other.
    left: *const i32,
    planes: *const u8,
    results: *mut u8,
    /// Number of the first row's channel.
    channel: usize,
    right: *mut i32,
}

fn winograd(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let quantised = Quantised::of(request)?;
    let conv = quantised.conv;
    let fits = |axis: &Axis| (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) && axis.output >= 2;
    let channels = CHANNELS_MIN..=CHANNELS_MAX;
    if !fits(&conv.window.high)
        || !fits(&conv.window.wide)
        || !channels.contains(&conv.inputs)
        || conv.outputs < CHANNELS_MIN
    {
        return None;
    }
    let tile = |axis: Axis| Axis { output: axis.output.div_ceil(2), kernel: 4, stride: 2, ..axis };
    let Sliding { high, wide } = conv.window;
    let inputs = Patches { window: Sliding { high: tile(high), wide: tile(wide) }, channels: conv.inputs };
    let columns = inputs.window.output_len();
    let pairs = conv.inputs.div_ceil(2);
    let most = (RIGHT_WORDS / (PLACES * pairs * COLUMNS)).max(1);
    let tiles = Tiles {
        rows: conv.outputs,
        pairs,
        panels: most.min(columns.div_ceil(COLUMNS)),
        inputs,
        high: high.output,
        wide: wide.output,
    };
    let split = Split { rows: conv.outputs, columns };
    let batches = conv.images * conv.groups;
    let work = (batches * PLACES) as f64 * conv.outputs as f64 * columns as f64 * pairs as f64 * 2.0;
    let mut requirements = needs(work / 45.0, split.units(batches));
    let right_words = PLACES * tiles.panels * pairs * COLUMNS;
    requirements.workspace = quantised.workspace(right_words)?;
    let words = pack::left_words(conv.outputs, pairs);
    let weight = quantised.weight;
    let key =
        format!("avx2-int8-winograd {}x{}x{} {} {}", conv.groups, conv.outputs, conv.inputs, weight.flip, weight.zero);
    requirements.packed = vec![packed(3, (conv.groups * PLACES).checked_mul(words)?, key)?];
    let plain = conv.outputs * conv.inputs * 9;
    let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
        for group in 0..conv.groups {
            let source = source.part(group * plain..(group + 1) * plain);
            let bytes = PLACES * words * 4;
            pack_weights(source, conv.outputs, conv.inputs, weight, words, to.part(group * bytes..(group + 1) * bytes));
        }
    };
    let packing = Packing { source_bytes: conv.groups * plain, pack: Box::new(pack) };
    Some(kernel(requirements, Some(packing), move |bindings| {
        let bound = quantised.bind(bindings)?;
        let w = bindings.packed::<i32>(3)?;
        Ok(Box::new(move |call: &Call| {
            // SAFETY: the workspace has the size that was asked for.
            let opened = unsafe { quantised.open(&bound, call) };
            let w = call.read(&w).as_ptr();
            split.parts(call, batches, |batch, rows, columns| {
                let group = batch % conv.groups;
                let at = Addresses {
                    left: w.wrapping_add(group * PLACES * words),
                    planes: opened.planes.wrapping_add(batch * conv.inputs * conv.window.input_len()),
                    results: opened.results.wrapping_add(batch * conv.outputs * conv.window.output_len()),
                    channel: group * conv.outputs,
                    right: opened.room,
                };
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `prepare` matched the shapes of the operands with the tiles, and the bindings with the
                // shapes; parts of shards are disjoint; the workspace has the size that was asked for.
                unsafe { tiles.run(at, &opened, rows, columns) };
            });
            Ok(())
        }))
    }))
}

/// Writes 2G g (2G)' of every row and channel: for each place the left side of a product.
fn pack_weights(source: Reader<'_, u8>, rows: usize, channels: usize, weight: Less, words: usize, to: Writer<'_, u8>) {
    let pairs = channels.div_ceil(2);
    let line = |a: [i16; 3]| [2 * a[0], a[0] + a[1] + a[2], a[0] - a[1] + a[2], 2 * a[2]];
    for row in 0..rows {
        for channel in 0..channels {
            let g = |y: usize, x: usize| weight.number(source.get((row * channels + channel) * 9 + 3 * y + x));
            let across: [[i16; 4]; 3] = std::array::from_fn(|y| line([g(y, 0), g(y, 1), g(y, 2)]));
            let word = (row / ROWS * pairs + channel / 2) * ROWS + row % ROWS;
            for x in 0..4 {
                for (y, value) in line([across[0][x], across[1][x], across[2][x]]).into_iter().enumerate() {
                    let at = ((4 * y + x) * words + word) * 4 + channel % 2 * 2;
                    let [low, high] = value.to_le_bytes();
                    to.set(at, low);
                    to.set(at + 1, high);
                }
            }
        }
    }
}

impl Tiles {
    /// # Safety
    /// The CPU has AVX2 and FMA; the packed weights and the planes are readable, the results writable; the room for the right side holds a block;
    /// `rows` and `columns` begin at whole tiles of the product and panels; nobody else writes that part.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(&self, at: Addresses, opened: &Opened, rows: Range<usize>, columns: Range<usize>) {
        let mut sums = [Sums::ZERO; PLACES];
        let left_words = pack::left_words(self.rows, self.pairs);
        let panel_words = self.pairs * COLUMNS;
        for first in columns.clone().step_by(self.panels * COLUMNS) {
            let end = columns.end.min(first + self.panels * COLUMNS);
            for (panel, column) in (first..end).step_by(COLUMNS).enumerate() {
                // SAFETY: the columns are tiles; the room holds `panels` panels for each place.
                unsafe {
                    let to = at.right.add(panel * panel_words);
                    self.transform_inputs(at.planes, column, COLUMNS.min(end - column), opened.x, to);
                }
            }
            for tile in rows.clone().step_by(ROWS) {
                let height = ROWS.min(rows.end - tile);
                for (panel, column) in (first..end).step_by(COLUMNS).enumerate() {
                    let count = COLUMNS.min(end - column);
                    for place in 0..PLACES {
                        let left = at.left.wrapping_add(place * left_words + tile * self.pairs);
                        let right = at.right.wrapping_add((place * self.panels + panel) * panel_words);
                        // SAFETY: both sides hold `pairs` words for each row of the tile and column of the panel.
                        unsafe { micro::multiply(self.pairs, left, right, height, count, &mut sums[place]) };
                    }
                    for r in 0..height {
                        // SAFETY: rows of the product are channels of the operation, and have a plane each.
                        unsafe {
                            let channel = opened.channel(at.channel + tile + r);
                            let plane = at.results.add((tile + r) * self.high * self.wide);
                            self.store(&sums, r, opened, channel, plane, column, count);
                        }
                    }
                }
            }
        }
    }

    /// Writes B' d B of `count` tiles from `first` on, of all channels, for each place a panel of the right side: that of place p begins `p * panels`
    /// panels behind `to`.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the planes are readable; the panels are writable, and nobody else's.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn transform_inputs(&self, planes: *const u8, first: usize, count: usize, less: Less, to: *mut i32) {
        let readings = self.inputs.readings::<PLACES>(first, count, less);
        for pair in 0..self.pairs {
            let mut numbers = [[_mm256_setzero_si256(); PLACES]; 2];
            for half in 0..2 {
                let channel = 2 * pair + half;
                if channel < self.inputs.channels {
                    for place in 0..PLACES {
                        // SAFETY: the planes of all channels are readable.
                        numbers[half][place] = unsafe { self.inputs.numbers(planes, channel, &readings[place], less) };
                    }
                    transform(&mut numbers[half]);
                }
            }
            for place in 0..PLACES {
                let (a, b) = (numbers[0][place], numbers[1][place]);
                // Words of tiles 0 to 3 and 8 to 11, and of the others.
                let (even, odd) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
                // SAFETY: the pair's words of the place's panel.
                unsafe {
                    let to = to.add((place * self.panels * self.pairs + pair) * COLUMNS);
                    _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256::<0x20>(even, odd));
                    _mm256_storeu_si256(to.add(LANES).cast(), _mm256_permute2x128_si256::<0x31>(even, odd));
                }
            }
        }
    }

    /// Stores the outputs of row `r` of a tile of products: `count` tiles of 2x2 from `first` on.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the row's plane is writable at `plane`, and those tiles nobody else's.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    #[allow(clippy::too_many_arguments, reason = "what one row of sums needs to become bytes")]
    unsafe fn store(
        &self,
        sums: &[Sums; PLACES],
        r: usize,
        opened: &Opened,
        (bias, factor): (i32, f32),
        plane: *mut u8,
        first: usize,
        count: usize,
    ) {
        // Outputs (y, x) of sixteen tiles in two vectors each.
        let mut outputs = [[_mm256_setzero_si256(); 2]; 4];
        for half in 0..2 {
            let mut across = [[_mm256_setzero_si256(); 2]; 4];
            for y in 0..4 {
                let mut m = [_mm256_setzero_si256(); 4];
                for x in 0..4 {
                    // SAFETY: vector `half` of a row of sums.
                    m[x] = unsafe { _mm256_load_si256(sums[4 * y + x].0[r].as_ptr().add(half * LANES).cast()) };
                }
                across[y] = fold(m);
            }
            for x in 0..2 {
                let down = fold([across[0][x], across[1][x], across[2][x], across[3][x]]);
                for y in 0..2 {
                    let sums = _mm256_srai_epi32::<2>(down[y]);
                    outputs[2 * y + x][half] = _mm256_add_epi32(sums, _mm256_set1_epi32(bias));
                }
            }
        }
        let wide = self.inputs.window.wide.output;
        for y in 0..2 {
            let left = opened.target.bytes(outputs[2 * y], factor);
            let right = opened.target.bytes(outputs[2 * y + 1], factor);
            let mut line = [0u8; 2 * COLUMNS];
            // SAFETY: `line` holds 32 bytes. Tiles of one row are neighbours; of the last one in a row and of the last row only what the plane has
            // is stored.
            unsafe {
                _mm_storeu_si128(line.as_mut_ptr().cast(), _mm_unpacklo_epi8(left, right));
                _mm_storeu_si128(line.as_mut_ptr().add(COLUMNS).cast(), _mm_unpackhi_epi8(left, right));
                let mut at = 0;
                while at < count {
                    let (tile_y, tile_x) = ((first + at) / wide, (first + at) % wide);
                    let run = (wide - tile_x).min(count - at);
                    let row = 2 * tile_y + y;
                    if row < self.high {
                        let bytes = (2 * run).min(self.wide - 2 * tile_x);
                        let to = plane.add(row * self.wide + 2 * tile_x);
                        std::ptr::copy_nonoverlapping(line.as_ptr().add(2 * at), to, bytes);
                    }
                    at += run;
                }
            }
        }
    }
}

/// B' d B of the 4x4 numbers of sixteen tiles.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transform(d: &mut [__m256i; PLACES]) {
    for y in 0..4 {
        let row = spread([d[4 * y], d[4 * y + 1], d[4 * y + 2], d[4 * y + 3]]);
        for x in 0..4 {
            d[4 * y + x] = row[x];
        }
    }
    for x in 0..4 {
        let column = spread([d[x], d[4 + x], d[8 + x], d[12 + x]]);
        for y in 0..4 {
            d[4 * y + x] = column[y];
        }
    }
}

/// B' of four numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn spread(d: [__m256i; 4]) -> [__m256i; 4] {
    [
        _mm256_sub_epi16(d[0], d[2]),
        _mm256_add_epi16(d[1], d[2]),
        _mm256_sub_epi16(d[2], d[1]),
        _mm256_sub_epi16(d[1], d[3]),
    ]
}

/// A' of four sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold(m: [__m256i; 4]) -> [__m256i; 2] {
    let (sum, difference) = (_mm256_add_epi32(m[1], m[2]), _mm256_sub_epi32(m[1], m[2]));
    [_mm256_add_epi32(m[0], sum), _mm256_sub_epi32(difference, m[3])]
}
