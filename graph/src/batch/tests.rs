use super::*;
use crate::fold::NoEvaluator;
use crate::optimise::concrete;
use crate::testing::{Fake, prepared, shapes};

/// What is said of a model of one input, concrete for `whole` and for `part`.
#[track_caller]
fn check(text: &str, whole: &[&[u64]], part: &[&[u64]]) -> Result<Vec<bool>, Together> {
    let graph = prepared(text);
    let at = |lengths| {
        concrete(&graph, &shapes(&graph, lengths), &Fake, &mut NoEvaluator).unwrap_or_else(|error| panic!("{error}"))
    };
    samples_apart(&at(whole), &at(part))
}

/// A model of one input whose samples stay apart.
#[track_caller]
fn apart(lines: &str, whole: &[u64], part: &[u64]) {
    assert_eq!(check(lines, &[whole], &[part]), Ok(vec![true]), "{lines}");
}

/// Why those of such a model do not.
#[track_caller]
fn together(lines: &str, whole: &[u64], part: &[u64]) -> &'static str {
    check(lines, &[whole], &[part]).expect_err(lines).why
}

#[test]
fn a_network_of_images() {
    let text = "opset 13
        input x f32[N,3,8,8]
        const w f32[4,3,3,3] = 0.5
        const b f32[4] = 0.5
        const f f32[4,2] = 0.25
        const one f32[1] = 1
        c = Conv(x, w, b) pads=[1,1,1,1]
        r = Relu(c)
        d = Add(r, c)
        m = MaxPool(d) kernel_shape=[2,2] strides=[2,2]
        g = GlobalAveragePool(m)
        l = Flatten(g)
        p = MatMul(l, f)
        y = Softmax(p)
        output y";
    apart(text, &[8, 3, 8, 8], &[1, 3, 8, 8]);
    apart(text, &[8, 3, 8, 8], &[2, 3, 8, 8]);
}

#[test]
fn sentences_stand_in_rows_and_come_apart_again() {
    let text = "opset 18
        input x f32[N,5,6]
        const w f32[6,4] = 0.5
        const rows i64[2] = -1 6
        const back i64[3] = 0 5 4
        const axes i64[1] = -1
        s = Shape(x)
        first = Gather(s, zero) axis=0
        const zero i64[1] = 0
        tail = Concat(first, rest) axis=0
        const rest i64[2] = 5 4
        r = Reshape(x, rows)
        m = MatMul(r, w)
        y = Reshape(m, tail)
        t = Transpose(y) perm=[0,2,1]
        q = MatMul(y, t)
        n = ReduceSum(q, axes)
        output n";
    let lines: Vec<&str> = text.lines().collect();
    // Constants stand before their readers.
    let (constants, rest): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.trim().starts_with("const"));
    let text = [&rest[..2], &constants[..], &rest[2..]].concat().join("\n");
    apart(&text, &[4, 5, 6], &[1, 5, 6]);
}

#[test]
fn what_goes_to_all_samples_is_told_apart() {
    let text = "opset 13
        input x f32[N,4]
        input scale f32[4]
        y = Mul(x, scale)
        output y";
    assert_eq!(check(text, &[&[6, 4], &[4]], &[&[2, 4], &[4]]), Ok(vec![true, false]));
}

#[test]
fn indices_in_samples_take_from_a_table() {
    let text = "opset 13
        input at i64[N,3]
        const table f32[10,2] = 0.5
        y = Gather(table, at)
        output y";
    apart(text, &[4, 3], &[1, 3]);
}

#[test]
fn what_works_along_the_first_axis_brings_samples_together() {
    for (nodes, why) in [
        ("y = Softmax(x) axis=0", "it works along the first axis"),
        ("y = ReduceMax(x, first)", "it works along the first axis"),
        ("y = ReduceMax(x)", "it works along the first axis"),
        ("y = CumSum(x, first)", "it works along the first axis"),
        ("y = Gather(x, first)", "it works along the first axis"),
        ("y = Transpose(x) perm=[1,0]", "it moves the first axis"),
        ("y = Concat(x, x) axis=0", "it works along the first axis"),
        ("t = Transpose(x) perm=[1,0]\ny = MatMul(t, x)", "it moves the first axis"),
        ("r = Reshape(x, row)\ny = Softmax(r)", "its results do not grow with the number of samples"),
    ] {
        let constants = "const first i64[1] = 0\nconst row i64[2] = 1 -1";
        let text = format!("opset 13\ninput x f32[N,4]\n{constants}\n{nodes}\noutput y");
        assert_eq!(together(&text, &[8, 4], &[2, 4]), why, "{nodes}");
    }
}

#[test]
fn a_batch_that_the_model_computes_with_is_seen() {
    // The mean over the batch, as an exporter may write it: a sum is divided by a length that became a constant.
    let text = "opset 13
        input x f32[N,4]
        s = Shape(x)
        const zero i64[] = 0
        n = Gather(s, zero) axis=0
        f = Cast(n) to=1
        y = Div(x, f)
        output y";
    assert_eq!(together(text, &[8, 4], &[2, 4]), "it computes with the number of samples");
    let fixed = "opset 13
        input x f32[N,4]
        const shape i64[2] = 8 -1
        y = Reshape(x, shape)
        output y";
    assert_eq!(together(fixed, &[8, 4], &[2, 4]), "its results do not grow with the number of samples");
}

#[test]
fn a_slice_of_all_samples_forwards_keeps_them() {
    let one = |step: i64, end: i64| {
        format!(
            "opset 13
            input x f32[N,4]
            const starts i64[2] = 0 1
            const ends i64[2] = {end} 3
            const axes i64[2] = 0 1
            const steps i64[2] = {step} 1
            y = Slice(x, starts, ends, axes, steps)
            output y"
        )
    };
    apart(&one(1, i64::MAX), &[8, 4], &[2, 4]);
    assert_eq!(together(&one(1, 5), &[8, 4], &[2, 4]), "it changes the first axis");
    assert_eq!(together(&one(-1, i64::MIN), &[8, 4], &[2, 4]), "it works along the first axis");
}

#[test]
fn an_unknown_operator_is_not_trusted() {
    let text = "opset 13
        input x f32[N,4]
        y, _, _ = DynamicQuantizeLinear(x)
        output y";
    // Its scale is of the whole batch.
    assert_eq!(together(text, &[8, 4], &[2, 4]), "the operator may bring samples together");
}

#[test]
fn an_input_without_samples_alone_is_no_batch() {
    let text = "opset 13
        input x f32[N,M]
        y = Relu(x)
        output y";
    assert!(check(text, &[&[8, 4]], &[&[8, 4]]).is_err());
    assert!(check(text, &[&[8, 4]], &[&[2, 2]]).is_err());
}
