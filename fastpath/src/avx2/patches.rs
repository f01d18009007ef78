//! The right side of a convolution seen as a matrix product: row (channel, tap), column (place in the output plane). It exists only in packed
//! form, a block at a time.

use super::lanes::LANES;
use super::micro::COLUMNS;
use super::sliding::{Axis, Sliding};
use std::arch::x86_64::*;

/// The patches of one image and group, of however many channels.
#[derive(Clone, Copy)]
pub(crate) struct Patches {
    window: Sliding,
}

/// Places in a padded plane are counted in 32 bits, with room for a tap on top.
const MAX_PLACES: u64 = 1 << 30;

/// Eight neighbouring columns.
#[derive(Clone, Copy)]
struct Places {
    /// Row and column of the input at tap (0, 0), which may lie in the padding.
    y: __m256i,
    x: __m256i,
    /// Floats from the start of the plane to that place.
    offsets: __m256i,
    /// Of the first lane.
    offset: isize,
    /// The places follow each other in memory, those in the padding counted as if they were there.
    contiguous: bool,
    /// The places are every second one in memory.
    alternate: bool,
    /// No tap of any lane reads padding.
    inside: bool,
}

impl Patches {
    /// None for a plane that is too large.
    pub(crate) fn of(window: Sliding) -> Option<Self> {
        let padded = |axis: Axis| (axis.input + axis.pad + axis.pad_end) as u64;
        let places = padded(window.high).checked_mul(padded(window.wide))?;
        (places < MAX_PLACES).then_some(Self { window })
    }

    /// Packs rows `first_row` to `first_row + depth` of `columns` columns from `first_column` on, as [`super::pack::right`] does.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the channels' planes are readable from `planes` on; the rows and columns named are the matrix's; `columns` rounded up to
    /// whole panels, times `depth`, floats are writable at `to`, and nobody else's.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn pack(
        &self,
        planes: *const f32,
        first_row: usize,
        depth: usize,
        first_column: usize,
        columns: usize,
        to: *mut f32,
    ) {
        for column in (0..columns).step_by(COLUMNS) {
            let valid = COLUMNS.min(columns - column);
            let start = first_column + column;
            let halves = [self.places(start, valid), self.places(start + LANES, valid.saturating_sub(LANES))];
            // SAFETY: the caller's promise for one panel, whose `COLUMNS * depth` floats start at `column * depth`.
            unsafe { self.pack_panel(planes, first_row, depth, halves, to.add(column * depth)) };
        }
    }

    /// The places of `count` columns from `first` on; the other lanes are far outside.
    #[target_feature(enable = "avx2,fma")]
    fn places(&self, first: usize, count: usize) -> Places {
        const OUTSIDE: i32 = i32::MIN / 2;
        let Sliding { high, wide } = self.window;
        let (mut y, mut x, mut offsets) = ([OUTSIDE; LANES], [OUTSIDE; LANES], [0i32; LANES]);
        let (mut row, mut column) = (first / wide.output, first % wide.output);
        for lane in 0..count.min(LANES) {
            // `of` checked that the padded plane has fewer than 2^30 places, so nothing here leaves 32 bits.
            y[lane] = (row * high.stride) as i32 - high.pad as i32;
            x[lane] = (column * wide.stride) as i32 - wide.pad as i32;
            offsets[lane] = y[lane] * wide.input as i32 + x[lane];
            column += 1;
            if column == wide.output {
                (row, column) = (row + 1, 0);
            }
        }
        let inside = |place: &[i32; LANES], axis: &Axis| {
            place.iter().all(|&p| p >= 0 && p as usize + axis.extent() <= axis.input)
        };
        let valid = count.min(LANES);
        // SAFETY: the arrays hold eight elements each.
        let load = |lanes: &[i32; LANES]| unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
        let apart = |by: i32| (1..valid).all(|lane| offsets[lane] == offsets[0] + by * lane as i32);
        Places {
            y: load(&y),
            x: load(&x),
            offsets: load(&offsets),
            offset: offsets[0] as isize,
            contiguous: apart(1),
            alternate: apart(2),
            inside: valid == LANES && inside(&y, &high) && inside(&x, &wide),
        }
    }

    /// # Safety
    /// As for [`Patches::pack`], for one panel.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pack_panel(&self, planes: *const f32, first_row: usize, depth: usize, halves: [Places; 2], to: *mut f32) {
        let taps = self.window.taps();
        let Sliding { high, wide } = self.window;
        let (mut channel, tap) = (first_row / taps, first_row % taps);
        let (mut tap_y, mut tap_x) = (tap / wide.kernel, tap % wide.kernel);
        for k in 0..depth {
            let ahead = channel * self.window.input_len() + tap_y * high.dilation * wide.input + tap_x * wide.dilation;
            let source = planes.wrapping_add(ahead);
            // SAFETY: `pack_panel`'s caller promised `depth` rows of the panel at `to`. `source` is the place of tap (tap_y, tap_x) relative to the
            // window's origin; a lane is read only where the tap lies inside the plane of `channel`, which `inside` or the mask says.
            unsafe {
                let to = to.add(k * COLUMNS);
                for (half, places) in halves.iter().enumerate() {
                    let first = source.wrapping_offset(places.offset);
                    let value = match (places.inside, places.contiguous) {
                        (true, true) => _mm256_loadu_ps(first),
                        (true, false) if places.alternate => {
                            // The second vector begins one early, so that it ends at the last place.
                            let (a, b) = (_mm256_loadu_ps(first), _mm256_loadu_ps(first.add(LANES - 1)));
                            let picked = _mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_10_00>(a, b));
                            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(picked))
                        }
                        (_, true) => _mm256_maskload_ps(first, self.mask(places, tap_y, tap_x)),
                        (_, false) => {
                            let mask = _mm256_castsi256_ps(self.mask(places, tap_y, tap_x));
                            _mm256_mask_i32gather_ps::<4>(_mm256_setzero_ps(), source, places.offsets, mask)
                        }
                    };
                    _mm256_storeu_ps(to.add(half * LANES), value);
                }
            }
            tap_x += 1;
            if tap_x == wide.kernel {
                (tap_y, tap_x) = (tap_y + 1, 0);
                if tap_y == high.kernel {
                    (channel, tap_y) = (channel + 1, 0);
                }
            }
        }
    }

    /// The lanes whose tap lies inside the plane.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn mask(&self, places: &Places, tap_y: usize, tap_x: usize) -> __m256i {
        let Sliding { high, wide } = self.window;
        let inside = |place: __m256i, tap: usize, length: usize| {
            let place = _mm256_add_epi32(place, _mm256_set1_epi32(tap as i32));
            let not_before = _mm256_cmpgt_epi32(place, _mm256_set1_epi32(-1));
            _mm256_and_si256(not_before, _mm256_cmpgt_epi32(_mm256_set1_epi32(length as i32), place))
        };
        _mm256_and_si256(
            inside(places.y, tap_y * high.dilation, high.input),
            inside(places.x, tap_x * wide.dilation, wide.input),
        )
    }
}
