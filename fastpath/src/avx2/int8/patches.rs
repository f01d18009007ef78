//! The right side of an integer convolution seen as a matrix product: a column is a place in the output plane, a pair along the depth one tap in two
//! neighbouring channels. It exists only in packed form, a block of columns at a time.

use super::super::sliding::Sliding;
use super::finish::load_bytes;
use super::micro::COLUMNS;
use super::pack::Less;
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

/// What sixteen columns read at one tap: the pieces to put together, and which columns lie inside the plane.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pieces: [Piece; COLUMNS],
    count: usize,
    inside: [__m256i; 2],
}

impl Reading {
    // SAFETY: all bits zero are a vector.
    const ZERO: __m256i = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    const PIECE: Piece = Piece { start: 0, order: unsafe { std::mem::zeroed() } };
    const NOTHING: Self = Self { pieces: [Self::PIECE; COLUMNS], count: 0, inside: [Self::ZERO; 2] };
}

/// The places of sixteen columns at tap (0, 0); those in the padding are negative or too large, those of columns that do not exist far outside.
struct Places {
    y: [i64; COLUMNS],
    x: [i64; COLUMNS],
}

/// In the order of a shuffle: nothing.
const NOWHERE: u8 = 0x80;

impl Patches {
    /// Pairs along the depth.
    pub(crate) fn pairs(&self) -> usize {
        self.window.taps() * self.channels.div_ceil(2)
    }

    /// Tap and channel at a place of the depth in the order of the packed form. None: the second half of a pair of which there is none.
    pub(crate) fn place(&self, depth: usize) -> Option<(usize, usize)> {
        let padded = self.channels.next_multiple_of(2);
        let (tap, channel) = (depth / padded, depth % padded);
        (channel < self.channels).then_some((tap, channel))
    }

