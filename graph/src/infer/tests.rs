use crate::testing::graph;
use crate::*;
use expect_test::{Expect, expect};

/// The types of the outputs, or the error.
#[track_caller]
fn check(text: &str, expected: Expect) {
    let mut graph = validate::validate(graph(text)).unwrap_or_else(|errors| panic!("{errors}"));
    let found = match infer::infer(&mut graph) {
        Ok(()) => {
            let types: Vec<String> =
                graph.outputs.iter().map(|id| text::type_text(graph.value(*id), &graph.symbols)).collect();
            types.join(" ")
        }
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&found);
}

#[test]
fn convolutions() {
    check(
        "input x f32[N,3,224,224]\n weight w f32[64,3,7,7]\n y = Conv(x, w) pads=[3,3,3,3] strides=[2,2]\n output y",
        expect!["f32[N,64,112,112]"],
    );
    check(
        "input x f32[N,3,H,W]\n weight w f32[8,3,3,3]\n y = Conv(x, w) pads=[1,1,1,1]\n z = Conv(x, w) strides=[2,2]\n output y\n output z",
        expect!["f32[N,8,H,W] f32[N,8,?,?]"],
    );
    check(
        "input x f32[1,8,5]\n weight w f32[8,1,3]\n y = Conv(x, w) group=8 auto_pad=SAME_LOWER strides=[2]\n output y",
        expect!["f32[1,8,3]"],
    );
    check(
        "input x f32[1,4,5,5]\n weight w f32[4,2,3,3]\n y = ConvTranspose(x, w) strides=[2,2] output_padding=[1,1] pads=[1,1,1,1] group=2\n output y",
        expect!["f32[1,4,10,10]"],
    );
}

#[test]
fn convolutions_that_do_not_fit() {
    check(
        "input x f32[1,4,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w)\n output y",
        expect![
            "node `y` (Conv) has 4 input channels where its weight and 1 groups need 3; its inputs are f32[1,4,8,8], f32[8,3,3,3]"
        ],
    );
    check(
        "input x f32[1,3,2,2]\n weight w f32[8,3,3,3]\n y = Conv(x, w)\n output y",
        expect![
            "node `y` (Conv) slides a window of 3 over 2 elements (padding counted); its inputs are f32[1,3,2,2], f32[8,3,3,3]"
        ],
    );
    check(
        "input x f32[1,3,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w) strides=[0,1]\n output y",
        expect!["node `y` (Conv) has a 0 in `strides`; its inputs are f32[1,3,8,8], f32[8,3,3,3]"],
    );
    check(
        "input x f32[1,3,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w) pads=[9223372036854775807,0,9223372036854775807,0]\n output y",
        expect!["node `y` (Conv) has too much padding; its inputs are f32[1,3,8,8], f32[8,3,3,3]"],
    );
    check(
        "input x f32[1,3,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w) dilations=[9223372036854775807,1]\n output y",
        expect![
            "node `y` (Conv) slides a window of 18446744073709551615 over 8 elements (padding counted); its inputs are f32[1,3,8,8], f32[8,3,3,3]"
        ],
    );
    check(
        "input x f32[1,3,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w) kernel_shape=[5,5]\n output y",
        expect![
            "node `y` (Conv) has kernel_shape [5, 5] and a weight of [3, 3]; its inputs are f32[1,3,8,8], f32[8,3,3,3]"
        ],
    );
    check(
        "input x f32[1,3,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w) auto_pad=MAYBE\n output y",
        expect!["node `y` (Conv) has the unknown auto_pad `MAYBE`; its inputs are f32[1,3,8,8], f32[8,3,3,3]"],
    );
    check(
        "input x f32[1,3,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w) group=0\n output y",
        expect!["node `y` (Conv) has 0 groups; its inputs are f32[1,3,8,8], f32[8,3,3,3]"],
    );
    check(
        "input x f16[1,3,8,8]\n weight w f32[8,3,3,3]\n y = Conv(x, w)\n output y",
        expect![
            "node `y` (Conv) needs the same element type for inputs 0 and 1, which are f16 and f32; its inputs are f16[1,3,8,8], f32[8,3,3,3]"
        ],
    );
}

