//! `Conv` by Winograd's minimal filtering.

use crate::harness::{Case, Fill, Random, count};
use crate::products::{STEPS, random_steps};
use crate::windows::{Channels, PLAIN, Window, conv};

/// The case must be taken by the path that transforms its filters.
#[track_caller]
fn check(case: &Case, tolerance: f32) {
    if let Some(fast) = case.fast() {
        let needs = fast.requirements();
        let path = needs.packed.first().map_or("", |packed| &packed.key);
        assert!(path.starts_with("avx2-winograd"), "`{path}` took {:?}", case.operation);
    }
    case.check(tolerance);
}

fn plane(high: usize, wide: usize) -> Window {
    Window::plain(&[high, wide], &[3, 3]).pads(&[1, 1, 1, 1])
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions")]
fn tiles_cover_planes_of_any_size() {
    let mut random = Random::new(31);
    for (high, wide, images) in [
        (56, 56, 1),
        (28, 28, 1),
        (14, 14, 1),
        (14, 14, 3),
        (7, 7, 2),
        (13, 70, 1),
        (31, 9, 2),
        (5, 300, 1),
        (90, 4, 1),
    ] {
        let channels = Channels { images, inputs: 24, outputs: 40, ..PLAIN };
        check(&conv(&mut random, &plane(high, wide), channels, Fill::Real(1.0)), 1e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions")]
fn filters_and_channels_are_cut_into_blocks() {
    let mut random = Random::new(32);
    for (size, inputs, outputs) in [(14, 300, 64), (28, 16, 400), (20, 129, 131), (10, 600, 32)] {
        let channels = Channels { inputs, outputs, ..PLAIN };
        check(&conv(&mut random, &plane(size, size), channels, Fill::Real(1.0)), 1e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions")]
fn pads_may_differ() {
    let mut random = Random::new(33);
    for pads in [[0, 0, 0, 0], [2, 0, 0, 1], [0, 2, 1, 0], [2, 2, 2, 2], [1, 0, 1, 2]] {
        let window = Window::plain(&[25, 22], &[3, 3]).pads(&pads);
        let channels = Channels { images: 2, inputs: 32, outputs: 33, ..PLAIN };
        check(&conv(&mut random, &window, channels, Fill::Real(1.0)), 1e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions")]
fn steps_follow() {
    let mut random = Random::new(34);
    let channels = Channels { images: 2, inputs: 32, outputs: 35, ..PLAIN };
    for (op, attributes) in STEPS {
        let case = conv(&mut random, &plane(18, 21), channels, Fill::Real(0.3));
        let shape = case.output_shape();
        let addends = Fill::Real(0.3).values(&mut random, count(&shape));
        // A bounded result is small beside the sums that it was made of.
        check(&case.clone().step(op, attributes), 5e-5);
        check(&case.step_with("add", &shape, addends).step(op, attributes), 5e-5);
    }
    for _ in 0..20 {
        let channels = Channels { bias: random.chance(50), ..channels };
        let case = conv(&mut random, &plane(18, 21), channels, Fill::Real(0.3));
        check(&random_steps(case, &mut random, Fill::Real(0.3)), 5e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions")]
fn a_special_number_stays_where_its_tile_is() {
    let mut random = Random::new(35);
    let channels = Channels { inputs: 32, outputs: 32, ..PLAIN };
    let mut case = conv(&mut random, &plane(20, 20), channels, Fill::Real(1.0));
    case.data[0][7 * 20 + 9] = f32::NAN;
    let (Some(fast), output) = (case.fast(), case.output_shape()) else { return };
    let found = case.run(&*fast, 1, None);
    assert_eq!(output, [1, 32, 20, 20]);
    for (at, value) in found.iter().enumerate() {
        let (y, x) = (at / 20 % 20, at % 20);
        let reads = (6..=8).contains(&y) && (8..=10).contains(&x);
        let near = (4..=11).contains(&y) && (8..=11).contains(&x);
        assert!(value.is_nan() || !reads, "{y}, {x} lost a NaN");
        assert!(!value.is_nan() || near, "{y}, {x} got a NaN of another tile");
    }
}
