//! `ConvTranspose` whose windows do not overlap.

use crate::harness::{Case, Fill, Random, count};
use crate::products::random_steps;

/// Images, inputs, outputs, then as many lengths as axes: of the input, and of the kernel.
fn case(random: &mut Random, shape: [usize; 3], size: &[usize], kernel: &[usize], bias: bool, fill: Fill) -> Case {
    let [images, inputs, outputs] = shape;
    let x = [&[images, inputs], size].concat();
    let w = [&[inputs, outputs], kernel].concat();
    let mut y = vec![images, outputs];
    y.extend(size.iter().zip(kernel).map(|(a, b)| a * b));
    let case = Case::new("ConvTranspose", 11, &y)
        .text("auto_pad", "NOTSET")
        .integer("group", 1)
        .integers("kernel_shape", kernel)
        .integers("strides", kernel)
        .integers("dilations", &vec![1; kernel.len()])
        .integers("pads", &vec![0; 2 * kernel.len()])
        .integers("output_padding", &vec![0; kernel.len()]);
    let case = case.input(&x, fill.values(random, count(&x)));
    let case = case.constant(&w, fill.values(random, count(&w)));
    if bias { case.constant(&[outputs], fill.values(random, outputs)) } else { case }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for ConvTranspose")]
fn every_element_becomes_a_tile() {
    let mut random = Random::new(301);
    for round in 0..120 {
        let axes = 1 + usize::from(round % 5 != 0);
        let size: Vec<usize> = (0..axes).map(|_| random.pick(&[1, 2, 3, 7, 8, 9, 16, 17, 40])).collect();
        let kernel: Vec<usize> = (0..axes).map(|_| random.pick(&[1, 2, 2, 2, 3, 4])).collect();
        let shape = [random.pick(&[1, 1, 2]), random.pick(&[1, 2, 5, 7, 24]), random.pick(&[1, 3, 6, 13])];
        let fill = if round % 2 == 0 { Fill::Whole } else { Fill::Real(1.0) };
        let bias = random.chance(50);
        let case = case(&mut random, shape, &size, &kernel, bias, fill);
        random_steps(case, &mut random, fill).check(if fill == Fill::Whole { 0.0 } else { 1e-5 });
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for ConvTranspose")]
fn nothing_becomes_nothing_and_special_numbers_stay_in_their_tiles() {
    let mut random = Random::new(302);
    for shape in [[0, 3, 2], [1, 0, 2], [1, 3, 0]] {
        case(&mut random, shape, &[3, 5], &[2, 2], true, Fill::Whole).check(0.0);
    }
    case(&mut random, [1, 3, 2], &[0, 5], &[2, 2], false, Fill::Whole).check(0.0);
    let mut special = case(&mut random, [1, 2, 3], &[4, 9], &[2, 2], true, Fill::Whole);
    special.data[0][13] = f32::NAN;
    special.data[0][40] = f32::INFINITY;
    special.check(0.0);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for ConvTranspose")]
fn windows_that_overlap_are_declined() {
    let mut random = Random::new(303);
    let plain = || case(&mut Random::new(304), [1, 2, 3], &[4, 5], &[2, 2], false, Fill::Whole);
    let change = |key: &str, values: &[usize]| {
        let mut case = plain();
        case.operation.attributes.retain(|kv| kv.key != key);
        case.integers(key, values)
    };
    change("strides", &[1, 2]).check_declined();
    change("pads", &[0, 0, 1, 0]).check_declined();
    change("dilations", &[1, 2]).check_declined();
    change("output_padding", &[0, 1]).check_declined();
    let mut open = plain();
    open.operation.inputs[1].as_mut().expect("there").constant = false;
    open.check_declined();
    case(&mut random, [1, 2, 3], &[2, 2, 2], &[2, 2, 2], false, Fill::Whole).check_declined();
}
