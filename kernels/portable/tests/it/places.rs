//! Operators that read pictures between elements, held against each other and against pictures whose values say where they are.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close, widened};

/// A picture that rises by 1 a column and by 10 a row: interpolation between elements is exact.
fn ramp(height: usize, width: usize) -> Tensor {
    let values: Vec<f32> = (0..height * width).map(|at| (at / width * 10 + at % width) as f32).collect();
    Tensor::f32(&[1, 1, height, width], &values)
}

fn sampled(mode: &str, padding: &str, align: bool, points: &[f32]) -> Vec<f32> {
    let count = points.len() / 2;
    let case = Case::new("GridSample", 20).text("mode", mode).text("padding_mode", padding);
    let case = case.integer("align_corners", align.into()).input(ramp(3, 5));
    let case = case.input(Tensor::f32(&[1, 1, count, 2], points)).output(1, &[1, 1, 1, count]);
    case.run()[0].to_f32()
}

#[test]
fn an_identity_map_gives_the_picture_back() {
    let mut random = Seeded::new(11);
    for align in [0, 1] {
        let picture = random.tensor(&[2, 3, 4, 5, 2]);
        let map: Vec<f32> = [1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0.].repeat(2);
        let size = Tensor::i64(&[5], &[2, 3, 4, 5, 2]);
        let case = Case::new("AffineGrid", 20).integer("align_corners", align);
        let case = case.input(Tensor::f32(&[2, 3, 4], &map)).input(size).output(1, &[2, 4, 5, 2, 3]);
        let grid = case.run().remove(0);
        for mode in ["linear", "nearest"] {
            let case = Case::new("GridSample", 20).text("mode", mode).integer("align_corners", align);
            let case = case.input(picture.clone()).input(grid.clone()).output(1, &[2, 3, 4, 5, 2]);
            assert_close(&case.run()[0].to_f32(), &widened(&picture.to_f32()), 1e-6);
        }
    }
}

#[test]
fn places_outside_are_zeros_borders_or_mirrored() {
    // With aligned corners, -1 to 1 are columns 0 to 4 and rows 0 to 2.
    let points = [0.25, 0.5, -1.5, 0.0, 1.0, 3.5];
    assert_close(&sampled("linear", "border", true, &points), &[17.5, 10.0, 24.0], 1e-6);
    // Column -1 mirrors to 1; row 4.5 goes down to 2, back to 0, and half a row down again.
    assert_close(&sampled("linear", "reflection", true, &points), &[17.5, 11.0, 9.0], 1e-6);
    assert_close(&sampled("linear", "zeros", true, &points), &[17.5, 0.0, 0.0], 1e-6);
    // Without, the borders lie half an element outside.
    assert_close(&sampled("linear", "zeros", false, &[-1.0, 0.0]), &[5.0], 1e-6);
    assert_eq!(sampled("nearest", "border", false, &[0.15, -2.0, 0.9, 0.9]), [2.0, 24.0]);
    // The cubic kernel keeps a ramp away from borders.
    assert_close(&sampled("cubic", "border", true, &[0.125, 0.0]), &[12.25], 1e-2);
}

#[test]
fn a_deformed_convolution_without_offsets_is_a_convolution() {
    let mut random = Seeded::new(12);
    let (x, w, bias) = (random.tensor(&[2, 4, 5, 6]), random.tensor(&[6, 2, 3, 2]), random.tensor(&[6]));
    let window = |case: Case| {
        case.integer("group", 2)
            .integers("pads", &[1, 0, 1, 1])
            .integers("strides", &[2, 1])
            .integers("dilations", &[1, 2])
    };
    let case = window(Case::new("Conv", 22)).input(x.clone()).input(w.clone()).input(bias.clone());
    let wanted = case.output(1, &[2, 6, 3, 5]).run()[0].to_f32();
    let offsets = Tensor::f32(&[2, 24, 3, 5], &[0.0; 720]);
    let mask = Tensor::f32(&[2, 12, 3, 5], &[1.0; 360]);
    let case = window(Case::new("DeformConv", 22)).integer("offset_group", 2).input(x).input(w).input(offsets);
    let got = case.input(bias).input(mask).output(1, &[2, 6, 3, 5]).run()[0].to_f32();
    assert_close(&got, &widened(&wanted), 1e-6);
}

