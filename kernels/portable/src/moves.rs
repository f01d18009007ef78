//! Operators that put elements elsewhere and change none: `Transpose`, `Slice`, `Expand`, `Tile`, `Concat`, `Split`, and the views as plain copies.

use crate::arguments::Op;
use crate::element::{MOVED, SIZED, Stored, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, broadcast_strides, count, dense_strides};
use crate::table::{LATEST, Row, same, signature};
use crate::unary::copy;
use std::ops::Range;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::{Signature, Tolerance};
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, since, signatures, prepare| Row::new(name, (since, LATEST), signatures, Tolerance::Exact, prepare);
    let mut rows = vec![
        row("Transpose", 1, same(1, 1, MOVED), transpose),
        row("DepthToSpace", 1, same(1, 1, MOVED), depth_to_space),
        row("SpaceToDepth", 1, same(1, 1, MOVED), space_to_depth),
        row("Concat", 4, same(1, 1, MOVED), concat),
        row("Trilu", 14, shaped(MOVED, 1, &[7]), triangle),
    ];
    rows.push(row("Slice", 10, shaped(MOVED, 4, &[6, 7]), slice).constants(&[1, 2, 3, 4]));
    rows.push(row("Split", 2, shaped(MOVED, 1, &[7]), split).constants(&[1]));
    rows.push(row("Expand", 8, shaped(MOVED, 1, &[7]), expand));
    rows.push(row("Tile", 6, shaped(MOVED, 1, &[7]), tile));
    for name in ["Reshape", "Squeeze", "Unsqueeze"] {
        rows.push(row(name, 1, shaped(SIZED, 1, &[7]), copy).in_place(&[0]));
    }
    rows.push(row("Flatten", 1, same(1, 1, SIZED), copy).in_place(&[0]));
    rows
}

/// Data of one of the types and `operands` integer operands behind it, all of one of theirs.
fn shaped(dtypes: &[u16], operands: usize, integers: &[u16]) -> Vec<Signature> {
    let mut all = Vec::new();
    for &dtype in dtypes {
        for &integer in integers {
            let mut inputs = vec![dtype];
            inputs.extend(vec![integer; operands]);
            all.push(signature(&inputs, &[dtype]));
        }
    }
    all
}

/// A copy along a walk over the input.
fn walked(op: Op<'_>, walk: Strided, elements: usize) -> Result<Box<dyn Kernel>> {
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs(elements as u64 * 2, elements.div_ceil(CHUNK)), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input_bits::<E<S>>(0)?, bindings.output_bits::<E<S>>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                walk.copy::<S>(&x, &y, call.share(y.len(), CHUNK));
                Ok(())
            }))
        })
    })
}

fn transpose(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let order = match op.attributes().integers("perm").filter(|perm| !perm.is_empty()) {
        Some(perm) => op.normalise_all(perm, shape.len())?,
        None => (0..shape.len()).rev().collect(),
    };
    if order.len() != shape.len() {
        return Err(op.invalid(format_args!("perm of {} axes for {}", order.len(), shape.len())));
    }
    let strides = dense_strides(&shape);
    let dims: Vec<_> = order.iter().map(|&axis| shape[axis]).collect();
    let strides: Vec<_> = order.iter().map(|&axis| strides[axis]).collect();
    op.expect_output(0, &dims)?;
    walked(op, Strided::new(&dims, &strides, 0), count(&dims))
}

/// Batch, channels, height, width and the block size.
fn blocks(op: Op<'_>) -> Result<([usize; 4], usize)> {
    let shape = op.shape(0)?;
    let dims: [usize; 4] = shape.try_into().map_err(|_| op.invalid("the input must have four axes"))?;
    match op.attributes().integer("blocksize") {
        Some(block) if block > 0 && block < 1 << 15 => Ok((dims, block as usize)),
        other => Err(op.invalid(format_args!("blocksize {other:?}"))),
    }
}

fn depth_to_space(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let ([n, c, h, w], block) = blocks(op)?;
    let out = c / (block * block);
    op.expect_output(0, &[n, out, h * block, w * block])?;
    if out * block * block != c {
        return Err(op.invalid(format_args!("{c} channels do not divide into blocks of {block}")));
    }
    let (plane, size) = ((h * w) as isize, block as isize);
    let (block_h, block_w, channel) = if op.attributes().text("mode") == "CRD" {
        (size * plane, plane, size * size * plane)
    } else {
        (size * out as isize * plane, out as isize * plane, plane)
    };
    let dims = [n, out, h, block, w, block];
    let strides = [c as isize * plane, channel, w as isize, block_h, 1, block_w];
    walked(op, Strided::new(&dims, &strides, 0), count(&dims))
}

