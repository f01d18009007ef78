//! `ConvTranspose` whose windows do not overlap: its stride is its kernel, and nothing is padded. Every element of the input becomes a tile of the output.
//!
//! A line of the input times all filters is a matrix product, with a row for each channel and tap. Its results lie in the workspace, from where those of a tap
//! go to every so manieth place of a line of the output.

use super::lanes::LANES;
use super::product::{LeftForm, Product, RightForm};
use super::steps;
use crate::Avx2;
use crate::avx2::Row;
use crate::epilogue::{Along, Epilogue, Step};
use crate::product::{Addresses, Matrix, Part};
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use crate::steps::Steps;
use std::arch::x86_64::*;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "ConvTranspose",
        path: "avx2-spread",
        revisions: (1, LATEST),
        tolerance: Tolerance::Accumulate(1.0),
        prepare: conv_transpose,
    }]
}

/// Floats of the results of a line, at most.
const LINE_FLOATS: usize = 64 * 1024;

/// Shapes; a tensor with one spatial axis has the height 1.
#[derive(Clone, Copy)]
struct Spread {
    images: usize,
    inputs: usize,
    outputs: usize,
    /// Height and width.
    size: [usize; 2],
    kernel: [usize; 2],
}

impl Spread {
    fn of(request: Request<'_>) -> Option<Self> {
        let (x, w, y) = (request.input(0)?, request.input(1)?, request.output()?);
        let (&[images, inputs, ref size @ ..], &[w_inputs, outputs, ref kernel @ ..]) = (&x[..], &w[..]) else {
            return None;
        };
        let plane = |lengths: &[usize]| match *lengths {
            [wide] => Some([1, wide]),
            [high, wide] => Some([high, wide]),
            _ => None,
        };
        let attributes = request.attributes();
        let all = |key: &str, value: i64| attributes.integers(key).is_none_or(|list| list.iter().all(|&n| n == value));
        let taps: Vec<i64> = kernel.iter().map(|&n| n as i64).collect();
        let plain = matches!(attributes.text("auto_pad"), "" | "NOTSET" | "VALID")
            && attributes.integer("group").unwrap_or(1) == 1
            && all("pads", 0)
            && all("dilations", 1)
            && all("output_padding", 0)
            && attributes.integers("output_shape").is_none_or(<[i64]>::is_empty)
            && attributes.integers("kernel_shape").is_none_or(|given| given == taps)
            && attributes.integers("strides").map_or_else(|| taps.iter().all(|&n| n == 1), |given| given == taps);
        let spread = Self { images, inputs, outputs, size: plane(size)?, kernel: plane(kernel)? };
        let expected =
            [&[images, outputs], &size.iter().zip(kernel).map(|(a, b)| a * b).collect::<Vec<_>>()[..]].concat();
        let fits = w_inputs == inputs && size.len() == kernel.len() && y == expected;
        (plain && fits && spread.line_floats() <= LINE_FLOATS).then_some(spread)
    }

    /// Rows of the product: channels and taps.
    fn rows(&self) -> usize {
        self.outputs * self.kernel[0] * self.kernel[1]
    }

    fn line_floats(&self) -> usize {
        self.rows() * self.size[1]
    }

    /// The product of a line.
    fn product(&self) -> Product {
        let right = RightForm::Strided { step: self.size[0] * self.size[1], column: 1 };
        Product::new(self.rows(), self.size[1], self.inputs, LeftForm::Packed, right)
    }
}

