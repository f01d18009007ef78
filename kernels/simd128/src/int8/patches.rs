//! The columns of an integer convolution seen as a matrix product: a column is a place in the output plane, a word along the depth one tap in two
//! neighbouring channels. They exist only in packed form, sixteen columns, which are four panels, at a time.

use super::Less;
use super::bytes::{BYTES, load};
use super::tile::COLUMNS;
use crate::conv::geometry::Geometry;
use crate::vector::v128;
use core::arch::wasm32::*;

/// In the order of a swizzle: nothing.
const NOWHERE: u8 = 0x80;

/// What sixteen columns read at one tap: where pieces of sixteen bytes start in a plane, and in which order their bytes belong.
struct Reading {
    pieces: [(usize, v128); BYTES],
    count: usize,
    /// All ones in the bytes of columns inside the plane.
    inside: v128,
}

/// Where the windows of sixteen columns begin, in the padded plane. One division for all: there is one such call for sixteen columns, and one of
/// [`reading`] for each tap of them.
fn windows(g: &Geometry, first: usize) -> [[usize; 2]; BYTES] {
    let mut out = [first / g.output[1], first % g.output[1]];
    core::array::from_fn(|_| {
        let window = [out[0] * g.stride[0], out[1] * g.stride[1]];
        out[1] += 1;
        if out[1] == g.output[1] {
            out = [out[0] + 1, 0];
        }
        window
    })
}

/// The place in a plane that a window reads at a tap; none outside.
fn place(g: &Geometry, window: [usize; 2], tap: [usize; 2]) -> Option<usize> {
    let along = |axis: usize| {
        let place = (window[axis] + tap[axis] * g.dilation[axis]).wrapping_sub(g.pad[axis]);
        (place < g.input[axis]).then_some(place)
    };
    Some(along(0)? * g.input[1] + along(1)?)
}

/// The place of the first of sixteen windows that stand side by side in one row, where the plane has all their places.
fn side_by_side(g: &Geometry, windows: &[[usize; 2]], tap: [usize; 2]) -> Option<usize> {
    let (&[first, .., last], BYTES) = (windows, windows.len()) else { return None };
    let (from, to) = (place(g, first, tap)?, place(g, last, tap)?);
    (first[0] == last[0] && to - from == (BYTES - 1) * g.stride[1]).then_some(from)
}

impl Reading {
    /// Each column reads the place that is given, the last ones nothing where there are fewer places.
    fn of(places: impl Iterator<Item = Option<usize>>) -> Self {
        let mut offsets = [usize::MAX; BYTES];
        let mut inside = [0u8; BYTES];
        for ((offset, inside), place) in offsets.iter_mut().zip(&mut inside).zip(places) {
            if let Some(place) = place {
                (*offset, *inside) = (place, 0xFF);
            }
        }
        let vector = |bytes: &[u8; BYTES]| -> v128 {
            // SAFETY: sixteen bytes.
            unsafe { v128_load(bytes.as_ptr().cast()) }
        };
        let mut reading = Self { pieces: [(0, u8x16_splat(0)); BYTES], count: 0, inside: vector(&inside) };
        // Columns go from left to right and from top to bottom, and so do the places that they read.
        let mut lane = 0;
        while lane < BYTES {
            let start = offsets[lane];
            if start == usize::MAX {
                lane += 1;
                continue;
            }
            let mut order = [NOWHERE; BYTES];
            while lane < BYTES && (offsets[lane] == usize::MAX || offsets[lane] - start < BYTES) {
                if offsets[lane] != usize::MAX {
                    order[lane] = (offsets[lane] - start) as u8;
                }
                lane += 1;
            }
            reading.pieces[reading.count] = (start, vector(&order));
            reading.count += 1;
        }
        reading
    }
}

/// Packs `columns` columns from `first` on: panels of `words` words of four columns each. Columns that fill up the last sixteen hold nothing of use.
///
/// # Safety
/// The planes of a group's channels are readable at `planes`; `columns` rounded up to sixteen, times `words`, words are writable at `to`.
pub(crate) unsafe fn pack(
    g: &Geometry,
    planes: *const u8,
    (first, columns): (usize, usize),
    words: usize,
    less: Less,
    to: *mut i32,
) {
    let pairs = g.group_channels().div_ceil(2);
    let total = g.group_channels() * g.input_plane();
    // Most columns stand side by side, and read alike but for where they begin.
    let alike = Reading::of((0..BYTES).map(|lane| Some(lane * g.stride[1])));
    for column in (0..columns).step_by(BYTES) {
        let windows = windows(g, first + column);
        for tap in 0..g.taps() {
            let windows = &windows[..BYTES.min(columns - column)];
            let place_of_tap = [tap / g.kernel[1], tap % g.kernel[1]];
            // SAFETY: word `tap * pairs` and those of all pairs behind it lie in each of the four panels; places lie in the plane.
            unsafe {
                let to = to.add(column * words + tap * pairs * COLUMNS);
                if let Some(first) = side_by_side(g, windows, place_of_tap) {
                    pack_tap(g, (planes.add(first), total - first), &alike, words, less, to);
                } else {
                    let reading = Reading::of(windows.iter().map(|&window| place(g, window, place_of_tap)));
                    pack_tap(g, (planes, total), &reading, words, less, to);
                }
            };
        }
    }
}

/// Packs one tap of all channels: places count from `planes`, from where on `room` bytes are readable.
///
/// # Safety
/// As for [`pack`], for the words of one tap in four panels; the places of the reading lie in the plane.
#[inline(never)]
unsafe fn pack_tap(
    g: &Geometry,
    (planes, room): (*const u8, usize),
    reading: &Reading,
    words: usize,
    less: Less,
    to: *mut i32,
) {
    let (channels, plane) = (g.group_channels(), g.input_plane());
    let zeros = u8x16_splat(less.zero);
    let zero = i16x8_splat(i16::from(less.zero));
    // Outside the plane, and for a channel that is not there, stands the zero point: it becomes zero.
    let gather = |channel: usize| -> v128 {
        let mut bytes = u8x16_splat(0);
        for (start, order) in &reading.pieces[..reading.count] {
            let at = channel * plane + start;
            // SAFETY: a piece starts inside the channel's plane, and no more is read than is left of all planes.
            bytes = v128_or(bytes, u8x16_swizzle(unsafe { load(planes.add(at), room - at) }, *order));
        }
        v128_bitselect(v128_xor(bytes, u8x16_splat(less.flip)), zeros, reading.inside)
    };
    for pair in 0..channels.div_ceil(2) {
        let upper = gather(2 * pair);
        let lower = if 2 * pair + 1 < channels { gather(2 * pair + 1) } else { zeros };
        let low = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(upper, lower);
        let high = i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(upper, lower);
        // SAFETY: the pair's four words of each of the four panels.
        unsafe {
            let to = to.add(pair * COLUMNS);
            let panel = words * COLUMNS;
            v128_store(to.cast(), i16x8_sub(u16x8_extend_low_u8x16(low), zero));
            v128_store(to.add(panel).cast(), i16x8_sub(u16x8_extend_high_u8x16(low), zero));
            v128_store(to.add(2 * panel).cast(), i16x8_sub(u16x8_extend_low_u8x16(high), zero));
            v128_store(to.add(3 * panel).cast(), i16x8_sub(u16x8_extend_high_u8x16(high), zero));
        }
    }
}