fn space_to_depth(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let ([n, c, h, w], block) = blocks(op)?;
    let (high, wide) = (h / block, w / block);
    op.expect_output(0, &[n, c * block * block, high, wide])?;
    if high * block != h || wide * block != w {
        return Err(op.invalid(format_args!("a plane of {h} by {w} does not divide into blocks of {block}")));
    }
    let (plane, size, width) = ((h * w) as isize, block as isize, w as isize);
    let batch = c as isize * plane;
    let (dims, strides) = if op.attributes().text("mode") == "CRD" {
        ([n, c, block, block, high, wide], [batch, plane, width, 1, size * width, size])
    } else {
        ([n, block, block, c, high, wide], [batch, width, 1, plane, size * width, size])
    };
    walked(op, Strided::new(&dims, &strides, 0), count(&dims))
}

fn expand(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, out) = (op.shape(0)?, op.output_shape(0)?);
    let mismatch = || op.invalid(format_args!("shape {shape:?} does not expand to {out:?}"));
    let strides = broadcast_strides(&shape, &out).ok_or_else(mismatch)?;
    walked(op, Strided::new(&out, &strides, 0), count(&out))
}

fn tile(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, out) = (op.shape(0)?, op.output_shape(0)?);
    let mismatch = || op.invalid(format_args!("shape {shape:?} does not tile {out:?}"));
    if shape.len() != out.len() {
        return Err(mismatch());
    }
    let (mut dims, mut strides) = (Vec::new(), Vec::new());
    for ((&from, &to), stride) in shape.iter().zip(&out).zip(dense_strides(&shape)) {
        let repeats = to.checked_div(from).unwrap_or(0);
        if repeats * from != to {
            return Err(mismatch());
        }
        dims.extend([repeats, from]);
        strides.extend([0, stride]);
    }
    walked(op, Strided::new(&dims, &strides, 0), count(&out))
}

fn slice(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let (starts, ends) = (op.integers(1)?.unwrap_or_default(), op.integers(2)?.unwrap_or_default());
    let axes = match op.integers(3)? {
        Some(axes) => op.normalise_all(&axes, shape.len())?,
        None => (0..starts.len().min(shape.len())).collect(),
    };
    let steps = op.integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(op.invalid("starts, ends, axes and steps differ in length"));
    }
    let mut dims = shape.clone();
    let mut strides = dense_strides(&shape);
    let mut first = 0;
    for (i, &axis) in axes.iter().enumerate() {
        let (length, step) = (shape[axis] as i64, steps[i]);
        let from_front = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
        let (start, count) = if step > 0 {
            let (start, end) = (from_front(starts[i]).clamp(0, length), from_front(ends[i]).clamp(0, length));
            (start, (end - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
        } else if step < 0 {
            // A start in front of the first element is the first one, as the specification has it; an end may lie there.
            let first = from_front(starts[i]).clamp(0.min(length - 1), length - 1);
            let (start, end) = (first, from_front(ends[i]).clamp(-1, length - 1));
            (start, (start - end).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
        } else {
            return Err(op.invalid("a step of 0").at(4));
        };
        if count > 0 {
            first += start as isize * strides[axis];
        }
        dims[axis] = count as usize;
        // A stride is used only where there is a second element, and then it is in range.
        strides[axis] = if count > 1 { strides[axis] * step as isize } else { 0 };
    }
    op.expect_output(0, &dims)?;
    walked(op, Strided::new(&dims, &strides, first), count(&dims))
}

/// One of several tensors that together make up a larger one along an axis: its blocks lie in it once every period.
#[derive(Clone, Copy)]
struct Section {
    start: usize,
    length: usize,
    period: usize,
}

impl Section {
    /// Calls `visit(place in the section, place in the whole, count)` for the elements of `range` of the section.
    fn blocks(&self, range: Range<usize>, mut visit: impl FnMut(usize, usize, usize)) {
        let mut at = range.start;
        while at < range.end {
            let (block, within) = (at / self.length, at % self.length);
            let n = (self.length - within).min(range.end - at);
            visit(at, block * self.period + self.start + within, n);
            at += n;
        }
    }
}

/// The sections of a tensor of shape `whole` that tensors of these lengths along `axis` make up.
fn sections(whole: &[usize], axis: usize, lengths: &[usize]) -> Arc<[Section]> {
    let inner = count(&whole[axis + 1..]);
    let starts = lengths.iter().scan(0, |start, &length| {
        let at = *start;
        *start += length;
        Some(at)
    });
    let section = |(start, &length): (usize, &usize)| Section {
        start: start * inner,
        length: length * inner,
        period: whole[axis] * inner,
    };
    starts.zip(lengths).map(section).collect()
}

fn copy_blocks<S: Stored>(
    from: &Reader<'_, S::Element>,
    to: &Writer<'_, S::Element>,
    read: usize,
    write: usize,
    n: usize,
) {
    to.part(write..write + n).copy_from(from.part(read..read + n));
}

fn concat(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shapes = op.shapes()?;
    let Some(first) = shapes.first() else { return Err(op.invalid("no inputs")) };
    let axis = op.axis("axis", 0, first.len())?;
    let mut whole = first.clone();
    whole[axis] = 0;
    for shape in &shapes {
        let agrees = shape.len() == first.len() && (0..first.len()).all(|i| i == axis || shape[i] == first[i]);
        if !agrees {
            return Err(op.invalid(format_args!("shapes {shapes:?} do not meet along axis {axis}")));
        }
        whole[axis] += shape[axis];
    }
    op.expect_output(0, &whole)?;
    let sections = sections(&whole, axis, &shapes.iter().map(|shape| shape[axis]).collect::<Vec<_>>());
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs(count(&whole) as u64, count(&whole).div_ceil(CHUNK)), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let inputs = (0..sections.len()).map(|i| bindings.input_bits::<E<S>>(i)).collect::<Result<Box<[_]>>>()?;
            let output = bindings.output_bits::<E<S>>(0)?;
            let sections = sections.clone();
            Ok(Box::new(move |call: &Call| {
                let y = call.write(&output);
                for (section, input) in sections.iter().zip(&inputs) {
                    let x = call.read(input);
                    section.blocks(call.share(x.len(), CHUNK), |at, place, n| copy_blocks::<S>(&x, &y, at, place, n));
                }
                Ok(())
            }))
        })
    })
}

