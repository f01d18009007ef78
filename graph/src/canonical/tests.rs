use crate::optimise::concrete;
use crate::testing::{Fake, prepared, shapes};
use crate::{fold, tensor};
use expect_test::{Expect, expect};

/// The canonical form while shapes are symbols.
#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&prepared(text).to_string());
}

#[test]
fn identities_and_dropouts_go() {
    check(
        "input x f32[N]\n a = Identity(x)\n b, m = Dropout(a)\n c = Relu(b)\n d = Identity(c)\n output d",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N]
        %d: f32[N] = Relu(%x)  // c
        output %d
    "#]],
    );
}

#[test]
fn an_identity_of_an_input_stays() {
    check(
        "input x f32[N]\n y = Identity(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N]
        %y: f32[N] = Identity(%x)  // y
        output %y
    "#]],
    );
}

#[test]
fn operators_that_change_nothing_go() {
    check(
        "input x f32[2,3]
        const zeros i64[4] = 0
        const one f32[] = 1
        const start i64[1] = 0
        const end i64[1] = 99
        a = Cast(x) to=1
        b = Transpose(a) perm=[0,1]
        c = Slice(b, start, end)
        d = Pad(c, zeros)
        e = Mul(d, one)
        f = Concat(e) axis=0
        y = Relu(f)
        output y",
        expect![[r#"
            input %x: f32[2,3]
            %y: f32[2,3] = Relu(%x)  // y
            output %y
        "#]],
    );
}

#[test]
fn views_become_reshapes() {
    check(
        "input x f32[2,3,4]
        const a i64[1] = 0
        f = Flatten(x)
        u = Unsqueeze(f, a)
        s = Squeeze(u, a)
        t = Relu(s)
        y = Flatten(t) axis=0
        output y",
        expect![[r#"
            input %x: f32[2,3,4]
            %f: f32[2,12] = Reshape(%x, const i64[2] [2,12]) {allowzero=0}  // f
            %t: f32[2,12] = Relu(%f)  // t
            %y: f32[1,24] = Reshape(%t, const i64[2] [1,24]) {allowzero=0}  // y
            output %y
        "#]],
    );
    check(
        "input x f32[N,3,4]\n y = Flatten(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,3,4]
        %y: f32[N,12] = Reshape(%x, const i64[2] [0,12]) {allowzero=0}  // y
        output %y
    "#]],
    );
}

#[test]
fn reshaped_constants_are_constants() {
    check(
        "input x f32[N,3,4,4]\n weight w f32[3]\n const a i64[2] = 1 2\n u = Unsqueeze(w, a)\n y = Mul(x, u)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,3,4,4]
        %y: f32[N,3,4,4] = Mul(%x, const f32[3,1,1] [0.0,0.0,0.0])  // y
        output %y
    "#]],
    );
}

#[test]
fn windows_are_spelled_out() {
    check(
        "input x f32[N,3,9,9]\n weight w f32[8,3,3,3]\n y = Conv(x, w) auto_pad=SAME_UPPER strides=[2,2]\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,3,9,9]
        %y: f32[N,8,5,5] = Conv(%x, %w: const f32[8,3,3,3]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,3,H,9]\n weight w f32[8,3,3,3]\n y = Conv(x, w) auto_pad=SAME_UPPER\n output y",
        expect![[r#"
        symbol N: 0..
        symbol H: 0..
        input %x: f32[N,3,H,9]
        %y: f32[N,8,H,9] = Conv(%x, %w: const f32[8,3,3,3]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,3,9,9]\n y = MaxPool(x) kernel_shape=[2,2] auto_pad=VALID\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,3,9,9]
        %y: f32[N,3,8,8] = MaxPool(%x) {auto_pad=NOTSET, ceil_mode=0, dilations=[1,1], kernel_shape=[2,2], pads=[0,0,0,0], storage_order=0, strides=[1,1]}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[1,3,4,4]\n weight w f32[3,2,3,3]\n y = ConvTranspose(x, w) output_shape=[8,8] strides=[2,2]\n output y",
        expect![[r#"
        input %x: f32[1,3,4,4]
        %y: f32[1,2,8,8] = ConvTranspose(%x, %w: const f32[3,2,3,3]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], output_padding=[0,0], pads=[1,1,0,0], strides=[2,2]}  // y
        output %y
    "#]],
    );
}

#[test]
fn zeros_around_a_convolution_are_its_padding() {
    check(
        "input x f32[N,3,H,9]\n weight w f32[8,3,3,3]\n const p i64[8] = 0 0 1 2 0 0 3 4\n a = Pad(x, p)\n y = Conv(a, w) pads=[1,1,1,1]\n output y",
        expect![[r#"
        symbol N: 0..
        symbol H: 0..
        input %x: f32[N,3,H,9]
        %y: f32[N,8,?,15] = Conv(%x, %w: const f32[8,3,3,3]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], pads=[2,3,4,5], strides=[1,1]}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,3,H,9]\n weight w f32[8,3,3,3]\n const p i64[8] = 0 0 1 2 0 0 3 4\n a = Pad(x, p) mode=reflect\n y = Conv(a, w)\n output y",
        expect![[r#"
        symbol N: 0..
        symbol H: 0..
        input %x: f32[N,3,H,9]
        %a: f32[N,3,?,15] = Pad(%x, const i64[8] [0,0,1,2,0,0,3,4]) {mode=reflect}  // a
        %y: f32[N,8,?,13] = Conv(%a, %w: const f32[8,3,3,3]) {auto_pad=NOTSET, dilations=[1,1], group=1, kernel_shape=[3,3], pads=[0,0,0,0], strides=[1,1]}  // y
        output %y
    "#]],
    );
}

#[test]
fn global_pools_become_pools() {
    check(
        "input x f32[N,3,7,5]\n y = GlobalAveragePool(x)\n z = GlobalMaxPool(x)\n output y\n output z",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,3,7,5]
        %y: f32[N,3,1,1] = AveragePool(%x) {auto_pad=NOTSET, ceil_mode=0, count_include_pad=0, dilations=[1,1], kernel_shape=[7,5], pads=[0,0,0,0], strides=[1,1]}  // y
        %z: f32[N,3,1,1] = MaxPool(%x) {auto_pad=NOTSET, ceil_mode=0, dilations=[1,1], kernel_shape=[7,5], pads=[0,0,0,0], storage_order=0, strides=[1,1]}  // z
        output %y
        output %z
    "#]],
    );
    check(
        "input x f32[N,3,H,5]\n y = GlobalAveragePool(x)\n output y",
        expect![[r#"
        symbol N: 0..
        symbol H: 0..
        input %x: f32[N,3,H,5]
        %y: f32[N,3,1,1] = GlobalAveragePool(%x)  // y
        output %y
    "#]],
    );
}

#[test]
fn operators_of_many_operands_become_chains() {
    check(
        "input a f32[2]\n input b f32[2]\n input c f32[2]\n y = Sum(a, b, c)\n z = Mean(a, b)\n m = Max(a, b, c)\n output y\n output z\n output m",
        expect![[r#"
        input %a: f32[2]
        input %b: f32[2]
        input %c: f32[2]
        %y~6: f32[2] = Add(%a, %b)  // y
        %y: f32[2] = Add(%y~6, %c)  // y
        %z: f32[2] = Mul(%y~6, const f32[] [0.5])  // z
        %m~9: f32[2] = Max(%a, %b)  // m
        %m: f32[2] = Max(%m~9, %c)  // m
        output %y
        output %z
        output %m
    "#]],
    );
}

#[test]
fn powers_and_divisions() {
    check(
        "input x f32[N]
        const two f32[] = 2
        const half f32[] = 0.5
        const three f32[] = 3
        a = Pow(x, two)
        b = Pow(a, half)
        c = Div(b, two)
        d = Div(c, three)
        output d",
        expect![[r#"
            symbol N: 0..
            input %x: f32[N]
            %a: f32[N] = Mul(%x, %x)  // a
            %b: f32[N] = Sqrt(%a)  // b
            %d: f32[N] = Mul(%b, const f32[] [0.16666667])  // d
            output %d
        "#]],
    );
}

#[test]
fn equal_nodes_are_one() {
    check(
        "input x f32[N]
        const a f32[1] = 3
        const b f32[1] = 3
        c = Add(x, a)
        d = Add(x, b)
        e = LeakyRelu(c) alpha=0.5
        f = LeakyRelu(d) alpha=0.25
        y = Sub(e, f)
        z = Relu(y)
        output z",
        expect![[r#"
            symbol N: 0..
            input %x: f32[N]
            %c: f32[N] = Add(%x, const f32[1] [3.0])  // c
            %e: f32[N] = LeakyRelu(%c) {alpha=0.5}  // e
            %f: f32[N] = LeakyRelu(%c) {alpha=0.25}  // f
            %y: f32[N] = Sub(%e, %f)  // y
            %z: f32[N] = Relu(%y)  // z
            output %z
        "#]],
    );
}

#[test]
fn what_nobody_reads_goes() {
    check(
        "input x f32[N]\n a = Exp(x)\n b = Log(a)\n y = Relu(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N]
        %y: f32[N] = Relu(%x)  // y
        output %y
    "#]],
    );
}

#[test]
fn split_gets_its_sizes() {
    check(
        "opset 18\n input x f32[N,5]\n a, b = Split(x) num_outputs=2 axis=1\n output a\n output b",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,5]
        %a: f32[N,3], %b: f32[N,2] = Split(%x, const i64[2] [3,2]) {axis=1}  // a
        output %a
        output %b
    "#]],
    );
}

#[test]
fn expand_before_broadcasting_goes() {
    check(
        "input x f32[2,1]\n input z f32[2,4]\n const t i64[2] = 2 4\n e = Expand(x, t)\n y = Add(e, z)\n output y",
        expect![[r#"
        input %x: f32[2,1]
        input %z: f32[2,4]
        %y: f32[2,4] = Add(%x, %z)  // y
        output %y
    "#]],
    );
}

#[test]
fn convenience_operators_become_core_ones() {
    check(
        "input x f32[N,4]\n y = Selu(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~8: f32[N,4] = Elu(%x) {alpha=1.6732632}  // y
        %y: f32[N,4] = Mul(%y~8, const f32[] [1.050701])  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n y = Celu(x) alpha=2.0\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~7: f32[N,4] = Mul(%x, const f32[] [0.5])  // y
        %y~8: f32[N,4] = Elu(%y~7) {alpha=1.0}  // y
        %y: f32[N,4] = Mul(%y~8, const f32[] [2.0])  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n y = ThresholdedRelu(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~6: bool[N,4] = Greater(%x, const f32[] [1.0])  // y
        %y: f32[N,4] = Where(%y~6, %x, const f32[] [0.0])  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n y = Softsign(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~6: f32[N,4] = Abs(%x)  // y
        %y~7: f32[N,4] = Add(%y~6, const f32[] [1.0])  // y
        %y: f32[N,4] = Div(%x, %y~7)  // y
        output %y
    "#]],
    );
    check(
        "opset 18\n input x f32[N,4]\n y = Mish(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~6: f32[N,4] = Softplus(%x)  // y
        %y~7: f32[N,4] = Tanh(%y~6)  // y
        %y: f32[N,4] = Mul(%x, %y~7)  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n y = Shrink(x) lambd=1.5 bias=0.25\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~7: bool[N,4] = Greater(%x, const f32[] [1.5])  // y
        %y~8: bool[N,4] = Less(%x, const f32[] [-1.5])  // y
        %y~9: f32[N,4] = Sub(%x, const f32[] [0.25])  // y
        %y~10: f32[N,4] = Add(%x, const f32[] [0.25])  // y
        %y~11: f32[N,4] = Where(%y~7, %y~9, const f32[] [0.0])  // y
        %y: f32[N,4] = Where(%y~8, %y~10, %y~11)  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n const s f32[1] = 0.25\n y = PRelu(x, s)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y: f32[N,4] = LeakyRelu(%x) {alpha=0.25}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n const s f32[4] = 0.25\n y = PRelu(x, s)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~4: bool[N,4] = Less(%x, const f32[] [0.0])  // y
        %y~5: f32[N,4] = Mul(%x, const f32[4] [0.25,0.25,0.25,0.25])  // y
        %y: f32[N,4] = Where(%y~4, %y~5, %x)  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n y = ReduceL2(x) axes=[1]\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~3: f32[N,4] = Mul(%x, %x)  // y
        %y~4: f32[N,1] = ReduceSum(%y~3, const i64[1] [1]) {keepdims=1, noop_with_empty_axes=0}  // y
        %y: f32[N,1] = Sqrt(%y~4)  // y
        output %y
    "#]],
    );
    check(
        "input x f32[2,4]\n y = ReduceLogSumExp(x) axes=[1] keepdims=0\n output y",
        expect![[r#"
        input %x: f32[2,4]
        %y~3: f32[2,1] = ReduceMax(%x, const i64[1] [1]) {keepdims=1, noop_with_empty_axes=0}  // y
        %y~4: f32[2,4] = Sub(%x, %y~3)  // y
        %y~5: f32[2,4] = Exp(%y~4)  // y
        %y~6: f32[2,1] = ReduceSum(%y~5, const i64[1] [1]) {keepdims=1, noop_with_empty_axes=0}  // y
        %y~7: f32[2,1] = Log(%y~6)  // y
        %y~8: f32[2,1] = Add(%y~7, %y~3)  // y
        %y: f32[2] = Reshape(%y~8, const i64[1] [2]) {allowzero=1}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4]\n y = ReduceSumSquare(x) axes=[1]\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4]
        %y~3: f32[N,4] = Mul(%x, %x)  // y
        %y: f32[N,1] = ReduceSum(%y~3, const i64[1] [1]) {keepdims=1, noop_with_empty_axes=0}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,4,3]\n const p f32[4] = 1\n y = InstanceNormalization(x, p, p)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,4,3]
        %y: f32[N,4,3] = GroupNormalization(%x, const f32[4] [1.0,1.0,1.0,1.0], const f32[4] [1.0,1.0,1.0,1.0]) {epsilon=1e-5, num_groups=4, stash_type=1}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[1,8,2,3]\n y = DepthToSpace(x) blocksize=2 mode=CRD\n output y",
        expect![[r#"
        input %x: f32[1,8,2,3]
        %y~4: f32[1,2,2,2,2,3] = Reshape(%x, const i64[6] [1,2,2,2,2,3]) {allowzero=1}  // y
        %y~5: f32[1,2,2,2,3,2] = Transpose(%y~4) {perm=[0,1,4,2,5,3]}  // y
        %y: f32[1,2,4,6] = Reshape(%y~5, const i64[4] [1,2,4,6]) {allowzero=1}  // y
        output %y
    "#]],
    );
    check(
        "input x f32[1,2,4,6]\n y = SpaceToDepth(x) blocksize=2\n output y",
        expect![[r#"
        input %x: f32[1,2,4,6]
        %y~4: f32[1,2,2,2,3,2] = Reshape(%x, const i64[6] [1,2,2,2,3,2]) {allowzero=1}  // y
        %y~5: f32[1,2,2,2,2,3] = Transpose(%y~4) {perm=[0,3,5,1,2,4]}  // y
        %y: f32[1,8,2,3] = Reshape(%y~5, const i64[4] [1,8,2,3]) {allowzero=1}  // y
        output %y
    "#]],
    );
    check(
        "opset 15\n input x f32[N]\n input t i64[1]\n y = CastLike(x, t)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N]
        input %t: i64[1]
        %y: i64[N] = Cast(%x) {round_mode=up, saturate=1, to=7}  // y
        output %y
    "#]],
    );
    check(
        "input i i64[N]\n const d i64[] = 3\n const v f32[2] = 0 1\n y = OneHot(i, d, v)\n output y",
        expect![[r#"
        symbol N: 0..
        input %i: i64[N]
        %y~9: bool[N] = Less(%i, const i64[1] [0])  // y
        %y~10: i64[N] = Add(%i, const i64[] [3])  // y
        %y~11: i64[N] = Where(%y~9, %y~10, %i)  // y
        %y~12: i64[N,1] = Reshape(%y~11, const i64[2] [0,1]) {allowzero=0}  // y
        %y~13: bool[N,3] = Equal(%y~12, const i64[1,3] [0,1,2])  // y
        %y: f32[N,3] = Where(%y~13, const f32[1] [1.0], const f32[1] [0.0])  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,3]\n y = Hardmax(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,3]
        %y~3: i64[N,1] = ArgMax(%x) {axis=1, keepdims=1, select_last_index=0}  // y
        %y~4: bool[N,3] = Equal(%y~3, const i64[1,3] [0,1,2])  // y
        %y: f32[N,3] = Cast(%y~4) {round_mode=up, saturate=1, to=1}  // y
        output %y
    "#]],
    );
    check(
        "input s i64[2]\n y = ConstantOfShape(s)\n output y",
        expect![[r#"
        input %s: i64[2]
        %y: f32[?,?] = Expand(const f32[] [0.0], %s)  // y
        output %y
    "#]],
    );
    check(
        "input x f32[2,3]\n e = EyeLike(x) k=1\n y = Add(x, e)\n output y",
        expect![[r#"
        input %x: f32[2,3]
        %y: f32[2,3] = Add(%x, const f32[2,3] [0.0,1.0,0.0,0.0,0.0,1.0])  // y
        output %y
    "#]],
    );
    check(
        "input x f32[N,2,3,4]\n y = MeanVarianceNormalization(x)\n output y",
        expect![[r#"
        symbol N: 0..
        input %x: f32[N,2,3,4]
        %y~4: f32[1,2,1,1] = ReduceMean(%x, const i64[3] [0,2,3]) {keepdims=1, noop_with_empty_axes=0}  // y
        %y~5: f32[N,2,3,4] = Sub(%x, %y~4)  // y
        %y~6: f32[N,2,3,4] = Mul(%y~5, %y~5)  // y
        %y~7: f32[1,2,1,1] = ReduceMean(%y~6, const i64[3] [0,2,3]) {keepdims=1, noop_with_empty_axes=0}  // y
        %y~8: f32[1,2,1,1] = Sqrt(%y~7)  // y
        %y~9: f32[1,2,1,1] = Add(%y~8, const f32[] [1e-9])  // y
        %y: f32[N,2,3,4] = Div(%y~5, %y~9)  // y
        output %y
    "#]],
    );
}

mod weights {
    use super::*;

    /// Values of the constants of the only node, as numbers.
    #[track_caller]
    fn check_constants(text: &str, expected: Expect) {
        let graph = prepared(text);
        let mut shown = String::new();
        for node in &graph.nodes {
            shown.push_str(&node.op);
            for id in node.inputs.iter().flatten().filter(|id| graph.value(**id).is_constant()) {
                let constant = fold::read_constant(graph.value(*id), &Fake).expect("readable").expect("constant");
                let numbers = tensor::read_numbers(constant.dtype, &constant.bytes);
                shown.push_str(&format!(" {:?}{:?}", constant.shape, numbers.unwrap_or_default()));
            }
            shown.push('\n');
        }
        expected.assert_eq(&shown);
    }

    #[test]
    fn batch_normalization_goes_into_the_convolution() {
        check_constants(
            "input x f32[N,1,4,4]
            const w f32[2,1,1,1] = 1 2
            const b f32[2] = 10 20
            const g f32[2] = 2 3
            const s f32[2] = 1 1
            const m f32[2] = 4 5
            const v f32[2] = 4 1
            c = Conv(x, w, b)
            y = BatchNormalization(c, g, s, m, v) epsilon=0.0
            output y",
            expect![[r#"
                Conv [2, 1, 1, 1][1.0, 6.0] [2][7.0, 46.0]
            "#]],
        );
    }

    #[test]
    fn batch_normalization_alone_is_a_scale_and_a_shift() {
        check_constants(
            "input x f32[N,2,4]
            const g f32[2] = 2 3
            const s f32[2] = 1 1
            const m f32[2] = 4 5
            const v f32[2] = 4 1
            y = BatchNormalization(x, g, s, m, v) epsilon=0.0
            output y",
            expect![[r#"
                Mul [2, 1][1.0, 3.0]
                Add [2, 1][-3.0, -14.0]
            "#]],
        );
    }

    #[test]
    fn a_result_that_others_read_keeps_its_convolution() {
        check_constants(
            "input x f32[N,1,4,4]
            const w f32[2,1,1,1] = 1 2
            const k f32[2,1,1] = 3 4
            c = Conv(x, w)
            y = Mul(c, k)
            z = Add(y, c)
            output z",
            expect![[r#"
                Conv [2, 1, 1, 1][1.0, 2.0]
                Mul [2, 1, 1][3.0, 4.0]
                Add
            "#]],
        );
    }

    #[test]
    fn scales_and_shifts_of_either_side() {
        check_constants(
            "input x f32[N,1,4,4]
            const w f32[2,1,1,1] = 1 2
            const k f32[1,2,1,1] = 3 4
            const one f32[] = 1
            const two f32[1] = 2
            c = Conv(x, w)
            d = Mul(k, c)
            e = Sub(one, d)
            f = Div(e, two)
            g = Neg(f)
            y = Add(g, k)
            output y",
            expect![[r#"
                Conv [2, 1, 1, 1][1.5, 4.0] [2][2.5, 3.5]
            "#]],
        );
    }

    #[test]
    fn transposed_convolutions_with_groups() {
        check_constants(
            "input x f32[N,4,4,4]
            const w f32[4,1,1,1] = 1 1 1 1
            const k f32[2,1,1] = 3 5
            c = ConvTranspose(x, w) group=2
            y = Mul(c, k)
            output y",
            expect![[r#"
                ConvTranspose [4, 1, 1, 1][3.0, 3.0, 5.0, 5.0]
            "#]],
        );
    }

    #[test]
    fn matrix_products_both_ways() {
        for (shape, flag) in [("2,3", 0), ("3,2", 1)] {
            check_constants(
                &format!(
                    "input x f32[N,2]
                    const w f32[{shape}] = 1
                    const b f32[3] = 1
                    const k f32[3] = 2 3 4
                    c = Gemm(x, w, b) transB={flag} beta=2.0
                    y = Mul(c, k)
                    output y"
                ),
                if flag == 0 {
                    expect![[r#"
                    Gemm [2, 3][2.0, 3.0, 4.0, 2.0, 3.0, 4.0] [3][4.0, 6.0, 8.0]
                "#]]
                } else {
                    expect![[r#"
                    Gemm [3, 2][2.0, 2.0, 3.0, 3.0, 4.0, 4.0] [3][4.0, 6.0, 8.0]
                "#]]
                },
            );
        }
    }

    #[test]
    fn scales_and_shifts_before_a_convolution() {
        check_constants(
            "input x f32[N,2,4,4]
            const w f32[1,2,1,1] = 1 2
            const k f32[2,1,1] = 3 4
            const t f32[1] = 5
            a = Mul(x, k)
            b = Add(a, t)
            y = Conv(b, w)
            output y",
            expect![[r#"
                Conv [1, 2, 1, 1][3.0, 8.0] [1][15.0]
            "#]],
        );
    }

    #[test]
    fn a_shift_does_not_pass_padding() {
        check_constants(
            "input x f32[N,2,4,4]
            const w f32[1,2,1,1] = 1 2
            const t f32[1] = 5
            b = Add(x, t)
            y = Conv(b, w) pads=[1,1,1,1]
            output y",
            expect![[r#"
                Add [1][5.0]
                Conv [1, 2, 1, 1][1.0, 2.0]
            "#]],
        );
    }

    #[test]
    fn scales_and_shifts_in_a_row_are_one_of_each() {
        check_constants(
            "input x f32[N,2,4]
            const k f32[2,1] = 3 4
            const t f32[1] = 5
            a = Mul(x, k)
            b = Add(a, t)
            c = Mul(b, t)
            d = Sub(c, k)
            y = Relu(d)
            output y",
            expect![[r#"
                Mul [2, 1][15.0, 20.0]
                Add [2, 1][22.0, 21.0]
                Relu
            "#]],
        );
    }
}

#[test]
fn reshapes_in_a_row_are_one_once_shapes_are_known() {
    let graph = prepared(
        "input x f32[N,3,4]\n const a i64[2] = 0 -1\n const b i64[3] = -1 2 6\n y = Reshape(x, a)\n z = Reshape(y, b)\n w = Relu(z)\n output w",
    );
    let graph = concrete(&graph, &shapes(&graph, &[&[5, 3, 4]]), &Fake, &mut fold::NoEvaluator).expect("concrete");
    expect![[r#"
        input %x: f32[5,3,4]
        %z: f32[5,2,6] = Reshape(%x, const i64[3] [5,2,6]) {allowzero=0}  // z
        %w: f32[5,2,6] = Relu(%z)  // w
        output %w
    "#]]
    .assert_eq(&graph.to_string());
}

#[test]
fn losses_pick_the_class_of_each_place() {
    check(
        "input x f32[N,4,5]\n input t i64[N,5]\n const w f32[4] = 1 2 3 4\n y, l = SoftmaxCrossEntropyLoss(x, t, w) ignore_index=-1\n output y\n output l",
        expect![[r#"
            symbol N: 0..
            input %x: f32[N,4,5]
            input %t: i64[N,5]
            %l: f32[N,4,5] = LogSoftmax(%x) {axis=1}  // y
            %y~9: bool[N,5] = Equal(%t, const i64[] [-1])  // y
            %y~10: i64[N,5] = Where(%y~9, const i64[] [0], %t)  // y
            %y~12: i64[N,1,5] = Reshape(%y~10, const i64[3] [0,1,5]) {allowzero=0}  // y
            %y~13: f32[N,1,5] = GatherElements(%l, %y~12) {axis=1}  // y
            %y~14: f32[N,5] = Reshape(%y~13, const i64[2] [0,5]) {allowzero=0}  // y
            %y~15: f32[N,5] = Neg(%y~14)  // y
            %y~16: f32[N,5] = Gather(const f32[4] [1.0,2.0,3.0,4.0], %y~10) {axis=0}  // y
            %y~17: f32[N,5] = Mul(%y~15, %y~16)  // y
            %y~18: f32[N,5] = Where(%y~9, const f32[] [0.0], %y~17)  // y
            %y~19: f32[N,5] = Where(%y~9, const f32[] [0.0], %y~16)  // y
            %y~20: f32[] = ReduceSum(%y~18) {keepdims=0, noop_with_empty_axes=0}  // y
            %y~21: f32[] = ReduceSum(%y~19) {keepdims=0, noop_with_empty_axes=0}  // y
            %y: f32[] = Div(%y~20, %y~21)  // y
            output %y
            output %l
        "#]],
    );
    check(
        "input x f32[3,4]\n input t i32[3]\n y = NegativeLogLikelihoodLoss(x, t) reduction=none\n output y",
        expect![[r#"
            input %x: f32[3,4]
            input %t: i32[3]
            %y~6: i32[3,1] = Reshape(%t, const i64[2] [3,1]) {allowzero=0}  // y
            %y~7: f32[3,1] = GatherElements(%x, %y~6) {axis=1}  // y
            %y~8: f32[3] = Reshape(%y~7, const i64[1] [3]) {allowzero=0}  // y
            %y: f32[3] = Neg(%y~8)  // y
            output %y
        "#]],
    );
}

#[test]
fn elements_that_share_a_byte_move_as_bytes() {
    check(
        "opset 25\n input x f4e2m1[2,3]\n input p i2[2]\n const a i64[2] = 1 1\n y = Transpose(x)\n z = Pad(p, a)\n output y\n output z",
        expect![[r#"
            input %x: f4e2m1[2,3]
            input %p: i2[2]
            %y~5: u4[2,3] = BitCast(%x) {to=21}  // y
            %y~6: u8[2,3] = Cast(%y~5) {round_mode=up, saturate=1, to=2}  // y
            %y~7: u8[3,2] = Transpose(%y~6)  // y
            %y~8: u4[3,2] = Cast(%y~7) {round_mode=up, saturate=1, to=21}  // y
            %y: f4e2m1[3,2] = BitCast(%y~8) {to=23}  // y
            %z~9: i8[2] = Cast(%p) {round_mode=up, saturate=1, to=3}  // z
            %z~10: i8[4] = Pad(%z~9, const i64[2] [1,1]) {mode=constant}  // z
            %z: i2[4] = Cast(%z~10) {round_mode=up, saturate=1, to=26}  // z
            output %y
            output %z
        "#]],
    );
}

#[test]
fn crops_and_pads_are_slices_and_pads() {
    check(
        "opset 18\n input x f32[5,4]\n const s i64[2] = 2 7\n y = CenterCropPad(x, s)\n output y",
        expect![[r#"
        input %x: f32[5,4]
        %y~7: f32[2,4] = Slice(%x, const i64[2] [1,0], const i64[2] [3,4], const i64[2] [0,1])  // y
        %y: f32[2,7] = Pad(%y~7, const i64[4] [0,1,0,2]) {mode=constant}  // y
        output %y
    "#]],
    );
}

#[test]
fn dropouts_that_keep_everything_say_so_in_their_mask() {
    check(
        "input x f32[2,3]\n y, m = Dropout(x)\n output y\n output m",
        expect![[r#"
            input %x: f32[2,3]
            %y: f32[2,3] = Identity(%x)  // y
            output %y
            output const bool[2,3] [1,1,1,1,1,1]
        "#]],
    );
    check(
        "opset 7\n input x f16[2]\n y, m = Dropout(x) ratio=0.25\n output m",
        expect![[r#"
            input %x: f16[2]
            %m: f16[2] = Cast(const bool[2] [1,1]) {round_mode=up, saturate=1, to=10}  // y
            output %m
        "#]],
    );
    check(
        "input x f32[2]\n const r f32[] = 0.5\n const t bool[] = 1\n y = Dropout(x, r, t)\n output y",
        expect![[r#"
            input %x: f32[2]
            %y: f32[2] = Dropout(%x, const f32[] [0.5], const bool[] [1])  // y
            output %y
        "#]],
    );
}

#[test]
fn products_of_small_floats_are_plain_ones_between_conversions() {
    check(
        "opset 21\n input a f8e4m3fn[2,3]\n input b f8e4m3fn[3,4]\n input s f32[]\n input z f8e4m3fn[]\n y = QLinearMatMul(a, s, z, b, s, z, s, z)\n output y",
        expect![[r#"
            input %a: f8e4m3fn[2,3]
            input %b: f8e4m3fn[3,4]
            input %s: f32[]
            input %z: f8e4m3fn[]
            %y~5: f32[2,3] = DequantizeLinear(%a, %s, %z) {axis=0, block_size=0, output_dtype=0}  // y
            %y~6: f32[3,4] = DequantizeLinear(%b, %s, %z) {axis=1, block_size=0, output_dtype=0}  // y
            %y~7: f32[2,4] = MatMul(%y~5, %y~6)  // y
            %y: f8e4m3fn[2,4] = QuantizeLinear(%y~7, %s, %z) {axis=1, block_size=0, output_dtype=0, precision=0, saturate=1}  // y
            output %y
        "#]],
    );
}

#[test]
fn gates_are_products() {
    check(
        "opset 28\n input a f32[N]\n input b f32[N]\n y = SwiGLU(a, b) alpha=0.5\n output y",
        expect![[r#"
            symbol N: 0..
            input %a: f32[N]
            input %b: f32[N]
            %y~3: f32[N] = Swish(%a) {alpha=0.5}  // y
            %y: f32[N] = Mul(%y~3, %b)  // y
            output %y
        "#]],
    );
}
