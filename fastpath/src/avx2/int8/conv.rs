//! `QLinearConv` as a matrix product: the weights of a group, widened when they are packed, times the patches of an image, which are widened and
//! packed a block of columns at a time and stay in the second-level cache.

use super::super::conv::Convolution;
use super::finish::{self, Target};
use super::micro::{self, COLUMNS, ROWS, Sums};
use super::pack::{self, Less};
use super::patches::Patches;
use super::{Bytes, is_scale, scale_each};
use crate::Avx2;
use crate::registry::{LATEST, Row};
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Bindings, Call, Element, Input, Kernel, Output, Reader, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "QLinearConv",
        path: "avx2-int8-patches-gemm",
        revisions: (10, LATEST),
        tolerance: Tolerance::Exact,
        prepare: conv,
    }]
}

/// Words of a block of the right side: it shares a second-level cache of 512 KiB with a tile of the left one.
const RIGHT_WORDS: usize = 80 * 1024;
/// Words that the right side of a single panel may take.
const PANEL_WORDS_MAX: usize = 112 * 1024;
/// Output channels whose factors have room in the workspace.
const CHANNELS_MAX: usize = 8 * 1024;
/// With fewer panels than this, shards get rows rather than columns where there are more of those.
const PANELS_FEW: usize = 32;

/// The operands of a quantised convolution beside its weights, and what they mean.
#[derive(Clone, Copy)]
pub(crate) struct Quantised {
    pub(crate) conv: Convolution,
    pub(crate) x_flip: u8,
    y_flip: u8,
    /// Of the weights.
    pub(crate) weight: Less,
    scale_each: bool,
    has_bias: bool,
}

/// The same, bound.
#[derive(Clone, Copy)]
pub(crate) struct BoundQuantised {
    x_scale: Input<f32>,
    x_zero: Input<u8>,
    w_scale: Input<f32>,
    y_scale: Input<f32>,
    y_zero: Input<u8>,
    bias: Option<Input<i32>>,
    pub(crate) x: Input<u8>,
    pub(crate) output: Output<u8>,
}

impl Quantised {
    pub(crate) fn of(request: Request<'_>) -> Option<Self> {
        let (x, w, y) = (Bytes::input(request, 0)?, Bytes::input(request, 3)?, Bytes::output(request)?);
        let conv = Convolution::between(request, &x.shape, &w.shape, &y.shape)?;
        let channels = conv.groups * conv.outputs;
        let weight = Less { flip: w.flip, zero: w.settled_zero(request, 5)? };
        let fits = is_scale(request, 1)
            && is_scale(request, 6)
            && x.has_zero(request, 2)
            && y.has_zero(request, 7)
            && request.operand(3)?.constant
            && request.operand(5).is_none_or(|zero| matches!(count_of(zero), n if n == 1 || n == channels))
            && request.operation().epilogue.is_empty()
            && channels <= CHANNELS_MAX;
        let has_bias = match request.operand(8) {
            None => false,
            Some(bias) if bias.dtype == i32::DTYPE && bias.shape == [channels as u32] => true,
            Some(_) => return None,
        };
        let scale_each = scale_each(request, 4, channels)?;
        fits.then_some(Self { conv, x_flip: x.flip, y_flip: y.flip, weight, scale_each, has_bias })
    }

    pub(crate) fn channels(&self) -> usize {
        self.conv.groups * self.conv.outputs
    }

    /// Bytes of workspace for the factors of all channels, a whole number of cache lines.
    pub(crate) fn factor_bytes(&self) -> usize {
        (self.channels() * 8).next_multiple_of(64)
    }

    pub(crate) fn bind(&self, bindings: &Bindings<'_>) -> Result<BoundQuantised> {
        Ok(BoundQuantised {
            x_scale: bindings.input(1)?,
            x_zero: bindings.input_bits(2)?,
            w_scale: bindings.input(4)?,
            y_scale: bindings.input(6)?,
            y_zero: bindings.input_bits(7)?,
            bias: if self.has_bias { Some(bindings.input(8)?) } else { None },
            x: bindings.input_bits(0)?,
            output: bindings.output_bits(0)?,
        })
    }