fn split(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let axis = op.axis("axis", 0, shape.len())?;
    let outputs = op.0.outputs.len();
    // Equal parts, the last one shorter, unless lengths are given.
    let given = match op.attributes().integers("split") {
        Some(lengths) => Some(lengths.to_vec()),
        None => op.integers(1)?,
    };
    let lengths: Vec<usize> = match given {
        Some(lengths) => lengths.iter().map(|&n| usize::try_from(n)).collect::<Result<_, _>>().unwrap_or_default(),
        None => {
            let each = shape[axis].div_ceil(outputs.max(1));
            (0..outputs).map(|i| each.min(shape[axis].saturating_sub(i * each))).collect()
        }
    };
    if lengths.len() != outputs || lengths.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) != Some(shape[axis]) {
        return Err(op.invalid(format_args!("lengths {lengths:?} for {outputs} outputs of {}", shape[axis])));
    }
    for (i, &length) in lengths.iter().enumerate() {
        if op.wants_output(i) {
            let mut part = shape.clone();
            part[axis] = length;
            op.expect_output(i, &part)?;
        }
    }
    let wanted: Arc<[bool]> = (0..outputs).map(|i| op.wants_output(i)).collect();
    let sections = sections(&shape, axis, &lengths);
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs(count(&shape) as u64, count(&shape).div_ceil(CHUNK)), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let input = bindings.input_bits::<E<S>>(0)?;
            let outputs = wanted.iter().enumerate().map(|(i, &wanted)| {
                wanted.then(|| bindings.output_bits::<E<S>>(i)).transpose()
            });
            let outputs = outputs.collect::<Result<Box<[_]>>>()?;
            let sections = sections.clone();
            Ok(Box::new(move |call: &Call| {
                let x = call.read(&input);
                for (section, output) in sections.iter().zip(&outputs) {
                    let Some(output) = output else { continue };
                    let y = call.write(output);
                    section.blocks(call.share(y.len(), CHUNK), |at, place, n| copy_blocks::<S>(&x, &y, place, at, n));
                }
                Ok(())
            }))
        })
    })
}

/// `Trilu`: keeps one triangle of the last two axes, and zeroes the rest.
fn triangle(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let [.., high, wide] = shape[..] else { return Err(op.invalid("the input needs two axes")) };
    if op.optional(1).is_some_and(|k| k.shape.iter().any(|&dim| dim != 1)) {
        return Err(op.invalid("k must be a scalar").at(1));
    }
    let upper = op.attributes().integer("upper").unwrap_or(1) != 0;
    let has_k = op.optional(1).is_some();
    let rows = count(&shape[..shape.len() - 1]);
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs(count(&shape) as u64 * 2, rows), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input_bits::<E<S>>(0)?, bindings.output_bits::<E<S>>(0)?);
            let k = if has_k { Some(bindings.input::<i64>(1)?) } else { None };
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                let k = k.as_ref().map_or(0, |k| call.read(k).get(0));
                for row in call.share(rows, 1) {
                    // The diagonal's column in this row; the upper triangle starts at it, the lower one ends with it.
                    let diagonal = k.saturating_add((row % high) as i64);
                    let cut = if upper { diagonal } else { diagonal.saturating_add(1) }.clamp(0, wide as i64) as usize;
                    let (start, middle, end) = (row * wide, row * wide + cut, (row + 1) * wide);
                    let (kept, gone) = if upper { (middle..end, start..middle) } else { (start..middle, middle..end) };
                    y.part(kept.clone()).copy_from(x.part(kept));
                    y.part(gone).fill(S::store(<S as Stored>::Value::ZERO));
                }
                Ok(())
            }))
        })
    })
}
