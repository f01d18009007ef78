//! `QuantizeLinear` and `DequantizeLinear` between f32 and bytes, with one scale.

use super::bytes::{self, BYTES, Target};
use super::{Less, flip_of};
use crate::arguments::{F32, Op, count, dims, shards_for};
use crate::vector::LANES;
use core::arch::wasm32::*;
use sunmao_plugin_sdk::abi::Requirements;
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Result};

/// Shards end at multiples of this, a cache line of bytes.
pub(super) const GRANULE: usize = 64;

#[derive(Clone, Copy)]
struct Linear {
    elements: usize,
    /// What makes the bytes unsigned.
    flip: u8,
    has_zero: bool,
    down: bool,
}

pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let (x, y) = (op.input(0)?, op.0.outputs.first()?.as_ref()?);
    let down = op.name() == "QuantizeLinear";
    let (real, stored) = if down { (x, y) } else { (y, x) };
    let single = |index: usize| op.own(index).is_none_or(|one| count(&dims(one)) == 1 && dims(one).len() <= 1);
    let zero = op.own(2);
    let fits = real.dtype == F32
        && op.input(1)?.dtype == F32
        && zero.is_none_or(|zero| zero.dtype == stored.dtype)
        && single(1)
        && single(2)
        && dims(x) == dims(y)
        && op.0.epilogue.is_empty()
        && op.integer("block_size", 0) == 0
        && [0, i64::from(F32)].contains(&op.integer("precision", 0));
    let flip = flip_of(stored.dtype).filter(|_| fits)?;
    Some(Box::new(Linear { elements: count(&dims(x)), flip, has_zero: zero.is_some(), down }))
}

impl Kernel for Linear {
    fn requirements(&self) -> Requirements {
        let nanoseconds = self.elements as u64 / 2 + 50;
        Requirements { shards: shards_for(nanoseconds), estimated_ns: nanoseconds, ..Requirements::simple() }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let Self { elements, flip, has_zero, down } = *self;
        let scale = bindings.input::<f32>(1)?;
        let zero = if has_zero { Some(bindings.input_bits::<u8>(2)?) } else { None };
        let zero = move |call: &Call| zero.as_ref().map_or(0, |zero| call.read(zero).get(0)) ^ flip;
        if down {
            let (x, y) = (bindings.input::<f32>(0)?, bindings.output_bits::<u8>(0)?);
            return Ok(Box::new(move |call: &Call| {
                let share = call.share(elements, GRANULE);
                let (from, to) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
                let target = Target { zero: zero(call), flip };
                // SAFETY: both tensors have `elements` elements, and shares are disjoint.
                unsafe {
                    to_bytes(from.add(share.start), call.read(&scale).get(0), target, to.add(share.start), share.len());
                }
                Ok(())
            }));
        }
        let (x, y) = (bindings.input_bits::<u8>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let share = call.share(elements, GRANULE);
            let (from, to) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            let less = Less { flip, zero: zero(call) };
            // SAFETY: as above.
            unsafe {
                to_floats(from.add(share.start), call.read(&scale).get(0), less, to.add(share.start), share.len());
            }
            Ok(())
        }))
    }
}

/// Writes the byte nearest to each of `len` floats divided by the scale. A NaN becomes 0.
///
/// # Safety
/// `len` floats are readable at `from` and `len` bytes writable at `to`.
#[inline(never)]
pub(super) unsafe fn to_bytes(from: *const f32, scale: f32, target: Target, to: *mut u8, len: usize) {
    let scale = f32x4_splat(scale);
    let mut at = 0;
    // SAFETY: four floats and bytes at a time while there are four, then one by one.
    unsafe {
        while at + LANES <= len {
            let bytes = target.nearest(f32x4_div(v128_load(from.add(at).cast()), scale), 0);
            bytes::store(to.add(at), bytes, LANES);
            at += LANES;
        }
        while at < len {
            let bytes = target.nearest(f32x4_div(v128_load32_splat(from.add(at).cast()), scale), 0);
            bytes::store(to.add(at), bytes, 1);
            at += 1;
        }
    }
}

/// Writes each of `len` bytes, less the zero point, times the scale.
///
/// # Safety
/// `len` bytes are readable at `from` and `len` floats writable at `to`.
#[inline(never)]
unsafe fn to_floats(from: *const u8, scale: f32, less: Less, to: *mut f32, len: usize) {
    let factor = f32x4_splat(scale);
    let mut at = 0;
    // SAFETY: sixteen bytes and floats at a time while there are sixteen, then one by one.
    unsafe {
        while at + BYTES <= len {
            for (i, number) in less.numbers(v128_load(from.add(at).cast())).into_iter().enumerate() {
                v128_store(to.add(at + i * LANES).cast(), f32x4_mul(number, factor));
            }
            at += BYTES;
        }
        while at < len {
            to.add(at).write(f32::from(less.number(from.add(at).read())) * scale);
            at += 1;
        }
    }
}