#[test]
fn pools() {
    check(
        "input x f32[1,3,7,7]\n y = MaxPool(x) kernel_shape=[3,3] strides=[2,2] ceil_mode=1\n output y",
        expect!["f32[1,3,3,3]"],
    );
    check(
        "input x f32[1,3,6,6]\n y = AveragePool(x) kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1] ceil_mode=1\n output y",
        expect!["f32[1,3,4,4]"],
    );
    check(
        "input x f32[1,3,4,4]\n y, i = MaxPool(x) kernel_shape=[2,2] strides=[4,4] ceil_mode=1\n output y\n output i",
        expect!["f32[1,3,1,1] i64[1,3,1,1]"],
    );
    check("input x f32[N,3,H,W]\n y = GlobalAveragePool(x)\n output y", expect!["f32[N,3,1,1]"]);
}

#[test]
fn broadcasting() {
    check("input a f32[N,1,4]\n input b f32[3,1]\n y = Add(a, b)\n output y", expect!["f32[N,3,4]"]);
    check("input a f32[N,4]\n input b f32[M,4]\n y = Mul(a, b)\n output y", expect!["f32[?,4]"]);
    check(
        "input a f32[2,4]\n input b f32[3,4]\n y = Mul(a, b)\n output y",
        expect![
            "node `y` (Mul) cannot broadcast lengths 2 and 3 on axis 0 of the result; its inputs are f32[2,4], f32[3,4]"
        ],
    );
    check(
        "input a f32[2]\n input b f64[2]\n y = Mul(a, b)\n output y",
        expect![
            "node `y` (Mul) needs the same element type for inputs 0 and 1, which are f32 and f64; its inputs are f32[2], f64[2]"
        ],
    );
    check("input c bool[N]\n input a f32[1]\n y = Where(c, a, a)\n output y", expect!["f32[N]"]);
    check(
        "input a f32[2]\n y = Where(a, a, a)\n output y",
        expect!["node `y` (Where) needs a condition of bool and got f32; its inputs are f32[2], f32[2], f32[2]"],
    );
}

#[test]
fn products() {
    check("input a f32[B,H,S,32]\n input b f32[B,H,32,S]\n y = MatMul(a, b)\n output y", expect!["f32[B,H,S,S]"]);
    check("input a f32[3]\n input b f32[3]\n y = MatMul(a, b)\n output y", expect!["f32[]"]);
    check(
        "input a f32[2,3]\n input b f32[4,5]\n y = MatMul(a, b)\n output y",
        expect!["node `y` (MatMul) multiplies rows of 3 elements by columns of 4; its inputs are f32[2,3], f32[4,5]"],
    );
    check(
        "input a f32[N,3]\n input b f32[5,3]\n input c f32[5]\n y = Gemm(a, b, c) transB=1\n output y",
        expect!["f32[N,5]"],
    );
    check(
        "input a f32[N,3]\n input b f32[5,3]\n input c f32[6]\n y = Gemm(a, b, c) transB=1\n output y",
        expect![
            "node `y` (Gemm) cannot broadcast lengths 5 and 6 on axis 1 of the result; its inputs are f32[N,3], f32[5,3], f32[6]"
        ],
    );
    check(
        "input a f32[B,3,4]\n input b f32[B,4,5]\n y = Einsum(a, b) equation=bij,bjk->bik\n output y",
        expect!["f32[B,3,5]"],
    );
}

