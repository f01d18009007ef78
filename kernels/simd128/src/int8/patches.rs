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

/// Where the windows of up to sixteen columns begin, in the padded plane. One division for all: there is one such call for sixteen columns, and
/// one of [`reading`] for each tap of them.
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

fn reading(g: &Geometry, windows: &[[usize; 2]], tap: [usize; 2]) -> Reading {
    let mut offsets = [usize::MAX; BYTES];
    let mut inside = [0u8; BYTES];
    for (lane, window) in windows.iter().enumerate() {
        let place = |axis: usize| {
            let place = (window[axis] + tap[axis] * g.dilation[axis]).wrapping_sub(g.pad[axis]);
            (place < g.input[axis]).then_some(place)
        };
        if let (Some(y), Some(x)) = (place(0), place(1)) {
            offsets[lane] = y * g.input[1] + x;
            inside[lane] = 0xFF;
        }
    }
    let vector = |bytes: &[u8; BYTES]| -> v128 {
        // SAFETY: sixteen bytes.
        unsafe { v128_load(bytes.as_ptr().cast()) }
    };
    let mut reading = Reading { pieces: [(0, u8x16_splat(0)); BYTES], count: 0, inside: vector(&inside) };
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
    for column in (0..columns).step_by(BYTES) {
        let windows = windows(g, first + column);
        for tap in 0..g.taps() {
            let windows = &windows[..BYTES.min(columns - column)];
            let reading = reading(g, windows, [tap / g.kernel[1], tap % g.kernel[1]]);
            // SAFETY: word `tap * pairs` and those of all pairs behind it lie in each of the four panels.
            unsafe { pack_tap(g, planes, &reading, words, less, to.add(column * words + tap * pairs * COLUMNS)) };
        }
    }
}

/// Packs one tap of all channels.
///
/// # Safety
/// As for [`pack`], for the words of one tap in four panels.
#[inline(never)]
unsafe fn pack_tap(g: &Geometry, planes: *const u8, reading: &Reading, words: usize, less: Less, to: *mut i32) {
    let (channels, plane) = (g.group_channels(), g.input_plane());
    let total = channels * plane;
    let zeros = u8x16_splat(less.zero);
    let zero = i16x8_splat(i16::from(less.zero));
    // Outside the plane, and for a channel that is not there, stands the zero point: it becomes zero.
    let gather = |channel: usize| -> v128 {
        let mut bytes = u8x16_splat(0);
        for (start, order) in &reading.pieces[..reading.count] {
            let at = channel * plane + start;
            // SAFETY: a piece starts inside the channel's plane, and no more is read than is left of all planes.
            bytes = v128_or(bytes, u8x16_swizzle(unsafe { load(planes.add(at), total - at) }, *order));
        }
        v128_bitselect(v128_xor(bytes, u8x16_splat(less.flip)), zeros, reading.inside)
    };
    for pair in 0..channels.div_ceil(2) {
        let first = gather(2 * pair);
        let second = if 2 * pair + 1 < channels { gather(2 * pair + 1) } else { zeros };
        let low = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(first, second);
        let high = i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(first, second);
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
