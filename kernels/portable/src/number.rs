//! The arithmetic that kernels are generic over. Integers wrap as two's complement; nothing here traps.

use sunmao_plugin_sdk::Element;

/// A number that kernels compute with.
pub(crate) trait Number: Element + Default + PartialOrd + Send + Sync {
    const ZERO: Self;
    const ONE: Self;
    /// Nothing lies below it (minus infinity for floats).
    const LOWEST: Self;
    /// Nothing lies above it (infinity for floats).
    const HIGHEST: Self;
    const IS_FLOAT: bool;
    const IS_SIGNED: bool;
    /// What sums of these numbers are kept in: `f64`, `i64` or `u64`.
    type Wide: Number;
    fn widen(self) -> Self::Wide;
    /// Rounds floats, wraps integers.
    fn narrow(wide: Self::Wide) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// None for an integer divided by zero.
    fn div(self, other: Self) -> Option<Self>;
    /// The remainder with the sign of the divisor; none for an integer divided by zero.
    fn modulo(self, other: Self) -> Option<Self>;
    /// The remainder with the sign of the dividend; none for an integer divided by zero.
    fn remainder(self, other: Self) -> Option<Self>;
    fn abs(self) -> Self;
    fn neg(self) -> Self;
    fn sign(self) -> Self;
    fn is_nan(self) -> bool;
    fn to_f64(self) -> f64;
    /// Rounds to nearest for floats; saturates and cuts the fraction for integers.
    fn from_f64(value: f64) -> Self;
    /// Saturates floats, wraps integers.
    fn to_i64(self) -> i64;
    /// Wraps integers.
    fn from_i64(value: i64) -> Self;
    /// Wraps integers.
    fn from_u64(value: u64) -> Self;

    /// The larger one; a NaN wins.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }

    /// The smaller one; a NaN wins.
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
}

macro_rules! float {
    ($t:ty, $fmod:path) => {
        impl Number for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = <$t>::NEG_INFINITY;
            const HIGHEST: Self = <$t>::INFINITY;
            const IS_FLOAT: bool = true;
            const IS_SIGNED: bool = true;
            type Wide = f64;
            #[inline(always)]
            fn widen(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn narrow(wide: f64) -> Self {
                wide as $t
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn div(self, other: Self) -> Option<Self> {
                Some(self / other)
            }
            fn modulo(self, other: Self) -> Option<Self> {
                let rest = $fmod(self, other);
                // A zero has the sign of the divisor, as everything else.
                Some(match rest {
                    0.0 => (0.0 as $t).copysign(other),
                    _ if (rest < 0.0) != (other < 0.0) => rest + other,
                    _ => rest,
                })
            }
            fn remainder(self, other: Self) -> Option<Self> {
                Some($fmod(self, other))
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            #[inline(always)]
            fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    self
                }
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as $t
            }
        }
    };
}
float!(f32, libm::fmodf);
float!(f64, libm::fmod);

macro_rules! integer {
    ($($t:ty, $wide:ty, $signed:literal;)*) => { $(
        impl Number for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$t>::MIN;
            const HIGHEST: Self = <$t>::MAX;
            const IS_FLOAT: bool = false;
            const IS_SIGNED: bool = $signed;
            type Wide = $wide;
            #[inline(always)]
            fn widen(self) -> $wide { self as $wide }
            #[inline(always)]
            fn narrow(wide: $wide) -> Self { wide as $t }
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn div(self, other: Self) -> Option<Self> {
                if other == 0 { None } else { Some(self.wrapping_div(other)) }
            }
            #[inline(always)]
            fn modulo(self, other: Self) -> Option<Self> {
                if other == 0 {
                    return None;
                }
                let rest = self.wrapping_rem(other);
                #[allow(unused_comparisons)]
                Some(if rest != 0 && (rest < 0) != (other < 0) { rest.wrapping_add(other) } else { rest })
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Option<Self> {
                if other == 0 { None } else { Some(self.wrapping_rem(other)) }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                #[allow(unused_comparisons)]
                if self < 0 { (0 as $t).wrapping_sub(self) } else { self }
            }
            #[inline(always)]
            fn neg(self) -> Self { self.wrapping_neg() }
            #[inline(always)]
            fn sign(self) -> Self {
                #[allow(unused_comparisons)]
                if self > 0 { 1 } else if self < 0 { (0 as $t).wrapping_sub(1) } else { 0 }
            }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { value as $t }
            #[inline(always)]
            fn to_i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn from_i64(value: i64) -> Self { value as $t }
            #[inline(always)]
            fn from_u64(value: u64) -> Self { value as $t }
        }
    )* };
}
integer! {
    u8, u64, false;
    i8, i64, true;
    u16, u64, false;
    i16, i64, true;
    i32, i64, true;
    i64, i64, true;
    u32, u64, false;
    u64, u64, false;
    // Only moved, never computed with.
    u128, u64, false;
}
