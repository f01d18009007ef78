//! What the oracles are made of: seeded numbers, walks over all indices of a shape, and comparison.

use crate::harness::Tensor;

/// Operators by name, each with the function that it should compute.
pub(crate) type Functions<F> = [(&'static str, F)];

/// A small generator of the same numbers on every machine.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A whole number in `low..=high`.
    pub(crate) fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() >> 11).wrapping_rem((high - low + 1) as u64) as i64
    }

    pub(crate) fn length(&mut self, low: usize, high: usize) -> usize {
        self.within(low as i64, high as i64) as usize
    }

    /// A number between -2 and 2.
    pub(crate) fn number(&mut self) -> f32 {
        (self.within(-2_000_000, 2_000_000) as f64 / 1e6) as f32
    }

    pub(crate) fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.number()).collect();
        Tensor::f32(shape, &values)
    }

    pub(crate) fn bytes(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<u8> = (0..shape.iter().product()).map(|_| self.within(0, 255) as u8).collect();
        Tensor::u8(shape, &values)
    }
}

/// All indices of a shape, in row-major order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &dim in shape {
        all = all
            .into_iter()
            .flat_map(|index| {
                (0..dim).map(move |i| {
                    let mut index = index.clone();
                    index.push(i);
                    index
                })
            })
            .collect();
    }
    all
}

/// The place of an index in a dense tensor.
pub(crate) fn place(shape: &[usize], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |place, (&dim, &i)| place * dim + i)
}

/// The place in a tensor of shape `from` that numpy reads for an index of a larger shape.
pub(crate) fn broadcast_place(from: &[usize], index: &[usize]) -> usize {
    let skip = index.len() - from.len();
    from.iter().zip(&index[skip..]).fold(0, |place, (&dim, &i)| place * dim + if dim == 1 { 0 } else { i })
}

/// Each value may be off by the given fraction of the largest one.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], wanted: &[f64], fraction: f64) {
    assert_eq!(got.len(), wanted.len());
    let largest = wanted.iter().filter(|x| x.is_finite()).fold(1e-6, |largest: f64, x| largest.max(x.abs()));
    for (i, (&got, &wanted)) in got.iter().zip(wanted).enumerate() {
        let got = f64::from(got);
        let same = got == wanted || (got.is_nan() && wanted.is_nan()) || (got - wanted).abs() <= fraction * largest;
        assert!(same, "element {i}: {got} where {wanted} was expected (largest {largest})");
    }
}

pub(crate) fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}
