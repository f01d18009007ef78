mod attention;

use crate::Graph;
use crate::fold::NoEvaluator;
use crate::optimise::concrete;
use crate::testing::{Fake, prepared, shapes};
use expect_test::{Expect, expect};

#[track_caller]
fn prepared_at(text: &str, given: &[&[u64]]) -> Graph {
    let graph = prepared(text);
    concrete(&graph, &shapes(&graph, given), &Fake, &mut NoEvaluator).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn check(text: &str, given: &[&[u64]], expected: Expect) {
    expected.assert_eq(&prepared_at(text, given).to_string());
}

const X: &[&[u64]] = &[&[1, 2, 4, 4]];

#[test]
fn activations_hang_on_the_operator_before_them() {
    for activation in ["Relu(c)", "Clip(c, lo, hi)", "HardSwish(c)", "LeakyRelu(c) alpha=0.5"] {
        let expected = match activation {
            "Relu(c)" => expect![[r#"
                input %x: f32[1,2,4,4]
                %y: f32[1,8,5,5] = Conv(%x, %w: const f32[8,2,16,16], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[16,16], pads=[8,8,8,8], strides=[1,1]} +Relu  // c
                output %y
            "#]],
            "HardSwish(c)" => expect![[r#"
                input %x: f32[1,2,4,4]
                %y: f32[1,8,5,5] = Conv(%x, %w: const f32[8,2,16,16], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[16,16], pads=[8,8,8,8], strides=[1,1]} +HardSwish  // c
                output %y
            "#]],
            "Clip(c, lo, hi)" => expect![[r#"
                input %x: f32[1,2,4,4]
                %y: f32[1,8,5,5] = Conv(%x, %w: const f32[8,2,16,16], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[16,16], pads=[8,8,8,8], strides=[1,1]} +Clip {max=6.0, min=0.0}  // c
                output %y
            "#]],
            _ => expect![[r#"
                input %x: f32[1,2,4,4]
                %y: f32[1,8,5,5] = Conv(%x, %w: const f32[8,2,16,16], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[16,16], pads=[8,8,8,8], strides=[1,1]} +LeakyRelu {alpha=0.5}  // c
                output %y
            "#]],
        };
        check(
            &format!(
                "opset 14\n input x f32[N,2,4,4]\n weight w f32[8,2,16,16]\n const lo f32[] = 0\n const hi f32[] = 6\n c = Conv(x, w) pads=[8,8,8,8]\n y = {activation}\n output y"
            ),
            X,
            expected,
        );
    }
}

#[test]
fn a_clip_with_computed_bounds_stays() {
    check(
        "input x f32[N,2,4,4]\n input hi f32[]\n weight w f32[8,2,16,16]\n c = Conv(x, w) pads=[8,8,8,8]\n y = Clip(c, _, hi)\n output y",
        &[&[1, 2, 4, 4], &[]],
        expect![[r#"
        input %x: f32[1,2,4,4]
        input %hi: f32[]
        %c: f32[1,8,5,5] = Conv(%x, %w: const f32[8,2,16,16]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[16,16], pads=[8,8,8,8], strides=[1,1]}  // c
        %y: f32[1,8,5,5] = Clip(%c, _, %hi)  // y
        output %y
    "#]],
    );
}

#[test]
fn a_result_that_goes_out_or_is_read_twice_stays() {
    check(
        "input x f32[N,2,4,4]\n weight w f32[8,2,16,16]\n c = Conv(x, w) pads=[8,8,8,8]\n y = Relu(c)\n output y\n output c",
        X,
        expect![[r#"
        input %x: f32[1,2,4,4]
        %c: f32[1,8,5,5] = Conv(%x, %w: const f32[8,2,16,16]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[16,16], pads=[8,8,8,8], strides=[1,1]}  // c
        %y: f32[1,8,5,5] = Relu(%c)  // y
        output %y
        output %c
    "#]],
    );
    check(
        "input x f32[N,2,4,4]\n weight w f32[8,2,16,16]\n c = Conv(x, w) pads=[8,8,8,8]\n r = Relu(c)\n y = Add(r, c)\n output y",
        X,
        expect![[r#"
        input %x: f32[1,2,4,4]
        %c: f32[1,8,5,5] = Conv(%x, %w: const f32[8,2,16,16]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[16,16], pads=[8,8,8,8], strides=[1,1]}  // c
        %r: f32[1,8,5,5] = Relu(%c)  // r
        %y: f32[1,8,5,5] = Add(%r, %c)  // y
        output %y
    "#]],
    );
}

#[test]
fn numbers_behind_an_activation_are_one_affine_step() {
    check(
        "opset 14
        input x f32[N,2,4,4]
        weight w f32[2,2,1,2000]
        const two f32[] = 2
        const half f32[1] = 0.5
        c = Conv(x, w) pads=[0,999,0,1000]
        h = HardSwish(c)
        m = Mul(two, h)
        a = Add(m, half)
        y = Mul(a, two)
        output y",
        X,
        expect![[r#"
            input %x: f32[1,2,4,4]
            %y: f32[1,2,4,4] = Conv(%x, %w: const f32[2,2,1,2000], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,2000], pads=[0,999,0,1000], strides=[1,1]} +HardSwish +Affine {alpha=4.0, beta=1.0}  // c
            output %y
        "#]],
    );
}

#[test]
fn a_residual_is_added_to_the_later_branch() {
    check(
        "input x f32[N,2,4,4]
        weight w f32[2,2,1,2000]
        weight v f32[2,2,1,2000]
        a = Conv(x, w) pads=[0,999,0,1000]
        b = Conv(x, v) pads=[0,999,0,1000]
        r = Relu(b)
        c = Conv(r, v) pads=[0,999,0,1000]
        s = Add(c, a)
        y = Relu(s)
        output y",
        X,
        expect![[r#"
            input %x: f32[1,2,4,4]
            %a: f32[1,2,4,4] = Conv(%x, %w: const f32[2,2,1,2000]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,2000], pads=[0,999,0,1000], strides=[1,1]}  // a
            %r: f32[1,2,4,4] = Conv(%x, %v: const f32[2,2,1,2000], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,2000], pads=[0,999,0,1000], strides=[1,1]} +Relu  // b
            %y: f32[1,2,4,4] = Conv(%r, %v: const f32[2,2,1,2000], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,2000], pads=[0,999,0,1000], strides=[1,1]} +add(%a) +Relu  // c
            output %y
        "#]],
    );
}

#[test]
fn a_residual_made_after_the_operator_moves_it_behind() {
    check(
        "input x f32[N,2,4,4]
        weight w f32[2,2,1,2000]
        a = Conv(x, w) pads=[0,999,0,1000]
        e = Exp(x)
        y = Add(a, e)
        output y",
        X,
        expect![[r#"
            input %x: f32[1,2,4,4]
            %e: f32[1,2,4,4] = Exp(%x)  // e
            %y: f32[1,2,4,4] = Conv(%x, %w: const f32[2,2,1,2000], _) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,2000], pads=[0,999,0,1000], strides=[1,1]} +add(%e)  // a
            output %y
        "#]],
    );
}

#[test]
fn a_value_is_not_added_to_itself_or_across_shapes() {
    check(
        "input x f32[N,2,4,4]\n weight w f32[2,2,1,2000]\n a = Conv(x, w) pads=[0,999,0,1000]\n y = Add(a, a)\n output y",
        X,
        expect![[r#"
        input %x: f32[1,2,4,4]
        %a: f32[1,2,4,4] = Conv(%x, %w: const f32[2,2,1,2000]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,2000], pads=[0,999,0,1000], strides=[1,1]}  // a
        %y: f32[1,2,4,4] = Add(%a, %a)  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,2,4,4]\n input z f32[1,2,1,1]\n weight w f32[2,2,1,2000]\n a = Conv(x, w) pads=[0,999,0,1000]\n y = Add(a, z)\n output y",
        &[&[1, 2, 4, 4], &[1, 2, 1, 1]],
        expect![[r#"
        input %x: f32[1,2,4,4]
        input %z: f32[1,2,1,1]
        %a: f32[1,2,4,4] = Conv(%x, %w: const f32[2,2,1,2000]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,2000], pads=[0,999,0,1000], strides=[1,1]}  // a
        %y: f32[1,2,4,4] = Add(%a, %z)  // y
        output %y
    "#]],
    );
}

#[test]
fn bias_of_a_matrix_product() {
    check(
        "input x f32[B,S,64]\n weight w f32[64,32]\n weight b f32[1,1,32]\n m = MatMul(x, w)\n a = Add(b, m)\n y = Relu(a)\n output y",
        &[&[1, 7, 64]],
        expect![[r#"
        input %x: f32[1,7,64]
        %y: f32[1,7,32] = MatMul(%x, %w: const f32[64,32]) +bias(%b~6: const f32[32]) +Relu  // m
        output %y
    "#]],
    );
}

#[test]
fn layer_normalization_written_out() {
    check(
        "input x f32[B,S,8]
        const two f32[] = 2
        const eps f32[] = 1e-12
        const g f32[8] = 1 2 3 4 5 6 7 8
        const b f32[1,1,8] = 8 7 6 5 4 3 2 1
        m = ReduceMean(x) axes=[-1]
        d = Sub(x, m)
        d2 = Sub(x, m)
        p = Pow(d2, two)
        v = ReduceMean(p) axes=[2]
        e = Add(v, eps)
        s = Sqrt(e)
        n = Div(d, s)
        k = Mul(n, g)
        y = Add(k, b)
        output y",
        &[&[1, 7, 8]],
        expect![[r#"
            input %x: f32[1,7,8]
            %y: f32[1,7,8] = LayerNormalization(%x, const f32[8] [1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0], const f32[8] [8.0,7.0,6.0,5.0,4.0,3.0,2.0,1.0]) {axis=-1, epsilon=1e-12, stash_type=1}  // k
            output %y
        "#]],
    );
}

#[test]
fn a_mean_over_another_axis_is_no_layer_normalization() {
    check(
        "input x f32[B,8,8]
        const eps f32[] = 1e-12
        const g f32[8] = 1
        m = ReduceMean(x) axes=[1]
        d = Sub(x, m)
        p = Mul(d, d)
        v = ReduceMean(p) axes=[1]
        e = Add(v, eps)
        s = Sqrt(e)
        n = Div(d, s)
        y = Mul(n, g)
        output y",
        &[&[1, 8, 8]],
        expect![[r#"
            input %x: f32[1,8,8]
            %m: f32[1,1,8] = ReduceMean(%x, const i64[1] [1]) {keepdims=1, noop_with_empty_axes=0}  // m
            %d: f32[1,8,8] = Sub(%x, %m)  // d
            %p: f32[1,8,8] = Mul(%d, %d)  // p
            %v: f32[1,1,8] = ReduceMean(%p, const i64[1] [1]) {keepdims=1, noop_with_empty_axes=0}  // v
            %e: f32[1,1,8] = Add(%v, const f32[] [1e-12])  // e
            %s: f32[1,1,8] = Sqrt(%e)  // s
            %n: f32[1,8,8] = Div(%d, %s)  // n
            %y: f32[1,8,8] = Mul(%n, const f32[8] [1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0])  // y
            output %y
        "#]],
    );
}

#[test]
fn gelu_in_its_usual_orders() {
    let constants =
        "const r f32[] = 1.4142135\n const q f32[] = 0.70710677\n const one f32[] = 1\n const half f32[] = 0.5\n";
    let gelu = expect![[r#"
        symbol N: 0..
        input %x: f32[N]
        %y: f32[N] = Gelu(%x) {approximate=none}  // y
        output %y
    "#]];
    for body in [
        "d = Div(x, r)\n e = Erf(d)\n a = Add(e, one)\n m = Mul(x, a)\n y = Mul(m, half)",
        "d = Mul(x, q)\n e = Erf(d)\n a = Add(one, e)\n h = Mul(x, half)\n y = Mul(h, a)",
        "d = Div(x, r)\n e = Erf(d)\n a = Add(e, one)\n h = Mul(half, a)\n y = Mul(x, h)",
    ] {
        let graph = prepared(&format!("input x f32[N]\n {constants}\n {body}\n output y"));
        gelu.assert_eq(&graph.to_string());
    }
}

#[test]
fn gelu_by_tanh() {
    check(
        "input x f32[N]
        const c f32[] = 0.044715
        const k f32[] = 0.7978846
        const one f32[] = 1
        const half f32[] = 0.5
        a = Mul(x, x)
        b = Mul(c, x)
        d = Mul(a, b)
        e = Add(x, d)
        f = Mul(e, k)
        g = Tanh(f)
        h = Add(g, one)
        i = Mul(half, h)
        y = Mul(x, i)
        output y",
        &[&[4]],
        expect![[r#"
            input %x: f32[4]
            %y: f32[4] = Gelu(%x) {approximate=tanh}  // y
            output %y
        "#]],
    );
}

#[test]
fn nearly_a_gelu_is_none() {
    check(
        "input x f32[N]
        const r f32[] = 1.5
        const one f32[] = 1
        const half f32[] = 0.5
        d = Div(x, r)
        e = Erf(d)
        a = Add(e, one)
        m = Mul(x, a)
        y = Mul(m, half)
        output y",
        &[&[4]],
        expect![[r#"
            input %x: f32[4]
            %d: f32[4] = Div(%x, const f32[] [1.5])  // d
            %e: f32[4] = Erf(%d)  // e
            %a: f32[4] = Add(%e, const f32[] [1.0])  // a
            %m: f32[4] = Mul(%x, %a)  // m
            %y: f32[4] = Mul(%m, const f32[] [0.5])  // y
            output %y
        "#]],
    );
}

#[test]
fn hard_swish_in_its_usual_forms() {
    check(
        "input x f32[N]\n g = HardSigmoid(x) alpha=0.16666667163372040 beta=0.5\n y = Mul(g, x)\n output y",
        &[&[4]],
        expect![[r#"
        input %x: f32[4]
        %y: f32[4] = HardSwish(%x)  // y
        output %y
    "#]],
    );
    let constants = "const three f32[1] = 3\n const lo f32[] = 0\n const six f32[1] = 6\n const top f32[] = 6\n";
    for body in ["m = Mul(x, k)\n y = Div(m, six)", "m = Div(k, six)\n y = Mul(x, m)"] {
        let text = format!("input x f32[N]\n {constants} a = Add(x, three)\n k = Clip(a, lo, top)\n {body}\n output y");
        let graph = prepared(&text);
        let swish = graph.nodes.iter().map(|node| node.op.as_str());
        assert_eq!(swish.collect::<Vec<_>>(), ["HardSwish"], "{body}");
    }
}

#[test]
fn swish() {
    check(
        "input x f32[N]\n g = Sigmoid(x)\n y = Mul(x, g)\n output y",
        &[&[4]],
        expect![[r#"
        input %x: f32[4]
        %y: f32[4] = Swish(%x) {alpha=1.0}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N]\n const a f32[] = 1.702\n s = Mul(x, a)\n g = Sigmoid(s)\n y = Mul(x, g)\n output y",
        &[&[4]],
        expect![[r#"
        input %x: f32[4]
        %y: f32[4] = Swish(%x) {alpha=1.702}  // y
        output %y
    "#]],
    );
}

#[test]
fn transposes_in_a_row() {
    check(
        "input x f32[2,3,4]\n a = Transpose(x) perm=[0,2,1]\n b = Transpose(a) perm=[2,0,1]\n y = Relu(b)\n output y",
        &[],
        expect![[r#"
        input %x: f32[2,3,4]
        %b: f32[3,2,4] = Transpose(%x) {perm=[1,0,2]}  // b
        %y: f32[3,2,4] = Relu(%b)  // y
        output %y
    "#]],
    );
    check(
        "input x f32[2,3,4]\n a = Transpose(x) perm=[0,2,1]\n b = Transpose(a) perm=[0,2,1]\n y = Relu(b)\n output y",
        &[],
        expect![[r#"
        input %x: f32[2,3,4]
        %y: f32[2,3,4] = Relu(%x)  // y
        output %y
    "#]],
    );
}

#[test]
fn a_transpose_of_axes_of_length_1_is_a_reshape() {
    check(
        "input x f32[N,3,1,4]\n a = Transpose(x) perm=[0,2,1,3]\n y = Relu(a)\n output y",
        &[&[2, 3, 1, 4]],
        expect![[r#"
        input %x: f32[2,3,1,4]
        %a: f32[2,1,3,4] = Reshape(%x, const i64[4] [2,1,3,4]) {allowzero=0}  // a
        %y: f32[2,1,3,4] = Relu(%a)  // y
        output %y
    "#]],
    );
}

#[test]
fn an_activation_behind_a_reshape_goes_before_it() {
    check(
        "input x f32[N,64]\n weight w f32[64,32]\n const t i64[3] = -1 4 8\n m = MatMul(x, w)\n r = Reshape(m, t)\n y = Tanh(r)\n output y",
        &[&[2, 64]],
        expect![[r#"
        input %x: f32[2,64]
        %y~7: f32[2,32] = MatMul(%x, %w: const f32[64,32]) +Tanh  // m
        %y: f32[2,4,8] = Reshape(%y~7, const i64[3] [2,4,8]) {allowzero=0}  // r
        output %y
    "#]],
    );
}
