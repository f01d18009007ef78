//! The discrete Fourier transform of any length, in `f64`: the Stockham algorithm over the prime factors of the length.
//!
//! Twiddle factors are worked out once for a length; each is the sine and cosine of its own angle, so errors do not add up. A length with a
//! large prime factor costs the square of that factor.

use std::sync::Arc;
use sunmao_plugin_sdk::Writer;

/// A complex number.
pub(crate) type Complex = (f64, f64);

/// A transform of one length.
#[derive(Clone)]
pub(crate) struct Transform {
    length: usize,
    factors: Arc<[usize]>,
    /// `exp(-2 pi i k / length)`.
    twiddles: Arc<[Complex]>,
}

impl Transform {
    pub(crate) fn new(length: usize) -> Self {
        let mut factors = Vec::new();
        let (mut rest, mut factor) = (length, 2);
        while rest > 1 {
            if factor * factor > rest {
                factor = rest;
            }
            while rest.is_multiple_of(factor) {
                factors.push(factor);
                rest /= factor;
            }
            factor += 1;
        }
        let twiddle = |k: usize| {
            let angle = -2.0 * std::f64::consts::PI * k as f64 / length as f64;
            (libm::cos(angle), libm::sin(angle))
        };
        Self { length, factors: factors.into(), twiddles: (0..length).map(twiddle).collect() }
    }

    /// Bytes of the workspace that `run` needs: two lines of complex numbers.
    pub(crate) fn workspace(&self) -> u64 {
        self.length as u64 * 32
    }

    /// Multiplications, about.
    pub(crate) fn work(&self) -> u64 {
        self.length as u64 * self.factors.iter().map(|&factor| factor as u64 * 4).sum::<u64>().max(1)
    }

    /// Transforms what `load` gives and hands the results to `store`. The inverse is divided by the length.
    pub(crate) fn run(
        &self,
        workspace: &Writer<'_, f64>,
        inverse: bool,
        load: impl Fn(usize) -> Complex,
        mut store: impl FnMut(usize, Complex),
    ) {
        let line = 2 * self.length;
        let (mut from, mut to) = (workspace.part(0..line), workspace.part(line..2 * line));
        let get = |line: &Writer<'_, f64>, at: usize| (line.get(2 * at), line.get(2 * at + 1));
        let put = |line: &Writer<'_, f64>, at: usize, value: Complex| {
            line.set(2 * at, value.0);
            line.set(2 * at + 1, value.1);
        };
        // The inverse is the transform of the conjugate, conjugated.
        let sign = if inverse { -1.0 } else { 1.0 };
        for at in 0..self.length {
            let (real, imaginary) = load(at);
            put(&from, at, (real, sign * imaginary));
        }
        let (mut left, mut stride) = (self.length, 1);
        for &factor in self.factors.iter() {
            let part = left / factor;
            for k in 0..part {
                for r in 0..factor {
                    let turn = self.twiddles[k * r % left * (self.length / left)];
                    for q in 0..stride {
                        let mut sum = (0.0, 0.0);
                        for j in 0..factor {
                            let weight = self.twiddles[j * r % factor * (self.length / factor)];
                            let term = product(get(&from, q + stride * (k + part * j)), weight);
                            sum = (sum.0 + term.0, sum.1 + term.1);
                        }
                        put(&to, q + stride * (factor * k + r), product(sum, turn));
                    }
                }
            }
            std::mem::swap(&mut from, &mut to);
            left = part;
            stride *= factor;
        }
        let scale = if inverse { 1.0 / self.length as f64 } else { 1.0 };
        for at in 0..self.length {
            let (real, imaginary) = get(&from, at);
            store(at, (real * scale, sign * imaginary * scale));
        }
    }
}

fn product(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}
