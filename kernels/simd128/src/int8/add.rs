//! `sunmao.QAdd`: two quantised tensors of one shape, added in f32 as the portable kernel adds them, operation for operation.

use super::bytes::{self, BYTES, Target};
use super::quantise::GRANULE;
use super::{Less, flip_of};
use crate::arguments::{F32, Op, count, dims, shards_for};
use crate::vector::LANES;
use core::arch::wasm32::*;
use sunmao_plugin_sdk::abi::{Alias, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Result};

#[derive(Clone, Copy)]
struct Add {
    elements: usize,
    /// What makes the bytes of both operands and of the result unsigned.
    flips: [u8; 3],
}

/// Two operands, opened: where the bytes lie, what is taken off them, and the scale.
type Operand = (*const u8, Less, f32);

pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let (a, b, y) = (op.input(0)?, op.input(3)?, op.0.outputs.first()?.as_ref()?);
    let single = |index: usize| op.input(index).is_some_and(|one| count(&dims(one)) == 1);
    let floats = [1, 4, 6].iter().all(|&index| op.input(index).is_some_and(|scale| scale.dtype == F32));
    let fits = floats && [1, 2, 4, 5, 6, 7].into_iter().all(single) && op.0.epilogue.is_empty();
    let flips = [flip_of(a.dtype)?, flip_of(b.dtype)?, flip_of(y.dtype)?];
    (fits && dims(a) == dims(b) && dims(a) == dims(y))
        .then(|| Box::new(Add { elements: count(&dims(y)), flips }) as Box<dyn Kernel>)
}

impl Kernel for Add {
    fn requirements(&self) -> Requirements {
        let nanoseconds = self.elements as u64 / 2 + 50;
        Requirements {
            shards: shards_for(nanoseconds),
            in_place: [0, 3].map(|input| Alias { output: 0, input }).to_vec(),
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let Self { elements, flips } = *self;
        let (a, b, y) = (bindings.input_bits::<u8>(0)?, bindings.input_bits::<u8>(3)?, bindings.output_bits::<u8>(0)?);
        let scales = [bindings.input::<f32>(1)?, bindings.input::<f32>(4)?, bindings.input::<f32>(6)?];
        let zeros = [bindings.input_bits::<u8>(2)?, bindings.input_bits::<u8>(5)?, bindings.input_bits::<u8>(7)?];
        Ok(Box::new(move |call: &Call| {
            let scale = |index: usize| call.read(&scales[index]).get(0);
            let zero = |index: usize| call.read(&zeros[index]).get(0) ^ flips[index];
            let less = |index: usize| Less { flip: flips[index], zero: zero(index) };
            let target = Target { zero: zero(2), flip: flips[2] };
            let share = call.share(elements, GRANULE);
            let (left, right, to) = (call.read(&a).as_ptr(), call.read(&b).as_ptr(), call.write(&y).as_mut_ptr());
            // SAFETY: the three tensors have `elements` bytes; the result lies on an operand or apart (`bind` checked the overlap); shares are disjoint.
            unsafe {
                let left = (left.add(share.start), less(0), scale(0));
                let right = (right.add(share.start), less(1), scale(1));
                add([left, right], scale(2), target, to.add(share.start), share.len());
            }
            Ok(())
        }))
    }
}

/// Writes the bytes of `len` sums. A NaN, which takes a scale that is none, becomes the least number, as in the portable kernel.
///
/// # Safety
/// `len` bytes are readable at each operand and writable at `to`, which is one of them or apart.
#[inline(never)]
unsafe fn add(operands: [Operand; 2], scale: f32, target: Target, to: *mut u8, len: usize) {
    for at in (0..len).step_by(BYTES) {
        let rest = len - at;
        // SAFETY: no more than what is left is read, before it is written.
        unsafe {
            let [left, right] = operands.map(|(from, less, scale)| {
                less.numbers(bytes::load(from.add(at), rest)).map(|number| f32x4_mul(number, f32x4_splat(scale)))
            });
            for (i, (left, right)) in left.into_iter().zip(right).enumerate() {
                let ratio = f32x4_div(f32x4_add(left, right), f32x4_splat(scale));
                let left = rest.saturating_sub(i * LANES);
                if left > 0 {
                    bytes::store(to.add(at + i * LANES), target.nearest(ratio, target.flip), left);
                }
            }
        }
    }
}
