//! Random numbers: the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), seeded by one number as in their `init_genrand`.
//!
//! ONNX leaves the generator open. This one is NumPy's `RandomState`, which its reference implementation uses, so that the same seed gives
//! the same numbers as there.

use std::hash::{BuildHasher, Hasher, RandomState};

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// A stream of random numbers.
pub(super) struct Generator {
    state: [u32; SIZE],
    next: usize,
    /// Normal numbers come in pairs.
    second: Option<f64>,
}

impl Generator {
    /// The stream of that seed, of which the lower 32 bits count.
    pub(super) fn seeded(seed: u64) -> Self {
        let mut state = [0u32; SIZE];
        // Only the lower bits are meant.
        state[0] = seed as u32;
        for index in 1..SIZE {
            let before = state[index - 1];
            state[index] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
        Generator { state, next: SIZE, second: None }
    }

    /// A stream that nobody can tell beforehand: seeded by the keys that the standard library draws for its hash maps from the
    /// system's entropy, once a thread, and counts up from there.
    pub(super) fn unseeded() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    fn word(&mut self) -> u32 {
        if self.next == SIZE {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn refill(&mut self) {
        for index in 0..SIZE {
            let both = (self.state[index] & 0x8000_0000) | (self.state[(index + 1) % SIZE] & 0x7fff_ffff);
            let twist = if both & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + SHIFT) % SIZE] ^ (both >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// Evenly distributed in [0, 1), 53 bits of it.
    pub(super) fn uniform(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// Normally distributed, mean 0 and deviation 1, by the polar method of Marsaglia.
    pub(super) fn normal(&mut self) -> f64 {
        if let Some(second) = self.second.take() {
            return second;
        }
        // Four of five points lie in the circle; the period of the generator holds more such points than rounds could miss.
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square < 1.0 && square != 0.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.second = Some(scale * x);
                return scale * y;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_the_reference() {
        let mut generator = Generator::seeded(0);
        let drawn: Vec<f64> = (0..3).map(|_| generator.uniform()).collect();
        assert_eq!(drawn, [0.5488135039273248, 0.7151893663724195, 0.6027633760716439]);
        let mut generator = Generator::seeded(0);
        let drawn: Vec<f64> = (0..3).map(|_| generator.normal()).collect();
        assert_eq!(drawn, [1.764052345967664, 0.4001572083672233, 0.9787379841057392]);
    }

    #[test]
    fn without_a_seed_every_stream_differs() {
        let first = |mut generator: Generator| (0..4).map(|_| generator.word()).collect::<Vec<_>>();
        assert_ne!(first(Generator::unseeded()), first(Generator::unseeded()));
    }
}
