//! `Gather`, `GatherElements`, `GatherND`. An index is read once, checked, and only then used.

use crate::arguments::Op;
use crate::element::{MOVED, Stored, dispatch};
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, count, dense_strides};
use crate::table::{LATEST, Row, signature};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::{Signature, Tolerance};
use sunmao_plugin_sdk::{Bindings, Call, Error, Input, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::new("Gather", (1, LATEST), indexed(&[6, 7]), Tolerance::Exact, gather),
        Row::new("GatherElements", (11, LATEST), indexed(&[6, 7]), Tolerance::Exact, gather_elements),
        Row::new("GatherND", (11, LATEST), indexed(&[7]), Tolerance::Exact, gather_nd),
    ]
}

fn indexed(indices: &[u16]) -> Vec<Signature> {
    MOVED.iter().flat_map(|&dtype| indices.iter().map(move |&index| signature(&[dtype, index], &[dtype]))).collect()
}

/// A tensor of indices, of either integer type.
#[derive(Clone, Copy)]
pub(crate) enum Indices {
    Short(Input<i32>),
    Long(Input<i64>),
}

impl Indices {
    pub(crate) fn bind(bindings: &Bindings<'_>, dtype: u16, index: usize) -> Result<Self> {
        Ok(if dtype == 6 { Self::Short(bindings.input(index)?) } else { Self::Long(bindings.input(index)?) })
    }

    /// Index `at` as an element of an axis of that length, counted from the back when negative.
    #[inline]
    pub(crate) fn get(&self, call: &Call, at: usize, length: usize) -> Result<usize> {
        let index = match self {
            Self::Short(indices) => call.read(indices).get(at).into(),
            Self::Long(indices) => call.read(indices).get(at),
        };
        let from_front = if index < 0 { index.saturating_add(length as i64) } else { index };
        if from_front < 0 || from_front >= length as i64 {
            return Err(out_of_range(index, length));
        }
        Ok(from_front as usize)
    }
}

#[cold]
fn out_of_range(index: i64, length: usize) -> Error {
    Error::data(format!("index {index} is outside of an axis of length {length}"))
}

fn gather(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, places) = (op.shape(0)?, op.shape(1)?);
    let axis = op.axis("axis", 0, shape.len())?;
    let mut expected = shape[..axis].to_vec();
    expected.extend(&places);
    expected.extend(&shape[axis + 1..]);
    op.expect_output(0, &expected)?;
    let (length, block, indices) = (shape[axis], count(&shape[axis + 1..]), count(&places));
    let blocks = count(&shape[..axis]) * indices;
    let index_type = op.input(1)?.dtype;
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs((blocks * (block + 8)) as u64, blocks), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, places) = (bindings.input_bits::<E<S>>(0)?, Indices::bind(bindings, index_type, 1)?);
            let y = bindings.output_bits::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for at in call.share(blocks, 1) {
                    let from = (at / indices * length + places.get(call, at % indices, length)?) * block;
                    y.part(at * block..(at + 1) * block).copy_from(x.part(from..from + block));
                }
                Ok(())
            }))
        })
    })
}

fn gather_elements(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, places) = (op.shape(0)?, op.shape(1)?);
    let axis = op.axis("axis", 0, shape.len())?;
    let (walk, stride) = along(op, &shape, &places, axis)?;
    op.expect_output(0, &places)?;
    let (length, elements) = (shape[axis], count(&places));
    let index_type = op.input(1)?.dtype;
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs(elements as u64 * 4, elements.div_ceil(CHUNK)), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, places) = (bindings.input_bits::<E<S>>(0)?, Indices::bind(bindings, index_type, 1)?);
            let y = bindings.output_bits::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for at in call.share(elements, CHUNK) {
                    let from = walk.offset(at) + places.get(call, at, length)? * stride;
                    y.set(at, x.get(from));
                }
                Ok(())
            }))
        })
    })
}

/// A walk over `data` at the places of `indices`, with the indexed axis left out, and that axis's stride.
pub(crate) fn along(op: Op<'_>, data: &[usize], indices: &[usize], axis: usize) -> Result<(Strided, usize)> {
    let fits = data.len() == indices.len() && (0..data.len()).all(|i| i == axis || indices[i] <= data[i]);
    if !fits {
        return Err(op.invalid(format_args!("indices of shape {indices:?} into {data:?} along axis {axis}")).at(1));
    }
    let mut strides = dense_strides(data);
    let stride = strides[axis] as usize;
    strides[axis] = 0;
    Ok((Strided::new(indices, &strides, 0), stride))
}

fn gather_nd(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let batch_dims = op.attributes().integer("batch_dims").unwrap_or(0);
    let tuples = Tuples::of(op, batch_dims, &op.shape(1)?)?;
    let (shape, places) = (op.shape(0)?, op.shape(1)?);
    let mut expected = places[..places.len() - 1].to_vec();
    expected.extend(&shape[batch_dims as usize + tuples.lengths.len()..]);
    op.expect_output(0, &expected)?;
    let blocks = count(&places[..places.len() - 1]);
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs((blocks * (tuples.block + 8)) as u64, blocks), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, places) = (bindings.input_bits::<E<S>>(0)?, Indices::bind(bindings, 7, 1)?);
            let y = bindings.output_bits::<E<S>>(0)?;
            let tuples = tuples.clone();
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                let block = tuples.block;
                for at in call.share(blocks, 1) {
                    let from = tuples.offset(call, &places, at)?;
                    y.part(at * block..(at + 1) * block).copy_from(x.part(from..from + block));
                }
                Ok(())
            }))
        })
    })
}

/// Index tuples along the last axis of a tensor of indices, each of which names a block of the data.
#[derive(Clone)]
pub(crate) struct Tuples {
    /// Elements of a block.
    pub(crate) block: usize,
    /// Tuples that share a batch.
    per_batch: usize,
    /// Elements of the data in one batch.
    batch: usize,
    /// Lengths and strides of the indexed axes.
    lengths: Arc<[(usize, usize)]>,
}

impl Tuples {
    pub(crate) fn of(op: Op<'_>, batch_dims: i64, places: &[usize]) -> Result<Self> {
        let shape = op.shape(0)?;
        let Some((&width, outer)) = places.split_last() else {
            return Err(op.invalid("indices without an axis").at(1));
        };
        let batch = usize::try_from(batch_dims).unwrap_or(usize::MAX);
        let fits = batch <= outer.len()
            && batch <= shape.len()
            && width <= shape.len() - batch
            && outer[..batch] == shape[..batch];
        if !fits {
            return Err(op
                .invalid(format_args!("indices of shape {places:?} into {shape:?} with {batch_dims} batch axes"))
                .at(1));
        }
        let strides = dense_strides(&shape);
        let axes = batch..batch + width;
        Ok(Self {
            block: count(&shape[batch + width..]),
            per_batch: count(&outer[batch..]),
            batch: count(&shape[batch..]),
            lengths: axes.map(|axis| (shape[axis], strides[axis] as usize)).collect(),
        })
    }

    /// Where the block of tuple `at` starts.
    #[inline]
    pub(crate) fn offset(&self, call: &Call, places: &Indices, at: usize) -> Result<usize> {
        let mut offset = at / self.per_batch * self.batch;
        for (i, &(length, stride)) in self.lengths.iter().enumerate() {
            offset += places.get(call, at * self.lengths.len() + i, length)? * stride;
        }
        Ok(offset)
    }
}
