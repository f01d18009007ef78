//! `Conv`, depthwise and not, `MaxPool` and `AveragePool`.

use crate::harness::{Case, Fill, Random, count};
use crate::products::{STEPS, random_steps};

#[derive(Clone, Debug)]
pub(crate) struct Window {
    input: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
}

impl Window {
    pub(crate) fn plain(input: &[usize], kernel: &[usize]) -> Self {
        let axes = input.len();
        Self {
            input: input.to_vec(),
            kernel: kernel.to_vec(),
            strides: vec![1; axes],
            dilations: vec![1; axes],
            pads: vec![0; 2 * axes],
        }
    }

    fn strides(mut self, strides: &[usize]) -> Self {
        self.strides = strides.to_vec();
        self
    }

    pub(crate) fn pads(mut self, pads: &[usize]) -> Self {
        self.pads = pads.to_vec();
        self
    }

    fn random(random: &mut Random, axes: usize) -> Self {
        loop {
            let mut each = |of: &[usize]| (0..axes).map(|_| random.pick(of)).collect::<Vec<_>>();
            let window = Self {
                input: each(&[1, 2, 3, 5, 7, 8, 11, 14, 16, 19, 24, 33]),
                kernel: each(&[1, 1, 2, 3, 3, 5]),
                strides: each(&[1, 1, 1, 2, 2, 3]),
                dilations: each(&[1, 1, 1, 2, 3]),
                pads: [each(&[0, 0, 1, 2]), each(&[0, 0, 1, 2])].concat(),
            };
            // ONNX Runtime and others refuse pads of a whole kernel.
            let fits = (0..axes).all(|i| {
                let extent = (window.kernel[i] - 1) * window.dilations[i] + 1;
                let (before, after) = (window.pads[i], window.pads[axes + i]);
                window.input[i] + before + after >= extent && before < window.kernel[i] && after < window.kernel[i]
            });
            if fits {
                return window;
            }
        }
    }

    fn output(&self, ceil: bool) -> Vec<usize> {
        let axes = self.input.len();
        let length = |i: usize| {
            let extent = (self.kernel[i] - 1) * self.dilations[i] + 1;
            let room = self.input[i] + self.pads[i] + self.pads[axes + i] - extent;
            let up = room.div_ceil(self.strides[i]) + 1;
            // A window that would begin behind the input is none.
            let begins_inside = (up - 1) * self.strides[i] < self.input[i] + self.pads[i];
            if ceil && begins_inside { up } else { room / self.strides[i] + 1 }
        };
        (0..axes).map(length).collect()
    }

