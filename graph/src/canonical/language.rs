//! Operators of language models, in the core's words.

use super::node_facts::float;
use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::tensor::Tensor;
use crate::{Attribute, DType, Dim, Graph, Node, ValueId};
use std::sync::Arc;

pub(super) const RULES: &[Rule] = &[
    Rule { name: "flex-attention-to-attention", ops: &["ai.onnx.preview.FlexAttention"], apply: flex_attention },
    Rule { name: "causal-convolution-to-core", ops: &["CausalConvWithState"], apply: causal_convolution },
];

/// Without blocks that change scores or probabilities it is an Attention over four axes.
fn flex_attention(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    if node.blocks().next().is_some() {
        return modified_attention(editor, node);
    }
    let attributes: Vec<_> = node.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let inputs: Vec<_> = node.inputs[..node.own_inputs()].to_vec();
    Ok(Some(vec![editor.node(node, "Attention", &inputs, &node.outputs, &attributes)]))
}

/// Products, softmax and products again, with a block between each two.
fn modified_attention(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let &[Some(q), Some(k), Some(v), ..] = node.inputs.as_slice() else { return Ok(None) };
    let (Some(dtype), Some(precision)) = (float(editor, q), precision(editor, node, q)) else { return Ok(None) };
    let (Some(&[_, Dim::Known(q_heads), _, Dim::Known(width)]), Some(&[_, Dim::Known(kv_heads), ..])) =
        (editor.shape(q), editor.shape(k))
    else {
        return Ok(None);
    };
    if kv_heads == 0 || q_heads % kv_heads != 0 || q_heads > HEADS_MAX {
        return Ok(None);
    }
    let scale = node.number("scale").unwrap_or(1.0 / (width as f64).sqrt());
    let captured: Vec<_> = node.inputs[node.own_inputs()..].iter().flatten().copied().collect();
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let Some(scale) = sketch.scalar(precision, scale) else { return Ok(None) };
    let mut operands = [q, k, v];
    for (index, operand) in operands.iter_mut().enumerate() {
        if index > 0 && q_heads != kv_heads {
            // Query heads share the heads of keys and values in their order.
            let shared: Vec<i64> = (0..q_heads).map(|head| (head / (q_heads / kv_heads)) as i64).collect();
            let shared = sketch.vector(&shared);
            *operand = sketch.op("Gather", &[*operand, shared], &[("axis", Attribute::Integer(1))]);
        }
        *operand = cast(&mut sketch, *operand, dtype, precision);
    }
    let [q, k, v] = operands;
    let turned = sketch.op("Transpose", &[k], &[("perm", Attribute::Integers(vec![0, 1, 3, 2]))]);
    let product = sketch.op("MatMul", &[q, turned], &[]);
    let scores = sketch.op("Mul", &[product, scale], &[]);
    let Some(scores) = through_block(&mut sketch, node, "score_mod", scores, &captured) else { return Ok(None) };
    let weights = sketch.op("Softmax", &[scores], &[("axis", Attribute::Integer(-1))]);
    let Some(weights) = through_block(&mut sketch, node, "prob_mod", weights, &captured) else { return Ok(None) };
    if precision == dtype {
        return sketch.finish("MatMul", &[weights, v], &[]);
    }
    let result = sketch.op("MatMul", &[weights, v], &[]);
    sketch.finish("Cast", &[result], &[("to", Attribute::Integer(dtype.code().into()))])
}

/// Heads that a rewrite writes indices for.
const HEADS_MAX: u64 = 1 << 16;

/// The type that scores are computed in.
fn precision(editor: &Editor<'_>, node: &Node, q: ValueId) -> Option<DType> {
    match node.integer("softmax_precision") {
        Some(code) => u16::try_from(code).ok().and_then(DType::from_code),
        None if editor.dtype(q) == Some(DType::F64) => Some(DType::F64),
        None => Some(DType::F32),
    }
}

fn cast(sketch: &mut Sketch<'_, '_>, value: ValueId, from: DType, to: DType) -> ValueId {
    if from == to {
        return value;
    }
    sketch.op("Cast", &[value], &[("to", Attribute::Integer(to.code().into()))])
}

/// What a node's block makes of a value; the value itself when there is no such block. The block becomes the branch of an If that is
/// certain, and its parameter one more value that it captures; what happens to such branches happens to it.
fn through_block(
    sketch: &mut Sketch<'_, '_>,
    node: &Node,
    key: &str,
    value: ValueId,
    captured: &[ValueId],
) -> Option<ValueId> {
    let Some(Attribute::Graph(block)) = node.attributes.get(key) else { return Some(value) };
    let mut branch = Graph::clone(block);
    if branch.inputs.len() != captured.len() + 1 || branch.captured != captured.len() || branch.outputs.len() != 1 {
        return None;
    }
    branch.captured += 1;
    let branch = Attribute::Graph(Arc::new(branch));
    let certain = sketch.scalar(DType::Bool, 1.0)?;
    let inputs = [&[certain, value], captured].concat();
    Some(sketch.op("If", &inputs, &[("then_branch", branch.clone()), ("else_branch", branch)]))
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
    use super::*;
    use crate::fold::NoEvaluator;
    use crate::optimise::prepare;
    use crate::testing::{NOTHING, graph, prepared};
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

    #[test]
    fn a_block_on_the_scores_of_flex_attention_stands_between_its_products() {
        let mut raw = graph(
            "opset 1\n input q f16[1,2,3,8]\n input k f16[1,1,4,8]\n input s f32[]\n y = ai.onnx.preview.FlexAttention(q, k, k, s) scale=0.5\n output y",
        );
        let mut block = graph("input p f32[?,?,?,?]\n input s f32[]\n a = Mul(p, s)\n output a");
        block.captured = 1;
        raw.nodes[0].attributes.insert("score_mod".to_owned(), Attribute::Graph(Arc::new(block)));
        let graph = prepare(raw, &NOTHING, &mut NoEvaluator).expect("prepared");
        expect![[r#"
            input %q: f16[1,2,3,8]
            input %k: f16[1,1,4,8]
            input %s: f32[]
            %y~5: f32[1,2,3,8] = Cast(%q) {round_mode=up, saturate=1, to=1}  // y
            %y~7: f16[1,2,4,8] = Gather(%k, const i64[2] [0,0]) {axis=1}  // y
            %y~8: f32[1,2,4,8] = Cast(%y~7) {round_mode=up, saturate=1, to=1}  // y
            %y~11: f32[1,2,8,4] = Transpose(%y~8) {perm=[0,1,3,2]}  // y
            %y~12: f32[1,2,3,4] = MatMul(%y~5, %y~11)  // y
            %y~13: f32[1,2,3,4] = Mul(%y~12, const f32[] [0.5])  // y
            %y~15: f32[1,2,3,4] = Mul(%y~13, %s)  // a
            %y~16: f32[1,2,3,4] = Softmax(%y~15) {axis=-1}  // y
            %y~17: f32[1,2,3,8] = MatMul(%y~16, %y~8)  // y
            %y: f16[1,2,3,8] = Cast(%y~17) {round_mode=up, saturate=1, to=10}  // y
            output %y
        "#]]
        .assert_eq(&graph.to_string());
    }
}
