//! `sunmao.QAdd`: two quantised tensors of one shape, added in f32 as the portable kernel adds them, operation for operation.

use super::super::lanes::LANES;
use super::finish::{self, Target, load_bytes};
use super::{Bytes, is_scale};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{alias, kernel, needs};
use std::arch::x86_64::*;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "sunmao.QAdd",
        path: "avx2-int8-add",
        revisions: (1, LATEST),
        tolerance: Tolerance::Exact,
        prepare: add,
    }]
}

/// Shards end at multiples of this, a cache line of bytes.
const GRANULE: usize = 64;
/// Elements at a time.
const STEP: usize = 2 * LANES;

/// A side of the sum.
#[derive(Clone, Copy)]
struct Side {
    flip: u8,
    zero: u8,
    scale: f32,
}

impl Side {
    /// Sixteen bytes as reals.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn reals(&self, bytes: __m128i) -> [__m256; 2] {
        let bytes = _mm_xor_si128(bytes, _mm_set1_epi8(self.flip as i8));
        let zero = _mm256_set1_epi32(i32::from(self.zero));
        let real = |half: __m128i| {
            let whole = _mm256_sub_epi32(_mm256_cvtepu8_epi32(half), zero);
            _mm256_mul_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(self.scale))
        };
        [real(bytes), real(_mm_srli_si128::<8>(bytes))]
    }
}

fn add(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (a, b, y) = (Bytes::input(request, 0)?, Bytes::input(request, 3)?, Bytes::output(request)?);
    let fits = a.shape == b.shape
        && a.shape == y.shape
        && [1, 4, 6].iter().all(|&scale| is_scale(request, scale))
        && a.has_zero(request, 2)
        && b.has_zero(request, 5)
        && y.has_zero(request, 7)
        && request.operation().epilogue.is_empty();
    if !fits {
        return None;
    }
    let elements = count(&y.shape);
    let flips = [a.flip, b.flip, y.flip];
    let mut requirements = needs(elements as f64 * 0.5, elements.div_ceil(GRANULE));
    requirements.in_place = vec![alias(0), alias(3)];
    Some(kernel(requirements, None, move |bindings| {
        let (a, b, y) = (bindings.input_bits::<u8>(0)?, bindings.input_bits::<u8>(3)?, bindings.output_bits::<u8>(0)?);
        let scales = [bindings.input::<f32>(1)?, bindings.input::<f32>(4)?, bindings.input::<f32>(6)?];
        let zeros = [bindings.input_bits::<u8>(2)?, bindings.input_bits::<u8>(5)?, bindings.input_bits::<u8>(7)?];
        Ok(Box::new(move |call: &Call| {
            let number = |i: usize| Side {
                flip: flips[i],
                zero: call.read(&zeros[i]).get(0) ^ flips[i],
                scale: call.read(&scales[i]).get(0),
            };
            let (left, right, to) = (number(0), number(1), number(2));
            let (a, b, y) = (call.read(&a).as_ptr(), call.read(&b).as_ptr(), call.write(&y).as_mut_ptr());
            let share = call.share(elements, GRANULE);
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2 and FMA; the three tensors have `elements` bytes each, and shares are disjoint. An operand lies on the
            // output place for place, and a step reads before it writes.
            unsafe { sum([left, right, to], a.add(share.start), b.add(share.start), y.add(share.start), share.len()) };
            Ok(())
        }))
    }))
}

/// # Safety
/// The CPU has AVX2 and FMA; `len` bytes are readable at `a` and `b` and writable at `y`, which equals or does not overlap each of them.
#[target_feature(enable = "avx2,fma")]
unsafe fn sum([left, right, to]: [Side; 3], a: *const u8, b: *const u8, y: *mut u8, len: usize) {
    let scale = _mm256_set1_ps(to.scale);
    let target = Target { zero: to.zero, flip: to.flip };
    for at in (0..len).step_by(STEP) {
        let rest = len - at;
        // SAFETY: no more than what is left is read and written.
        unsafe {
            let (a, b) = (left.reals(load_bytes(a.add(at), rest)), right.reals(load_bytes(b.add(at), rest)));
            let number = |i: usize| finish::rounded(_mm256_div_ps(_mm256_add_ps(a[i], b[i]), scale));
            finish::store(y.add(at), target.saturate([number(0), number(1)]), rest);
        }
    }
}
