//! `QuantizeLinear`, `DequantizeLinear` and `DynamicQuantizeLinear` between f32 and bytes, with one scale.

use super::super::lanes::{self, LANES};
use super::finish::{self, Target, load_bytes};
use super::{Bytes, is_scale};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{kernel, needs};
use std::arch::x86_64::*;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Element, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    let row = |operator, since, prepare| Row {
        operator,
        path: "avx2-int8-quantise",
        revisions: (since, LATEST),
        tolerance: Tolerance::Exact,
        prepare,
    };
    vec![
        row("QuantizeLinear", 10, quantise),
        row("DequantizeLinear", 10, dequantise),
        row("DynamicQuantizeLinear", 11, dynamic),
    ]
}

/// Shards end at multiples of this, a cache line of bytes.
const GRANULE: usize = 64;
/// Elements at a time.
const STEP: usize = 2 * LANES;

/// Whether the operation has one scale and computes in f32.
fn is_plain(request: Request<'_>) -> bool {
    let zero = |key: &str| request.attributes().integer(key).unwrap_or(0) == 0;
    is_scale(request, 1)
        && zero("block_size")
        && (zero("precision") || request.attributes().integer("precision") == Some(1))
}

fn quantise(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (x, y) = (request.input(0)?, Bytes::output(request)?);
    let fits = x == y.shape && is_plain(request);
    if fits { affine::<f32, u8>(token, request, &y, 0.4, to_bytes) } else { None }
}

fn dequantise(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (x, y) = (Bytes::input(request, 0)?, request.output()?);
    let fits = x.shape == y && is_plain(request);
    if fits { affine::<u8, f32>(token, request, &x, 0.2, to_floats) } else { None }
}

/// Converts so many elements: from, scale, what bytes are, to, how many.
type Convert<X, Y> = unsafe fn(*const X, f32, Target, *mut Y, usize);

/// The kernel of an operation with one scale and perhaps a zero point, both of them those of `bytes`, which takes `ns` an element.
fn affine<X: Element + Send + Sync, Y: Element + Send + Sync>(
    token: Avx2,
    request: Request<'_>,
    bytes: &Bytes,
    ns: f64,
    convert: Convert<X, Y>,
) -> Option<Box<dyn Kernel>> {
    let has_zero = request.operand(2).is_some();
    if has_zero && !bytes.has_zero(request, 2) {
        return None;
    }
    let (elements, flip) = (count(&bytes.shape), bytes.flip);
    Some(kernel(needs(elements as f64 * ns, elements.div_ceil(GRANULE)), None, move |bindings| {
        let (x, scale) = (bindings.input_bits::<X>(0)?, bindings.input::<f32>(1)?);
        let zero = if has_zero { Some(bindings.input_bits::<u8>(2)?) } else { None };
        let y = bindings.output_bits::<Y>(0)?;
        Ok(Box::new(move |call: &Call| {
            let zero = zero.as_ref().map_or(0, |zero| call.read(zero).get(0)) ^ flip;
            let scale = call.read(&scale).get(0);
            let share = call.share(elements, GRANULE);
            let (x, y) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2 and FMA; both tensors have `elements` elements, and shares are disjoint.
            unsafe { convert(x.add(share.start), scale, Target { zero, flip }, y.add(share.start), share.len()) };
            Ok(())
        }))
    }))
}

/// Writes the byte nearest to each of `len` floats divided by the scale. A NaN becomes 0.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` floats are readable at `from` and `len` bytes writable at `to`.
#[target_feature(enable = "avx2,fma")]
unsafe fn to_bytes(from: *const f32, scale: f32, target: Target, to: *mut u8, len: usize) {
    let scale = _mm256_set1_ps(scale);
    for at in (0..len).step_by(STEP) {
        let rest = len - at;
        // SAFETY: no more than what is left is read and written.
        unsafe {
            let load = |ahead: usize| match rest.saturating_sub(ahead) {
                LANES.. => _mm256_loadu_ps(from.add(at + ahead)),
                rest => _mm256_maskload_ps(from.wrapping_add(at + ahead), lanes::first(rest)),
            };
            let ratios = [_mm256_div_ps(load(0), scale), _mm256_div_ps(load(LANES), scale)];
            let bytes = target.saturate([finish::rounded(ratios[0]), finish::rounded(ratios[1])]);
            // NaNs are rare: looked for all at once, and then one by one.
            let odd = _mm256_cmp_ps::<_CMP_UNORD_Q>(ratios[0], ratios[1]);
            if _mm256_movemask_ps(odd) == 0 {
                finish::store(to.add(at), bytes, rest);
                continue;
            }
            let mut stored = [0u8; STEP];
            finish::store(stored.as_mut_ptr(), bytes, STEP);
            for (half, ratio) in ratios.iter().enumerate() {
                let nans = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(*ratio, *ratio));
                for lane in 0..LANES {
                    if nans >> lane & 1 != 0 {
                        stored[half * LANES + lane] = 0;
                    }
                }
            }
            finish::store(to.add(at), load_bytes(stored.as_ptr(), STEP), rest);
        }
    }
}

