//! `QLinearConv` with one input channel to a group. The rows that a band of outputs reads are copied into the workspace as words of two numbers: a
//! place of one row, and the same place one tap further down. One `vpmaddwd` is then two taps of eight neighbouring outputs, whatever padding, stride
//! and dilation are, because columns are sorted by their remainder modulo the stride. Padding on the left and on the right has the same places in all
//! bands: it is zero from the start of a call on, and never written.

use super::super::lanes::{self, LANES};
use super::super::sliding::Sliding;
use super::conv::{Opened, Quantised};
use super::finish::{self, load_bytes};
use super::pack::{Less, word};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "QLinearConv",
        path: "avx2-int8-depthwise",
        revisions: (10, LATEST),
        tolerance: Tolerance::Exact,
        prepare: depthwise,
    }]
}

/// From this many output channels to a group on, the matrix product is better.
const OUTPUTS_MAX: usize = 4;
/// What a band should fit in: most of a first-level cache.
const BAND_WORDS: usize = 6 * 1024;
/// What a band of a single row may take.
const ROW_WORDS_MAX: usize = 96 * 1024;
/// Bytes that are widened at a time.
const BYTES: usize = 16;
/// Vectors of sums at a time.
const ACROSS: usize = 4;

/// How planes are cut into bands, and where taps lie in one.
struct Bands {
    window: Sliding,
    /// Words of one row and remainder, whole vectors and room for one that is written too far.
    phase: usize,
    /// Output rows of a band; the last one of a plane may have fewer.
    rows: usize,
    /// Taps begin in every so-many-th row of the padded input only.
    step: usize,
    /// Words from the place of tap (0, 0) to those of each pair of taps: two rows of a column of the window each, or one and nothing.
    pairs: Vec<usize>,
}

impl Bands {
    fn of(window: Sliding) -> Option<Self> {
        let Sliding { high, wide } = window;
        let phase =
            (wide.output.next_multiple_of(LANES) + (wide.extent() - 1) / wide.stride + BYTES).next_multiple_of(LANES);
        let row = phase.checked_mul(wide.stride)?;
        let rows_for =
            |words: usize| (words / row.max(1)).checked_sub(high.extent()).map(|rest| rest / high.stride + 1);
        let rows = rows_for(BAND_WORDS).or_else(|| rows_for(ROW_WORDS_MAX).map(|_| 1))?;
        let step = if high.kernel <= 2 { high.stride } else { common(high.stride, 2 * high.dilation) };
        let place = |pair: usize| {
            let (y, x) = (pair / wide.kernel * 2, pair % wide.kernel);
            let ahead = x * wide.dilation;
            (y * high.dilation * wide.stride + ahead % wide.stride) * phase + ahead / wide.stride
        };
        let pairs = (0..high.kernel.div_ceil(2) * wide.kernel).map(place).collect();
        Some(Self { window, phase, rows: rows.min(high.output.max(1)), step, pairs })
    }

    fn count(&self) -> usize {
        self.window.high.output.div_ceil(self.rows)
    }