#[test]
fn offsets_move_the_taps_of_a_deformed_convolution() {
    let offsets = Tensor::f32(&[1, 2, 3, 5], &[[0.5; 15], [-1.0; 15]].concat());
    let case = Case::new("DeformConv", 22).input(ramp(3, 5)).input(Tensor::f32(&[1, 1, 1, 1], &[2.0])).input(offsets);
    let got = case.output(1, &[1, 1, 3, 5]).run()[0].to_f32();
    // Half a row down and a column to the left; zeros lie around the picture.
    assert_eq!(got[..5], [0.0, 10.0, 12.0, 14.0, 16.0]);
    assert_eq!(got[10..], [0.0, 20.0, 21.0, 22.0, 23.0]);
}

#[test]
fn regions_are_divided_into_cells() {
    let region = Tensor::f32(&[1, 4], &[0.0, 0.0, 4.0, 2.0]);
    let case = Case::new("RoiAlign", 16).text("coordinate_transformation_mode", "output_half_pixel");
    let case = case.integer("output_height", 1).integer("output_width", 2).integer("sampling_ratio", 2);
    let case = case.input(ramp(4, 6)).input(region).input(Tensor::i64(&[1], &[0])).output(1, &[1, 1, 1, 2]);
    assert_close(&case.run()[0].to_f32(), &[11.0, 13.0], 1e-6);

    let region = Tensor::f32(&[1, 5], &[0.0, 1.0, 0.0, 4.0, 1.0]);
    let case = Case::new("MaxRoiPool", 1).integers("pooled_shape", &[2, 2]).input(ramp(4, 6)).input(region);
    assert_eq!(case.output(1, &[1, 1, 2, 2]).run()[0].to_f32(), [2.0, 4.0, 12.0, 14.0]);

    let stranger = Case::new("RoiAlign", 16).input(ramp(4, 6)).input(Tensor::f32(&[1, 4], &[0.0; 4]));
    let stranger = stranger.input(Tensor::i64(&[1], &[7])).output(1, &[1, 1, 1, 1]);
    assert!(stranger.try_run().unwrap_err().message.contains("none of the 1 pictures"));
}

#[test]
fn maxima_go_back_to_where_they_were_found() {
    let x = Tensor::f32(&[1, 2, 4], &[1., 5., 2., 3., 9., 0., 0., 8.]);
    let case = Case::new("MaxPool", 12).integers("kernel_shape", &[2]).integers("strides", &[2]).input(x);
    let pooled = case.output(1, &[1, 2, 2]).output(7, &[1, 2, 2]).run();
    let case = Case::new("MaxUnpool", 11).integers("kernel_shape", &[2]).integers("strides", &[2]);
    let case = case.input(pooled[0].clone()).input(pooled[1].clone());
    let whole = case.clone().output(1, &[1, 2, 4]).run();
    assert_eq!(whole[0].to_f32(), [0., 5., 0., 3., 9., 0., 0., 8.]);
    // A larger picture holds the smaller one in its first corner.
    let larger = case.input(Tensor::i64(&[3], &[1, 2, 5])).output(1, &[1, 2, 5]).run();
    assert_eq!(larger[0].to_f32(), [0., 5., 0., 3., 0., 9., 0., 0., 8., 0.]);
}

#[test]
fn statistics_of_a_batch_move_the_running_ones() {
    let x = Tensor::f32(&[2, 1, 2], &[1., 3., 5., 7.]);
    let one = |value: f32| Tensor::f32(&[1], &[value]);
    let case = Case::new("BatchNormalization", 15).integer("training_mode", 1).number("momentum", 0.75);
    let case = case.number("epsilon", 0.0).input(x).input(one(2.0)).input(one(1.0)).input(one(8.0)).input(one(1.0));
    let got = case.output(1, &[2, 1, 2]).output(1, &[1]).output(1, &[1]).run();
    let deviation = 5f64.sqrt();
    let wanted: Vec<f64> = [-3.0, -1.0, 1.0, 3.0].iter().map(|x| x / deviation * 2.0 + 1.0).collect();
    assert_close(&got[0].to_f32(), &wanted, 1e-6);
    assert_eq!((got[1].to_f32(), got[2].to_f32()), (vec![7.0], vec![2.0]));
}

#[test]
fn lines_are_divided_by_their_norms() {
    let x = Tensor::f32(&[2, 2], &[3., 0., -4., 0.]);
    let squares = Case::new("LpNormalization", 22).integer("axis", 0).integer("p", 2).input(x.clone());
    assert_close(&squares.output(1, &[2, 2]).run()[0].to_f32(), &[0.6, 0.0, -0.8, 0.0], 1e-7);
    let sizes = Case::new("LpNormalization", 22).integer("axis", 0).integer("p", 1).input(x);
    assert_close(&sizes.output(1, &[2, 2]).run()[0].to_f32(), &[3.0 / 7.0, 0.0, -4.0 / 7.0, 0.0], 1e-7);
}