/// Writes each of `len` bytes, less the zero point, times the scale.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` bytes are readable at `from` and `len` floats writable at `to`.
#[target_feature(enable = "avx2,fma")]
unsafe fn to_floats(from: *const u8, scale: f32, source: Target, to: *mut f32, len: usize) {
    let (scale, zero) = (_mm256_set1_ps(scale), _mm256_set1_epi32(i32::from(source.zero)));
    let flip = _mm_set1_epi8(source.flip as i8);
    for at in (0..len).step_by(STEP) {
        let rest = len - at;
        // SAFETY: no more than what is left is read and written.
        unsafe {
            let bytes = _mm_xor_si128(load_bytes(from.add(at), rest), flip);
            for (ahead, bytes) in [(0, bytes), (LANES, _mm_srli_si128::<8>(bytes))] {
                let whole = _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), zero);
                let real = _mm256_mul_ps(_mm256_cvtepi32_ps(whole), scale);
                match rest.saturating_sub(ahead) {
                    LANES.. => _mm256_storeu_ps(to.add(at + ahead), real),
                    rest => lanes::store_first(to.wrapping_add(at + ahead), real, rest),
                }
            }
        }
    }
}

fn dynamic(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let x = request.input(0)?;
    let [Some(y), Some(scale), Some(zero)] = request.operation().outputs.as_slice() else { return None };
    let elements = count(&x);
    let same = y.shape.iter().map(|&d| d as usize).eq(x.iter().copied());
    let types = (y.dtype, scale.dtype, zero.dtype) == (u8::DTYPE, f32::DTYPE, u8::DTYPE);
    if !same || !types || !scale.shape.is_empty() || !zero.shape.is_empty() {
        return None;
    }
    // Every shard looks at the whole input for its range, so that all agree on the scale.
    Some(kernel(needs(elements as f64 * 0.5, elements.div_ceil(GRANULE)), None, move |bindings| {
        let x = bindings.input::<f32>(0)?;
        let (y, y_scale, y_zero) = (bindings.output::<u8>(0)?, bindings.output::<f32>(1)?, bindings.output::<u8>(2)?);
        Ok(Box::new(move |call: &Call| {
            let (x, y) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2 and FMA; the input has `elements` floats.
            let (low, high) = unsafe { range(x, elements) };
            let scale = (high - low) / 255.0;
            // All zeros: any scale will do.
            let scale = if scale == 0.0 { 1.0 } else { scale };
            let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8;
            if call.shard == 0 {
                call.write(&y_scale).set(0, scale);
                call.write(&y_zero).set(0, zero);
            }
            let share = call.share(elements, GRANULE);
            // SAFETY: as above; the output has as many bytes, and shares are disjoint.
            unsafe { to_bytes(x.add(share.start), scale, Target { zero, flip: 0 }, y.add(share.start), share.len()) };
            Ok(())
        }))
    }))
}

/// The smallest and the largest of `len` floats and zero; NaNs do not count.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` floats are readable at `from`.
#[target_feature(enable = "avx2,fma")]
unsafe fn range(from: *const f32, len: usize) -> (f32, f32) {
    let (mut low, mut high) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_ps(); 2]);
    let mut at = 0;
    // SAFETY: places below `len` only.
    unsafe {
        while at + STEP <= len {
            for i in 0..2 {
                let x = _mm256_loadu_ps(from.add(at + i * LANES));
                // Where one of both is a NaN, these take the second.
                low[i] = _mm256_min_ps(x, low[i]);
                high[i] = _mm256_max_ps(x, high[i]);
            }
            at += STEP;
        }
    }
    let highest = lanes::largest(_mm256_max_ps(high[0], high[1]));
    let lowest = -lanes::largest(_mm256_sub_ps(_mm256_setzero_ps(), _mm256_min_ps(low[0], low[1])));
    let rest = (at..len).fold((lowest, highest), |(low, high), at| {
        // SAFETY: `at` is below `len`.
        let x = unsafe { from.add(at).read() };
        (low.min(x), high.max(x))
    });
    (rest.0, rest.1)
}
