//! The dice: a small generator of its own, and how sizes and numbers are drawn with it.

use crate::oracle::{Tensor, dtype};
use dtype::{BF16, BOOL, F16, F32, F64, I4, I8, I16, I32, I64, U4, U8, U16, U32, U64};

/// Floating-point types.
pub(crate) const FLOATS: &[u16] = &[F32, F32, F32, F16, BF16, F64];
/// Integer types.
pub(crate) const WHOLES: &[u16] = &[U8, I8, U16, I16, I32, I64, U32, U64];
/// Numbers of every type.
pub(crate) const NUMBERS: &[u16] = &[F32, F32, F32, F32, F16, BF16, F64, U8, I8, U16, I16, I32, I64, U32, U64];
/// What is moved and not looked at.
pub(crate) const EVERY: &[u16] = &[F32, F32, F32, F16, BF16, F64, U8, I8, U16, I16, I32, I64, U32, U64, BOOL];

/// A stream of random numbers (SplitMix64, Steele and others 2014), and what this case is about.
#[derive(Clone, Debug)]
pub struct Draw {
    state: u64,
    /// Tensors of tens of thousands of elements, so that kernels find them worth splitting.
    pub(crate) large: bool,
    /// Sizes may be 0.
    pub(crate) empty: bool,
    /// Infinities, NaN, negative zeros, denormals.
    pub(crate) special: bool,
}

