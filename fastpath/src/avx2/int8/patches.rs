//! The right side of an integer convolution seen as a matrix product: a column is a place in the output plane, a place along the depth a channel at one
//! tap. It exists only in packed form, a block of columns at a time.

use super::super::sliding::Sliding;
use super::finish::load_bytes;
use super::micro::COLUMNS;
use super::pack::Less;
use super::quads::{self, QUAD, QUAD_BYTES};
use std::arch::x86_64::*;

/// The patches of one image and group.
#[derive(Clone, Copy)]
pub(crate) struct Patches {
    pub(crate) window: Sliding,
    pub(crate) channels: usize,
}

/// Sixteen bytes of a plane from `start` on, and where each of them belongs.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    order: __m128i,
}

/// What sixteen columns read at one tap: the pieces to put together, and what stands for columns in the padding.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pieces: [Piece; COLUMNS],
    count: usize,
    padding: __m128i,
}

impl Reading {
    // SAFETY: all bits zero are a vector.
    const ZERO: __m128i = unsafe { std::mem::zeroed() };
    const PIECE: Piece = Piece { start: 0, order: Self::ZERO };
    const NOTHING: Self = Self { pieces: [Self::PIECE; COLUMNS], count: 0, padding: Self::ZERO };
}

/// In the order of a shuffle: nothing.
const NOWHERE: i8 = -128;

/// Neighbouring columns of a panel in one row of the output, and the place that the first of them reads at tap (0, 0): what is in the padding is
/// negative or too large.
#[derive(Clone, Copy)]
struct Run {
    lane: usize,
    count: usize,
    y: i64,
    x: i64,
}

/// The runs of a panel.
struct Places {
    runs: [Run; COLUMNS],
    count: usize,
}

impl Patches {
    /// Quads along the depth.
    pub(crate) fn quads(&self) -> usize {
        (self.window.taps() * self.channels).div_ceil(QUAD)
    }

    /// Tap and channel at a place of the depth in the order of the packed form. None: what fills up the last quad.
    pub(crate) fn place(&self, depth: usize) -> Option<(usize, usize)> {
        let (tap, channel) = (depth / self.channels, depth % self.channels);
        (tap < self.window.taps()).then_some((tap, channel))
    }

