//! `Col2Im`: adds up the blocks that lie over each place of a picture.

use crate::arguments::Op;
use crate::element::{NUMBERS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, MAX_RANK, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = NUMBERS.iter().map(|&d| signature(&[d, 7, 7], &[d])).collect();
    vec![Row::new("Col2Im", (18, LATEST), signatures, Tolerance::Accumulate(1.0), col2im).constants(&[1, 2])]
}

/// One axis of the picture.
#[derive(Clone, Copy, Default)]
struct Axis {
    length: usize,
    block: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    /// Blocks that lie side by side.
    blocks: usize,
}

impl Axis {
    /// The block whose element `tap` lies on `place`, if there is one.
    fn block(&self, place: usize, tap: usize) -> Option<usize> {
        let reach = (place + self.pad).checked_sub(tap * self.dilation)?;
        (reach.is_multiple_of(self.stride) && reach / self.stride < self.blocks).then_some(reach / self.stride)
    }
}

fn axes(op: Op<'_>) -> Result<Vec<Axis>> {
    let lengths = op.integers(1)?.ok_or_else(|| op.invalid("no shape of the picture").at(1))?;
    let blocks = op.integers(2)?.ok_or_else(|| op.invalid("no shape of the blocks").at(2))?;
    let rank = lengths.len();
    let list = |key: &str, default: i64, count: usize| {
        let given = op.attributes().integers(key).filter(|list| !list.is_empty());
        given.map_or_else(|| vec![default; count], <[i64]>::to_vec)
    };
    let (strides, dilations, pads) = (list("strides", 1, rank), list("dilations", 1, rank), list("pads", 0, 2 * rank));
    let fits = rank + 2 <= MAX_RANK
        && [&blocks, &strides, &dilations].iter().all(|list| list.len() == rank && list.iter().all(|&n| n > 0))
        && pads.len() == 2 * rank
        && pads.iter().chain(&lengths).all(|&n| n >= 0)
        && lengths.iter().chain([&blocks, &strides, &dilations, &pads].into_iter().flatten()).all(|&n| n < 1 << 31);
    if !fits {
        return Err(op.invalid(format_args!("blocks {blocks:?} over {lengths:?}: the attributes do not fit")));
    }
    (0..rank)
        .map(|i| {
            let room = lengths[i] + pads[i] + pads[rank + i] - dilations[i] * (blocks[i] - 1) - 1;
            if room < 0 {
                return Err(op.invalid(format_args!("blocks {blocks:?} are larger than {lengths:?}")));
            }
            Ok(Axis {
                length: lengths[i] as usize,
                block: blocks[i] as usize,
                stride: strides[i] as usize,
                dilation: dilations[i] as usize,
                pad: pads[i] as usize,
                blocks: (room / strides[i] + 1) as usize,
            })
        })
        .collect()
}

fn col2im(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let axes = axes(op)?;
    let shape = op.shape(0)?;
    let taps: usize = axes.iter().map(|axis| axis.block).product();
    let places: usize = axes.iter().map(|axis| axis.blocks).product();
    let picture: usize = axes.iter().map(|axis| axis.length).product();
    let [batches, rows, columns] = shape[..] else {
        return Err(op.invalid(format_args!("an input of shape {shape:?}: three axes are needed")));
    };
    if columns != places || rows % taps != 0 {
        return Err(op.invalid(format_args!("an input of shape {shape:?} for {places} blocks of {taps} elements")));
    }
    let mut expected = vec![batches, rows / taps];
    expected.extend(axes.iter().map(|axis| axis.length));
    op.expect_output(0, &expected)?;
    let planes = batches * (rows / taps);
    let total = count(&expected);
    dispatch!(op.input(0)?.dtype, numbers, S => {
        type E<S> = <S as Stored>::Element;
        kernel(needs((total * taps * 2) as u64, planes), move |bindings| {
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            let axes = axes.clone();
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for plane in call.share(planes, 1) {
                    for place in 0..picture {
                        let mut sum = <<S as Stored>::Value as Number>::Wide::ZERO;
                        for tap in 0..taps {
                            if let Some(block) = block_at(&axes, place, tap) {
                                let element = x.get((plane * taps + tap) * places + block);
                                sum = sum.add(S::load(element).widen());
                            }
                        }
                        y.set(plane * picture + place, S::store(<S as Stored>::Value::narrow(sum)));
                    }
                }
                Ok(())
            }))
        })
    })
}

/// The block whose element `tap` lies on `place`; all three are counted over all axes.
fn block_at(axes: &[Axis], mut place: usize, mut tap: usize) -> Option<usize> {
    let (mut block, mut size) = (0, 1);
    for axis in axes.iter().rev() {
        block += axis.block(place % axis.length, tap % axis.block)? * size;
        size *= axis.blocks;
        place /= axis.length;
        tap /= axis.block;
    }
    Some(block)
}
