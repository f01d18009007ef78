//! Weights as floats: of a strip, four at a time, the eight columns in the lanes. Each is as the format defines it, a product of its scale and its number
//! less an offset, rounded once.
//!
//! A number lies somewhere in a dword. What stands beside it is masked away, and it is converted where it stands: it is then too large by a power of
//! two, of which the scale is relieved beforehand. An infinite scale, which makes infinities and NaNs by the format, makes NaNs alone here.

use super::super::lanes::LANES;
use std::arch::x86_64::*;

/// Weights in a vector of dwords, for each column: bytes, or halves of bytes.
pub(super) const STEP: usize = 4;

/// A block format as its strips are packed.
pub(super) trait Blocks {
    /// Groups of a block.
    const GROUPS: usize;
    /// Bytes of a block of a strip.
    const BYTES: usize;
    /// What is decoded once for all groups of a block.
    type Head: Copy;

    /// # Safety
    /// The CPU has AVX2, FMA and F16C; a block of a strip is readable at `block`.
    unsafe fn head(block: *const u8) -> Self::Head;

    /// Visits the weights of a group, with the number of the first of each four.
    ///
    /// # Safety
    /// As for [`Blocks::head`]; `head` is that of the block, and `group` below [`Blocks::GROUPS`].
    unsafe fn group(block: *const u8, head: Self::Head, group: usize, visit: impl FnMut(usize, [__m256; STEP]));
}

/// `0..count`, whose end the compiler does not see: it would unroll the loop, decode all of a group before anything is done with it, and keep that on the
/// stack.
#[inline]
pub(super) fn rolled(count: usize) -> std::ops::Range<usize> {
    0..std::hint::black_box(count)
}

/// The eight half floats at `at`.
///
/// # Safety
/// The CPU has F16C; sixteen bytes are readable at `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: the caller's promise.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
}

/// Dword `number` of all columns.
///
/// # Safety
/// The CPU has AVX2; so many dwords of eight columns are readable at `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn dwords(at: *const u8, number: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(at.cast::<__m256i>().add(number)) }
}

/// Byte `byte` of each dword as an unsigned number.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn byte(of: __m256i, byte: usize) -> __m256 {
    let down = _mm256_srl_epi32(of, _mm_cvtsi32_si128(8 * byte as i32));
    _mm256_cvtepi32_ps(_mm256_and_si256(down, _mm256_set1_epi32(0xFF)))
}

/// What turns numbers of `BITS` bits, the first of them `FIRST` bits up in each dword and the others a byte further each, into weights.
#[derive(Clone, Copy)]
struct Scales<const FIRST: u32, const BITS: u32> {
    factors: [__m256; STEP],
    offset: __m256,
}

