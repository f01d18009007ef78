//! Floats of 8 and 4 bits: what each pattern means, and the nearest pattern of a number.
//!
//! Formats of the OCP 8-bit and microscaling specifications, and their variants without a negative zero.

/// How the bits of a small float are laid out: a sign, an exponent, a mantissa.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    mantissa: u32,
    bias: i32,
    /// The largest pattern of a finite number, without its sign.
    largest: u8,
    special: Special,
    sign: u8,
}

/// What lies beyond the largest finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Special {
    /// Infinity, then NaN.
    Infinity,
    /// NaN alone.
    Nan,
    /// Nothing: NaN takes the pattern of the negative zero, which does not exist.
    NegativeZero,
    /// Nothing at all.
    None,
}

pub(crate) const E4M3FN: Format = Format { mantissa: 3, bias: 7, largest: 0x7e, special: Special::Nan, sign: 0x80 };
pub(crate) const E4M3FNUZ: Format =
    Format { mantissa: 3, bias: 8, largest: 0x7f, special: Special::NegativeZero, sign: 0x80 };
pub(crate) const E5M2: Format = Format { mantissa: 2, bias: 15, largest: 0x7b, special: Special::Infinity, sign: 0x80 };
pub(crate) const E5M2FNUZ: Format =
    Format { mantissa: 2, bias: 16, largest: 0x7f, special: Special::NegativeZero, sign: 0x80 };
pub(crate) const E2M1: Format = Format { mantissa: 1, bias: 1, largest: 0x7, special: Special::None, sign: 0x8 };

impl Format {
    /// The number of a pattern.
    pub(crate) fn decode(self, pattern: u8) -> f64 {
        let size = pattern & (self.sign - 1);
        let negative = pattern & self.sign != 0;
        let number = match self.special {
            Special::NegativeZero if pattern == self.sign => return f64::NAN,
            Special::Infinity if size == self.largest + 1 => f64::INFINITY,
            _ if size > self.largest => f64::NAN,
            _ => self.finite(size),
        };
        if negative { -number } else { number }
    }

    /// The number of a pattern without sign.
    fn finite(self, size: u8) -> f64 {
        let (exponent, mantissa) = (i32::from(size >> self.mantissa), f64::from(size & ((1 << self.mantissa) - 1)));
        let unit = 1.0 / f64::from(1u32 << self.mantissa);
        if exponent == 0 {
            mantissa * unit * power(1 - self.bias)
        } else {
            (1.0 + mantissa * unit) * power(exponent - self.bias)
        }
    }

    /// The pattern nearest to `number`, the even one of two. What is too large becomes the largest finite number if `saturate`, else what the
    /// format has beyond it.
    pub(crate) fn encode(self, number: f64, saturate: bool) -> u8 {
        let sign = if number.is_sign_negative() { self.sign } else { 0 };
        if number.is_nan() {
            return match self.special {
                // A quiet one, where there are two kinds.
                Special::Infinity => sign | (self.largest + 1) | 1 << (self.mantissa - 1),
                Special::Nan => sign | (self.sign - 1),
                Special::NegativeZero => self.sign,
                // No pattern says so; hardware and ml_dtypes make it a negative zero.
                Special::None => self.sign,
            };
        }
        let size = number.abs();
        let rounded = self.round(size);
        if rounded <= self.largest {
            // Without a negative zero there is but one.
            return if rounded == 0 && self.special == Special::NegativeZero { 0 } else { sign | rounded };
        }
        match self.special {
            _ if saturate => sign | self.largest,
            Special::Infinity => sign | (self.largest + 1),
            Special::Nan => sign | (self.sign - 1),
            Special::NegativeZero => self.sign,
            Special::None => sign | self.largest,
        }
    }