#[test]
fn reductions() {
    check(
        "input x f32[N,3,4]\n const a i64[1] = -1\n y = ReduceSum(x, a)\n z = ReduceSum(x, a) keepdims=0\n w = ReduceSum(x) keepdims=0\n output y\n output z\n output w",
        expect!["f32[N,3,1] f32[N,3] f32[]"],
    );
    check("opset 18\n input x f32[N,3]\n y = ReduceMax(x) noop_with_empty_axes=1\n output y", expect!["f32[N,3]"]);
    check(
        "input x f32[N,3]\n const a i64[1] = 2\n y = ReduceSum(x, a)\n output y",
        expect!["node `y` (ReduceSum) names axis 2 of a tensor of rank 2; its inputs are f32[N,3], i64[1]"],
    );
    check(
        "input x f32[N,30]\n const k i64[1] = 5\n y, i = TopK(x, k)\n output y\n output i",
        expect!["f32[N,5] i64[N,5]"],
    );
    check(
        "input x f32[N,3]\n const k i64[1] = 5\n y, i = TopK(x, k)\n output y",
        expect!["node `y` (TopK) wants the top 5 of 3 elements; its inputs are f32[N,3], i64[1]"],
    );
}

#[test]
fn reshapes() {
    check("input x f32[N,3,4]\n const t i64[2] = 0 -1\n y = Reshape(x, t)\n output y", expect!["f32[N,12]"]);
    check("input x f32[N,12]\n const t i64[3] = -1 3 4\n y = Reshape(x, t)\n output y", expect!["f32[N,3,4]"]);
    check(
        "input x f32[2,3]\n const t i64[2] = 4 -1\n y = Reshape(x, t)\n output y",
        expect!["node `y` (Reshape) cannot divide 6 elements into rows of 4; its inputs are f32[2,3], i64[2]"],
    );
    check(
        "input x f32[2,3]\n const t i64[2] = -1 -1\n y = Reshape(x, t)\n output y",
        expect!["node `y` (Reshape) has two -1 in its target; its inputs are f32[2,3], i64[2]"],
    );
    check(
        "input x f32[2,3]\n const t i64[1] = 7\n y = Reshape(x, t)\n output y",
        expect!["node `y` (Reshape) reshapes 6 elements into 7; its inputs are f32[2,3], i64[1]"],
    );
    check(
        "input x f32[2,3]\n const t i64[3] = 4611686018427387904 4611686018427387904 4\n y = Reshape(x, t)\n output y",
        expect!["node `y` (Reshape) has too many elements; its inputs are f32[2,3], i64[3]"],
    );
    check(
        "input x f32[2,3]\n const t i64[1] = -7\n y = Reshape(x, t)\n output y",
        expect!["node `y` (Reshape) has a negative length (-7); its inputs are f32[2,3], i64[1]"],
    );
    check(
        "input x f32[N,3,4]\n y = Flatten(x) axis=2\n z = Flatten(x)\n output y\n output z",
        expect!["f32[?,4] f32[N,12]"],
    );
    check(
        "input x f32[1,3,1]\n const a i64[1] = 1\n y = Squeeze(x, a)\n output y",
        expect!["node `y` (Squeeze) removes axis 1, which has length 3 and not 1; its inputs are f32[1,3,1], i64[1]"],
    );
}

#[test]
fn shape_arithmetic_resolves() {
    // [B, S, 384] to [B, S, 12, 32] as exporters write it.
    check(
        "input x f32[B,S,384]
        const zero i64[] = 0
        const one i64[] = 1
        const axes i64[1] = 0
        const heads i64[2] = 12 32
        s = Shape(x)
        b = Gather(s, zero)
        b1 = Unsqueeze(b, axes)
        t = Gather(s, one)
        t1 = Unsqueeze(t, axes)
        target = Concat(b1, t1, heads) axis=0
        y = Reshape(x, target)
        output y",
        expect!["f32[B,S,12,32]"],
    );
    check(
        "input x f32[2,6]
        const two i64[1] = 2
        const start i64[1] = 1
        const end i64[1] = 9223372036854775807
        s = Shape(x)
        n = Slice(s, start, end)
        half = Div(n, two)
        target = Concat(two, two, half) axis=0
        y = Reshape(x, target)
        output y",
        expect!["f32[2,2,3]"],
    );
    check("input x i64[N]\n y = ConstantOfShape(x)\n output y", expect!["f32[..]"]);
    check("input x f32[N,3]\n s = Shape(x)\n y = ConstantOfShape(s)\n output y", expect!["f32[N,3]"]);
}

