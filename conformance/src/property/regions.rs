//! Pools over regions of interest.

use super::draw::{Draw, FLOATS};
use crate::oracle::{Question, Tensor};

pub(super) const OPERATORS: &[&str] = &["MaxRoiPool"];

/// Regions inside of the picture, across its border, outside of it, and some that end before they begin.
pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    let dtype = draw.pick(FLOATS);
    let pictures = draw.between(1, 3);
    let side = |draw: &mut Draw| if draw.large { draw.between(40, 60) } else { draw.between(1, 13) };
    let (height, width, channels) = (side(draw), side(draw), draw.between(1, 4));
    let count = if draw.empty { 0 } else { draw.between(1, 5) };
    // A power of two, so that no corner is rounded before it is rounded to an element.
    let scale = draw.pick(&[1.0, 1.0, 0.5, 0.25]);
    let mut regions = Vec::new();
    for _ in 0..count {
        regions.push(draw.between(0, pictures - 1) as f64);
        for side in [width, height, width, height] {
            regions.push(draw.between(-2, side + 2) as f64 / scale + draw.pick(&[0.0, 0.0, 0.5, 0.25]));
        }
    }
    let x = [pictures, channels, height, width].map(|side| side as usize);
    Question::new(op, 1)
        .integers("pooled_shape", &[draw.between(1, 7), draw.between(1, 7)])
        .number("spatial_scale", scale)
        .input(draw.finite(dtype, &x))
        .input(Tensor::of_reals(dtype, &[count as usize, 5], &regions))
        .output(dtype)
}
