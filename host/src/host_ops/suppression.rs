//! NonMaxSuppression: of boxes that overlap much, the one with the best score stays.

use super::call::{Call, Outcome, one};
use super::limits::{Steps, check_bytes};
use sunmao_graph::{DType, Tensor};

/// Corners of a box, the lower ones first.
#[derive(Clone, Copy)]
struct Area {
    top: f32,
    left: f32,
    bottom: f32,
    right: f32,
}

/// The boxes that stay, as rows of batch, class and box, best scores first within a class.
pub(super) fn non_max_suppression(call: &Call<'_>) -> Outcome {
    let (boxes, scores) = (call.tensor(0)?, call.tensor(1)?);
    let (batches, count, classes) = match (boxes.shape.as_slice(), scores.shape.as_slice()) {
        ([batches, count, 4], [other, classes, places])
            if batches == other && count == places && boxes.dtype == DType::F32 && scores.dtype == DType::F32 =>
        {
            (*batches, *count as usize, *classes)
        }
        _ => {
            return Err(format!(
                "needs boxes f32[batches, boxes, 4] and scores f32[batches, classes, boxes] and got {}{:?} and {}{:?}",
                boxes.dtype, boxes.shape, scores.dtype, scores.shape
            ));
        }
    };
    let most = if call.value(2).is_some() { usize::try_from(call.integer(2)?).unwrap_or(0) } else { 0 };
    let threshold = |index: usize| call.value(index).map(|_| call.number(index)).transpose();
    let overlap_most = threshold(3)?.unwrap_or(0.0) as f32;
    let score_least = threshold(4)?.map(|score| score as f32);
    let centred = match call.attribute("center_point_box")? {
        0 => false,
        1 => true,
        other => return Err(format!("has center_point_box={other}; give 0 or 1")),
    };
    let corners: Vec<Area> = boxes.bytes.as_chunks::<16>().0.iter().map(|sides| area(sides, centred)).collect();
    let scores: Vec<f32> = scores.bytes.as_chunks().0.iter().map(|score| f32::from_le_bytes(*score)).collect();
    let mut steps = Steps::new();
    let mut rows: Vec<i64> = Vec::new();
    for (batch, class) in (0..batches).flat_map(|batch| (0..classes).map(move |class| (batch, class))) {
        // In range: the shapes were checked against each other, and both tensors are here whole.
        let boxes = &corners[batch as usize * count..][..count];
        let scores = &scores[(batch * classes + class) as usize * count..][..count];
        for kept in best(boxes, scores, most, overlap_most, score_least, &mut steps)? {
            rows.extend([batch as i64, class as i64, kept as i64]);
        }
        check_bytes(Some(rows.len() as u64 * 8))?;
    }
    one(Tensor::from_i64(vec![rows.len() as u64 / 3, 3], &rows))
}

/// The boxes of one class that stay, in the order of their scores.
fn best(
    boxes: &[Area],
    scores: &[f32],
    most: usize,
    overlap_most: f32,
    score_least: Option<f32>,
    steps: &mut Steps,
) -> Result<Vec<usize>, String> {
    let mut candidates: Vec<usize> =
        (0..scores.len()).filter(|place| score_least.is_none_or(|least| scores[*place] > least)).collect();
    // The sort is stable: of equal scores the first box comes first.
    candidates.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut kept: Vec<usize> = Vec::new();
    for candidate in candidates {
        if kept.len() >= most {
            break;
        }
        steps.take(kept.len() as u64 + 1)?;
        if kept.iter().all(|better| overlap(boxes[candidate], boxes[*better]) <= overlap_most) {
            kept.push(candidate);
        }
    }
    Ok(kept)
}

fn area(sides: &[u8; 16], centred: bool) -> Area {
    let side = |index: usize| {
        let bytes = sides[index * 4..].first_chunk().expect("sixteen bytes are four sides");
        f32::from_le_bytes(*bytes)
    };
    if centred {
        let (x, y, width, height) = (side(0), side(1), side(2) / 2.0, side(3) / 2.0);
        Area { top: y - height, left: x - width, bottom: y + height, right: x + width }
    } else {
        let (a, b) = ((side(0), side(1)), (side(2), side(3)));
        Area { top: a.0.min(b.0), left: a.1.min(b.1), bottom: a.0.max(b.0), right: a.1.max(b.1) }
    }
}