    /// Packs `columns` columns from `first` on, as [`super::pack::right`] does.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the planes of all channels are readable from `planes` on; the columns are the matrix's; `columns` rounded up to whole
    /// panels, times the pairs, words are writable at `to`, and nobody else's.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn pack(&self, planes: *const u8, first: usize, columns: usize, less: Less, to: *mut i32) {
        for column in (0..columns).step_by(COLUMNS) {
            let places = self.places(first + column, COLUMNS.min(columns - column));
            let mut to = to.wrapping_add(column * self.pairs());
            for tap_y in 0..self.window.high.kernel {
                for tap_x in 0..self.window.wide.kernel {
                    let reading = self.reading(&places, tap_y, tap_x);
                    // SAFETY: the caller's promise for one panel, which holds `pairs` times COLUMNS words; this tap's take a part of them.
                    unsafe { self.pack_tap(planes, &reading, less, to) };
                    to = to.wrapping_add(self.channels.div_ceil(2) * COLUMNS);
                }
            }
        }
    }

    /// What `count` columns from `first` on read at each of the window's `N` taps.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn readings<const N: usize>(&self, first: usize, count: usize) -> [Reading; N] {
        debug_assert_eq!(N, self.window.taps());
        let places = self.places(first, count);
        let wide = self.window.wide.kernel;
        let mut readings = [Reading::NOTHING; N];
        for (tap, reading) in readings.iter_mut().enumerate() {
            *reading = self.reading(&places, tap / wide, tap % wide);
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
        let numbers = _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), _mm256_set1_epi16(i16::from(less.zero)));
        // Masks of words become masks of numbers, in order.
        let inside = _mm256_packs_epi32(reading.inside[0], reading.inside[1]);
        _mm256_and_si256(numbers, _mm256_permute4x64_epi64::<0b11_01_10_00>(inside))
    }

    fn places(&self, first: usize, count: usize) -> Places {
        const OUTSIDE: i64 = i64::MIN / 2;
        let Sliding { high, wide } = self.window;
        let mut places = Places { y: [OUTSIDE; COLUMNS], x: [OUTSIDE; COLUMNS] };
        let (mut row, mut column) = (first / wide.output, first % wide.output);
        for lane in 0..count {
            places.y[lane] = (row * high.stride) as i64 - high.pad as i64;
            places.x[lane] = (column * wide.stride) as i64 - wide.pad as i64;
            column += 1;
            if column == wide.output {
                (row, column) = (row + 1, 0);
            }
        }
        places
    }

    #[target_feature(enable = "avx2,fma")]
    fn reading(&self, places: &Places, tap_y: usize, tap_x: usize) -> Reading {
        let Sliding { high, wide } = self.window;
        let mut offsets = [usize::MAX; COLUMNS];
        let mut inside = [0i32; COLUMNS];
        for lane in 0..COLUMNS {
            let (y, x) =
                (places.y[lane] + (tap_y * high.dilation) as i64, places.x[lane] + (tap_x * wide.dilation) as i64);
            if (0..high.input as i64).contains(&y) && (0..wide.input as i64).contains(&x) {
                offsets[lane] = y as usize * wide.input + x as usize;
                inside[lane] = -1;
            }
        }
        let mut pieces = [Reading::PIECE; COLUMNS];
        let mut count = 0;
        // Columns go from left to right and from top to bottom, and so do the places that they read.
        let mut lane = 0;
        while lane < COLUMNS {
            let start = offsets[lane];
            if start == usize::MAX {
                lane += 1;
                continue;
            }
            let mut order = [NOWHERE; COLUMNS];
            while lane < COLUMNS && (offsets[lane] == usize::MAX || offsets[lane] - start < COLUMNS) {
                if offsets[lane] != usize::MAX {
                    order[lane] = (offsets[lane] - start) as u8;
                }
                lane += 1;
            }
            // SAFETY: `order` holds sixteen bytes.
            pieces[count] = Piece { start, order: unsafe { _mm_loadu_si128(order.as_ptr().cast()) } };
            count += 1;
        }
        // SAFETY: `inside` holds sixteen words.
        let inside = unsafe { super::finish::load(inside.as_ptr()) };
        Reading { pieces, count, inside }
    }

    /// Packs one tap of all channels.
    ///
    /// # Safety
    /// As for [`Patches::pack`]; the words of one tap are writable at `to`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pack_tap(&self, planes: *const u8, reading: &Reading, less: Less, to: *mut i32) {
        let plane = self.window.input_len();
        let total = self.channels * plane;
        let flip = _mm_set1_epi8(less.flip as i8);
        let zero = _mm256_set1_epi16(i16::from(less.zero));
        // What stands for the channel behind the last one becomes zero.
        let none = _mm_set1_epi8(less.zero as i8);
        for pair in 0..self.channels.div_ceil(2) {
            // SAFETY: a piece starts inside the plane of the channel, and no more bytes are read than are left of all planes. The pair's words
            // are inside those of the tap.
            unsafe {
                let first = gather(planes, 2 * pair * plane, total, reading, flip);
                let second = match 2 * pair + 1 < self.channels {
                    true => gather(planes, (2 * pair + 1) * plane, total, reading, flip),
                    false => none,
                };
                let widen = |bytes: __m128i| _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), zero);
                let to = to.add(pair * COLUMNS);
                let low = _mm256_and_si256(widen(_mm_unpacklo_epi8(first, second)), reading.inside[0]);
                let high = _mm256_and_si256(widen(_mm_unpackhi_epi8(first, second)), reading.inside[1]);
                _mm256_storeu_si256(to.cast(), low);
                _mm256_storeu_si256(to.add(COLUMNS / 2).cast(), high);
            }
        }
    }
}

/// The bytes of sixteen columns in the plane that begins `base` bytes behind `planes`, made unsigned. Columns outside it hold nothing of use.
///
/// # Safety
/// The CPU has AVX2 and FMA; `total` bytes are readable at `planes`, and the pieces start before their end.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn gather(planes: *const u8, base: usize, total: usize, reading: &Reading, flip: __m128i) -> __m128i {
    let mut bytes = _mm_setzero_si128();
    for piece in &reading.pieces[..reading.count] {
        let at = base + piece.start;
        // SAFETY: `at` is below `total`, and `load_bytes` reads no more than what is left.
        let loaded = unsafe { load_bytes(planes.add(at), total - at) };
        bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(loaded, piece.order));
    }
    _mm_xor_si128(bytes, flip)
}
