use crate::fold::NoEvaluator;
use crate::optimise::concrete;
use crate::testing::{Fake, prepared, shapes};
use expect_test::{Expect, expect};

#[track_caller]
fn check(text: &str, given: &[&[u64]], expected: Expect) {
    let graph = prepared(text);
    let graph =
        concrete(&graph, &shapes(&graph, given), &Fake, &mut NoEvaluator).unwrap_or_else(|error| panic!("{error}"));
    expected.assert_eq(&graph.to_string());
}

/// Scales and zero points of the cases.
const NUMBERS: &str = "const s f32[] = 0.5\n const t f32[] = 0.25\n const z u8[] = 3\n const o u8[] = 0\n";

fn with_numbers(text: &str) -> String {
    format!("{NUMBERS}{text}")
}

#[test]
fn a_convolution_between_bytes_is_one_of_integers() {
    check(
        &with_numbers(
            "input x u8[1,2,4,4]
            weight w i8[8,2,3,3]
            const ws f32[8] = 0.125
            const wz i8[8] = 0
            const b i32[8] = 7
            const bs f32[8] = 0.0625
            real = DequantizeLinear(x, s, z)
            weights = DequantizeLinear(w, ws, wz) axis=0
            bias = DequantizeLinear(b, bs) axis=0
            c = Conv(real, weights, bias) pads=[1,1,1,1]
            r = Relu(c)
            y = QuantizeLinear(r, t, o)
            output y",
        ),
        &[&[1, 2, 4, 4]],
        expect![[r#"
            input %x: u8[1,2,4,4]
            %y: u8[1,8,4,4] = QLinearConv(%x, const f32[] [0.5], const u8[] [3], %w: const i8[8,2,3,3], const f32[8] [0.125,0.125,0.125,0.125,0.125,0.125,0.125,0.125], const i8[8] [0,0,0,0,0,0,0,0], const f32[] [0.25], const u8[] [0], const i32[8] [7,7,7,7,7,7,7,7]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]}  // c
            output %y
        "#]],
    );
}

#[test]
fn an_activation_that_cuts_off_more_than_bytes_do_stays() {
    check(
        &with_numbers("input x f32[4]\n r = Relu(x)\n y = QuantizeLinear(r, t, z)\n output y"),
        &[&[4]],
        expect![[r#"
            input %x: f32[4]
            %r: f32[4] = Relu(%x)  // r
            %y: u8[4] = QuantizeLinear(%r, const f32[] [0.25], const u8[] [3]) {axis=1, block_size=0, output_dtype=0, precision=0, saturate=1}  // y
            output %y
        "#]],
    );
}

#[test]
fn a_bias_of_floats_is_rounded_to_the_units_of_the_sum() {
    check(
        &with_numbers(
            "input x u8[1,2,4,4]
            weight w i8[2,2,1,1]
            const b f32[2] = 1.1 -3
            real = DequantizeLinear(x, s, z)
            weights = DequantizeLinear(w, s)
            c = Conv(real, weights, b)
            y = QuantizeLinear(c, t, o)
            output y",
        ),
        &[&[1, 2, 4, 4]],
        expect![[r#"
            input %x: u8[1,2,4,4]
            %y: u8[1,2,4,4] = QLinearConv(%x, const f32[] [0.5], const u8[] [3], const i8[2,2,1,1] [0,0,0,0], const f32[] [0.5], const i8[] [0], const f32[] [0.25], const u8[] [0], const i32[2] [4,-12]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,1], pads=[0,0,0,0], strides=[1,1]}  // c
            output %y
        "#]],
    );
}

#[test]
fn a_residual_sum_and_a_pool_are_taken_of_bytes() {
    check(
        &with_numbers(
            "input a u8[1,2,4,4]
            input b u8[1,2,4,4]
            left = DequantizeLinear(a, s, z)
            right = DequantizeLinear(b, t, o)
            sum = Sum(left, right)
            r = Relu(sum)
            q = QuantizeLinear(r, t, o)
            real = DequantizeLinear(q, t, o)
            p = MaxPool(real) kernel_shape=[2,2] strides=[2,2]
            f = Flatten(p)
            y = QuantizeLinear(f, t, o)
            output y",
        ),
        &[&[1, 2, 4, 4], &[1, 2, 4, 4]],
        expect![[r#"
            input %a: u8[1,2,4,4]
            input %b: u8[1,2,4,4]
            %q: u8[1,2,4,4] = sunmao.QAdd(%a, const f32[] [0.5], const u8[] [3], %b, const f32[] [0.25], const u8[] [0], const f32[] [0.25], const u8[] [0])  // sum
            %y~15: u8[1,2,2,2] = MaxPool(%q) {auto_pad=NOTSET, ceil_mode=0, dilations=[1,1], kernel_shape=[2,2], pads=[0,0,0,0], storage_order=0, strides=[2,2]}  // p
            %y: u8[1,8] = Reshape(%y~15, const i64[2] [1,8]) {allowzero=0}  // f
            output %y
        "#]],
    );
}

#[test]
fn products_of_bytes_are_made_real() {
    check(
        &with_numbers(
            "input x u8[2,4]
            weight w i8[3,4]
            const ws f32[3] = 0.125
            const b i32[3] = 7
            const bs f32[3] = 0.0625
            real = DequantizeLinear(x, s, z)
            weights = DequantizeLinear(w, ws) axis=0
            bias = DequantizeLinear(b, bs) axis=0
            y = Gemm(real, weights, bias) transB=1
            output y",
        ),
        &[&[2, 4]],
        expect![[r#"
            input %x: u8[2,4]
            %bias: f32[3] = DequantizeLinear(const i32[3] [7,7,7], const f32[3] [0.0625,0.0625,0.0625]) {axis=0, block_size=0, output_dtype=0}  // bias
            %y~14: i8[4,3] = Transpose(%w: const i8[3,4]) {perm=[1,0]}  // y
            %y: f32[2,3] = sunmao.MatMulIntegerToFloat(%x, %y~14, const f32[] [0.5], const f32[3] [0.125,0.125,0.125], const u8[] [3], const i8[] [0], %bias)  // y
            output %y
        "#]],
    );
}

#[test]
fn a_dynamically_quantised_product_is_one_operator() {
    check(
        "input x f32[2,4]
        weight w u8[4,3]
        const ws f32[] = 0.125
        const wz u8[] = 128
        const b f32[3] = 1
        q, qs, qz = DynamicQuantizeLinear(x)
        m = MatMulInteger(q, w, qz, wz)
        c = Cast(m) to=1
        scale = Mul(qs, ws)
        p = Mul(c, scale)
        y = Add(p, b)
        output y",
        &[&[2, 4]],
        expect![[r#"
            input %x: f32[2,4]
            %q: u8[2,4], %qs: f32[], %qz: u8[] = DynamicQuantizeLinear(%x)  // q
            %y: f32[2,3] = sunmao.MatMulIntegerToFloat(%q, %w: const u8[4,3], %qs, const f32[] [0.125], %qz, const u8[] [128], _) +bias(const f32[3] [1.0,1.0,1.0])  // m
            output %y
        "#]],
    );
}

#[test]
fn what_is_read_as_floats_too_is_dequantised_for_that() {
    check(
        &with_numbers(
            "input x u8[1,2,4,4]
            weight w i8[2,2,1,1]
            real = DequantizeLinear(x, s, z)
            weights = DequantizeLinear(w, s)
            c = Conv(real, weights)
            y = QuantizeLinear(c, t, o)
            output y
            output c",
        ),
        &[&[1, 2, 4, 4]],
        expect![[r#"
            input %x: u8[1,2,4,4]
            %real: f32[1,2,4,4] = DequantizeLinear(%x, const f32[] [0.5], const u8[] [3]) {axis=1, block_size=0, output_dtype=0}  // real
            %weights: f32[2,2,1,1] = DequantizeLinear(const i8[2,2,1,1] [0,0,0,0], const f32[] [0.5]) {axis=1, block_size=0, output_dtype=0}  // weights
            %c: f32[1,2,4,4] = Conv(%real, %weights) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[1,1], pads=[0,0,0,0], strides=[1,1]}  // c
            %y: u8[1,2,4,4] = QuantizeLinear(%c, const f32[] [0.25], const u8[] [0]) {axis=1, block_size=0, output_dtype=0, precision=0, saturate=1}  // y
            output %y
            output %c
        "#]],
    );
}
