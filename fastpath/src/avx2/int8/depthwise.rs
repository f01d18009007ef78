//! `QLinearConv` with one input channel to a group. The rows that a band of outputs reads are copied into the workspace as words of two numbers: a
//! place of one row, and the same place one tap further down. One `vpmaddwd` is then two taps of eight neighbouring outputs, whatever padding, stride
//! and dilation are, because columns are sorted by their remainder modulo the stride.

use super::super::lanes::LANES;
use super::super::sliding::Sliding;
use super::conv::{Opened, Quantised};
use super::finish::{self, load_bytes};
use super::pack::{Less, word};
use crate::Avx2;
use crate::registry::{LATEST, Row};
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use std::arch::x86_64::*;
use std::ops::Range;
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
/// Vectors of sums of a row at a time.
const ACROSS: usize = 4;

/// How planes are cut into bands, and where taps lie in one.
#[derive(Clone, Copy)]
struct Bands {
    window: Sliding,
    /// Words of one row and remainder, whole vectors and room for one that is written too far.
    phase: usize,
    /// Output rows of a band; the last one of a plane may have fewer.
    rows: usize,
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
        Some(Self { window, phase, rows: rows.min(high.output.max(1)) })
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

    /// Pairs of taps: two rows of a column of the window each, or one and nothing.
    fn pairs(&self) -> usize {
        self.window.high.kernel.div_ceil(2) * self.window.wide.kernel
    }

    /// Words from the place of tap (0, 0) to that of a pair.
    fn pair(&self, pair: usize) -> usize {
        let Sliding { high, wide } = self.window;
        let (y, x) = (pair / wide.kernel * 2, pair % wide.kernel);
        let ahead = x * wide.dilation;
        (y * high.dilation * wide.stride + ahead % wide.stride) * self.phase + ahead / wide.stride
    }

    /// Copies what the output rows read into the workspace.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the plane is readable; [`Bands::words`] words are writable at `workspace`, and nobody else's; `rows` is a band.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load(&self, plane: *const u8, rows: Range<usize>, less: Less, workspace: *mut i32) {
        let Sliding { high, wide } = self.window;
        let source = |row: usize| {
            let row = (rows.start * high.stride + row).checked_sub(high.pad).filter(|row| *row < high.input)?;
            Some(plane.wrapping_add(row * wide.input))
        };
        for row in 0..self.input_rows(rows.len()) {
            let (upper, lower) = (source(row), source(row + high.dilation));
            for remainder in 0..wide.stride {
                // Place j of this remainder is column `remainder + j * stride - pad` of the plane.
                let first = wide.pad.saturating_sub(remainder).div_ceil(wide.stride).min(self.phase - BYTES);
                let end = (wide.input + wide.pad).saturating_sub(remainder).div_ceil(wide.stride);
                // What lies behind the last output's last tap is not read.
                let end = end.clamp(first, self.phase - BYTES);
                let to = workspace.wrapping_add((row * wide.stride + remainder) * self.phase);
                let column = (remainder + first * wide.stride).wrapping_sub(wide.pad);
                // SAFETY: row and remainder have `phase` words, of which `first..end` come from inside the rows of the plane.
                unsafe {
                    to.write_bytes(0, first);
                    let rest = wide.input.saturating_sub(column);
                    widen(
                        [upper, lower].map(|row| row.map(|row| row.wrapping_add(column))),
                        rest,
                        wide.stride,
                        less,
                        to.add(first),
                        end - first,
                    );
                    to.add(end).write_bytes(0, self.phase - end);
                }
            }
        }
    }

    /// Computes one output row of a band that was loaded.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the workspace holds the band; the row's results are writable at `results`, and nobody else's; `weights` holds a word for
    /// each pair.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn row(
        &self,
        workspace: *const i32,
        row: usize,
        weights: *const i32,
        results: *mut u8,
        opened: &Opened,
        channel: (i32, f64),
    ) {
        let Sliding { high, wide } = self.window;
        let first = workspace.wrapping_add(row * high.stride * wide.stride * self.phase);
        let vectors = wide.output.div_ceil(LANES);
        let mut vector = 0;
        while vector < vectors {
            let across = ACROSS.min(vectors - vector);
            let mut sums = [_mm256_setzero_si256(); ACROSS];
            // SAFETY: the band holds every tap of every whole vector of the row, and as many words are left behind it as one block reads too far.
            unsafe {
                let from = first.add(vector * LANES);
                match across {
                    1 => self.sum::<1>(from, weights, &mut sums),
                    2 => self.sum::<2>(from, weights, &mut sums),
                    3 => self.sum::<3>(from, weights, &mut sums),
                    _ => self.sum::<4>(from, weights, &mut sums),
                }
                for half in 0..across.div_ceil(2) {
                    let column = (vector + 2 * half) * LANES;
                    let bytes = opened.target.bytes([sums[2 * half], sums[2 * half + 1]], channel.0, channel.1);
                    finish::store(results.add(column), bytes, wide.output - column);
                }
            }
            vector += across;
        }
    }

    /// # Safety
    /// As for [`Bands::row`], for `C` vectors from `from` on.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sum<const C: usize>(&self, from: *const i32, weights: *const i32, into: &mut [__m256i; ACROSS]) {
        let mut sums = [_mm256_setzero_si256(); C];
        for pair in 0..self.pairs() {
            // SAFETY: the caller's promise.
            unsafe {
                let from = from.add(self.pair(pair));
                let weight = _mm256_set1_epi32(weights.add(pair).read());
                for c in 0..C {
                    let x = _mm256_loadu_si256(from.add(c * LANES).cast());
                    sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(weight, x));
                }
            }
        }
        into[..C].copy_from_slice(&sums);
    }
}