    fn input_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.window.high.stride + self.window.high.extent()
    }

    fn words(&self) -> usize {
        self.input_rows(self.rows) * self.window.wide.stride * self.phase
    }

    /// Bytes of a row of padding.
    fn padding(&self) -> usize {
        (self.window.wide.input + 2 * BYTES).next_multiple_of(BYTES)
    }

    /// Copies what the output rows read into the workspace. `S` is the stride along a row, or 0 for any.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the plane is readable, and so is what lies behind it up to `limit`; as many zero points as [`Bands::padding`] says are
    /// readable at `padding`; [`Bands::words`] words are writable at `workspace`, which are zero or hold another band, and nobody else's; `rows` is a band.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load<const S: usize>(
        &self,
        plane: *const u8,
        limit: *const u8,
        padding: *const u8,
        rows: Range<usize>,
        less: Less,
        workspace: *mut i32,
    ) {
        let Sliding { high, wide } = self.window;
        let stride = if S == 0 { wide.stride } else { S };
        let top = (rows.start * high.stride).wrapping_sub(high.pad);
        for remainder in 0..stride {
            // Place j of this remainder is column `remainder + j * stride - pad` of the plane.
            let first = wide.pad.saturating_sub(remainder).div_ceil(stride);
            let end = (wide.input + wide.pad).saturating_sub(remainder).div_ceil(stride);
            // What lies behind the last output's last tap is not read.
            let count = end.min(self.phase - BYTES).saturating_sub(first);
            let column = (remainder + first * stride).wrapping_sub(wide.pad);
            let inside = [lanes::first(count % BYTES), lanes::first((count % BYTES).saturating_sub(LANES))];
            for row in (0..self.input_rows(rows.len())).step_by(self.step) {
                let mut sources = [Stretch { from: padding, room: self.padding() }; 2];
                for i in 0..2 {
                    let y = top.wrapping_add(row + i * high.dilation);
                    if y < high.input {
                        let from = plane.wrapping_add(y * wide.input + column);
                        sources[i] = Stretch { from, room: limit.addr().saturating_sub(from.addr()) };
                    }
                }
                let to = workspace.wrapping_add((row * stride + remainder) * self.phase + first);
                // SAFETY: row and remainder have `phase` words, of which `count` come from inside the rows of the plane.
                unsafe { widen::<S>(sources, stride, less, to, count, inside) };
            }
        }
    }

    /// Computes the output rows of a band that was loaded.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the workspace holds the band; the rows' results are writable at `results`, and nobody else's; `weights` holds a word for
    /// each pair.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn compute(
        &self,
        workspace: *const i32,
        rows: usize,
        weights: *const i32,
        results: *mut u8,
        opened: &Opened,
        channel: (i32, f32),
    ) {
        // SAFETY: the caller's promise, with the vectors of a row as a constant.
        unsafe {
            match self.window.wide.output.div_ceil(LANES) {
                1 => self.compute_by::<1>(workspace, rows, weights, results, opened, channel),
                2 => self.compute_by::<2>(workspace, rows, weights, results, opened, channel),
                _ => self.compute_by::<ACROSS>(workspace, rows, weights, results, opened, channel),
            }
        }
    }

    /// The same, by blocks of `V` vectors of a row and as many rows as fit [`ACROSS`].
    ///
    /// # Safety
    /// As for [`Bands::compute`]; rows have `V` vectors, or `V` is [`ACROSS`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn compute_by<const V: usize>(
        &self,
        workspace: *const i32,
        rows: usize,
        weights: *const i32,
        results: *mut u8,
        opened: &Opened,
        (bias, factor): (i32, f32),
    ) {
        let Sliding { high, wide } = self.window;
        let pitch = high.stride * wide.stride * self.phase;
        for row in (0..rows).step_by(ACROSS / V) {
            let tall = (ACROSS / V).min(rows - row);
            for column in (0..wide.output).step_by(V * LANES) {
                let across = V.min((wide.output - column).div_ceil(LANES));
                let from = workspace.wrapping_add(row * pitch + column);
                let to = results.wrapping_add(row * wide.output + column);
                // SAFETY: the band holds every tap of every whole vector of a row; results are stored where they belong, and no more than there are.
                unsafe {
                    let sums = match tall * across {
                        1 => self.sum::<1, V>(from, pitch, weights, bias),
                        2 => self.sum::<2, V>(from, pitch, weights, bias),
                        3 => self.sum::<3, V>(from, pitch, weights, bias),
                        _ => self.sum::<4, V>(from, pitch, weights, bias),
                    };
                    for half in 0..(tall * across).div_ceil(2) {
                        let bytes = opened.target.bytes([sums[2 * half], sums[2 * half + 1]], factor);
                        if V == 1 {
                            let words = [_mm_cvtsi128_si64(bytes), _mm_extract_epi64::<1>(bytes)];
                            finish::store_word(to.add(2 * half * wide.output), words[0] as u64, wide.output);
                            if 2 * half + 1 < tall {
                                finish::store_word(to.add((2 * half + 1) * wide.output), words[1] as u64, wide.output);
                            }
                        } else {
                            let (row, ahead) = (2 * half / V, 2 * half % V * LANES);
                            finish::store(to.add(row * wide.output + ahead), bytes, wide.output - column - ahead);
                        }
                    }
                }
            }
        }
    }

    /// The sums of `C` vectors, `V` of them neighbours in a row, on top of the bias.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; every pair of taps of the vectors is readable; `weights` holds a word for each pair.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sum<const C: usize, const V: usize>(
        &self,
        from: *const i32,
        pitch: usize,
        weights: *const i32,
        bias: i32,
    ) -> [__m256i; ACROSS] {
        let mut sums = [_mm256_set1_epi32(bias); ACROSS];
        for (pair, &place) in self.pairs.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let weight = _mm256_set1_epi32(weights.add(pair).read());
                for c in 0..C {
                    let x = _mm256_loadu_si256(from.add(place + c / V * pitch + c % V * LANES).cast());
                    sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(weight, x));
                }
            }
        }
        sums
    }
}

