//! Operators of language models, in the core's words.

use super::node_facts::float;
use crate::edit::{Editor, Rewrite, Rule};
use crate::tensor::Tensor;
use crate::{Attribute, Dim, Node};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "flex-attention-to-attention", ops: &["ai.onnx.preview.FlexAttention"], apply: flex_attention },
    Rule { name: "causal-convolution-to-core", ops: &["CausalConvWithState"], apply: causal_convolution },
];

/// Without blocks that change scores or probabilities it is an Attention over four axes.
fn flex_attention(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let mut attributes = vec![];
    for (key, attribute) in &node.attributes {
        match key.as_str() {
            "scale" | "softmax_precision" => attributes.push((key.as_str(), attribute.clone())),
            _ => return Ok(None),
        }
    }
    let inputs: Vec<_> = node.inputs[..node.own_inputs()].to_vec();
    Ok(Some(vec![editor.node(node, "Attention", &inputs, &node.outputs, &attributes)]))
}

/// The state goes before the input; a convolution of each channel runs over both, and the end of both is the next state.
fn causal_convolution(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(weight)) = (node.input(0), node.input(1)) else { return Ok(None) };
    let Some(dtype) = float(editor, input) else { return Ok(None) };
    let Some(&[Dim::Known(channels), _, Dim::Known(taps @ 1..)]) = editor.shape(weight) else { return Ok(None) };
    let (Ok(channels), Ok(kept)) = (i64::try_from(channels), i64::try_from(taps - 1)) else { return Ok(None) };
    let Some(like) = node.outputs.iter().flatten().next().copied() else { return Ok(None) };
    let activation = match node.text("activation") {
        None | Some("none") => false,
        Some("silu" | "swish") => true,
        Some(_) => return Ok(None),
    };
    let integers = |list: &[i64]| Attribute::Integers(list.to_vec());
    let mut nodes = vec![];
    let mut padded = input;
    if kept > 0 {
        padded = editor.computed(like);
        nodes.push(match node.input(3) {
            Some(state) => {
                let axis = [("axis", Attribute::Integer(2))];
                editor.node(node, "Concat", &[Some(state), Some(input)], &[Some(padded)], &axis)
            }
            None => {
                let pads = editor.constant(Tensor::vector(&[0, 0, kept, 0, 0, 0]), like);
                let Some(zero) = Tensor::from_numbers(dtype, vec![], &[0.0]) else { return Ok(None) };
                let zero = editor.constant(zero, like);
                editor.node(node, "Pad", &[Some(input), Some(pads), Some(zero)], &[Some(padded)], &[])
            }
        });
    }
    if let Some(output) = node.output(0) {
        let sum = if activation { editor.computed(like) } else { output };
        let inputs: Vec<_> = match node.input(2) {
            Some(bias) => vec![Some(padded), Some(weight), Some(bias)],
            None => vec![Some(padded), Some(weight)],
        };
        let window = [
            ("group", Attribute::Integer(channels)),
            ("kernel_shape", integers(&[kept + 1])),
            ("strides", integers(&[1])),
            ("dilations", integers(&[1])),
            ("pads", integers(&[0, 0])),
        ];
        nodes.push(editor.node(node, "Conv", &inputs, &[Some(sum)], &window));
        if activation {
            nodes.push(editor.node(node, "Swish", &[Some(sum)], &[Some(output)], &[]));
        }
    }
    if let Some(state) = node.output(1) {
        // A start behind the end takes nothing.
        let start = if kept > 0 { -kept } else { i64::MAX };
        let bounds = [&[start], &[i64::MAX], &[2]].map(|list| Some(editor.constant(Tensor::vector(list), like)));
        let inputs = [&[Some(padded)], &bounds[..]].concat();
        nodes.push(editor.node(node, "Slice", &inputs, &[Some(state)], &[]));
    }
    Ok(Some(nodes))
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
    fn a_causal_convolution_hands_its_state_on() {
        check(
            "opset 27\n input x f32[N,2,L]\n weight w f32[2,1,4]\n input s f32[N,2,3]\n y, t = CausalConvWithState(x, w, _, s) activation=silu\n output y\n output t",
            expect![[r#"
                symbol N: 0..
                symbol L: 0..
                input %x: f32[N,2,L]
                input %s: f32[N,2,3]
                %y~5: f32[N,2,?] = Concat(%s, %x) {axis=2}  // y
                %y~6: f32[N,2,?] = Conv(%y~5, const f32[2,1,4] [0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0]) {auto_pad=NOTSET, dilations=[1], group=2, kernel_shape=[4], pads=[0,0], strides=[1]}  // y
                %y: f32[N,2,?] = Swish(%y~6) {alpha=1.0}  // y
                %t: f32[N,2,?] = Slice(%y~5, const i64[1] [-3], const i64[1] [9223372036854775807], const i64[1] [2])  // y
                output %y
                output %t
            "#]],
        );
    }

    #[test]
    fn flex_attention_without_blocks_is_attention() {
        check(
            "opset 1\n input q f32[1,4,S,8]\n input k f32[1,2,S,8]\n y = ai.onnx.preview.FlexAttention(q, k, k) scale=0.5\n output y",
            expect![[r#"
                symbol S: 0..
                input %q: f32[1,4,S,8]
                input %k: f32[1,2,S,8]
                %y: f32[1,4,S,8] = Attention(%q, %k, %k) {is_causal=0, left_window_size=-1, qk_matmul_output_mode=0, right_window_size=-1, scale=0.5, softcap=0.0}  // y
                output %y
            "#]],
        );
    }
}
