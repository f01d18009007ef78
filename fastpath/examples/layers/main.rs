//! Times the convolutions and products of well-known models one by one, and compares each with the peak of the machine's multiply-adds on one thread.
//!
//! `cargo run --release -p sunmao-fastpath --example layers [NAME [IMAGES [THREADS]]]` measures the layers whose name begins with `NAME`, or with
//! `NAME/NUMBER` one of them. A convolution that needs fewer multiplications than its plain sum may lie above the peak. With `int8 NAME`, the layers are
//! quantised ones.

mod quantised;
mod timing;

use sunmao_plugin_sdk::abi::{Attribute, EpilogueStep, Kv, Operand, Operation};
use timing::Times;

/// A convolution with bias and Relu, or a matrix product, and how often its model has it.
struct Layer {
    name: &'static str,
    count: usize,
    images: usize,
    groups: usize,
    inputs: usize,
    outputs: usize,
    /// Of a plane; of a product, one and its rows.
    size: [usize; 2],
    /// 0 for a product of `size` rows with a matrix of `inputs` rows and `outputs` columns.
    kernel: usize,
    stride: usize,
    /// Adds a second tensor before the Relu.
    residual: bool,
}

const PLAIN: Layer = Layer {
    name: "",
    count: 1,
    images: 1,
    groups: 1,
    inputs: 1,
    outputs: 1,
    size: [1, 1],
    kernel: 1,
    stride: 1,
    residual: false,
};

const fn dense(
    name: &'static str,
    count: usize,
    inputs: usize,
    outputs: usize,
    size: usize,
    kernel: usize,
    stride: usize,
) -> Layer {
    Layer { name, count, inputs, outputs, size: [size, size], kernel, stride, ..PLAIN }
}

const fn depthwise(
    name: &'static str,
    count: usize,
    channels: usize,
    size: usize,
    kernel: usize,
    stride: usize,
) -> Layer {
    Layer {
        name,
        count,
        groups: channels,
        inputs: channels,
        outputs: channels,
        size: [size, size],
        kernel,
        stride,
        ..PLAIN
    }
}

const fn product(name: &'static str, count: usize, rows: usize, depth: usize, columns: usize) -> Layer {
    Layer { name, count, inputs: depth, outputs: columns, size: [1, rows], kernel: 0, ..PLAIN }
}