impl<const FIRST: u32, const BITS: u32> Scales<FIRST, BITS> {
    /// Whether the number at place `j` reaches the top of the dword. It is shifted down, for it would be taken for a negative one.
    const fn is_top(j: usize) -> bool {
        FIRST + 8 * j as u32 + BITS == 32
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn new(factor: __m256, offset: __m256) -> Self {
        let mut factors = [factor; STEP];
        for j in 0..STEP {
            if !Self::is_top(j) {
                // The exponent of a power of two.
                let down = f32::from_bits((127 - FIRST - 8 * j as u32) << 23);
                factors[j] = _mm256_mul_ps(factor, _mm256_set1_ps(down));
            }
        }
        Self { factors, offset }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn apply(self, dwords: __m256i) -> [__m256; STEP] {
        let mut weights = [self.offset; STEP];
        for j in 0..STEP {
            let place = FIRST + 8 * j as u32;
            let number = match Self::is_top(j) {
                true => _mm256_srl_epi32(dwords, _mm_cvtsi32_si128(place as i32)),
                false => _mm256_and_si256(dwords, _mm256_set1_epi32((((1u32 << BITS) - 1) << place) as i32)),
            };
            weights[j] = _mm256_fmsub_ps(_mm256_cvtepi32_ps(number), self.factors[j], self.offset);
        }
        weights
    }
}

/// A scale and 32 bytes, 128 too large.
pub(super) struct Q8_0;

impl Blocks for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = LANES * 34;
    type Head = __m256;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn head(block: *const u8) -> __m256 {
        // SAFETY: the block begins with its halves.
        unsafe { halves(block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group(block: *const u8, head: __m256, _: usize, mut visit: impl FnMut(usize, [__m256; STEP])) {
        let scales = Scales::<0, 8>::new(head, _mm256_mul_ps(head, _mm256_set1_ps(128.0)));
        for t in rolled(8) {
            // SAFETY: eight dwords lie behind the halves.
            visit(STEP * t, scales.apply(unsafe { dwords(block.add(16), t) }));
        }
    }
}

/// A scale and 32 numbers of 4 bits, 8 too large: the first 16 in the low halves of the bytes, the others in the high ones.
pub(super) struct Q4_0;

impl Blocks for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = LANES * 18;
    type Head = __m256;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn head(block: *const u8) -> __m256 {
        // SAFETY: the block begins with its halves.
        unsafe { halves(block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group(block: *const u8, head: __m256, _: usize, mut visit: impl FnMut(usize, [__m256; STEP])) {
        let offset = _mm256_mul_ps(head, _mm256_set1_ps(8.0));
        let (low, high) = (Scales::<0, 4>::new(head, offset), Scales::<4, 4>::new(head, offset));
        for t in rolled(4) {
            // SAFETY: four dwords lie behind the halves.
            let numbers = unsafe { dwords(block.add(16), t) };
            visit(STEP * t, low.apply(numbers));
            visit(16 + STEP * t, high.apply(numbers));
        }
    }
}

/// Scales and minima of the eight groups of a block of 256 weights: two half floats, each times eight numbers of 6 bits.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    pub(super) scale: __m256,
    pub(super) minimum: __m256,
    /// A byte for each of four groups.
    pub(super) scales: [__m256i; 2],
    pub(super) minima: [__m256i; 2],
}

impl Pairs {
    /// Bytes in front of the numbers.
    pub(super) const BYTES: usize = LANES * 16;

    /// # Safety
    /// The CPU has AVX2, FMA and F16C; a block that begins with scales and minima is readable at `block`.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn of(block: *const u8) -> Self {
        // SAFETY: two halves of each column, then three dwords.
        let (scale, minimum, packed) = unsafe {
            let packed = block.add(32);
            (halves(block), halves(block.add(16)), [dwords(packed, 0), dwords(packed, 1), dwords(packed, 2)])
        };
        let [scales, minima, mixed] = packed;
        let low = |of, mask| _mm256_and_si256(of, _mm256_set1_epi32(mask));
        let (six, four, top) = (0x3F3F_3F3F, 0x0F0F_0F0F, 0x3030_3030);
        // The upper two bits of the last four groups lie above those of the first four.
        let above = |of| low(_mm256_srli_epi32::<2>(of), top);
        Self {
            scale,
            minimum,
            scales: [low(scales, six), _mm256_or_si256(low(mixed, four), above(scales))],
            minima: [low(minima, six), _mm256_or_si256(low(_mm256_srli_epi32::<4>(mixed), four), above(minima))],
        }
    }

    /// Scale and minimum of a group.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn group(&self, group: usize) -> (__m256, __m256) {
        (_mm256_mul_ps(self.scale, byte(self.scales[group / 4], group % 4)), self.offset(group))
    }

    /// The minimum of a group.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn offset(&self, group: usize) -> __m256 {
        _mm256_mul_ps(self.minimum, byte(self.minima[group / 4], group % 4))
    }
}

/// Eight groups of numbers of 4 bits; two groups share the halves of the same bytes.
pub(super) struct Q4K;

impl Blocks for Q4K {
    const GROUPS: usize = 8;
    const BYTES: usize = LANES * 144;
    type Head = Pairs;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn head(block: *const u8) -> Pairs {
        // SAFETY: the block begins so.
        unsafe { Pairs::of(block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group(block: *const u8, head: Pairs, group: usize, mut visit: impl FnMut(usize, [__m256; STEP])) {
        let (factor, offset) = head.group(group);
        // SAFETY: eight dwords for each two groups lie behind the head.
        unsafe {
            let numbers = block.add(Pairs::BYTES);
            if group.is_multiple_of(2) {
                let scales = Scales::<0, 4>::new(factor, offset);
                for t in rolled(8) {
                    visit(STEP * t, scales.apply(dwords(numbers, group / 2 * 8 + t)));
                }
            } else {
                let scales = Scales::<4, 4>::new(factor, offset);
                for t in rolled(8) {
                    visit(STEP * t, scales.apply(dwords(numbers, group / 2 * 8 + t)));
                }
            }
        }
    }
}

/// The same with a fifth bit, that of group g being bit g of 32 bytes that all groups share.
pub(super) struct Q5K;

impl Blocks for Q5K {
    const GROUPS: usize = 8;
    const BYTES: usize = LANES * 176;
    type Head = Pairs;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn head(block: *const u8) -> Pairs {
        // SAFETY: the block begins so.
        unsafe { Pairs::of(block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group(block: *const u8, head: Pairs, group: usize, mut visit: impl FnMut(usize, [__m256; STEP])) {
        let (factor, offset) = head.group(group);
        let scales = Scales::<0, 8>::new(factor, offset);
        for t in rolled(8) {
            // SAFETY: eight dwords of fifth bits lie behind the head, then eight for each two groups.
            let (top, low) = unsafe {
                let bits = block.add(Pairs::BYTES);
                (dwords(bits, t), dwords(bits, 8 + group / 2 * 8 + t))
            };
            let low = four_bits(low, 4 * (group % 2));
            let fifth = _mm256_and_si256(down(top, group), _mm256_set1_epi8(1));
            visit(STEP * t, scales.apply(_mm256_or_si256(low, _mm256_slli_epi32::<4>(fifth))));
        }
    }
}

/// Sixteen groups of 16 numbers of 6 bits, 32 too large, each with a signed scale of 8 bits. In each half of a block, four groups of 32 share the bits of
/// a place.
pub(super) struct Q6K;

impl Blocks for Q6K {
    const GROUPS: usize = 8;
    const BYTES: usize = LANES * 210;
    type Head = __m256;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn head(block: *const u8) -> __m256 {
        // SAFETY: the block begins with its halves.
        unsafe { halves(block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group(block: *const u8, head: __m256, group: usize, mut visit: impl FnMut(usize, [__m256; STEP])) {
        let (half, quarter) = (group / 4, group % 4);
        for part in 0..2 {
            // SAFETY: behind the halves lie 32 dwords of low bits, 16 of high ones, and four of scales.
            let all = unsafe { dwords(block.add(16), 48 + group / 2) };
            // The wanted byte on top, and down with its sign.
            let up = _mm_cvtsi32_si128(24 - 8 * (2 * (group % 2) + part) as i32);
            let scale = _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(_mm256_sll_epi32(all, up)));
            let factor = _mm256_mul_ps(head, scale);
            let scales = Scales::<0, 8>::new(factor, _mm256_mul_ps(factor, _mm256_set1_ps(32.0)));
            for t in rolled(4).map(|t| 4 * part + t) {
                // SAFETY: as above.
                let (low, high) = unsafe {
                    let bits = block.add(16);
                    (dwords(bits, half * 16 + quarter % 2 * 8 + t), dwords(bits, 32 + half * 8 + t))
                };
                let low = four_bits(low, 4 * (quarter / 2));
                let high = _mm256_and_si256(down(high, 2 * quarter), _mm256_set1_epi8(3));
                visit(STEP * t, scales.apply(_mm256_or_si256(low, _mm256_slli_epi32::<4>(high))));
            }
        }
    }
}

/// Each dword so many bits down.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn down(of: __m256i, bits: usize) -> __m256i {
    _mm256_srl_epi32(of, _mm_cvtsi32_si128(bits as i32))
}

/// The four bits of each byte from bit `from` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn four_bits(of: __m256i, from: usize) -> __m256i {
    _mm256_and_si256(down(of, from), _mm256_set1_epi8(15))
}
