//! `DynamicQuantizeLinear`: scale and zero point from the range of the input, and its bytes.

use super::bytes::Target;
use super::quantise::{GRANULE, to_bytes};
use crate::arguments::{F32, Op, count, dims, shards_for};
use crate::vector::{LANES, splat};
use core::arch::wasm32::*;
use sunmao_plugin_sdk::abi::Requirements;
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Result};

struct Dynamic {
    elements: usize,
}

pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let x = op.input(0).filter(|x| x.dtype == F32)?;
    op.0.epilogue.is_empty().then(|| Box::new(Dynamic { elements: count(&dims(x)) }) as Box<dyn Kernel>)
}

impl Kernel for Dynamic {
    fn requirements(&self) -> Requirements {
        let nanoseconds = self.elements as u64 / 2 + 50;
        Requirements { shards: shards_for(nanoseconds), estimated_ns: nanoseconds, ..Requirements::simple() }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let elements = self.elements;
        let x = bindings.input::<f32>(0)?;
        let (y, y_scale, y_zero) = (bindings.output::<u8>(0)?, bindings.output::<f32>(1)?, bindings.output::<u8>(2)?);
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            // Every shard looks at the whole input, so that all agree on the scale.
            // SAFETY: the input has `elements` floats.
            let (low, high) = unsafe { range(from, elements) };
            let scale = (high - low) / 255.0;
            // All zeros: any scale will do.
            let scale = if scale == 0.0 { 1.0 } else { scale };
            let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8;
            if call.shard == 0 {
                call.write(&y_scale).set(0, scale);
                call.write(&y_zero).set(0, zero);
            }
            let share = call.share(elements, GRANULE);
            // SAFETY: as above; the result has as many bytes, and shares are disjoint.
            unsafe {
                to_bytes(from.add(share.start), scale, Target { zero, flip: 0 }, to.add(share.start), share.len());
            }
            Ok(())
        }))
    }
}

/// The smallest and the largest of `len` floats and zero; NaNs do not count.
///
/// # Safety
/// `len` floats are readable at `from`.
#[inline(never)]
unsafe fn range(from: *const f32, len: usize) -> (f32, f32) {
    let (mut low, mut high) = (splat(0.0), splat(0.0));
    let whole = len / LANES * LANES;
    // SAFETY: places below `len`.
    unsafe {
        for at in (0..whole).step_by(LANES) {
            let x = v128_load(from.add(at).cast());
            // The second operand where the comparison holds, which it does not with a NaN.
            low = f32x4_pmin(low, x);
            high = f32x4_pmax(high, x);
        }
    }
    let lanes = |v| {
        [f32x4_extract_lane::<0>(v), f32x4_extract_lane::<1>(v), f32x4_extract_lane::<2>(v), f32x4_extract_lane::<3>(v)]
    };
    // SAFETY: as above.
    let rest = (whole..len).map(|at| unsafe { from.add(at).read() });
    let low = lanes(low).into_iter().chain(rest.clone()).fold(0.0, f32::min);
    (low, lanes(high).into_iter().chain(rest).fold(0.0, f32::max))
}
