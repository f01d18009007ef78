//! Windows and mel weights are constants once their sizes are.

use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::tensor::Tensor;
use crate::{Node, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "window-to-constant", ops: &["HannWindow", "HammingWindow", "BlackmanWindow"], apply: window },
    Rule { name: "mel-weights-to-constant", ops: &["MelWeightMatrix"], apply: mel_weights },
];

/// Largest constant that a rule here writes out, elements.
const WRITTEN_MAX: u64 = 1 << 20;

/// Writes down a node's only output, when its shape is known and not too large.
fn written(editor: &mut Editor<'_>, node: &Node, fill: impl FnOnce(&[u64]) -> Option<Vec<f64>>) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    let (Some(dtype), Some(shape)) = (editor.dtype(output), editor.concrete(output)) else { return Ok(None) };
    let count = shape.iter().try_fold(1u64, |count, length| count.checked_mul(*length));
    if count.is_none_or(|count| count > WRITTEN_MAX || !editor.affords(count)) {
        return Ok(None);
    }
    let Some(tensor) = fill(&shape).and_then(|numbers| Tensor::from_numbers(dtype, shape, &numbers)) else {
        return Ok(None);
    };
    let constant = editor.constant(tensor, output);
    let Some(sketch) = Sketch::new(editor, node) else { return Ok(None) };
    sketch.finish("Identity", &[constant], &[])
}

fn window(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let periodic = node.integer("periodic").unwrap_or(1) != 0;
    // Cosines of multiples of the angle, by the weights of the specification.
    let weights: &[f64] = match node.op.as_str() {
        "HannWindow" => &[0.5, -0.5],
        "HammingWindow" => &[25.0 / 46.0, -21.0 / 46.0],
        _ => &[0.42, -0.5, 0.08],
    };
    written(editor, node, |shape| {
        let &[size] = shape else { return None };
        let period = if periodic { size } else { size.saturating_sub(1) }.max(1) as f64;
        let element = |at: u64| {
            let angle = 2.0 * std::f64::consts::PI * at as f64 / period;
            weights.iter().enumerate().map(|(multiple, weight)| weight * (angle * multiple as f64).cos()).sum()
        };
        Some((0..size).map(element).collect())
    })
}

/// A constant input of one element.
fn single(editor: &Editor<'_>, node: &Node, index: usize) -> Result<Option<f64>, crate::error::GraphError> {
    match node.input(index).filter(|id: &ValueId| editor.value(*id).is_constant()) {
        Some(id) => editor.single_number(id),
        None => Ok(None),
    }
}

/// Triangles over the bins of a spectrum, between frequencies that lie evenly on the mel scale.
fn mel_weights(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let mut given = [0.0; 5];
    for (index, number) in given.iter_mut().enumerate() {
        let Some(value) = single(editor, node, index)? else { return Ok(None) };
        *number = value;
    }
    let [bands, length, rate, low, high] = given;
    written(editor, node, |shape| {
        let &[bins, columns] = shape else { return None };
        let mel = |hertz: f64| 2595.0 * (hertz / 700.0).ln_1p() / std::f64::consts::LN_10;
        let step = (mel(high) - mel(low)) / (bands + 2.0);
        let edge = |band: u64| {
            let hertz = 700.0 * ((band as f64 * step + mel(low)) / 2595.0 * std::f64::consts::LN_10).exp_m1();
            ((length + 1.0) * hertz / rate).floor()
        };
        let mut weights = vec![0.0; usize::try_from(bins * columns).ok()?];
        for band in 0..columns {
            let (left, centre, right) = (edge(band), edge(band + 1), edge(band + 2));
            for bin in 0..bins {
                let at = bin as f64;
                let rising = left != centre && left <= at && at <= centre;
                let falling = centre <= at && at < right;
                let weight = match (rising, falling) {
                    (_, true) => (right - at) / (right - centre),
                    (true, false) => (at - left) / (centre - left),
                    // A band that rises nowhere has its peak all the same.
                    (false, false) if left == centre && at == centre => 1.0,
                    (false, false) => 0.0,
                };
                weights[usize::try_from(bin * columns + band).ok()?] = weight;
            }
        }
        Some(weights)
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::prepared;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&prepared(text).to_string());
    }

    #[test]
    fn a_window_of_known_size_is_a_constant() {
        check(
            "opset 17\n input x f32[4]\n const n i64[] = 4\n w = HannWindow(n)\n y = Mul(x, w)\n output y",
            expect![[r#"
                input %x: f32[4]
                %y: f32[4] = Mul(%x, const f32[4] [0.0,0.5,1.0,0.5])  // y
                output %y
            "#]],
        );
    }

    #[test]
    fn mel_weights_are_triangles() {
        let text = "opset 17\n const b i64[] = 1\n const n i64[] = 14\n const lo f32[] = 0\n const hi f32[] = 7\n y = MelWeightMatrix(b, n, n, lo, hi) output_datatype=1\n output y";
        check(
            text,
            expect![[r#"
                output const f32[8,1] [0.0,0.5,1.0,0.5,0.0,0.0,0.0,0.0]
            "#]],
        );
    }
}