/// Writes `count` words of two rows, of which one may be padding: every `stride`-th byte, of `room` that there are. Up to [`BYTES`] words more may
/// be written than were asked for.
///
/// # Safety
/// The CPU has AVX2 and FMA; `room` bytes are readable at each row, and `(count - 1) * stride < room`; `count + BYTES` words are writable at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn widen(rows: [Option<*const u8>; 2], room: usize, stride: usize, less: Less, to: *mut i32, count: usize) {
    let flip = _mm_set1_epi8(less.flip as i8);
    let none = _mm_set1_epi8((less.zero ^ less.flip) as i8);
    let zero = _mm256_set1_epi16(i16::from(less.zero));
    for at in (0..count).step_by(BYTES) {
        let mut bytes = [none; 2];
        for i in 0..2 {
            if let Some(row) = rows[i] {
                // SAFETY: byte `at * stride` is below `room` for `at < count`, and no more than what is left is read.
                bytes[i] = unsafe { every(row.add(at * stride), room - at * stride, stride) };
            }
        }
        let (upper, lower) = (_mm_xor_si128(bytes[0], flip), _mm_xor_si128(bytes[1], flip));
        let words = |mixed: __m128i| _mm256_sub_epi16(_mm256_cvtepu8_epi16(mixed), zero);
        // SAFETY: sixteen words from `at < count` on, which the caller made room for.
        unsafe {
            _mm256_storeu_si256(to.add(at).cast(), words(_mm_unpacklo_epi8(upper, lower)));
            _mm256_storeu_si256(to.add(at + LANES).cast(), words(_mm_unpackhi_epi8(upper, lower)));
        }
    }
}

/// Sixteen bytes, every `stride`-th one; those beyond the `room` bytes that there are hold nothing of use.
///
/// # Safety
/// The CPU has AVX2 and FMA; `room` bytes, at least one, are readable at `from`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn every(from: *const u8, room: usize, stride: usize) -> __m128i {
    // SAFETY: `load_bytes` reads no more than what is left; single bytes are read below `room`.
    unsafe {
        match stride {
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
    let work = conv.results() as f64 * (conv.window.taps() as f64 / 20.0 + 1.0);
    let mut requirements = needs(work, units);
    requirements.workspace = u32::try_from(quantised.factor_bytes() + bands.words() * 4).ok()?;
    let (weight, pairs) = (quantised.weight, bands.pairs());
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
    Some(kernel(requirements, Some(packing), move |bindings| {
        let bound = quantised.bind(bindings)?;
        let w = bindings.packed::<i32>(3)?;
        Ok(Box::new(move |call: &Call| {
            let workspace = call.workspace::<u8>().as_mut_ptr();
            // SAFETY: the workspace begins with room for the factors.
            let opened = unsafe { quantised.open(&bound, call, workspace.cast()) };
            let band_space = workspace.wrapping_add(quantised.factor_bytes()).cast::<i32>();
            let (x, w, results) =
                (call.read(&bound.x).as_ptr(), call.read(&w).as_ptr(), call.write(&bound.output).as_mut_ptr());
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
                        let planes = x.wrapping_add(source * conv.window.input_len());
                        bands.load(planes, rows.clone(), opened.x, band_space);
                        loaded = Some((source, number));
                    }
                    let factors = opened.channel(channel);
                    let weights = w.add(channel * pairs);
                    for row in rows.clone() {
                        let to = results.add(plane * conv.window.output_len() + row * wide.output);
                        bands.row(band_space, row - rows.start, weights, to, &opened, factors);
                    }
                }
            }
            Ok(())
        }))
    }))
}