#[test]
fn slices() {
    check(
        "input x f32[10,10]\n const s i64[2] = -3 9\n const e i64[2] = 100 -100\n const a i64[2] = 0 1\n const t i64[2] = 1 -2\n y = Slice(x, s, e, a, t)\n output y",
        expect!["f32[3,5]"],
    );
    check(
        "input x f32[10]\n const s i64[1] = -9223372036854775808\n const e i64[1] = 9223372036854775807\n const a i64[1] = 0\n const t i64[1] = 9223372036854775807\n y = Slice(x, s, e, a, t)\n output y",
        expect!["f32[1]"],
    );
    check(
        "input x f32[0]\n const s i64[1] = 0\n const e i64[1] = -9\n const a i64[1] = 0\n const t i64[1] = -1\n y = Slice(x, s, e, a, t)\n output y",
        expect!["f32[0]"],
    );
    check(
        "input x f32[10]\n const s i64[1] = 0\n const t i64[1] = 0\n y = Slice(x, s, s, s, t)\n output y",
        expect!["node `y` (Slice) has a step of 0; its inputs are f32[10], i64[1], i64[1], i64[1], i64[1]"],
    );
}

#[test]
fn concat_split_pad_tile_expand() {
    check("input a f32[N,2]\n input b f32[N,3]\n y = Concat(a, b) axis=1\n output y", expect!["f32[N,5]"]);
    check(
        "input a f32[4,2]\n input b f32[5,2]\n y = Concat(a, b) axis=1\n output y",
        expect!["node `y` (Concat) joins tensors whose axis 0 has length 4 and 5; its inputs are f32[4,2], f32[5,2]"],
    );
    check(
        "opset 18\n input x f32[7]\n a, b, c = Split(x) num_outputs=3\n output a\n output c",
        expect!["f32[3] f32[1]"],
    );
    check(
        "input x f32[7]\n const s i64[2] = 3 3\n a, b = Split(x, s)\n output a",
        expect!["node `a` (Split) splits 7 elements into parts of 6 together; its inputs are f32[7], i64[2]"],
    );
    check("input x f32[2,3]\n const p i64[4] = 1 0 0 -2\n y = Pad(x, p)\n output y", expect!["f32[3,1]"]);
    check(
        "input x f32[2,3]\n const p i64[4] = 0 0 -9 0\n y = Pad(x, p)\n output y",
        expect!["node `y` (Pad) has a negative padded length (-7); its inputs are f32[2,3], i64[4]"],
    );
    check(
        "input x f32[2,3]\n const r i64[2] = 9223372036854775807 1\n y = Tile(x, r)\n output y",
        expect![
            "node `y` (Tile) would make an axis of length 18446744073709551614, more than 2^40; its inputs are f32[2,3], i64[2]"
        ],
    );
    check("input x f32[N,1]\n const t i64[3] = 2 1 5\n y = Expand(x, t)\n output y", expect!["f32[2,N,5]"]);
}

#[test]
fn gathers_and_what_depends_on_data() {
    check("input x f32[5,6]\n input i i64[N,2]\n y = Gather(x, i) axis=1\n output y", expect!["f32[5,N,2]"]);
    check(
        "input x f32[5,6]\n const i i64[] = 5\n y = Gather(x, i)\n output y",
        expect!["node `y` (Gather) picks element 5 of an axis of length 5; its inputs are f32[5,6], i64[]"],
    );
    check("input x f32[5,6]\n y = NonZero(x)\n output y", expect!["i64[2,?]"]);
    check("input x f32[5,6,7]\n input i i64[4,2]\n y = GatherND(x, i)\n output y", expect!["f32[4,7]"]);
    check(
        "const a i64[] = -9223372036854775808\n const b i64[] = 9223372036854775807\n const s i64[] = 1\n y = Range(a, b, s)\n output y",
        expect![
            "node `y` (Range) would make an axis of length 18446744073709551615, more than 2^40; its inputs are i64[], i64[], i64[]"
        ],
    );
    check(
        "input i i64[N]\n const d i64[] = 10\n const v f32[2] = 0 1\n y = OneHot(i, d, v)\n output y",
        expect!["f32[N,10]"],
    );
}