    /// What a call needs; writes the factor of every channel to the workspace at `factors`.
    ///
    /// # Safety
    /// [`Quantised::factor_bytes`] bytes are writable at `factors`, and nobody else's.
    pub(crate) unsafe fn open(&self, bound: &BoundQuantised, call: &Call, factors: *mut f64) -> Opened {
        let single = |input: &Input<f32>| call.read(input).get(0);
        let (x, w, y) = (single(&bound.x_scale), call.read(&bound.w_scale), single(&bound.y_scale));
        for channel in 0..self.channels() {
            let factor = x * w.get(if self.scale_each { channel } else { 0 }) / y;
            // SAFETY: `channel` is below the number of channels, for which there is room.
            unsafe { factors.add(channel).write(f64::from(factor)) };
        }
        Opened {
            x: Less { flip: self.x_flip, zero: call.read(&bound.x_zero).get(0) ^ self.x_flip },
            target: Target { zero: call.read(&bound.y_zero).get(0) ^ self.y_flip, flip: self.y_flip },
            factors,
            bias: bound.bias.as_ref().map_or(std::ptr::null(), |bias| call.read(bias).as_ptr()),
        }
    }
}

fn count_of(operand: &sunmao_plugin_sdk::abi::Operand) -> usize {
    operand.shape.iter().map(|&d| d as usize).product()
}

/// What turns sums into bytes in one call.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) x: Less,
    pub(crate) target: Target,
    factors: *const f64,
    bias: *const i32,
}

impl Opened {
    /// Bias and factor of a channel.
    ///
    /// # Safety
    /// `channel` is one of the operation's.
    pub(crate) unsafe fn channel(&self, channel: usize) -> (i32, f64) {
        // SAFETY: there is a factor, and where there are biases a bias, for each channel. A bias may lie anywhere.
        unsafe {
            let bias = if self.bias.is_null() { 0 } else { self.bias.add(channel).read_unaligned() };
            (bias, self.factors.add(channel).read())
        }
    }
}

fn conv(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let quantised = Quantised::of(request)?;
    let conv = quantised.conv;
    let patches = Patches { window: conv.window, channels: conv.inputs };
    let (rows, columns, pairs) = (conv.outputs, conv.window.output_len(), patches.pairs());
    if pairs.checked_mul(COLUMNS)? > PANEL_WORDS_MAX {
        return None;
    }
    let most = (RIGHT_WORDS / pairs.max(1) / COLUMNS * COLUMNS).max(COLUMNS);
    let product = Product { rows, columns, pairs, width: most.min(columns.next_multiple_of(COLUMNS)), patches };
    let split = Split { rows, columns };
    let batches = conv.images * conv.groups;
    let work = batches as f64 * rows as f64 * columns as f64 * pairs as f64 * 2.0;
    let mut requirements = needs(work / 50.0, split.units(batches));
    let workspace = quantised.factor_bytes() + product.width * pairs * 4;
    requirements.workspace = u32::try_from(workspace).ok()?;
    let words = pack::left_words(rows, pairs);
    let weight = quantised.weight;
    let taps = conv.window.taps();
    let plain = conv.outputs * conv.inputs * taps;
    let key = format!("avx2-int8-left {}x{rows}x{}x{taps} {} {}", conv.groups, conv.inputs, weight.flip, weight.zero);
    requirements.packed = vec![packed(3, conv.groups.checked_mul(words)?, key)?];
    let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
        for group in 0..conv.groups {
            let source = source.part(group * plain..(group + 1) * plain);
            let element = |row: usize, depth: usize| {
                let (tap, channel) = patches.place(depth)?;
                Some(weight.number(source.get((row * conv.inputs + channel) * taps + tap)))
            };
            let to = to.as_mut_ptr().cast::<i32>().wrapping_add(group * words);
            // SAFETY: the kernel checked that `to` has room for the packed weights of all groups.
            unsafe { pack::left(rows, pairs, to, element) };
        }
    };
    let packing = Packing { source_bytes: conv.groups * plain, pack: Box::new(pack) };
    Some(kernel(requirements, Some(packing), move |bindings| {
        let bound = quantised.bind(bindings)?;
        let w = bindings.packed::<i32>(3)?;
        Ok(Box::new(move |call: &Call| {
            let workspace = call.workspace::<u8>().as_mut_ptr();
            // SAFETY: the workspace begins with room for the factors.
            let opened = unsafe { quantised.open(&bound, call, workspace.cast()) };
            let right = workspace.wrapping_add(quantised.factor_bytes()).cast::<i32>();
            let (x, w, results) =
                (call.read(&bound.x).as_ptr(), call.read(&w).as_ptr(), call.write(&bound.output).as_mut_ptr());
            split.parts(call, batches, |batch, rows, columns| {
                let group = batch % conv.groups;
                let at = Addresses {
                    left: w.wrapping_add(group * words),
                    // The groups of an image follow each other, as their channels do.
                    planes: x.wrapping_add(batch * conv.inputs * conv.window.input_len()),
                    results: results.wrapping_add(batch * product.rows * product.columns),
                    channel: group * conv.outputs,
                    right,
                };
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `prepare` matched the shapes of the operands with the product, and the bindings with the
                // shapes; parts of shards are disjoint; the workspace has the size that was asked for.
                unsafe { product.run(at, &opened, rows, columns) };
            });
            Ok(())
        }))
    }))
}