fn conv_transpose(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let spread = Spread::of(request)?;
    if !request.operand(1)?.constant {
        return None;
    }
    let mut steps = Vec::new();
    if request.operand(2).is_some() {
        if request.input(2)? != [spread.outputs] {
            return None;
        }
        steps.push(Step::Add { addend: 2, along: Along::Rows, factor: 1.0 });
    }
    let epilogue = Epilogue::plan(request, steps, Along::Rows, spread.outputs)?;
    let (product, lines) = (spread.product(), spread.images * spread.size[0]);
    let results = lines * spread.line_floats();
    let cost = lines as f64 * product.cost() + results as f64 / 4.0 + epilogue.cost(results);
    let mut requirements = needs(cost, lines);
    requirements.workspace = product.workspace_bytes() + 4 * spread.line_floats() as u32;
    let (rows, inputs) = (spread.rows(), spread.inputs);
    requirements.packed = vec![packed(1, product.left_floats(), format!("avx2-left turned f32 {rows}x{inputs}"))?];
    let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
        let from = Matrix { start: source.as_ptr().cast(), row_step: 1, column_step: rows };
        // SAFETY: the kernel checked that `source` holds the weights and `to` as many packed ones.
        unsafe { product.pack_left(from, to.as_mut_ptr().cast()) };
    };
    let packing = Packing { source_bytes: rows * inputs * 4, pack: Box::new(pack) };
    Some(kernel(requirements, [packing], move |bindings| {
        let (x, w, output) = (bindings.input::<f32>(0)?, bindings.packed::<f32>(1)?, bindings.output::<f32>(0)?);
        let epilogue = epilogue.bind(bindings)?;
        Ok(Box::new(move |call: &Call| {
            let line = call.workspace::<f32>().as_mut_ptr();
            let sheet = Sheet {
                spread,
                product,
                x: call.read(&x).as_ptr(),
                w: call.read(&w).as_ptr(),
                line,
                workspace: line.wrapping_add(spread.line_floats()),
                y: call.write(&output).as_mut_ptr(),
                steps: Steps::open(&epilogue, call),
            };
            for number in call.share(lines, 1) {
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `Spread::of` matched the shapes with each other, and the bindings with the shapes; lines of
                // shards are disjoint; the workspace has the size that was asked for.
                unsafe { sheet.line(number) };
            }
            Ok(())
        }))
    }))
}

/// The operands of a call.
struct Sheet {
    spread: Spread,
    product: Product,
    x: *const f32,
    w: *const f32,
    /// Results of a line, a row for each channel and tap.
    line: *mut f32,
    workspace: *mut f32,
    y: *mut f32,
    steps: Steps,
}

impl Sheet {
    /// Line `number` of the input, counted over images.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the operands are readable and writable as the shapes say, and the lines of the output that come of this one nobody
    /// else's.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn line(&self, number: usize) {
        let Spread { inputs, outputs, size: [high, wide], kernel: [tall, broad], .. } = self.spread;
        let (image, row) = (number / high, number % high);
        let at = Addresses {
            left: self.w,
            right: self.x.wrapping_add((image * inputs * high + row) * wide),
            results: self.line,
            flat: 0,
            row: 0,
            workspace: self.workspace,
            steps: &Steps::NONE,
        };
        // SAFETY: the right side is the line in all channels; the results have room in front of the workspace. Each tap of a row of taps has a row of
        // results, and the line of the output is inside it.
        unsafe {
            self.product.run(at, Part { rows: 0..self.product.rows, columns: 0..wide });
            for taps in 0..outputs * tall {
                let (channel, tap) = (taps / tall, taps % tall);
                let flat = (((image * outputs + channel) * high + row) * tall + tap) * wide * broad;
                let (from, to) = (self.line.add(taps * broad * wide), self.y.add(flat));
                weave(from, wide, broad, to);
                if !self.steps.is_empty() {
                    steps::apply(&self.steps, to, wide * broad, channel, 0, flat);
                }
            }
        }
    }
}

/// Writes `count` rows of `len` floats each as one, their first elements first.
///
/// # Safety
/// The CPU has AVX2; the rows are readable from `from` on, and as many floats are writable at `to`, apart from them.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn weave(from: *const f32, len: usize, count: usize, to: *mut f32) {
    let whole = if count == 2 { len / LANES * LANES } else { 0 };
    // SAFETY: all elements named are of the rows.
    unsafe {
        for i in (0..whole).step_by(LANES) {
            let (a, b) = (_mm256_loadu_ps(from.add(i)), _mm256_loadu_ps(from.add(len + i)));
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            _mm256_storeu_ps(to.add(2 * i), _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(to.add(2 * i + LANES), _mm256_permute2f128_ps::<0x31>(low, high));
        }
        for i in whole..len {
            for j in 0..count {
                to.add(i * count + j).write(from.add(j * len + i).read());
            }
        }
    }
}
