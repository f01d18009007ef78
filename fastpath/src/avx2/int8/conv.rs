//! `QLinearConv` as a matrix product: the weights of a group times the patches of an image, which are packed a block of columns at a time and stay in
//! the first-level cache.

use super::super::conv::Convolution;
use super::super::lanes::LANES;
use super::finish::{self, Target};
use super::micro::{COLUMNS, ROWS};
use super::pack::Less;
use super::patches::Patches;
use super::quads::{self, QUAD_BYTES};
use super::{Bytes, is_scale, scale_each};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use std::arch::x86_64::*;
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

/// Bytes of a block of the right side: it shares a first-level cache of 32 KiB with a tile of the left one.
const RIGHT_BYTES: usize = 20 * 1024;
/// Bytes that the right side of a single panel may take.
const PANEL_BYTES_MAX: usize = 448 * 1024;
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
    x: Input<u8>,
    output: Output<u8>,
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
    fn factor_bytes(&self) -> usize {
        (self.channels() * 4).next_multiple_of(64)
    }

    /// Bytes of workspace for a kernel that needs room for so many words of its own.
    pub(crate) fn workspace(&self, words: usize) -> Option<u32> {
        u32::try_from(words.checked_mul(4)?.checked_add(self.factor_bytes())?).ok()
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

    /// What a call needs. The factor of every channel goes to the front of the call's workspace, behind which the kernel has its own room.
    ///
    /// # Safety
    /// The workspace has at least the size that [`Quantised::workspace`] says.
    pub(crate) unsafe fn open(&self, bound: &BoundQuantised, call: &Call) -> Opened {
        let workspace = call.workspace::<u8>().as_mut_ptr();
        let factors = workspace.cast::<f32>();
        let single = |input: &Input<f32>| call.read(input).get(0);
        let (x, w, y) = (single(&bound.x_scale), call.read(&bound.w_scale), single(&bound.y_scale));
        for channel in 0..self.channels() {
            let factor = x * w.get(if self.scale_each { channel } else { 0 }) / y;
            // SAFETY: `channel` is below the number of channels, for which there is room.
            unsafe { factors.add(channel).write(factor) };
        }
        Opened {
            x: Less { flip: self.x_flip, zero: call.read(&bound.x_zero).get(0) ^ self.x_flip },
            target: Target { zero: call.read(&bound.y_zero).get(0) ^ self.y_flip, flip: self.y_flip },
            factors,
            bias: bound.bias.as_ref().map_or(std::ptr::null(), |bias| call.read(bias).as_ptr()),
            planes: call.read(&bound.x).as_ptr(),
            results: call.write(&bound.output).as_mut_ptr(),
            room: workspace.wrapping_add(self.factor_bytes()).cast(),
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
    factors: *const f32,
    bias: *const i32,
    /// The input.
    pub(crate) planes: *const u8,
    /// The output.
    pub(crate) results: *mut u8,
    /// The kernel's own part of the workspace.
    pub(crate) room: *mut i32,
}

impl Opened {
    /// Bias and factor of a channel.
    ///
    /// # Safety
    /// `channel` is one of the operation's.
    pub(crate) unsafe fn channel(&self, channel: usize) -> (i32, f32) {
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
    let (rows, columns, quads) = (conv.outputs, conv.window.output_len(), patches.quads());
    let panel = quads.checked_mul(QUAD_BYTES)?;
    if panel > PANEL_BYTES_MAX {
        return None;
    }
    let most = (RIGHT_BYTES / panel.max(1) * COLUMNS).max(COLUMNS);
    let product = Product { rows, columns, quads, width: most.min(columns.next_multiple_of(COLUMNS)), patches };
    let split = Split { rows, columns };
    let batches = conv.images * conv.groups;
    let work = batches as f64 * rows as f64 * columns as f64 * panel as f64 / COLUMNS as f64;
    let mut requirements = needs(work / 75.0, split.units(batches));
    requirements.workspace = quantised.workspace(product.width / COLUMNS * panel / 4)?;
    let words = quads::left_words(rows, quads);
    let weight = quantised.weight;
    let taps = conv.window.taps();
    let plain = conv.outputs * conv.inputs * taps;
    let key = format!("avx2-int8-quads {}x{rows}x{}x{taps} {} {}", conv.groups, conv.inputs, weight.flip, weight.zero);
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
            unsafe { quads::pack_left(rows, quads, to, element) };
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
                    left: w.wrapping_add(group * words),
                    // The groups of an image follow each other, as their channels do.
                    planes: opened.planes.wrapping_add(batch * conv.inputs * conv.window.input_len()),
                    results: opened.results.wrapping_add(batch * product.rows * product.columns),
                    channel: group * conv.outputs,
                    right: opened.room.cast(),
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
    quads: usize,
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
    right: *mut u8,
}

impl Product {
    /// # Safety
    /// The CPU has AVX2 and FMA; the packed weights and the planes are readable, the results writable; the room for the right side holds `width`
    /// columns; `rows` and `columns` begin at whole tiles and panels; nobody else writes that part.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(&self, at: Addresses, opened: &Opened, rows: Range<usize>, columns: Range<usize>) {
        for column in columns.clone().step_by(self.width) {
            let block = column..columns.end.min(column + self.width);
            // SAFETY: the columns are the matrix's and at most `width`; rows of the product are channels of the operation.
            unsafe {
                self.patches.pack(at.planes, column, block.len(), opened.x, at.right);
                for row in rows.clone().step_by(ROWS) {
                    match rows.end - row {
                        1 => self.tile::<1>(at, opened, row, block.clone()),
                        2 => self.tile::<2>(at, opened, row, block.clone()),
                        3 => self.tile::<3>(at, opened, row, block.clone()),
                        4 => self.tile::<4>(at, opened, row, block.clone()),
                        5 => self.tile::<5>(at, opened, row, block.clone()),
                        _ => self.tile::<6>(at, opened, row, block.clone()),
                    }
                }
            }
        }
    }

    /// Multiplies `R` rows from `row` on with the block that was packed.
    ///
    /// # Safety
    /// As for [`Product::run`]; `row` begins a tile, and the columns are the block's.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<const R: usize>(&self, at: Addresses, opened: &Opened, row: usize, columns: Range<usize>) {
        // SAFETY: the row is the product's.
        let left = unsafe { quads::tile(at.left, row / ROWS) };
        let (mut start, mut factors) = ([0; R], [0.0; R]);
        for r in 0..R {
            // SAFETY: rows of the product are channels of the operation, and have a sum in their tile.
            let ((bias, factor), sum) = unsafe { (opened.channel(at.channel + row + r), quads::sum(left, r)) };
            start[r] = i32::wrapping_sub(bias, sum.wrapping_mul(opened.x.zero.into()));
            factors[r] = factor;
        }
        let none = _mm256_setzero_si256();
        let mut panel = at.right.cast_const();
        for column in columns.clone().step_by(COLUMNS) {
            let count = COLUMNS.min(columns.end - column);
            let results = at.results.wrapping_add(row * self.columns + column);
            // SAFETY: tile and panel are packed; rows and columns are the results'.
            unsafe {
                if count > LANES {
                    let sums = quads::multiply::<R, 2>(self.quads, left, panel, start);
                    for r in 0..R {
                        let bytes = opened.target.bytes(sums[r], factors[r]);
                        finish::store(results.add(r * self.columns), bytes, count);
                    }
                } else {
                    let sums = quads::multiply::<R, 1>(self.quads, left, panel, start);
                    for r in 0..R {
                        let bytes = opened.target.bytes([sums[r][0], none], factors[r]);
                        let word = _mm_cvtsi128_si64(bytes) as u64;
                        finish::store_word(results.add(r * self.columns), word, count);
                    }
                }
            }
            panel = panel.wrapping_add(self.quads * QUAD_BYTES);
        }
    }
}