    fn attributes(&self, case: Case) -> Case {
        case.integers("kernel_shape", &self.kernel)
            .integers("strides", &self.strides)
            .integers("dilations", &self.dilations)
            .integers("pads", &self.pads)
            .text("auto_pad", "NOTSET")
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Channels {
    pub(crate) images: usize,
    pub(crate) groups: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) bias: bool,
    pub(crate) constant: bool,
}

pub(crate) const PLAIN: Channels = Channels { images: 1, groups: 1, inputs: 3, outputs: 5, bias: true, constant: true };

pub(crate) fn conv(random: &mut Random, window: &Window, channels: Channels, fill: Fill) -> Case {
    let Channels { images, groups, inputs, outputs, bias, constant } = channels;
    let x = [&[images, groups * inputs], window.input.as_slice()].concat();
    let w = [&[groups * outputs, inputs], window.kernel.as_slice()].concat();
    let y = [&[images, groups * outputs], window.output(false).as_slice()].concat();
    let case = window.attributes(Case::new("Conv", 22, &y)).integer("group", groups as i64);
    let case = case.input(&x, fill.values(random, count(&x)));
    let weights = fill.values(random, count(&w));
    let case = if constant { case.constant(&w, weights) } else { case.input(&w, weights) };
    match bias {
        true => case.constant(&[groups * outputs], fill.values(random, groups * outputs)),
        false => case,
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn convolutions_of_odd_shapes_are_the_twins() {
    let mut random = Random::new(11);
    for round in 0..150 {
        let axes = if round % 5 == 0 { 1 } else { 2 };
        let window = Window::random(&mut random, axes);
        let channels = Channels {
            images: random.pick(&[1, 1, 2]),
            groups: random.pick(&[1, 1, 1, 2, 3]),
            inputs: random.pick(&[1, 2, 3, 4, 7]),
            outputs: random.pick(&[1, 2, 5, 6, 7, 13]),
            bias: random.chance(50),
            constant: random.chance(80),
        };
        let fill = if round % 2 == 0 { Fill::Whole } else { Fill::Real(1.0) };
        let case = conv(&mut random, &window, channels, fill);
        random_steps(case, &mut random, fill).check(if fill == Fill::Whole { 0.0 } else { 1e-5 });
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn depthwise_convolutions_are_the_twins() {
    let mut random = Random::new(12);
    for round in 0..150 {
        let axes = if round % 5 == 0 { 1 } else { 2 };
        let window = Window::random(&mut random, axes);
        let channels = Channels {
            images: random.pick(&[1, 1, 2]),
            groups: random.pick(&[1, 2, 3, 7]),
            inputs: 1,
            outputs: random.pick(&[1, 1, 2, 3]),
            bias: random.chance(50),
            constant: random.chance(80),
        };
        let fill = if round % 2 == 0 { Fill::Whole } else { Fill::Real(1.0) };
        let case = conv(&mut random, &window, channels, fill);
        random_steps(case, &mut random, fill).check(if fill == Fill::Whole { 0.0 } else { 1e-5 });
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn every_second_column_of_rows_of_any_length() {
    let mut random = Random::new(43);
    for width in (1..=24).chain([33, 56, 113]) {
        for pads in [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2]] {
            if width + pads[1] + pads[3] < 3 {
                continue;
            }
            let window = Window::plain(&[5, width], &[3, 3]).pads(&pads).strides(&[random.pick(&[1, 2]), 2]);
            let channels = Channels { groups: 3, inputs: 1, outputs: random.pick(&[1, 2]), ..PLAIN };
            let mut case = conv(&mut random, &window, channels, Fill::Whole);
            case.clone().step("Relu", &[]).check(0.0);
            // What one output reads is no other output's.
            let elements = case.data[0].len();
            case.data[0][random.pick(&[0, elements / 2, elements - 1])] = f32::INFINITY;
            case.data[0][elements / 3] = f32::NAN;
            case.check(0.0);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn pointwise_convolutions_read_the_planes_as_they_are() {
    let mut random = Random::new(13);
    for (outputs, inputs, height, width) in
        [(5, 7, 9, 11), (16, 33, 7, 7), (40, 20, 1, 1), (3, 400, 5, 5), (12, 2, 40, 40)]
    {
        for constant in [false, true] {
            let window = Window::plain(&[height, width], &[1, 1]);
            let channels = Channels { inputs, outputs, constant, ..PLAIN };
            let case = conv(&mut random, &window, channels, Fill::Whole);
            random_steps(case, &mut random, Fill::Whole).check(0.0);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn few_columns_behind_whole_panels_are_none_too_many() {
    let mut random = Random::new(41);
    // 1 to 5 columns are left, of which up to four are summed with rows as lanes; depths around the number of sums that run side by side.
    for (height, width) in [(7, 7), (1, 18), (1, 35), (2, 34), (3, 7), (1, 3), (1, 1)] {
        for (outputs, inputs) in [(23, 1), (14, 2), (13, 5), (36, 64), (6, 7), (18, 330), (200, 9)] {
            let window = Window::plain(&[height, width], &[1, 1]);
            let channels = Channels { inputs, outputs, constant: true, ..PLAIN };
            let mut case = conv(&mut random, &window, channels, Fill::Whole);
            case.clone().step("Relu", &[]).check(0.0);
            *case.data[0].last_mut().expect("planes have elements") = f32::NAN;
            *case.data[1].last_mut().expect("filters have elements") = f32::INFINITY;
            case.check(0.0);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn patches_are_packed_in_blocks() {
    let mut random = Random::new(14);
    let same = |size: usize| Window::plain(&[size, size], &[3, 3]).pads(&[1, 1, 1, 1]);
    for (window, inputs, outputs) in [
        (same(14), 40, 7),
        (same(7), 75, 13),
        (same(35), 4, 3),
        (same(28).strides(&[2, 2]), 37, 6),
        (Window::plain(&[40, 40], &[7, 7]).pads(&[3, 3, 3, 3]).strides(&[2, 2]), 3, 16),
        (Window::plain(&[1, 700], &[1, 9]).pads(&[0, 4, 0, 4]), 40, 5),
    ] {
        let channels = Channels { inputs, outputs, ..PLAIN };
        conv(&mut random, &window, channels, Fill::Whole).check(0.0);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn wide_planes_are_cut_into_bands() {
    let mut random = Random::new(15);
    for (input, kernel, strides) in [
        ([60, 200], [3, 3], [1, 1]),
        ([61, 333], [5, 5], [2, 2]),
        ([9, 3001], [3, 3], [1, 2]),
        ([5, 9000], [3, 3], [1, 1]),
    ] {
        let window = Window::plain(&input, &kernel).strides(&strides).pads(&[1, 1, 1, 1]);
        let channels = Channels { groups: 3, inputs: 1, outputs: 1, ..PLAIN };
        conv(&mut random, &window, channels, Fill::Whole).step("Relu", &[]).check(0.0);
    }
    // Not even one row fits the workspace: the matrix product takes it.
    let window = Window::plain(&[3, 60_000], &[3, 3]);
    let channels = Channels { groups: 2, inputs: 1, outputs: 1, ..PLAIN };
    conv(&mut random, &window, channels, Fill::Whole).check(0.0);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn every_step_follows_a_convolution() {
    let mut random = Random::new(16);
    for (op, attributes) in STEPS {
        let window = Window::plain(&[9, 10], &[3, 3]).pads(&[1, 1, 1, 1]);
        conv(&mut random, &window, PLAIN, Fill::Real(1.0)).step(op, attributes).check(1e-5);
        let channels = Channels { groups: 3, inputs: 1, outputs: 1, ..PLAIN };
        conv(&mut random, &window, channels, Fill::Real(1.0)).step(op, attributes).check(1e-5);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn convolutions_without_elements_do_nothing() {
    let mut random = Random::new(17);
    let window = Window::plain(&[5, 5], &[3, 3]);
    conv(&mut random, &window, Channels { images: 0, ..PLAIN }, Fill::Whole).check(0.0);
    conv(&mut random, &window, Channels { outputs: 0, ..PLAIN }, Fill::Whole).check(0.0);
    conv(&mut random, &window, Channels { inputs: 0, ..PLAIN }, Fill::Whole).check(0.0);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn convolutions_over_three_axes_are_declined() {
    let mut random = Random::new(18);
    conv(&mut random, &Window::plain(&[4, 4, 4], &[3, 3, 3]), PLAIN, Fill::Whole).check_declined();
    let padded = conv(&mut random, &Window::plain(&[4, 4], &[3, 3]), PLAIN, Fill::Whole);
    let mut same = padded;
    same.operation.attributes.retain(|kv| kv.key != "auto_pad");
    same.text("auto_pad", "SAME_UPPER").check_declined();
}

fn pool(random: &mut Random, op: &str, window: &Window, ceil: bool, with_pads: bool, fill: Fill) -> Case {
    let planes = [random.pick(&[1, 2]), random.pick(&[1, 3, 5])];
    let x = [planes.as_slice(), &window.input].concat();
    let y = [planes.as_slice(), &window.output(ceil)].concat();
    let mut case = window.attributes(Case::new(op, 22, &y)).integer("ceil_mode", ceil.into());
    if op == "AveragePool" {
        case = case.integer("count_include_pad", with_pads.into());
    } else {
        case = case.integer("storage_order", 0);
    }
    case.input(&x, fill.values(random, count(&x)))
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn pools_are_the_twins() {
    let mut random = Random::new(19);
    for round in 0..150 {
        let axes = if round % 5 == 0 { 1 } else { 2 };
        let window = Window::random(&mut random, axes);
        let (ceil, with_pads) = (random.chance(40), random.chance(50));
        pool(&mut random, "MaxPool", &window, ceil, false, Fill::Real(10.0)).check(0.0);
        pool(&mut random, "AveragePool", &window, ceil, with_pads, Fill::Real(10.0)).check(2e-6);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn averages_of_whole_planes_are_the_twins() {
    let mut random = Random::new(29);
    for input in [&[1, 1][..], &[7, 7], &[13, 5], &[40, 41], &[1], &[131]] {
        let window = Window::plain(input, input);
        pool(&mut random, "AveragePool", &window, false, false, Fill::Real(10.0)).check(2e-6);
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn a_nan_wins_a_window() {
    let mut random = Random::new(20);
    let window = Window::plain(&[9, 9], &[3, 3]).pads(&[1, 1, 1, 1]).strides(&[2, 2]);
    let mut case = pool(&mut random, "MaxPool", &window, false, false, Fill::Whole);
    case.data[0][40] = f32::NAN;
    case.data[0][7] = f32::NEG_INFINITY;
    case.check(0.0);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for convolutions and pools")]
fn a_pool_with_places_is_declined() {
    let mut random = Random::new(21);
    let mut case = pool(&mut random, "MaxPool", &Window::plain(&[9, 9], &[3, 3]), false, false, Fill::Whole);
    let mut places = case.operation.outputs[0].clone().expect("there");
    places.dtype = 7;
    case.operation.outputs.push(Some(places));
    case.check_declined();
}