const LAYERS: &[Layer] = &[
    dense("resnet50", 1, 3, 64, 224, 7, 2),
    dense("resnet50", 1, 64, 64, 56, 1, 1),
    dense("resnet50", 3, 64, 64, 56, 3, 1),
    Layer { residual: true, ..dense("resnet50", 4, 64, 256, 56, 1, 1) },
    dense("resnet50", 2, 256, 64, 56, 1, 1),
    dense("resnet50", 1, 256, 128, 56, 1, 1),
    dense("resnet50", 1, 128, 128, 56, 3, 2),
    dense("resnet50", 1, 256, 512, 56, 1, 2),
    Layer { residual: true, ..dense("resnet50", 4, 128, 512, 28, 1, 1) },
    dense("resnet50", 3, 512, 128, 28, 1, 1),
    dense("resnet50", 3, 128, 128, 28, 3, 1),
    dense("resnet50", 1, 512, 256, 28, 1, 1),
    dense("resnet50", 1, 256, 256, 28, 3, 2),
    dense("resnet50", 1, 512, 1024, 28, 1, 2),
    Layer { residual: true, ..dense("resnet50", 6, 256, 1024, 14, 1, 1) },
    dense("resnet50", 5, 1024, 256, 14, 1, 1),
    dense("resnet50", 5, 256, 256, 14, 3, 1),
    dense("resnet50", 1, 1024, 512, 14, 1, 1),
    dense("resnet50", 1, 512, 512, 14, 3, 2),
    dense("resnet50", 1, 1024, 2048, 14, 1, 2),
    Layer { residual: true, ..dense("resnet50", 3, 512, 2048, 7, 1, 1) },
    dense("resnet50", 2, 2048, 512, 7, 1, 1),
    dense("resnet50", 2, 512, 512, 7, 3, 1),
    Layer { images: 8, ..dense("batch8", 2, 512, 512, 7, 3, 1) },
    Layer { images: 8, ..dense("batch8", 5, 256, 256, 14, 3, 1) },
    dense("mobilenetv2", 1, 3, 32, 224, 3, 2),
    depthwise("mobilenetv2", 1, 32, 112, 3, 1),
    dense("mobilenetv2", 1, 32, 16, 112, 1, 1),
    dense("mobilenetv2", 1, 16, 96, 112, 1, 1),
    depthwise("mobilenetv2", 1, 96, 112, 3, 2),
    dense("mobilenetv2", 1, 96, 24, 56, 1, 1),
    dense("mobilenetv2", 2, 24, 144, 56, 1, 1),
    depthwise("mobilenetv2", 1, 144, 56, 3, 1),
    dense("mobilenetv2", 1, 144, 24, 56, 1, 1),
    depthwise("mobilenetv2", 1, 144, 56, 3, 2),
    dense("mobilenetv2", 1, 144, 32, 28, 1, 1),
    dense("mobilenetv2", 3, 32, 192, 28, 1, 1),
    depthwise("mobilenetv2", 2, 192, 28, 3, 1),
    dense("mobilenetv2", 2, 192, 32, 28, 1, 1),
    depthwise("mobilenetv2", 1, 192, 28, 3, 2),
    dense("mobilenetv2", 1, 192, 64, 14, 1, 1),
    dense("mobilenetv2", 4, 64, 384, 14, 1, 1),
    depthwise("mobilenetv2", 4, 384, 14, 3, 1),
    dense("mobilenetv2", 3, 384, 64, 14, 1, 1),
    dense("mobilenetv2", 1, 384, 96, 14, 1, 1),
    dense("mobilenetv2", 3, 96, 576, 14, 1, 1),
    depthwise("mobilenetv2", 2, 576, 14, 3, 1),
    dense("mobilenetv2", 2, 576, 96, 14, 1, 1),
    depthwise("mobilenetv2", 1, 576, 14, 3, 2),
    dense("mobilenetv2", 1, 576, 160, 7, 1, 1),
    dense("mobilenetv2", 3, 160, 960, 7, 1, 1),
    depthwise("mobilenetv2", 3, 960, 7, 3, 1),
    dense("mobilenetv2", 2, 960, 160, 7, 1, 1),
    dense("mobilenetv2", 1, 960, 320, 7, 1, 1),
    dense("mobilenetv2", 1, 320, 1280, 7, 1, 1),
    dense("densenet121", 6, 128, 32, 56, 3, 1),
    dense("densenet121", 12, 128, 32, 28, 3, 1),
    dense("densenet121", 24, 128, 32, 14, 3, 1),
    dense("densenet121", 16, 128, 32, 7, 3, 1),
    dense("densenet121", 6, 160, 128, 56, 1, 1),
    dense("densenet121", 24, 640, 128, 14, 1, 1),
    dense("densenet121", 16, 768, 128, 7, 1, 1),
    dense("squeezenet", 2, 16, 64, 55, 3, 1),
    dense("squeezenet", 2, 32, 128, 27, 3, 1),
    dense("squeezenet", 2, 48, 192, 13, 3, 1),
    dense("squeezenet", 2, 64, 256, 13, 3, 1),
    dense("ppocrv5_det", 1, 3, 16, 480, 3, 2),
    depthwise("ppocrv5_det", 1, 16, 240, 3, 1),
    dense("ppocrv5_det", 1, 16, 32, 240, 1, 1),
    depthwise("ppocrv5_det", 1, 32, 240, 3, 2),
    dense("ppocrv5_det", 1, 48, 48, 120, 1, 1),
    dense("ppocrv5_det", 1, 96, 96, 60, 1, 1),
    depthwise("ppocrv5_det", 4, 192, 30, 5, 1),
    depthwise("ppocrv5_det", 1, 192, 30, 5, 2),
    dense("ppocrv5_det", 4, 192, 192, 30, 1, 1),
    dense("ppocrv5_det", 3, 384, 384, 15, 1, 1),
    dense("ppocrv5_det", 2, 96, 24, 120, 3, 1),
    dense("ppocrv5_det", 1, 96, 24, 60, 3, 1),
    Layer { size: [172, 264], ..dense("basic_pitch", 1, 8, 8, 0, 5, 1) },
    Layer { size: [172, 88], ..dense("basic_pitch", 1, 32, 1, 0, 7, 1) },
];

const PRODUCTS: &[Layer] = &[
    product("minilm", 24, 128, 384, 384),
    product("minilm", 6, 128, 384, 1536),
    product("minilm", 6, 128, 1536, 384),
    product("classifier", 1, 1, 1280, 1000),
    product("gemm", 1, 1024, 1024, 1024),
];

const F32: u16 = 1;
const U8: u16 = 2;
const I8: u16 = 3;
const I32: u16 = 6;

fn width(dtype: u16) -> usize {
    if matches!(dtype, F32 | I32) { 4 } else { 1 }
}

fn operand(shape: &[usize], constant: bool) -> Option<Operand> {
    Some(Operand {
        dtype: F32,
        shape: shape.iter().map(|&d| d as u32).collect(),
        layout: 0,
        constant,
        literal: None,
        quantisation: None,
        extents: Vec::new(),
        ext: Vec::new(),
    })
}

impl Layer {
    fn output(&self) -> [usize; 2] {
        if self.kernel == 0 {
            return self.size;
        }
        self.size.map(|size| (size + self.kernel / 2 * 2 - self.kernel) / self.stride + 1)
    }

    fn attributes(&self) -> Vec<Kv> {
        let integers = |key: &str, value: usize, count: usize| Kv {
            key: key.into(),
            val: Attribute::Integers(vec![value as i64; count]),
        };
        vec![
            integers("kernel_shape", self.kernel, 2),
            integers("strides", self.stride, 2),
            integers("dilations", 1, 2),
            integers("pads", self.kernel / 2, 4),
            Kv { key: "group".into(), val: Attribute::Integer(self.groups as i64) },
        ]
    }