#[test]
fn resizes() {
    check(
        "input x f32[N,3,10,H]\n const s f32[4] = 1 1 2.55 1\n y = Resize(x, _, s)\n output y",
        expect!["f32[N,3,25,H]"],
    );
    check(
        "input x f32[1,3,10,10]\n const s i64[4] = 1 3 20 30\n y = Resize(x, _, _, s)\n output y",
        expect!["f32[1,3,20,30]"],
    );
    check(
        "input x f32[1,3,10,10]\n const s f32[4] = 1 1 -1 1\n y = Resize(x, _, s)\n output y",
        expect!["node `y` (Resize) has the scale -1; its inputs are f32[1,3,10,10], none, f32[4]"],
    );
    check(
        "input x f32[1,3,10,10]\n const s f32[4] = 1 1 1e30 1\n y = Resize(x, _, s)\n output y",
        expect![
            "node `y` (Resize) would make an axis of length 10000000000000000000000000000000; its inputs are f32[1,3,10,10], none, f32[4]"
        ],
    );
    check(
        "input x f32[1,3,10,10]\n y = Resize(x)\n output y",
        expect!["node `y` (Resize) has neither scales nor sizes; its inputs are f32[1,3,10,10]"],
    );
    check(
        "opset 18\n input x f32[1,3,10,20]\n const s i64[2] = 5 5\n y = Resize(x, _, _, s) axes=[2,3] keep_aspect_ratio_policy=not_larger\n output y",
        expect!["f32[1,3,3,5]"],
    );
}

#[test]
fn recurrent_and_attention() {
    check(
        "input x f32[S,B,8]\n weight w f32[1,64,8]\n weight r f32[1,64,16]\n y, h, c = LSTM(x, w, r) hidden_size=16\n output y\n output h",
        expect!["f32[S,1,B,16] f32[1,B,16]"],
    );
    check(
        "opset 23\n input q f32[B,S,64]\n input k f32[B,T,32]\n y = Attention(q, k, k) q_num_heads=8 kv_num_heads=4\n output y",
        expect!["f32[B,S,64]"],
    );
}

#[test]
fn quantisation() {
    check(
        "input x f32[N,4]\n const s f32[] = 0.1\n const z i8[] = 3\n q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z)\n output q\n output y",
        expect!["i8[N,4] f32[N,4]"],
    );
    check(
        "input x u8[N,4]\n const s f32[3] = 0.1\n y = DequantizeLinear(x, s)\n output y",
        expect!["node `y` (DequantizeLinear) has 3 scales for an axis of length 4; its inputs are u8[N,4], f32[3]"],
    );
    check(
        "input x f32[N,4]\n y, s, z = DynamicQuantizeLinear(x)\n output y\n output s\n output z",
        expect!["u8[N,4] f32[] u8[]"],
    );
}

#[test]
fn results_beyond_the_limits_are_refused() {
    check(
        "input x f32[1048576]\n input y f32[1048576,1]\n z = Add(x, y)\n const r i64[2] = 1048576 1048576\n w = Tile(z, r)\n output w",
        expect![
            "node `w` (Tile) would make a tensor of more than 2^42 elements; its inputs are f32[1048576,1048576], i64[2]"
        ],
    );
    check(
        "input x f32[1]\n const t i64[1] = 9223372036854775807\n y = Expand(x, t)\n output y",
        expect![
            "node `y` (Expand) would make an axis of length 9223372036854775807, more than 2^40; its inputs are f32[1], i64[1]"
        ],
    );
}

#[test]
fn bits_are_seen_as_types_of_their_size() {
    check("opset 26\n input x f16[N,2]\n y = BitCast(x) to=5\n output y", expect!["i16[N,2]"]);
    check(
        "opset 26\n input x f16[2]\n y = BitCast(x) to=1\n output y",
        expect!["node `y` (BitCast) sees the bits of f16 as f32, which has another size; its inputs are f16[2]"],
    );
}