impl Draw {
    /// The stream of case `number` of an operator. What a case is about goes in turns, so that few cases have some of everything.
    pub fn new(op: &str, seed: u64, number: u64) -> Self {
        let hash = op
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut draw =
            Self { state: hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), large: false, empty: false, special: false };
        draw.state = draw.next() ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03);
        draw.next();
        draw.large = number % 8 == 1;
        draw.empty = number % 8 == 4;
        draw.special = matches!(number % 8, 2 | 6);
        draw
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "an iterator ends, this does not")]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    /// Yes in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of a list.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A real number in `low..high`.
    pub(crate) fn real(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A length: small, prime, a power of two or one beside it, now and then 1.
    pub(crate) fn size(&mut self, most: usize) -> usize {
        if self.empty && self.chance(30) {
            return 0;
        }
        const SIZES: &[usize] = &[1, 1, 2, 2, 3, 3, 4, 5, 5, 7, 7, 8, 9, 11, 13, 15, 16, 17, 19, 23, 31, 32, 33, 37];
        let fitting = SIZES.iter().filter(|&&size| size <= most).count();
        SIZES[self.below(fitting.max(1))]
    }

    /// A shape of that rank; `most` elements, or a good many more where the case is about large ones.
    pub(crate) fn shape(&mut self, rank: usize, most: usize) -> Vec<usize> {
        // A cube now and then: who mistakes one axis for another finds the same shape.
        if rank > 1 && !self.large && !self.empty && self.chance(25) {
            let side = self.between(2, 4) as usize;
            if side.pow(rank as u32) <= 2 * most {
                return vec![side; rank];
            }
        }
        let mut room = most;
        let mut shape = vec![1; rank];
        // From the last axis on, which has most of the room.
        for dim in shape.iter_mut().rev() {
            *dim = self.size(room.max(1));
            room /= (*dim).max(1);
        }
        if self.large && rank > 0 {
            let at = self.below(rank);
            let rest: usize = shape.iter().enumerate().filter(|(axis, _)| *axis != at).map(|(_, &dim)| dim).product();
            shape[at] = (self.between(20_500, 26_000) as usize / rest.max(1)).max(1) | 1;
        }
        shape
    }

    /// One of a list of element types; one of floats where the case is about special numbers.
    pub(crate) fn dtype(&mut self, from: &[u16]) -> u16 {
        let mut drawn = self.pick(from);
        for _ in 0..4 {
            if self.special && !dtype::is_float(drawn) {
                drawn = self.pick(from);
            }
        }
        drawn
    }

    /// A rank from 0 to 6, small ones more often.
    pub(crate) fn rank(&mut self) -> usize {
        self.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6])
    }

    /// An axis of a tensor of that rank, as an attribute may say it.
    pub(crate) fn axis(&mut self, rank: usize) -> i64 {
        self.between(-(rank as i64), rank as i64 - 1)
    }

    /// Some numbers of a type: all of one temper, with extremes where the case is about them.
    pub(crate) fn tensor(&mut self, dtype: u16, shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        if dtype::is_float(dtype) {
            let special = self.special;
            let values = self.reals(count);
            let mut tensor = Tensor::of_reals(dtype, shape, &values);
            if special {
                tensor = self.sprinkled(tensor, &values);
            }
            return tensor;
        }
        let values = self.wholes(dtype, count);
        Tensor::of_wholes(dtype, shape, &values)
    }

    /// Numbers that products and sums stay in range with.
    pub(crate) fn reals(&mut self, count: usize) -> Vec<f64> {
        let temper = self.below(10);
        let mut one = || match temper {
            0..=4 => self.real(-2.0, 2.0),
            5 | 6 => self.between(-8, 8) as f64,
            7 => self.real(-8.0, 8.0) * if self.chance(20) { 0.0 } else { 1.0 },
            8 => self.real(0.25, 1.75),
            _ => self.real(-1.0, 1.0) * 2f64.powi(self.between(-12, 6) as i32),
        };
        (0..count).map(|_| one()).collect()
    }

    /// Finite numbers of a type, whatever the case is about.
    pub(crate) fn finite(&mut self, dtype: u16, shape: &[usize]) -> Tensor {
        let special = std::mem::replace(&mut self.special, false);
        let tensor = self.tensor(dtype, shape);
        self.special = special;
        tensor
    }

    /// Numbers within bounds.
    pub(crate) fn within(&mut self, dtype: u16, shape: &[usize], low: f64, high: f64) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f64> = (0..count).map(|_| self.real(low, high)).collect();
        Tensor::of_reals(dtype, shape, &values)
    }

    fn sprinkled(&mut self, tensor: Tensor, values: &[f64]) -> Tensor {
        let extremes = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-40, -1e-44, 6e-8, -0.0];
        let density = self.pick(&[3, 10, 40]);
        let mut values = values.to_vec();
        for value in &mut values {
            if self.chance(density) {
                *value = self.pick(&extremes);
            }
        }
        Tensor::of_reals(tensor.dtype, &tensor.shape, &values)
    }

    /// Integers of a type: small ones, ones from the whole range, ones at its ends.
    pub(crate) fn wholes(&mut self, dtype: u16, count: usize) -> Vec<i128> {
        if dtype == BOOL {
            return (0..count).map(|_| i128::from(self.chance(50))).collect();
        }
        let (low, high) = dtype::range(dtype);
        let temper = self.below(3);
        let mut one = || {
            let whole = (i128::from(self.next()) << 3) ^ i128::from(self.next());
            match temper {
                0 => i128::from(self.between(-9, 9)).clamp(low, high),
                1 => low + whole.rem_euclid(high - low + 1),
                _ if self.chance(30) => self.pick(&[low, high, 0, low + 1, high - 1]),
                _ => low + whole.rem_euclid(high - low + 1),
            }
        };
        (0..count).map(|_| one()).collect()
    }

    /// Integers within bounds.
    pub(crate) fn wholes_within(&mut self, dtype: u16, shape: &[usize], low: i64, high: i64) -> Tensor {
        let count = shape.iter().product::<usize>();
        let (least, most) = dtype::range(dtype);
        let values: Vec<i128> = (0..count).map(|_| i128::from(self.between(low, high)).clamp(least, most)).collect();
        Tensor::of_wholes(dtype, shape, &values)
    }

    /// Types of four bits as well as of eight.
    pub(crate) fn stored(&mut self) -> u16 {
        self.pick(&[U8, U8, I8, I8, U16, I16, U4, I4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // The first outputs of the published generator for the state 1234567.
        let mut draw = Draw { state: 1_234_567, large: false, empty: false, special: false };
        assert_eq!(
            [draw.next(), draw.next(), draw.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