/// The largest number that divides both.
fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}

/// Bytes that may be read: so many from a place on.
#[derive(Clone, Copy)]
struct Stretch {
    from: *const u8,
    room: usize,
}

/// Writes `count` words of two rows: every `stride`-th byte. Up to [`BYTES`] words more become zero: `inside` are the places of the last block that do
/// not. `S` is the stride, or 0 for any.
///
/// # Safety
/// The CPU has AVX2 and FMA; the stretches are readable, and each has more than `(count - 1) * stride` bytes; `count + BYTES` words are writable at
/// `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn widen<const S: usize>(
    rows: [Stretch; 2],
    stride: usize,
    less: Less,
    to: *mut i32,
    count: usize,
    inside: [__m256i; 2],
) {
    let whole = count / BYTES * BYTES;
    // SAFETY: byte `at * stride` is readable for `at < count`; sixteen words from there on are in the room that the caller made.
    unsafe {
        for at in (0..whole).step_by(BYTES) {
            let words = words::<S>(rows, at, stride, less);
            _mm256_storeu_si256(to.add(at).cast(), words[0]);
            _mm256_storeu_si256(to.add(at + LANES).cast(), words[1]);
        }
        if whole < count {
            let words = words::<S>(rows, whole, stride, less);
            _mm256_storeu_si256(to.add(whole).cast(), _mm256_and_si256(words[0], inside[0]));
            _mm256_storeu_si256(to.add(whole + LANES).cast(), _mm256_and_si256(words[1], inside[1]));
        }
    }
}

/// Sixteen words of two rows from place `at` on.
///
/// # Safety
/// The CPU has AVX2 and FMA; the stretches are readable, and byte `at * stride` is inside each.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn words<const S: usize>(rows: [Stretch; 2], at: usize, stride: usize, less: Less) -> [__m256i; 2] {
    let flip = _mm_set1_epi8(less.flip as i8);
    let zero = _mm256_set1_epi16(i16::from(less.zero));
    let mut bytes = [flip; 2];
    for i in 0..2 {
        // SAFETY: no more than what is left is read.
        let row = unsafe { every::<S>(rows[i].from.add(at * stride), rows[i].room - at * stride, stride) };
        bytes[i] = _mm_xor_si128(row, flip);
    }
    let mixed = [_mm_unpacklo_epi8(bytes[0], bytes[1]), _mm_unpackhi_epi8(bytes[0], bytes[1])];
    [_mm256_sub_epi16(_mm256_cvtepu8_epi16(mixed[0]), zero), _mm256_sub_epi16(_mm256_cvtepu8_epi16(mixed[1]), zero)]
}

/// Sixteen bytes, every `stride`-th one; those beyond the `room` bytes that there are hold nothing of use. `S` is the stride, or 0 for any.
///
/// # Safety
/// The CPU has AVX2 and FMA; `room` bytes, at least one, are readable at `from`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn every<const S: usize>(from: *const u8, room: usize, stride: usize) -> __m128i {
    // SAFETY: `load_bytes` reads no more than what is left; single bytes are read below `room`.
    unsafe {
        match S {
            1 => load_bytes(from, room),
            2 => {
                let even = _mm_set1_epi16(0xFF);
                let first = _mm_and_si128(load_bytes(from, room), even);
                let second = match room > BYTES {
                    true => _mm_and_si128(load_bytes(from.add(BYTES), room - BYTES), even),
                    false => _mm_setzero_si128(),
                };
                _mm_packus_epi16(first, second)
            }
            _ => {
                let mut all = [0u8; BYTES];
                for (i, byte) in all.iter_mut().enumerate().take_while(|(i, _)| i * stride < room) {
                    *byte = from.add(i * stride).read();
                }
                load_bytes(all.as_ptr(), BYTES)
            }
        }
    }
}