#[test]
fn losses_have_the_shape_of_their_labels() {
    let loss = |labels: &str, reduction: &str| {
        format!(
            "input x f32[N,4,5]\n input t i64{labels}\n y = NegativeLogLikelihoodLoss(x, t) reduction={reduction}\n output y"
        )
    };
    check(&loss("[N,5]", "none"), expect!["f32[N,5]"]);
    check(&loss("[N,5]", "mean"), expect!["f32[]"]);
    check(
        &loss("[N,6]", "sum"),
        expect![
            "node `y` (NegativeLogLikelihoodLoss) has 6 labels on an axis of 5 scores; its inputs are f32[N,4,5], i64[N,6]"
        ],
    );
}

#[test]
fn transforms_change_the_axis_that_they_run_along() {
    check("opset 20\n input x f32[N,10,1]\n y = DFT(x) onesided=1\n output y", expect!["f32[N,6,2]"]);
    check("opset 20\n input x f32[N,6,2]\n y = DFT(x) onesided=1 inverse=1\n output y", expect!["f32[N,10,1]"]);
    check("opset 17\n input x f32[N,10,2]\n const n i64[] = 16\n y = DFT(x, n)\n output y", expect!["f32[N,16,2]"]);
    check(
        "opset 17\n input x f32[N,100,1]\n const s i64[] = 10\n input w f32[16]\n y = STFT(x, s, w)\n output y",
        expect!["f32[N,9,9,2]"],
    );
    check(
        "opset 20\n input x f32[N,10,1]\n const a i64[] = 2\n y = DFT(x, _, a)\n output y",
        expect![
            "node `y` (DFT) transforms the axis of real and imaginary parts; its inputs are f32[N,10,1], none, i64[]"
        ],
    );
}

#[test]
fn windows_go_back_to_the_picture_that_they_come_from() {
    check(
        "input x f32[1,2,3,4]\n input i i64[1,2,3,4]\n y = MaxUnpool(x, i) kernel_shape=[2,3] strides=[2,2]\n output y",
        expect!["f32[1,2,6,9]"],
    );
    check(
        "opset 18\n input x f32[N,20,12]\n const p i64[2] = 5 6\n const b i64[2] = 2 2\n y = Col2Im(x, p, b)\n output y",
        expect!["f32[N,5,5,6]"],
    );
}

#[test]
fn states_have_the_shape_of_their_heads() {
    check(
        "opset 27\n input q f16[B,T,16]\n input k f16[B,T,8]\n input v f16[B,T,12]\n input s f32[B,2,4,6]\n y, t = LinearAttention(q, k, v, s) q_num_heads=4 kv_num_heads=2 update_rule=linear\n output y\n output t",
        expect!["f16[B,T,24] f32[B,2,4,6]"],
    );
    check(
        "opset 27\n input q f32[B,T,16]\n y, t = LinearAttention(q, q, q) q_num_heads=4 kv_num_heads=0\n output y",
        expect![
            "node `y` (LinearAttention) has 0 heads (`kv_num_heads`); its inputs are f32[B,T,16], f32[B,T,16], f32[B,T,16]"
        ],
    );
}

#[test]
fn dots_in_an_equation_stand_for_the_axes_that_are_left() {
    check(
        "input a f32[2,1,3,4]\n input b f32[N,4,5]\n y = Einsum(a, b) equation=...ij,...jk->...ik\n output y",
        expect!["f32[2,N,3,5]"],
    );
    check(
        "input a f32[2,3]\n y = Einsum(a) equation=ijk->i\n output y",
        expect!["node `y` (Einsum) names 3 axes in term 0 of its equation, the input has 2; its inputs are f32[2,3]"],
    );
    check(
        "input a f32[2,3]\n y = Einsum(a) equation=ij->k\n output y",
        expect!["node `y` (Einsum) has `k` in the result of its equation alone; its inputs are f32[2,3]"],
    );
}
