//! From coefficients to pixels: inverse cosine transform, channels brought to the size of the picture, colours.

use super::super::Picture;
use super::{Block, Component, Frame};

/// Fraction bits of the constants of the transform.
const FRACTION: u32 = 13;
/// Fraction bits that are kept between its two passes.
const KEPT: u32 = 2;

/// The pixels of a frame.
pub(super) fn picture(frame: &Frame, tables: &[Option<[u16; 64]>; 4], in_ycc: bool) -> Result<Picture, String> {
    let (width, height) = (frame.width, frame.height);
    let mut planes = Vec::new();
    for component in &frame.components {
        let table = tables.get(component.quantisation).and_then(Option::as_ref);
        let plane = transformed(component, table.ok_or("is damaged: a quantisation table is missing")?);
        planes.push(enlarged(&plane, frame, component)?);
    }
    let samples = match planes.as_slice() {
        [gray] => gray.clone(),
        [first, second, third] => {
            let pixels = first.iter().zip(second).zip(third).map(|((a, b), c)| [*a, *b, *c]);
            if in_ycc { pixels.flat_map(rgb).collect() } else { pixels.flatten().collect() }
        }
        _ => unreachable!("frames have one or three components: checked in its header"),
    };
    let channels = if planes.len() == 1 { 1 } else { 3 };
    Ok(Picture { width, height, channels, samples })
}

/// The samples of a component, `columns * 8` a row.
fn transformed(component: &Component, table: &[u16; 64]) -> Vec<u8> {
    let stride = component.columns * 8;
    let mut plane = vec![0; stride * component.rows * 8];
    for (index, block) in component.blocks.iter().enumerate() {
        let (column, row) = (index % component.columns, index / component.columns);
        for (line, samples) in inverse(block, table).iter().enumerate() {
            let start = (row * 8 + line) * stride + column * 8;
            plane[start..start + 8].copy_from_slice(samples);
        }
    }
    plane
}

/// The inverse cosine transform of a block, columns first, by the algorithm of Loeffler, Ligtenberg and Moschytz (1989) in integers.
fn inverse(block: &Block, table: &[u16; 64]) -> [[u8; 8]; 8] {
    let mut middle = [0i64; 64];
    for column in 0..8 {
        let input = std::array::from_fn(|row| i64::from(block[row * 8 + column]) * i64::from(table[row * 8 + column]));
        for (row, value) in line(input).into_iter().enumerate() {
            middle[row * 8 + column] = rounded(value, FRACTION - KEPT);
        }
    }
    std::array::from_fn(|row| {
        let input = std::array::from_fn(|column| middle[row * 8 + column]);
        // The two passes scale by 8 together.
        line(input).map(|value| (rounded(value, FRACTION + KEPT + 3) + 128).clamp(0, 255) as u8)
    })
}

fn rounded(value: i64, bits: u32) -> i64 {
    (value + (1 << (bits - 1))) >> bits
}

/// One dimension of the transform: 11 multiplications, results with `FRACTION` bits more and scaled by the root of 8.
fn line(x: [i64; 8]) -> [i64; 8] {
    // Even part: a rotation and butterflies.
    let rotated = (x[2] + x[6]) * 4433;
    let (low, high) = (rotated + x[2] * 6270, rotated - x[6] * 15_137);
    let (sum, difference) = ((x[0] + x[4]) << FRACTION, (x[0] - x[4]) << FRACTION);
    let even = [sum + low, difference + high, difference - high, sum - low];
    // Odd part.
    let all = (x[7] + x[3] + x[5] + x[1]) * 9633;
    let outer = (x[7] + x[1]) * -7373;
    let inner = (x[5] + x[3]) * -20_995;
    let third = (x[7] + x[3]) * -16_069 + all;
    let fourth = (x[5] + x[1]) * -3196 + all;
    let odd = [
        x[1] * 12_299 + outer + fourth,
        x[3] * 25_172 + inner + third,
        x[5] * 16_819 + inner + fourth,
        x[7] * 2446 + outer + third,
    ];
    std::array::from_fn(|at| if at < 4 { even[at] + odd[at] } else { even[7 - at] - odd[7 - at] })
}

/// A component's samples at the size of the picture. Halved ones are interpolated, a quarter of the way to the neighbour; others are repeated.
fn enlarged(plane: &[u8], frame: &Frame, component: &Component) -> Result<Vec<u8>, String> {
    if !frame.across.is_multiple_of(component.across) || !frame.down.is_multiple_of(component.down) {
        return Err("has channels sampled at odd ratios; save it with 4:2:0 or 4:4:4".to_owned());
    }
    let (across, down) = (frame.across / component.across, frame.down / component.down);
    let stride = component.columns * 8;
    let row = |at: usize| &plane[at * stride..][..component.width];
    // Narrow channels have no neighbours to go to.
    let smooth = match (across, down) {
        (2, 1 | 2) => component.width > 2,
        (1, 2) => true,
        _ => false,
    };
    let mut result = Vec::with_capacity(frame.width * frame.height);
    let mut wide: Vec<u8> = Vec::with_capacity(component.width * across);
    for line in 0..frame.height {
        let near = line / down;
        wide.clear();
        if smooth {
            let vertical = (down == 2).then(|| {
                let further = if line % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(component.height - 1) };
                row(further)
            });
            interpolated(row(near), vertical, across == 2, line % 2, &mut wide);
        } else {
            wide.extend(row(near).iter().flat_map(|sample| std::iter::repeat_n(*sample, across)));
        }
        result.extend_from_slice(&wide[..frame.width]);
    }
    Ok(result)
}

/// A row three quarters of `near` and one quarter of `further`, then the same between neighbours if `doubled`. Halves are rounded up and
/// down in turn, so that no drift remains.
fn interpolated(near: &[u8], further: Option<&[u8]>, doubled: bool, turn: usize, result: &mut Vec<u8>) {
    let column = |at: usize| match further {
        Some(further) => u32::from(near[at]) * 3 + u32::from(further[at]),
        None => near[at].into(),
    };
    if !doubled {
        let bias = if turn == 0 { 1 } else { 2 };
        result.extend((0..near.len()).map(|at| ((column(at) + bias) >> 2) as u8));
        return;
    }
    let (shift, left_bias, right_bias) = if further.is_some() { (4, 8, 7) } else { (2, 1, 2) };
    let last = near.len() - 1;
    for at in 0..near.len() {
        let own = column(at);
        // At the edges a sample is its own neighbour; there it is kept as it is, where rows are not mixed.
        let edge = |bias: u32| if further.is_some() { (own * 4 + bias) >> shift } else { own };
        let left = if at == 0 { edge(left_bias) } else { (own * 3 + column(at - 1) + left_bias) >> shift };
        let right = if at == last { edge(right_bias) } else { (own * 3 + column(at + 1) + right_bias) >> shift };
        result.extend([left as u8, right as u8]);
    }
}

/// JFIF's colours, ITU-R BT.601 in full range, in 16-bit fixed point.
fn rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    let red = y + ((91_881 * cr + half) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + half) >> 16);
    let blue = y + ((116_130 * cb + half) >> 16);
    [red, green, blue].map(|sample| sample.clamp(0, 255) as u8)
}
