//! Elements of a byte and less: small floats, and integers that share a byte.

use crate::harness::{Case, Tensor};

fn packed(dtype: u16, shape: &[usize], bytes: &[u8]) -> Tensor {
    Tensor { dtype, shape: shape.to_vec(), bytes: bytes.to_vec() }
}

fn cast(x: &Tensor, to: u16, saturate: i64) -> Tensor {
    let case = Case::new("Cast", 24).integer("to", to.into()).integer("saturate", saturate).input(x.clone());
    case.output(to, &x.shape).run().remove(0)
}

#[test]
fn elements_that_share_a_byte_start_with_the_lowest_bits() {
    let fours = packed(22, &[5], &[0x81, 0xf7, 0x02]);
    assert_eq!(cast(&fours, 1, 1).to_f32(), [1.0, -8.0, 7.0, -1.0, 2.0]);
    let twos = packed(26, &[5], &[0b11_10_01_00, 0b10]);
    assert_eq!(cast(&twos, 3, 1).to_i8(), [0, 1, -2, -1, -2]);
    assert_eq!(cast(&packed(25, &[4], &[0b11_10_01_00]), 2, 1).to_u8(), [0, 1, 2, 3]);
    // The way back: what is behind the last element is zero.
    assert_eq!(cast(&Tensor::i8(&[5], &[1, -8, 7, -1, 2]), 22, 1).bytes, fours.bytes);
    assert_eq!(cast(&Tensor::f32(&[5], &[0.0, 1.0, -2.0, -1.0, -2.0]), 26, 1).bytes, twos.bytes);
    // Larger integers wrap.
    assert_eq!(cast(&Tensor::i32(&[3], &[17, -9, 31]), 22, 1).bytes, [0x71, 0x0f]);
}

#[test]
fn long_packed_tensors_divide_among_shards_at_whole_bytes() {
    let numbers: Vec<i32> = (0..1501).map(|i| i * 7 % 16 - 8).collect();
    for (dtype, per_byte) in [(22, 2), (21, 2), (25, 4)] {
        let stored = cast(&Tensor::i32(&[numbers.len()], &numbers), dtype, 1);
        assert_eq!(stored.bytes.len(), numbers.len().div_ceil(per_byte));
        let mask = (1 << (8 / per_byte)) - 1;
        let wanted: Vec<i32> =
            numbers.iter().map(|n| n & mask).map(|n| if dtype == 22 && n > 7 { n - 16 } else { n }).collect();
        assert_eq!(cast(&stored, 6, 1).to_i32(), wanted);
    }
}

#[test]
fn small_floats_saturate_unless_told_not_to() {
    let x = Tensor::f32(&[4], &[0.479, 1e6, f32::NEG_INFINITY, -0.0]);
    let through = |dtype: u16, saturate| cast(&cast(&x, dtype, saturate), 1, 1).to_f32();
    assert_eq!(through(17, 1), [0.46875, 448.0, -448.0, 0.0]);
    assert_eq!(through(19, 1), [0.5, 57344.0, -57344.0, 0.0]);
    assert_eq!(through(19, 0), [0.5, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
    assert!(through(18, 0)[1].is_nan() && through(20, 0)[2].is_nan());
    assert_eq!(cast(&x, 20, 1).bytes[3], 0, "without a negative zero");
    assert_eq!(cast(&x, 23, 1).bytes, [0x71, 0x8f], "two floats of four bits to a byte");
    assert_eq!(cast(&Tensor::f32(&[3], &[0.124, 1.1, 4.0]), 24, 1).bytes, [124, 128, 129]);
}

#[test]
fn quantising_to_few_bits_saturates_before_it_packs() {
    let x = Tensor::f32(&[2, 3], &[-9.0, 2.5, 100.0, 3.5, -0.5, 0.4]);
    let (scale, zero) = (Tensor::f32(&[2], &[1.0, 0.5]), packed(22, &[2], &[0x01]));
    let case = Case::new("QuantizeLinear", 25).integer("axis", 0).input(x).input(scale.clone()).input(zero.clone());
    let stored = case.output(22, &[2, 3]).run().remove(0);
    assert_eq!(cast(&stored, 3, 1).to_i8(), [-8, 3, 7, 7, -1, 1]);
    let case = Case::new("DequantizeLinear", 25).integer("axis", 0).input(stored).input(scale).input(zero);
    assert_eq!(case.output(1, &[2, 3]).run()[0].to_f32(), [-9.0, 2.0, 6.0, 3.5, -0.5, 0.5]);
}

#[test]
fn the_last_block_may_be_short() {
    let x = Tensor::i8(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let scale = Tensor::f32(&[2, 2], &[1.0, 10.0, 100.0, 1000.0]);
    let case = Case::new("DequantizeLinear", 23).integer("axis", 1).integer("block_size", 2).input(x).input(scale);
    assert_eq!(case.output(1, &[2, 3]).run()[0].to_f32(), [1.0, 2.0, 30.0, 400.0, 500.0, 6000.0]);
}

#[test]
fn bits_are_seen_as_another_type() {
    let x = Tensor::f32(&[2], &[1.0, -2.0]);
    let bits = Case::new("BitCast", 26).integer("to", 6).input(x).output(6, &[2]).run().remove(0);
    assert_eq!(bits.to_i32(), [0x3f80_0000, 0xc000_0000_u32 as i32]);
    let fours = packed(21, &[3], &[0xf8, 0x01]);
    let signed = Case::new("BitCast", 26).integer("to", 22).input(fours).output(22, &[3]).run().remove(0);
    assert_eq!(cast(&signed, 3, 1).to_i8(), [-8, -1, 1]);
}

#[test]
fn complex_numbers_move_whole() {
    let x = packed(15, &[2, 3], &(0..96).collect::<Vec<u8>>());
    let turned = Case::new("Transpose", 13).integers("perm", &[1, 0]).input(x).output(15, &[3, 2]).run().remove(0);
    let starts: Vec<u8> = turned.bytes.chunks(16).map(|number| number[0] / 16).collect();
    assert_eq!(starts, [0, 3, 1, 4, 2, 5]);
}