    /// The pattern without sign; beyond `largest` when the number is.
    fn round(self, size: f64) -> u8 {
        let above = f64::from(self.largest) + 1.0;
        if size == f64::INFINITY {
            return self.largest.saturating_add(1);
        }
        // The exponent of the result, or that of the subnormal numbers.
        let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
        // Steps of the mantissa, rounded; a carry runs over into the exponent by itself.
        let steps = (size * power(self.mantissa as i32 - exponent)).round_ties_even();
        let hidden = f64::from(1u32 << self.mantissa);
        let pattern = f64::from(exponent + self.bias - 1) * hidden + steps;
        pattern.min(above) as u8
    }
}

/// Two to that power, an exponent of a normal f64.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}

/// Which power of two a scale is rounded to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Direction {
    Up,
    Down,
    Nearest,
}

/// The number of a scale's pattern.
pub(crate) fn decode_scale(pattern: u8) -> f64 {
    if pattern == 0xff { f64::NAN } else { power(i32::from(pattern) - 127) }
}

/// The pattern of the power of two that `number` is rounded to. Negative numbers have none and become NaN.
pub(crate) fn encode_scale(number: f64, saturate: bool, direction: Direction) -> u8 {
    if number.is_nan() || number < 0.0 {
        return 0xff;
    }
    let bits = number.to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32 - 1023, bits & ((1 << 52) - 1));
    let up = match direction {
        Direction::Up => fraction != 0,
        Direction::Down => false,
        Direction::Nearest => fraction >= 1 << 51,
    };
    let place = exponent + i32::from(up) + 127;
    match place {
        0..=254 => place as u8,
        _ if !saturate => 0xff,
        ..0 => 0,
        _ => 254,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_leads_back_to_itself() {
        for format in [E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, E2M1] {
            for pattern in 0..=(format.sign - 1) | format.sign {
                let number = format.decode(pattern);
                if !number.is_nan() {
                    assert_eq!(format.encode(number, false), pattern, "{format:?} {number}");
                }
                assert_eq!(format.decode(format.encode(number, false)).is_nan(), number.is_nan());
            }
        }
        for pattern in 0..=254 {
            assert_eq!(encode_scale(decode_scale(pattern), true, Direction::Up), pattern);
        }
    }

    #[test]
    fn the_nearest_pattern_is_found_by_search() {
        for format in [E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, E2M1] {
            let numbers: Vec<f64> = (0..=format.largest).map(|pattern| format.decode(pattern)).collect();
            for pair in numbers.windows(2) {
                let middle = (pair[0] + pair[1]) / 2.0;
                let even = |low: f64| {
                    let low = format.encode(low, true);
                    if low % 2 == 0 { low } else { low + 1 }
                };
                assert_eq!(format.encode(middle, true), even(pair[0]), "{format:?} {middle}");
                assert_eq!(format.decode(format.encode(middle * 1.001, true)), pair[1]);
                assert_eq!(format.decode(format.encode(middle * 0.999, true)), pair[0]);
            }
        }
    }

    #[test]
    fn what_is_too_large_saturates_or_leaves_the_numbers() {
        let beyond = |format: Format| format.decode(format.encode(1e9, false));
        assert_eq!(beyond(E5M2), f64::INFINITY);
        assert!(beyond(E4M3FN).is_nan() && beyond(E4M3FNUZ).is_nan() && beyond(E5M2FNUZ).is_nan());
        assert_eq!(E4M3FN.decode(E4M3FN.encode(f64::NEG_INFINITY, true)), -448.0);
        assert_eq!(E5M2.decode(E5M2.encode(f64::INFINITY, true)), 57344.0);
        assert_eq!(E2M1.decode(E2M1.encode(100.0, false)), 6.0);
        assert_eq!(encode_scale(f64::INFINITY, true, Direction::Up), 254);
        assert_eq!(encode_scale(0.0, true, Direction::Up), 0);
        assert_eq!(encode_scale(0.0, false, Direction::Nearest), 255);
        assert_eq!(decode_scale(encode_scale(3.0, true, Direction::Nearest)), 4.0);
        assert_eq!(decode_scale(encode_scale(3.9, true, Direction::Down)), 2.0);
    }
}