    fn product(&self) -> Operation {
        let rows = self.images * self.size[1];
        Operation {
            op: "MatMul".into(),
            revision: 13,
            attributes: Vec::new(),
            inputs: vec![operand(&[rows, self.inputs], false), operand(&[self.inputs, self.outputs], true)],
            outputs: vec![operand(&[rows, self.outputs], false)],
            epilogue: Vec::new(),
            ext: Vec::new(),
        }
    }

    fn operation(&self) -> Operation {
        if self.kernel == 0 {
            return self.product();
        }
        let [high, wide] = self.output();
        let y = [self.images, self.outputs, high, wide];
        let step = |op: &str, input| EpilogueStep { op: op.into(), input, attributes: Vec::new() };
        let mut inputs = vec![
            operand(&[self.images, self.inputs, self.size[0], self.size[1]], false),
            operand(&[self.outputs, self.inputs / self.groups, self.kernel, self.kernel], true),
            operand(&[self.outputs], true),
        ];
        let mut epilogue = Vec::new();
        if self.residual {
            inputs.push(operand(&y, false));
            epilogue.push(step("add", Some(3)));
        }
        epilogue.push(step("Relu", None));
        Operation {
            op: "Conv".into(),
            revision: 22,
            attributes: self.attributes(),
            inputs,
            outputs: vec![operand(&y, false)],
            epilogue,
            ext: Vec::new(),
        }
    }

    fn operations(&self) -> f64 {
        let [high, wide] = self.output();
        let taps = self.inputs / self.groups * self.kernel.max(1).pow(2);
        2.0 * (self.images * self.outputs * high * wide * taps) as f64
    }
}

/// Floating-point operations in a second of multiply-adds that wait for nothing.
#[cfg(target_arch = "x86_64")]
fn peak() -> Option<f64> {
    use std::arch::x86_64::*;
    use std::time::Instant;

    const CHAINS: usize = 12;
    const ROUNDS: usize = 1_000_000;

    #[target_feature(enable = "avx2,fma")]
    fn chains() -> __m256 {
        let mut sums = [_mm256_set1_ps(1.0); CHAINS];
        let (x, y) = (_mm256_set1_ps(std::hint::black_box(0.5)), _mm256_set1_ps(std::hint::black_box(0.25)));
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(x, *sum, y);
            }
        }
        sums.into_iter().fold(x, |a, b| _mm256_add_ps(a, b))
    }

    sunmao_fastpath::Isa::detect().avx2()?;
    let once = || {
        let start = Instant::now();
        // SAFETY: the CPU has AVX2 and FMA.
        std::hint::black_box(unsafe { chains() });
        (CHAINS * ROUNDS * 16) as f64 / start.elapsed().as_secs_f64()
    };
    (0..20).map(|_| once()).reduce(f64::max)
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> Option<f64> {
    None
}

fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1).peekable();
    let is_quantised = words.next_if(|word| word == "int8").is_some();
    let wanted = words.next().unwrap_or_default();
    let number = |word: Option<&str>| word.map(|word| word.parse::<usize>()).transpose().map_err(|e| e.to_string());
    let images = number(words.next().as_deref())?;
    let threads = number(words.next().as_deref())?.unwrap_or(1).max(1);
    let (wanted, one) = match wanted.split_once('/') {
        Some((name, one)) => (name, number(Some(one))?),
        None => (wanted.as_str(), None),
    };
    let peak = peak().ok_or("this machine has no fast paths")?;
    println!("peak {:.1} GFLOP/s", peak / 1e9);
    let mut totals = Vec::<(&str, Times)>::new();
    let products = if is_quantised { quantised::PRODUCTS } else { PRODUCTS };
    let of_that_name = LAYERS.iter().chain(products).filter(|layer| layer.name.starts_with(wanted)).enumerate();
    for (_, layer) in of_that_name.filter(|(at, _)| one.is_none_or(|one| one == *at)) {
        let layer = Layer { images: images.unwrap_or(layer.images), ..*layer };
        let operation = if is_quantised { quantised::operation(&layer) } else { layer.operation() };
        let times = timing::time(&operation, threads)?;
        let speed = layer.operations() / times.fastest;
        let Layer { name, count, images, groups, inputs, outputs, size: [high, wide], kernel, stride, .. } = layer;
        println!(
            "{name:12} {count:2} x {images} x {inputs:4} -> {outputs:4} {high:3} x {wide:3} kernel {kernel} stride {stride} groups {groups:3}: {:8.3} ms (middle {:8.3}) {:6.1} GFLOP/s {:5.1} %",
            times.fastest * 1e3,
            times.middle * 1e3,
            speed / 1e9,
            100.0 * speed / peak
        );
        if totals.last().is_none_or(|(last, _)| *last != name) {
            totals.push((name, Times { fastest: 0.0, middle: 0.0 }));
        }
        if let Some((_, total)) = totals.last_mut() {
            total.fastest += times.fastest * count as f64;
            total.middle += times.middle * count as f64;
        }
    }
    for (name, total) in totals {
        println!("{name:12} {:.2} ms in these layers (middle {:.2})", total.fastest * 1e3, total.middle * 1e3);
    }
    Ok(())
}
