//! Transposed convolution whose windows neither overlap nor leave gaps (kernel = stride, no padding): every input pixel becomes a block of
//! output pixels. A matrix product over the channels, row of pixels by row of pixels, then the blocks are laid out.

use crate::arguments::{F32, Op, dims, shards_for};
use crate::epilogue::{BoundEpilogue, Epilogue};
use crate::gemm::{Blocks, Target, with_packed_rows};
use crate::panels::{Matrix, interleave, interleave_one, pack_all_rows, row_panel_floats};
use crate::tile::COLUMNS;
use crate::vector::{LANES, add, at_least, at_most, load, splat, store};
use core::arch::wasm32::i32x4_shuffle;
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// The fast kernel for a ConvTranspose operation, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let (x, w, y) = (op.f32_shape(0)?, op.f32_shape(1)?, op.f32_output()?);
    let (&[batch, channels, height, width], &[_, filters, down, across]) = (&x[..], &w[..]) else { return None };
    let list =
        |key: &str, value: i64| op.attributes().integers(key).is_none_or(|list| list.iter().all(|&v| v == value));
    let blocks = y == [batch, filters, height * down, width * across]
        && op.attributes().integers("strides") == Some(&[down as i64, across as i64])
        && list("pads", 0)
        && list("output_padding", 0)
        && list("dilations", 1)
        && op.integer("group", 1) == 1
        && matches!(op.attributes().text("auto_pad"), "" | "NOTSET")
        && w[0] == channels
        && op.own(2).is_none_or(|bias| bias.dtype == F32 && dims(bias) == [filters]);
    if !blocks || !op.input(1)?.constant || y.contains(&0) || channels == 0 {
        return None;
    }
    let epilogue = Epilogue::new(op, op.own(2).map(|_| 2), false)?;
    Some(Box::new(Transposed { batch, channels, filters, input: [height, width], kernel: [down, across], epilogue }))
}

#[derive(Clone)]
struct Transposed {
    batch: usize,
    channels: usize,
    filters: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    epilogue: Epilogue,
}

impl Transposed {
    /// Rows of the product: filter, then row and column of the block.
    fn rows(&self) -> usize {
        self.filters * self.kernel[0] * self.kernel[1]
    }

    fn blocks(&self) -> Blocks {
        Blocks { k: self.channels, width: self.input[1].next_multiple_of(COLUMNS) }
    }
}

impl Kernel for Transposed {
    fn requirements(&self) -> Requirements {
        let pixels = self.batch * self.input[0] * self.input[1];
        let nanoseconds = (pixels * self.rows()) as u64 * (2 * self.channels as u64 + 8) / 24;
        Requirements {
            workspace: (4 * (self.blocks().floats() + self.rows() * self.input[1])) as u32,
            shards: shards_for(nanoseconds),
            packed: vec![PackedConstant {
                input: 1,
                bytes: (4 * row_panel_floats(self.rows(), self.channels)) as u32,
                align: 64,
                key: "conv-transpose-rows8".into(),
            }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let matrix = Matrix { start: source.as_ptr().cast(), row_stride: 1, column_stride: self.rows() };
        // SAFETY: the SDK checked that `source` holds the weights and `packed` the bytes that `requirements` asked for.
        unsafe { pack_all_rows(matrix, self.rows(), self.channels, packed.as_mut_ptr().cast()) };
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let job = self.clone();
        let epilogue = self.epilogue.bind(bindings)?;
        let (input, weights, output) =
            (bindings.input::<f32>(0)?, bindings.packed::<f32>(1)?, bindings.output::<f32>(0)?);
        let none = BoundEpilogue::none();
        Ok(Box::new(move |call: &Call| {
            let (rows, k, blocks) = (job.rows(), job.channels, job.blocks());
            let [height, width] = job.input;
            let workspace = call.workspace::<f32>().as_mut_ptr();
            let product = workspace.wrapping_add(blocks.floats());
            let target = Target {
                output: product,
                at: 0,
                stride: width,
                rows,
                columns: width,
                row_bias: core::ptr::null(),
                column_bias: core::ptr::null(),
                first: core::ptr::null(),
                epilogue: &none,
                call,
            };
            for unit in call.share(job.batch * height, 1) {
                let (image, y) = (unit / height, unit % height);
                // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other; the workspace holds the packed row
                // of pixels and its product.
                unsafe {
                    let pixels = call.read(&input).as_ptr().add((image * k * height + y) * width);
                    let channel = |p: usize| pixels.add(p * height * width);
                    let part = (0..rows, 0..width);
                    with_packed_rows(
                        &target,
                        blocks,
                        k,
                        call.read(&weights).as_ptr(),
                        part,
                        workspace,
                        |_, depth, _, columns, to| {
                            let panel = depth * COLUMNS;
                            let mut p = 0;
                            while p + 4 <= depth {
                                interleave(
                                    [channel(p), channel(p + 1), channel(p + 2), channel(p + 3)],
                                    columns,
                                    to,
                                    panel,
                                    p,
                                );
                                p += 4;
                            }
                            for p in p..depth {
                                interleave_one(channel(p), columns, to, panel, p);
                            }
                        },
                    );
                    job.lay_out(call, &epilogue, product, call.write(&output).as_mut_ptr(), image, y);
                }
            }
            Ok(())
        }))
    }
}

impl Transposed {
    /// Spreads the product of one row of pixels over the output rows that it covers.
    ///
    /// # Safety
    /// `product` holds [`Transposed::rows`] rows of pixels, `output` the whole output.
    #[inline(never)]
    unsafe fn lay_out(
        &self,
        call: &Call,
        epilogue: &BoundEpilogue,
        product: *const f32,
        output: *mut f32,
        image: usize,
        y: usize,
    ) {
        let ([height, width], [down, across]) = (self.input, self.kernel);
        let bias = epilogue.bias(call);
        let (min, max) = epilogue.range().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        for filter in 0..self.filters {
            for dy in 0..down {
                let line = width * across;
                let at = ((image * self.filters + filter) * height * down + y * down + dy) * line;
                // SAFETY: the row of the product and the line of the output exist; `x` stays below the width.
                unsafe {
                    let first = if bias.is_null() { 0.0 } else { bias.add(filter).read() };
                    let cut = |v| at_most(at_least(add(v, splat(first)), splat(min)), splat(max));
                    let from = product.add((filter * down + dy) * across * width);
                    let to = output.add(at);
                    let mut x = 0;
                    while across == 2 && x + LANES <= width {
                        let (a, b) = (cut(load(from.add(x))), cut(load(from.add(width + x))));
                        store(to.add(2 * x), i32x4_shuffle::<0, 4, 1, 5>(a, b));
                        store(to.add(2 * x + LANES), i32x4_shuffle::<2, 6, 3, 7>(a, b));
                        x += LANES;
                    }
                    for x in x..width {
                        for dx in 0..across {
                            let v = from.add(dx * width + x).read() + first;
                            let v = if v < min { min } else { v };
                            to.add(x * across + dx).write(if v > max { max } else { v });
                        }
                    }
                    epilogue.finish(call, to, at, line);
                }
            }
        }
    }
}
