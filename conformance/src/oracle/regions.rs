//! Pools over regions of interest.

use super::index::tuples;
use super::{Answer, Question, Reals, Unknown};
use std::ops::Range;

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    (question.op == "MaxRoiPool").then(|| max_roi_pool(question))
}

/// The largest element of each cell of each region, 0 where a cell lies outside of the picture. A region is a picture's number and two
/// corners, x before y, which are rounded to elements (half away from zero) and both belong to it.
fn max_roi_pool(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, regions) = (question.tensor(0)?, question.tensor(1)?);
    let (&[_, channels, height, width], &[count, 5]) = (&x.shape[..], &regions.shape[..]) else {
        return Err(Unknown("regions that are not five numbers each, of pictures".into()));
    };
    let &[rows, columns] = question.attributes().integers("pooled_shape").unwrap_or_default() else {
        return Err(Unknown("MaxRoiPool without rows and columns".into()));
    };
    let scale = question.real("spatial_scale", 1.0);
    let shape = [count, channels, rows as usize, columns as usize];
    let (numbers, corners) = (x.reals(), regions.reals());
    let mut values = Vec::new();
    for index in tuples(&shape) {
        let region = &corners[index[0] * 5..][..5];
        let corner = |i: usize| (region[i] * scale).round() as i64;
        let down = cell(corner(2), corner(4), index[2] as i64, rows, height);
        let across = cell(corner(1), corner(3), index[3] as i64, columns, width);
        let plane = (region[0] as usize * channels + index[1]) * height * width;
        let inside = down.flat_map(|y| across.clone().map(move |x| plane + y * width + x));
        values.push(inside.map(|at| numbers[at]).reduce(f64::max).unwrap_or(0.0));
    }
    Ok(vec![Answer::reals(x.dtype, &shape, Reals::plain(values))])
}

/// Elements of one axis in one of `cells` equal parts of a region; parts that share an element both have it.
fn cell(low: i64, high: i64, number: i64, cells: i64, length: usize) -> Range<usize> {
    let size = (high - low + 1).max(1);
    let first = low + number * size / cells;
    let end = low + ((number + 1) * size + cells - 1) / cells;
    let inside = |at: i64| at.clamp(0, length as i64) as usize;
    inside(first)..inside(end)
}
