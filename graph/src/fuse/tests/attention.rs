//! Attention, RMSNormalization and one-hot products that were written out.

use super::{check, prepared_at};
use expect_test::expect;

/// Heads split off rows, as exporters of encoders write it.
const ENCODER: &str = "
    input q f32[N,S,24]
    input k f32[N,S,24]
    input v f32[N,S,24]
    input mask f32[N,1,1,S]
    const split i64[4] = 0 0 3 8
    const merge i64[3] = 0 0 24
    const root f32[] = 4
    q4 = Reshape(q, split)
    k4 = Reshape(k, split)
    v4 = Reshape(v, split)
    qt = Transpose(q4) perm=[0,2,1,3]
    kt = Transpose(k4) perm=[0,2,3,1]
    vt = Transpose(v4) perm=[0,2,1,3]
    s = MatMul(qt, kt)
    d = Div(s, root)
    m = Add(d, mask)
    p = Softmax(m) axis=-1
    o = MatMul(p, vt)
    t = Transpose(o) perm=[0,2,1,3]
    y = Reshape(t, merge)
    output y";

#[test]
fn attention_with_split_heads_reads_them_where_they_lie() {
    check(
        ENCODER,
        &[&[2, 5, 24], &[2, 5, 24], &[2, 5, 24], &[2, 1, 1, 5]],
        expect![[r#"
        input %q: f32[2,5,24]
        input %k: f32[2,5,24]
        input %v: f32[2,5,24]
        input %mask: f32[2,1,1,5]
        %y: f32[2,5,24] = Attention(%q, %k, %v, %mask) {is_causal=0, kv_num_heads=3, left_window_size=-1, q_num_heads=3, qk_matmul_output_mode=0, right_window_size=-1, scale=0.25, softcap=0.0}  // o
        output %y
    "#]],
    );
}

#[test]
fn queries_keys_and_values_of_one_product_are_cut_apart_before_they_are_turned() {
    let part = |name: &str, at: u8| {
        format!(
            "const {name}0 i64[1] = {at}
            const {name}1 i64[1] = {}
            {name}s = Slice(t, {name}0, {name}1, front)
            {name} = Squeeze({name}s, front)\n",
            at + 1
        )
    };
    check(
        &format!(
            "input x f32[N,S,72]
            const split i64[5] = 0 0 3 3 8
            const front i64[1] = 0
            const merge i64[3] = 0 0 24
            r = Reshape(x, split)
            t = Transpose(r) perm=[2,0,3,1,4]
            {}{}{}
            kt = Transpose(k) perm=[0,1,3,2]
            s = MatMul(q, kt)
            p = Softmax(s) axis=-1
            o = MatMul(p, v)
            u = Transpose(o) perm=[0,2,1,3]
            y = Reshape(u, merge)
            output y",
            part("q", 0),
            part("k", 1),
            part("v", 2)
        ),
        &[&[2, 5, 72]],
        expect![[r#"
            input %x: f32[2,5,72]
            %r: f32[2,5,3,3,8] = Reshape(%x, const i64[5] [2,5,3,3,8]) {allowzero=0}  // r
            %qs~24: f32[2,5,1,3,8] = Slice(%r, const i64[1] [0], const i64[1] [1], const i64[1] [2])  // qs
            %ks~27: f32[2,5,1,3,8] = Slice(%r, const i64[1] [1], const i64[1] [2], const i64[1] [2])  // ks
            %vs~29: f32[2,5,1,3,8] = Slice(%r, const i64[1] [2], const i64[1] [3], const i64[1] [2])  // vs
            %q~20: f32[2,5,24] = Reshape(%qs~24, const i64[3] [2,5,24]) {allowzero=0}  // u
            %k~22: f32[2,5,24] = Reshape(%ks~27, const i64[3] [2,5,24]) {allowzero=0}  // u
            %v~23: f32[2,5,24] = Reshape(%vs~29, const i64[3] [2,5,24]) {allowzero=0}  // u
            %y: f32[2,5,24] = Attention(%q~20, %k~22, %v~23) {is_causal=0, kv_num_heads=3, left_window_size=-1, q_num_heads=3, qk_matmul_output_mode=0, right_window_size=-1, scale=1.0, softcap=0.0}  // o
            output %y
        "#]],
    );
}

#[test]
fn attention_over_three_axes_with_a_scale_on_the_queries_and_hidden_keys() {
    check(
        "input q f32[3,S,8]
        input k f32[3,T,8]
        input v f32[3,T,8]
        input hidden bool[S,T]
        const scale f32[] = 0.25
        const low f32[] = -inf
        a = Mul(q, scale)
        kt = Transpose(k) perm=[0,2,1]
        s = MatMul(a, kt)
        m = Where(hidden, low, s)
        p = Softmax(m) axis=2
        y = MatMul(p, v)
        output y",
        &[&[3, 4, 8], &[3, 6, 8], &[3, 6, 8], &[4, 6]],
        expect![[r#"
            input %q: f32[3,4,8]
            input %k: f32[3,6,8]
            input %v: f32[3,6,8]
            input %hidden: bool[4,6]
            %q~13: f32[1,3,4,8] = Reshape(%q, const i64[4] [1,3,4,8]) {allowzero=0}  // y
            %k~14: f32[1,3,6,8] = Reshape(%k, const i64[4] [1,3,6,8]) {allowzero=0}  // y
            %v~15: f32[1,3,6,8] = Reshape(%v, const i64[4] [1,3,6,8]) {allowzero=0}  // y
            %hidden~17: bool[4,6] = Not(%hidden)  // y
            %y~16: f32[1,3,4,8] = Attention(%q~13, %k~14, %v~15, %hidden~17) {is_causal=0, left_window_size=-1, qk_matmul_output_mode=0, right_window_size=-1, scale=0.25, softcap=0.0}  // y
            %y: f32[3,4,8] = Reshape(%y~16, const i64[3] [3,4,8]) {allowzero=0}  // y
            output %y
        "#]],
    );
}

#[test]
fn heads_that_were_repeated_are_shared() {
    check(
        "input q f32[4,2,8]
        input k f32[2,6,8]
        input v f32[2,6,8]
        const one i64[1] = 1
        const wide i64[4] = 2 2 6 8
        const flat i64[3] = 4 6 8
        ku = Unsqueeze(k, one)
        ke = Expand(ku, wide)
        kr = Reshape(ke, flat)
        vu = Unsqueeze(v, one)
        ve = Expand(vu, wide)
        vr = Reshape(ve, flat)
        kt = Transpose(kr) perm=[0,2,1]
        s = MatMul(q, kt)
        p = Softmax(s) axis=-1
        y = MatMul(p, vr)
        output y",
        &[],
        expect![[r#"
            input %q: f32[4,2,8]
            input %k: f32[2,6,8]
            input %v: f32[2,6,8]
            %q~17: f32[1,4,2,8] = Reshape(%q, const i64[4] [1,4,2,8]) {allowzero=0}  // y
            %ku~19: f32[1,2,6,8] = Reshape(%k, const i64[4] [1,2,6,8]) {allowzero=0}  // y
            %vu~21: f32[1,2,6,8] = Reshape(%v, const i64[4] [1,2,6,8]) {allowzero=0}  // y
            %y~20: f32[1,4,2,8] = Attention(%q~17, %ku~19, %vu~21) {is_causal=0, left_window_size=-1, qk_matmul_output_mode=0, right_window_size=-1, scale=1.0, softcap=0.0}  // y
            %y: f32[4,2,8] = Reshape(%y~20, const i64[3] [4,2,8]) {allowzero=0}  // y
            output %y
        "#]],
    );
}

#[test]
fn what_is_nearly_attention_is_left_alone() {
    let attention = |text: &str| {
        let shapes: &[&[u64]] = &[&[2, 5, 24], &[2, 5, 24], &[2, 5, 24], &[2, 1, 1, 5]];
        prepared_at(text, shapes).nodes.iter().any(|node| node.op == "Attention")
    };
    assert!(attention(ENCODER));
    // Weights that somebody else sees, a softmax along the queries, a scale behind the mask.
    assert!(!attention(&format!("{ENCODER}\n output p")));
    assert!(!attention(&ENCODER.replace("Softmax(m) axis=-1", "Softmax(m) axis=2")));
    assert!(!attention(
        &ENCODER.replace("d = Div(s, root)\n    m = Add(d, mask)", "d = Add(s, mask)\n    m = Div(d, root)")
    ));
}

#[test]
fn rms_normalization_written_out() {
    let expected = expect![[r#"
        input %x: f32[1,7,4]
        %y: f32[1,7,4] = RMSNormalization(%x, const f32[4] [1.0,2.0,3.0,4.0]) {axis=-1, epsilon=1e-5, stash_type=1}  // y
        output %y
    "#]];
    for normal in ["r = Reciprocal(s)\n n = Mul(x, r)", "n = Div(x, s)"] {
        let text = format!(
            "input x f32[N,S,4]
            const eps f32[] = 1e-5
            const g f32[4] = 1 2 3 4
            q = Mul(x, x)
            m = ReduceMean(q) axes=[-1]
            e = Add(m, eps)
            s = Sqrt(e)
            {normal}
            y = Mul(n, g)
            output y"
        );
        expected.assert_eq(&prepared_at(&text, &[&[1, 7, 4]]).to_string());
    }
}

#[test]
fn a_one_hot_product_looks_rows_up() {
    check(
        "input x i32[N,5]
        const flat i64[3] = 0 5 1
        const numbers i32[1,1,3] = 0 1 2
        const wide i64[3] = 1 5 3
        const w f32[3,2] = 1 2 3 4 5 6
        r = Reshape(x, flat)
        e = Expand(r, wide)
        q = Equal(e, numbers)
        c = Cast(q) to=1
        y = MatMul(c, w)
        output y",
        &[&[1, 5]],
        expect![[r#"
            input %x: i32[1,5]
            %r: i32[1,5,1] = Reshape(%x, const i64[3] [1,5,1]) {allowzero=0}  // r
            %y~13: i32[1,5,1] = Max(%r, const i32[] [-1])  // y
            %y~14: i32[1,5,1] = Min(%y~13, const i32[] [3])  // y
            %y~16: i32[1,5] = Reshape(%y~14, const i64[2] [1,5]) {allowzero=0}  // y
            %y: f32[1,5,2] = Gather(const f32[4,2] [1.0,2.0,3.0,4.0,5.0,6.0,0.0,0.0], %y~16) {axis=0}  // y
            output %y
        "#]],
    );
}