/// How products of so many rows and columns are shared out.
#[derive(Clone, Copy)]
pub(crate) struct Split {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Split {
    fn by_rows(&self) -> bool {
        let (tiles, panels) = (self.rows.div_ceil(ROWS), self.columns.div_ceil(COLUMNS));
        panels < PANELS_FEW && tiles > panels
    }

    pub(crate) fn units(&self, batches: usize) -> usize {
        let each = if self.by_rows() { self.rows.div_ceil(ROWS) } else { self.columns.div_ceil(COLUMNS) };
        batches * each
    }

    /// Names the product, its rows and its columns for each stretch of this shard's share of `batches` products.
    pub(crate) fn parts(&self, call: &Call, batches: usize, mut visit: impl FnMut(usize, Range<usize>, Range<usize>)) {
        let (granule, length) = if self.by_rows() { (ROWS, self.rows) } else { (COLUMNS, self.columns) };
        let units = length.div_ceil(granule);
        let share = call.share(batches * units, 1);
        let mut at = share.start;
        while at < share.end {
            let (batch, first) = (at / units, at % units);
            let end = units.min(first + share.end - at);
            let range = first * granule..length.min(end * granule);
            match self.by_rows() {
                true => visit(batch, range, 0..self.columns),
                false => visit(batch, 0..self.rows, range),
            }
            at += end - first;
        }
    }
}

/// The product of one group and image.
#[derive(Clone, Copy)]
struct Product {
    rows: usize,
    columns: usize,
    pairs: usize,
    /// Columns of a block of the right side, whole panels.
    width: usize,
    patches: Patches,
}

/// Where the operands of one product are.
#[derive(Clone, Copy)]
struct Addresses {
    left: *const i32,
    planes: *const u8,
    results: *mut u8,
    /// Number of the first row's channel.
    channel: usize,
    /// Room for a block of the right side.
    right: *mut i32,
}

impl Product {
    /// # Safety
    /// The CPU has AVX2 and FMA; the packed weights and the planes are readable, the results writable; the room for the right side holds `width`
    /// columns; `rows` and `columns` begin at whole tiles and panels; nobody else writes that part.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(&self, at: Addresses, opened: &Opened, rows: Range<usize>, columns: Range<usize>) {
        let mut sums = Sums::ZERO;
        for column in columns.clone().step_by(self.width) {
            let end = columns.end.min(column + self.width);
            // SAFETY: the columns are the matrix's and at most `width`.
            unsafe { self.patches.pack(at.planes, column, end - column, opened.x, at.right) };
            for tile in rows.clone().step_by(ROWS) {
                let height = ROWS.min(rows.end - tile);
                let left = at.left.wrapping_add(tile * self.pairs);
                let mut channels = [(0, 0.0); ROWS];
                for r in 0..height {
                    // SAFETY: rows of the product are channels of the operation.
                    channels[r] = unsafe { opened.channel(at.channel + tile + r) };
                }
                for panel in (column..end).step_by(COLUMNS) {
                    let wide = COLUMNS.min(end - panel);
                    let right = at.right.wrapping_add((panel - column) * self.pairs);
                    // SAFETY: both sides hold `pairs` words for each row of the tile and column of the panel; rows and columns are the results'.
                    unsafe {
                        micro::multiply(self.pairs, left, right, height, wide, &mut sums);
                        for r in 0..height {
                            let (bias, factor) = channels[r];
                            let bytes = opened.target.bytes(finish::load(sums.0[r].as_ptr()), bias, factor);
                            finish::store(at.results.add((tile + r) * self.columns + panel), bytes, wide);
                        }
                    }
                }
            }
        }
    }
}