    /// Packs `columns` columns from `first` on as panels.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the planes of all channels are readable from `planes` on; the columns are the matrix's; for each panel
    /// [`Patches::quads`] quads are writable at `to`, and nobody else's.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn pack(&self, planes: *const u8, first: usize, columns: usize, less: Less, to: *mut u8) {
        for column in (0..columns).step_by(COLUMNS) {
            let to = to.wrapping_add(column / COLUMNS * self.quads() * QUAD_BYTES);
            // SAFETY: the caller's promise for one panel.
            unsafe {
                match self.window.is_pointwise() {
                    true => self.pack_rows(planes, first + column, less, to),
                    false => self.pack_taps(planes, first + column, COLUMNS.min(columns - column), less, to),
                }
            }
        }
    }

    /// Packs sixteen columns of planes that are read as they are. What stands for columns behind the last one holds nothing of use.
    ///
    /// # Safety
    /// As for [`Patches::pack`], for one panel.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pack_rows(&self, planes: *const u8, first: usize, less: Less, to: *mut u8) {
        let plane = self.window.input_len();
        let flip = _mm_set1_epi8(less.flip as i8);
        // SAFETY: the first column lies inside each channel's plane, and no more bytes are read than are left of all planes.
        let row = |channel: usize| unsafe {
            let at = channel * plane + first;
            _mm_xor_si128(load_bytes(planes.add(at), self.channels * plane - at), flip)
        };
        let whole = self.channels / QUAD;
        for quad in 0..whole {
            let channel = quad * QUAD;
            let bytes = [row(channel), row(channel + 1), row(channel + 2), row(channel + 3)];
            // SAFETY: the quad lies inside the panel.
            unsafe { quads::put(to.add(quad * QUAD_BYTES), bytes) };
        }
        if whole < self.quads() {
            let mut bytes = [flip; QUAD];
            for channel in whole * QUAD..self.channels {
                bytes[channel % QUAD] = row(channel);
            }
            // SAFETY: the last quad lies inside the panel.
            unsafe { quads::put(to.add(whole * QUAD_BYTES), bytes) };
        }
    }

    /// Packs `count` columns from `first` on.
    ///
    /// # Safety
    /// As for [`Patches::pack`], for one panel.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pack_taps(&self, planes: *const u8, first: usize, count: usize, less: Less, to: *mut u8) {
        let (plane, wide) = (self.window.input_len(), self.window.wide.kernel);
        let flip = _mm_set1_epi8(less.flip as i8);
        let places = self.places(first, count);
        let (mut bytes, mut depth) = ([flip; QUAD], 0);
        for tap in 0..self.window.taps() {
            let reading = self.reading(&places, tap / wide, tap % wide, less);
            // SAFETY: a piece starts inside the plane of the channel.
            let row =
                |channel: usize| unsafe { gather(planes, channel * plane, self.channels * plane, &reading, flip) };
            let mut channel = 0;
            while channel < self.channels {
                let to = to.wrapping_add(depth / QUAD * QUAD_BYTES);
                if depth % QUAD == 0 && self.channels - channel >= QUAD {
                    let four = [row(channel), row(channel + 1), row(channel + 2), row(channel + 3)];
                    // SAFETY: the quad lies inside the panel.
                    unsafe { quads::put(to, four) };
                    (channel, depth) = (channel + QUAD, depth + QUAD);
                    continue;
                }
                bytes[depth % QUAD] = row(channel);
                (channel, depth) = (channel + 1, depth + 1);
                if depth % QUAD == 0 {
                    // SAFETY: the quad lies inside the panel.
                    unsafe { quads::put(to, bytes) };
                }
            }
        }
        if depth % QUAD != 0 {
            // SAFETY: the last quad lies inside the panel.
            unsafe { quads::put(to.add(depth / QUAD * QUAD_BYTES), bytes) };
        }
    }

    /// What `count` columns from `first` on read at each of the window's `N` taps.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn readings<const N: usize>(&self, first: usize, count: usize, less: Less) -> [Reading; N] {
        debug_assert_eq!(N, self.window.taps());
        let places = self.places(first, count);
        let wide = self.window.wide.kernel;
        let mut readings = [Reading::NOTHING; N];
        for (tap, reading) in readings.iter_mut().enumerate() {
            *reading = self.reading(&places, tap / wide, tap % wide, less);
        }
        readings
    }

    /// The numbers of sixteen columns at one tap of a channel.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the planes of all channels are readable from `planes` on.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn numbers(&self, planes: *const u8, channel: usize, reading: &Reading, less: Less) -> __m256i {
        let plane = self.window.input_len();
        let flip = _mm_set1_epi8(less.flip as i8);
        // SAFETY: the caller's promise; a piece starts inside the plane of the channel.
        let bytes = unsafe { gather(planes, channel * plane, self.channels * plane, reading, flip) };
        _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), _mm256_set1_epi16(i16::from(less.zero)))
    }

    fn places(&self, first: usize, count: usize) -> Places {
        let Sliding { high, wide } = self.window;
        let mut places = Places { runs: [Run { lane: 0, count: 0, y: 0, x: 0 }; COLUMNS], count: 0 };
        let (mut row, mut column) = (first / wide.output, first % wide.output);
        let mut lane = 0;
        while lane < count {
            let run = (wide.output - column).min(count - lane);
            places.runs[places.count] = Run {
                lane,
                count: run,
                y: (row * high.stride) as i64 - high.pad as i64,
                x: (column * wide.stride) as i64 - wide.pad as i64,
            };
            places.count += 1;
            lane += run;
            (row, column) = (row + 1, 0);
        }
        places
    }

    #[target_feature(enable = "avx2,fma")]
    fn reading(&self, places: &Places, tap_y: usize, tap_x: usize, less: Less) -> Reading {
        let Sliding { high, wide } = self.window;
        let stride = wide.stride as i64;
        // Columns of a piece.
        let most = if wide.stride >= COLUMNS { 1 } else { (COLUMNS - 1) / wide.stride + 1 };
        let mut reading = Reading { padding: _mm_set1_epi8((less.zero ^ less.flip) as i8), ..Reading::NOTHING };
        for run in &places.runs[..places.count] {
            let (y, x) = (run.y + (tap_y * high.dilation) as i64, run.x + (tap_x * wide.dilation) as i64);
            if !(0..high.input as i64).contains(&y) {
                continue;
            }
            // From here to there the columns of the run are inside the plane.
            let (mut from, mut to) = (0, run.count);
            if x < 0 {
                from = (stride - 1 - x) / stride;
            }
            if x + (run.count as i64 - 1) * stride >= wide.input as i64 {
                to = ((wide.input as i64 - x + stride - 1) / stride).max(0) as usize;
            }
            let mut from = from as usize;
            while from < to {
                let count = most.min(to - from);
                let start = (y * wide.input as i64 + x + from as i64 * stride) as usize;
                let (order, inside) = order(run.lane + from, count, wide.stride);
                reading.pieces[reading.count] = Piece { start, order };
                reading.padding = _mm_andnot_si128(inside, reading.padding);
                reading.count += 1;
                from += count;
            }
        }
        reading
    }
}

/// The shuffle that brings every `stride`-th byte to `count` lanes from `lane` on and zero to the others, and a mask of those lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn order(lane: usize, count: usize, stride: usize) -> (__m128i, __m128i) {
    let lanes = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let ahead = _mm_sub_epi8(lanes, _mm_set1_epi8(lane as i8));
    let behind = _mm_cmpgt_epi8(_mm_set1_epi8(count as i8), ahead);
    let inside = _mm_andnot_si128(_mm_cmpgt_epi8(_mm_setzero_si128(), ahead), behind);
    let times = |half: __m128i| _mm_mullo_epi16(half, _mm_set1_epi16(stride as i16));
    // Products of lanes inside are at most fifteen.
    let bytes = _mm_packus_epi16(times(_mm_cvtepu8_epi16(ahead)), times(_mm_cvtepu8_epi16(_mm_srli_si128::<8>(ahead))));
    (_mm_blendv_epi8(_mm_set1_epi8(NOWHERE), bytes, inside), inside)
}

/// The bytes of sixteen columns in the plane that begins `base` bytes behind `planes`, made unsigned; in the padding zero points.
///
/// # Safety
/// The CPU has AVX2 and FMA; `total` bytes are readable at `planes`, and the pieces start before their end.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn gather(planes: *const u8, base: usize, total: usize, reading: &Reading, flip: __m128i) -> __m128i {
    let mut bytes = reading.padding;
    for piece in &reading.pieces[..reading.count] {
        let at = base + piece.start;
        // SAFETY: `at` is below `total`, and `load_bytes` reads no more than what is left.
        let loaded = unsafe { load_bytes(planes.add(at), total - at) };
        bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(loaded, piece.order));
    }
    _mm_xor_si128(bytes, flip)
}
