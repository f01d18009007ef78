use super::tensor::dtype::{F32, I8, I32, I64, U8};
use super::*;

fn floats(shape: &[usize], values: &[f64]) -> Tensor {
    Tensor::of_reals(F32, shape, values)
}

#[track_caller]
fn check(question: Question, shape: &[usize], values: &[f64]) {
    let answers = answer(&question).unwrap();
    assert_eq!(answers[0].shape, shape);
    let expected = Tensor::of_reals(answers[0].dtype, shape, values);
    let distance = judge(&answers[0], &expected.bytes, &[Bound::Ulp(1.0)], true);
    assert!(distance.is_ok(), "{distance:?}: {:?}", answers[0].content);
}

#[test]
fn a_product_of_matrices_meets_a_hand_computed_one() {
    let question = Question::new("MatMul", 13)
        .input(floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        .input(floats(&[3, 2], &[7.0, 8.0, 9.0, 10.0, 11.0, 12.0]))
        .output(F32);
    check(question, &[2, 2], &[58.0, 64.0, 139.0, 154.0]);
}

#[test]
fn gemm_turns_scales_and_adds() {
    let question = Question::new("Gemm", 13)
        .integer("transA", 1)
        .integer("transB", 0)
        .number("alpha", 2.0)
        .number("beta", 0.5)
        .input(floats(&[2, 1], &[3.0, 4.0]))
        .input(floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]))
        .input(floats(&[2], &[10.0, 20.0]))
        .output(F32);
    check(question, &[1, 2], &[35.0, 54.0]);
}