/// Intersection over union; 0 where boxes do not overlap or have no area.
fn overlap(a: Area, b: Area) -> f32 {
    let size = |area: Area| (area.right - area.left) * (area.bottom - area.top);
    let width = a.right.min(b.right) - a.left.max(b.left);
    let height = a.bottom.min(b.bottom) - a.top.max(b.top);
    if !(width > 0.0 && height > 0.0) {
        return 0.0;
    }
    let common = width * height;
    let union = size(a) + size(b) - common;
    if size(a) > 0.0 && size(b) > 0.0 && union > 0.0 { common / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    const CORNERS: [f32; 24] =
        [0., 0., 1., 1., 0., 0.1, 1., 1.1, 0., -0.1, 1., 0.9, 0., 10., 1., 11., 0., 10.1, 1., 11.1, 0., 100., 1., 101.];
    const CENTRES: [f32; 24] = [
        0.5, 0.5, 1., 1., 0.5, 0.6, 1., 1., 0.5, 0.4, 1., 1., 0.5, 10.5, 1., 1., 0.5, 10.6, 1., 1., 0.5, 100.5, 1., 1.,
    ];
    const SCORES: [f32; 6] = [0.9, 0.75, 0.6, 0.95, 0.5, 0.3];

    fn select(boxes: &[f32], scores: (&[u64], &[f32]), limits: [f32; 3], centred: i64) -> Vec<i64> {
        let batches = scores.0[0];
        let inputs: [Value; 5] = [
            floats(&[batches, boxes.len() as u64 / 4 / batches, 4], boxes),
            floats(scores.0, scores.1),
            integers(&[1], &[limits[0] as i64]),
            floats(&[1], &[limits[1]]),
            floats(&[1], &[limits[2]]),
        ];
        let rows = run_one("NonMaxSuppression", &[("center_point_box", Attribute::Integer(centred))], &inputs);
        let (shape, rows) = as_integers(&rows);
        assert_eq!(shape, [rows.len() as u64 / 3, 3]);
        rows
    }

    #[test]
    fn overlapping_boxes_with_lower_scores_go() {
        let one = (&[1, 1, 6][..], &SCORES[..]);
        assert_eq!(select(&CORNERS, one, [3.0, 0.5, 0.0], 0), [0, 0, 3, 0, 0, 0, 0, 0, 5]);
        assert_eq!(select(&CENTRES, one, [3.0, 0.5, 0.0], 1), [0, 0, 3, 0, 0, 0, 0, 0, 5]);
        assert_eq!(select(&CORNERS, one, [3.0, 0.5, 0.4], 0), [0, 0, 3, 0, 0, 0]);
        assert_eq!(select(&CORNERS, one, [2.0, 0.5, 0.0], 0), [0, 0, 3, 0, 0, 0]);
        assert_eq!(select(&CORNERS, one, [0.0, 0.5, 0.0], 0), [0; 0]);
        // As the first, with the corners of some boxes the other way around.
        let mut flipped = CORNERS;
        flipped[0..4].copy_from_slice(&[1., 1., 0., 0.]);
        flipped[12..16].copy_from_slice(&[1., 10., 0., 11.]);
        assert_eq!(select(&flipped, one, [3.0, 0.5, 0.0], 0), [0, 0, 3, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn classes_and_batches_are_apart() {
        let twice = [SCORES, SCORES].concat();
        let classes = select(&CORNERS, (&[1, 2, 6], &twice), [2.0, 0.5, 0.0], 0);
        assert_eq!(classes, [0, 0, 3, 0, 0, 0, 0, 1, 3, 0, 1, 0]);
        let batches = select(&[CORNERS, CORNERS].concat(), (&[2, 1, 6], &twice), [2.0, 0.5, 0.0], 0);
        assert_eq!(batches, [0, 0, 3, 0, 0, 0, 1, 0, 3, 1, 0, 0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert_eq!(
            refusal("NonMaxSuppression", &[], &[floats(&[1, 1, 4], &[0.0; 4]), floats(&[1, 1, 2], &[0.0; 2])]),
            "needs boxes f32[batches, boxes, 4] and scores f32[batches, classes, boxes] and got f32[1, 1, 4] and f32[1, 1, 2]"
        );
    }
}