fn depthwise(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let quantised = Quantised::of(request)?;
    let conv = quantised.conv;
    if conv.inputs != 1 || conv.outputs >= OUTPUTS_MAX {
        return None;
    }
    let bands = Bands::of(conv.window)?;
    let channels = quantised.channels();
    let units = conv.images * channels * bands.count();
    let work = conv.results() as f64 * (conv.window.taps() as f64 / 60.0 + 0.2);
    let mut requirements = needs(work, units);
    requirements.workspace = quantised.workspace(bands.words() + bands.padding() / 4)?;
    let (weight, pairs) = (quantised.weight, bands.pairs.len());
    let Sliding { high, wide } = conv.window;
    let key = format!("avx2-int8-rows {channels}x{}x{} {} {}", high.kernel, wide.kernel, weight.flip, weight.zero);
    requirements.packed = vec![packed(3, channels * pairs, key)?];
    let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
        for channel in 0..channels {
            for pair in 0..pairs {
                let (y, x) = (pair / wide.kernel * 2, pair % wide.kernel);
                let tap = |y: usize| match y < high.kernel {
                    true => weight.number(source.get((channel * high.kernel + y) * wide.kernel + x)),
                    false => 0,
                };
                let bytes = word(tap(y), tap(y + 1)).to_le_bytes();
                for (i, byte) in bytes.into_iter().enumerate() {
                    to.set((channel * pairs + pair) * 4 + i, byte);
                }
            }
        }
    };
    let packing = Packing { source_bytes: channels * conv.window.taps(), pack: Box::new(pack) };
    let bands = Arc::new(bands);
    Some(kernel(requirements, Some(packing), move |bindings| {
        let bound = quantised.bind(bindings)?;
        let w = bindings.packed::<i32>(3)?;
        let bands = Arc::clone(&bands);
        Ok(Box::new(move |call: &Call| {
            // SAFETY: the workspace has the size that was asked for.
            let opened = unsafe { quantised.open(&bound, call) };
            let padding = opened.room.wrapping_add(bands.words()).cast::<u8>();
            // SAFETY: the kernel's own part of the workspace has room for a band and a row of padding.
            unsafe {
                opened.room.write_bytes(0, bands.words());
                padding.write_bytes(opened.x.zero ^ opened.x.flip, bands.padding());
            }
            let w = call.read(&w).as_ptr();
            let limit = opened.planes.wrapping_add(conv.images * conv.groups * conv.window.input_len());
            let mut loaded = None;
            for unit in call.share(units, 1) {
                let (plane, number) = (unit / bands.count(), unit % bands.count());
                let channel = plane % channels;
                let source = plane / channels * conv.groups + channel / conv.outputs;
                let rows = number * bands.rows..high.output.min((number + 1) * bands.rows);
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA; `prepare` matched the operands' shapes with the window, and the bindings with the shapes; shards
                // have different bands; the workspace has the size that was asked for.
                unsafe {
                    if loaded != Some((source, number)) {
                        let from = opened.planes.add(source * conv.window.input_len());
                        match wide.stride {
                            1 => bands.load::<1>(from, limit, padding, rows.clone(), opened.x, opened.room),
                            2 => bands.load::<2>(from, limit, padding, rows.clone(), opened.x, opened.room),
                            _ => bands.load::<0>(from, limit, padding, rows.clone(), opened.x, opened.room),
                        }
                        loaded = Some((source, number));
                    }
                    let to = opened.results.add(plane * conv.window.output_len() + rows.start * wide.output);
                    let factors = opened.channel(channel);
                    bands.compute(opened.room, rows.len(), w.add(channel * pairs), to, &opened, factors);
                }
            }
            Ok(())
        }))
    }))
}
