//! Convolution as a matrix product whose columns are gathered while they are packed.

use super::gather::{Gather, scratch_floats};
use super::geometry::Geometry;
use crate::arguments::{Op, shards_for};
use crate::epilogue::Epilogue;
use crate::gemm::{Blocks, Target, split, with_packed_rows};
use crate::panels::{Matrix, pack_all_rows, row_panel_floats};
use crate::tile::{COLUMNS, ROWS};
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// A convolution by blocked matrix products.
pub(crate) struct DenseConv {
    geometry: Geometry,
    epilogue: Epilogue,
    blocks: Blocks,
}

impl DenseConv {
    pub(crate) fn new(op: Op<'_>, geometry: Geometry) -> Option<Self> {
        let bias = op.own(2).map(|_| 2);
        let epilogue = Epilogue::new(op, bias, true)?;
        let floats = geometry.workspace_floats(12 * 1024, 64 * 1024);
        let blocks = Blocks::new(geometry.depth(), geometry.output_plane(), COLUMNS, floats);
        Some(Self { geometry, epilogue, blocks })
    }

    /// About how long one shard takes: the tiles, and packing their columns.
    pub(super) fn nanoseconds(&self) -> f64 {
        let g = &self.geometry;
        let each = (g.batch * g.groups * g.depth()) as f64;
        let columns = g.output_plane().next_multiple_of(COLUMNS) as f64;
        let pack = if g.is_pointwise() { 0.25 } else { 0.6 };
        each * columns * (g.group_filters().next_multiple_of(ROWS) as f64 / 14.0 + pack) + 500.0
    }

    fn panel_floats(&self) -> usize {
        row_panel_floats(self.geometry.group_filters(), self.geometry.depth())
    }

    fn workspace_floats(&self) -> usize {
        self.blocks.floats() + scratch_floats(&self.geometry, self.blocks.width)
    }
}

impl Kernel for DenseConv {
    fn requirements(&self) -> Requirements {
        let nanoseconds = self.nanoseconds() as u64;
        Requirements {
            workspace: (4 * self.workspace_floats()) as u32,
            shards: shards_for(nanoseconds),
            packed: vec![PackedConstant {
                input: 1,
                bytes: (4 * self.panel_floats() * self.geometry.groups) as u32,
                align: 64,
                key: format!("conv-rows8 {} {}", self.geometry.groups, self.geometry.depth()),
            }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let (rows, k) = (self.geometry.group_filters(), self.geometry.depth());
        for group in 0..self.geometry.groups {
            let filters = source.as_ptr().cast::<f32>().wrapping_add(group * rows * k);
            let panels = packed.as_mut_ptr().cast::<f32>().wrapping_add(group * self.panel_floats());
            // SAFETY: the SDK checked that `source` holds the weights and `packed` the bytes that `requirements` asked for.
            unsafe { pack_all_rows(Matrix { start: filters, row_stride: k, column_stride: 1 }, rows, k, panels) };
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (geometry, blocks) = (self.geometry, self.blocks);
        let panel_floats = self.panel_floats();
        let epilogue = self.epilogue.bind(bindings)?;
        let (input, weights, output) =
            (bindings.input::<f32>(0)?, bindings.packed::<f32>(1)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let g = &geometry;
            let (rows, columns, k) = (g.group_filters(), g.output_plane(), g.depth());
            let workspace = call.workspace::<f32>().as_mut_ptr();
            let scratch = workspace.wrapping_add(blocks.floats());
            let bias = epilogue.bias(call);
            let mut target = Target {
                output: call.write(&output).as_mut_ptr(),
                at: 0,
                stride: columns,
                rows,
                columns,
                row_bias: bias,
                column_bias: core::ptr::null(),
                first: epilogue.first(call),
                epilogue: &epilogue,
                call,
            };
            let items = g.batch * g.groups;
            // Many small products go to the shards whole, a few large ones in parts.
            let whole = items >= 4 * call.shards as usize && call.shards > 1;
            let items = if whole { call.share(items, 1) } else { 0..items };
            let part = if whole { (0..rows, 0..columns) } else { split(call, rows, columns, (4.0 / rows as f32, 0.0)) };
            for item in items {
                let (image, group) = (item / g.groups, item % g.groups);
                let channel = image * g.channels + group * g.group_channels();
                let gather =
                    Gather { geometry: g, input: call.read(&input).as_ptr().wrapping_add(channel * g.input_plane()) };
                target.at = item * rows * columns;
                if !bias.is_null() {
                    target.row_bias = bias.wrapping_add(group * rows);
                }
                // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other, and the workspace is as
                // `requirements` asked: a packed block, then the rows being gathered.
                unsafe {
                    let panels = call.read(&weights).as_ptr().add(group * panel_floats);
                    with_packed_rows(
                        &target,
                        blocks,
                        k,
                        panels,
                        part.clone(),
                        workspace,
                        |from, depth, column, width, to| {
                            gather.pack((from, depth), (column, width), to, scratch);
                        },
                    );
                }
            }
            Ok(())
        }))
    }
}