#[test]
fn a_convolution_pads_strides_and_adds_its_bias() {
    let question = Question::new("Conv", 11)
        .integers("pads", &[1, 0, 0, 1])
        .integers("strides", &[2, 1])
        .integer("group", 1)
        .input(floats(&[1, 1, 3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        .input(floats(&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]))
        .input(floats(&[1], &[0.5]))
        .output(F32);
    check(question, &[1, 1, 2, 2], &[2100.5, 200.5, 6543.5, 604.5]);
}

#[test]
fn a_transposed_convolution_spreads_its_input() {
    let question = Question::new("ConvTranspose", 11)
        .integers("strides", &[2])
        .integers("pads", &[0, 1])
        .integer("group", 1)
        .input(floats(&[1, 1, 2], &[1.0, 2.0]))
        .input(floats(&[1, 1, 3], &[1.0, 10.0, 100.0]))
        .output(F32);
    check(question, &[1, 1, 4], &[1.0, 10.0, 102.0, 20.0]);
}

#[test]
fn pools_leave_padding_out_unless_asked() {
    let pool = |op: &str| {
        Question::new(op, 11)
            .integers("kernel_shape", &[2])
            .integers("strides", &[2])
            .integers("pads", &[1, 0])
            .input(floats(&[1, 1, 3], &[2.0, 4.0, 6.0]))
            .output(F32)
    };
    check(pool("MaxPool"), &[1, 1, 2], &[2.0, 6.0]);
    check(pool("AveragePool"), &[1, 1, 2], &[2.0, 5.0]);
    check(pool("AveragePool").integer("count_include_pad", 1), &[1, 1, 2], &[1.0, 5.0]);
}

#[test]
fn quantisation_rounds_half_to_even_and_saturates() {
    let question = Question::new("QuantizeLinear", 13)
        .input(floats(&[6], &[0.5, 1.5, -0.5, 2.5, 1000.0, -1000.0]))
        .input(floats(&[], &[1.0]))
        .input(Tensor::of_wholes(U8, &[], &[10]))
        .output(U8);
    let answers = answer(&question).unwrap();
    assert_eq!(answers[0].content, Content::Bytes(vec![10, 12, 10, 12, 255, 0]));
}

#[test]
fn integer_products_take_their_zero_points_off() {
    let question = Question::new("MatMulInteger", 10)
        .input(Tensor::of_wholes(U8, &[1, 2], &[130, 255]))
        .input(Tensor::of_wholes(I8, &[2, 1], &[-128, 127]))
        .input(Tensor::of_wholes(U8, &[], &[128]))
        .input(Tensor::of_wholes(I8, &[], &[1]))
        .output(I32);
    // 2 * -129 + 127 * 126.
    let answers = answer(&question).unwrap();
    assert_eq!(answers[0].content, Content::Bytes(15744i32.to_le_bytes().to_vec()));
}

#[test]
fn slices_walk_backwards_and_clamp() {
    let question = Question::new("Slice", 13)
        .input(floats(&[5], &[0.0, 1.0, 2.0, 3.0, 4.0]))
        .operand(Tensor::list(&[-1]), true)
        .operand(Tensor::list(&[i64::MIN]), true)
        .operand(Tensor::list(&[0]), true)
        .operand(Tensor::list(&[-2]), true)
        .output(F32);
    check(question, &[3], &[4.0, 2.0, 0.0]);
}

#[test]
fn reflected_pads_turn_at_the_ends() {
    let question = Question::new("Pad", 21)
        .text("mode", "reflect")
        .input(floats(&[3], &[1.0, 2.0, 3.0]))
        .operand(Tensor::list(&[2, 3]), true)
        .output(F32);
    check(question, &[8], &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0]);
}

#[test]
fn attention_looks_at_its_cache_and_not_ahead() {
    let one = |values: &[f64]| floats(&[1, 1, values.len(), 1], values);
    let question = Question::new("Attention", 24)
        .integer("is_causal", 1)
        .number("scale", 1.0)
        .input(one(&[0.0, 0.0]))
        .input(one(&[5.0, 6.0]))
        .input(one(&[2.0, 6.0]))
        .without()
        .input(one(&[7.0]))
        .input(one(&[1.0]))
        .output(F32)
        .output(F32)
        .output(F32);
    check(question, &[1, 1, 2, 1], &[1.5, 3.0]);
}

#[test]
fn blocks_of_four_bits_count_from_minus_eight() {
    let mut block = vec![0x00, 0x3c];
    block.extend([0x98; 16]);
    let question = Question::new("sunmao.QMatMul", 1)
        .input(floats(&[1, 32], &[1.0; 32]))
        .operand(Tensor { dtype: dtype::Q4_0, shape: vec![1, 32], bytes: block }, true)
        .output(F32);
    check(question, &[1, 1], &[16.0]);
}

#[test]
fn the_first_of_equals_wins_and_a_nan_is_the_largest() {
    let question = Question::new("ArgMax", 13)
        .integer("axis", -1)
        .integer("keepdims", 0)
        .input(floats(&[2, 3], &[1.0, 3.0, 3.0, 0.0, f64::NAN, 9.0]))
        .output(I64);
    let answers = answer(&question).unwrap();
    assert_eq!(answers[0].content, Content::Bytes(Tensor::list(&[1, 1]).bytes));
}

#[test]
fn bounds_hold_element_by_element() {
    let exact = Answer::reals(F32, &[2], Reals::exact(vec![1.0, 0.0]));
    let bytes = |a: f32, b: f32| [a.to_le_bytes(), b.to_le_bytes()].concat();
    let near = f32::from_bits(1f32.to_bits() + 1);
    assert!(judge(&exact, &bytes(1.0, 0.0), &[Bound::Exact], true).is_ok());
    assert!(judge(&exact, &bytes(near, 0.0), &[Bound::Exact], true).is_err());
    assert!(judge(&exact, &bytes(near, 0.0), &[Bound::Ulp(1.0)], true).is_ok());
    assert_eq!(judge(&exact, &bytes(1.0, -0.0), &[Bound::Exact], true).unwrap_err().element, 1);
    assert!(judge(&exact, &bytes(f32::NAN, 0.0), &[Bound::Approximate(1.0)], true).is_err());
}
