//! Floating-point formats: from and to `f64`, and how far apart their numbers are. Written from IEEE 754, not with a library that kernels use.

/// A binary format: a sign, an exponent field, a fraction. All ones in the exponent is for infinities and NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    exponent: u32,
    fraction: u32,
}

/// The format of an element type; none for integers.
pub(crate) fn format(dtype: u16) -> Option<Format> {
    let (exponent, fraction) = match dtype {
        1 => (8, 23),
        10 => (5, 10),
        11 => (11, 52),
        16 => (8, 7),
        _ => return None,
    };
    Some(Format { exponent, fraction })
}

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    /// The number that the bits mean.
    pub(crate) fn decode(self, bits: u64) -> f64 {
        let negative = bits >> (self.exponent + self.fraction) & 1 != 0;
        let field = bits >> self.fraction & ((1 << self.exponent) - 1);
        let fraction = bits & ((1 << self.fraction) - 1);
        let magnitude = if field == (1 << self.exponent) - 1 {
            if fraction == 0 { f64::INFINITY } else { f64::NAN }
        } else if field == 0 {
            scaled(fraction as f64, 1 - self.bias() - self.fraction as i32)
        } else {
            let whole = fraction + (1 << self.fraction);
            scaled(whole as f64, field as i32 - self.bias() - self.fraction as i32)
        };
        if negative { -magnitude } else { magnitude }
    }

    /// The nearest number's bits; ties go to the even one, and what is too large becomes an infinity.
    pub(crate) fn encode(self, value: f64) -> u64 {
        let sign = u64::from(value.is_sign_negative()) << (self.exponent + self.fraction);
        if value.is_nan() {
            return sign | self.infinity() | 1 << (self.fraction - 1);
        }
        if value.abs() >= scaled(1.0, self.bias() + 1) {
            return sign | self.infinity();
        }
        let exponent = self.exponent_of(value);
        let steps = scaled(value.abs(), self.fraction as i32 - exponent).round_ties_even() as u64;
        // A number without an exponent of its own has no hidden bit either: the sum below is then `steps`. A carry lands in the exponent.
        let bits = (((exponent + self.bias()) as u64) << self.fraction) + steps - (1 << self.fraction);
        sign | bits.min(self.infinity())
    }

    /// Distance between neighbours around `value`.
    pub(crate) fn step(self, value: f64) -> f64 {
        scaled(1.0, self.exponent_of(value) - self.fraction as i32)
    }

    /// Distance between 1 and the next number.
    pub(crate) fn epsilon(self) -> f64 {
        scaled(1.0, -(self.fraction as i32))
    }

    /// The largest finite number.
    pub(crate) fn largest(self) -> f64 {
        self.decode(self.infinity() - 1)
    }

    /// Exponent of the power of two at or below the value, at least that of the smallest normal number.
    fn exponent_of(self, value: f64) -> i32 {
        let field = (value.abs().to_bits() >> 52) as i32;
        (field - 1023).clamp(1 - self.bias(), self.bias())
    }
}

/// `value` times a power of two, without a detour that overflows.
fn scaled(value: f64, power: i32) -> f64 {
    let half = power / 2;
    value * 2f64.powi(half) * 2f64.powi(power - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_and_f64_are_what_the_compiler_says() {
        let single = format(1).unwrap();
        for value in [0.0, -0.0, 1.0, 0.1, -3.5e38, 1e-45, 2.9e-39, 16_777_217.0, f64::MAX, 1e-60, 3.4e38] {
            assert_eq!(single.encode(value) as u32, (value as f32).to_bits(), "{value}");
            assert_eq!(single.decode(u64::from((value as f32).to_bits())), f64::from(value as f32), "{value}");
            assert_eq!(format(11).unwrap().encode(value), value.to_bits(), "{value}");
        }
    }

    #[test]
    fn halves_round_ties_to_even_and_overflow_to_infinity() {
        let half = format(10).unwrap();
        assert_eq!(half.encode(1.0), 0x3c00);
        assert_eq!(half.encode(1.0 + 1.0 / 2048.0), 0x3c00);
        assert_eq!(half.encode(1.0 + 3.0 / 2048.0), 0x3c02);
        assert_eq!(half.encode(65520.0), 0x7c00);
        assert_eq!(half.encode(65519.0), 0x7bff);
        assert_eq!(half.decode(0x0001), 2f64.powi(-24));
        assert_eq!(half.encode(2f64.powi(-25)), 0);
        assert_eq!(half.largest(), 65504.0);
        let brain = format(16).unwrap();
        assert_eq!(brain.encode(1.0), 0x3f80);
        assert_eq!(brain.encode(1.0 + 1.0 / 256.0), 0x3f80);
        assert_eq!(brain.step(1.5), 1.0 / 128.0);
    }
}
