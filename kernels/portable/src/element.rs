//! Element types: how a number is stored in a tensor, and in which Rust type kernels compute with it.

use half::{bf16, f16};
use sunmao_plugin_sdk::Element;

/// An element type of the ABI. Half floats are stored as their bits and computed in `f32`; a boolean is a byte, 0 or 1.
pub(crate) trait Stored: Send + Sync + 'static {
    /// What lies in memory.
    type Element: Element + Send + Sync;
    /// What kernels compute with.
    type Value: crate::number::Number;
    /// Code of the type in the ABI.
    const DTYPE: u16;
    fn load(element: Self::Element) -> Self::Value;
    fn store(value: Self::Value) -> Self::Element;
}

macro_rules! plain {
    ($($name:ident = $t:ty, $code:literal;)*) => { $(
        pub(crate) struct $name;
        impl Stored for $name {
            type Element = $t;
            type Value = $t;
            const DTYPE: u16 = $code;
            #[inline(always)]
            fn load(element: $t) -> $t { element }
            #[inline(always)]
            fn store(value: $t) -> $t { value }
        }
    )* };
}

plain! {
    F32 = f32, 1;
    U8 = u8, 2;
    I8 = i8, 3;
    U16 = u16, 4;
    I16 = i16, 5;
    I32 = i32, 6;
    I64 = i64, 7;
    Bool = u8, 9;
    F64 = f64, 11;
    U32 = u32, 12;
    U64 = u64, 13;
}

macro_rules! halves {
    ($($name:ident = $t:ty, $code:literal;)*) => { $(
        pub(crate) struct $name;
        impl Stored for $name {
            type Element = u16;
            type Value = f32;
            const DTYPE: u16 = $code;
            #[inline(always)]
            fn load(element: u16) -> f32 { <$t>::from_bits(element).to_f32() }
            #[inline(always)]
            fn store(value: f32) -> u16 { <$t>::from_f32(value).to_bits() }
        }
    )* };
}

halves! {
    F16 = f16, 10;
    BF16 = bf16, 16;
}

plain! {
    // Complex numbers of two doubles, which are only moved.
    Wide128 = u128, 15;
}

pub(crate) const FLOATS: &[u16] = &[1, 11, 10, 16];
pub(crate) const SIGNED: &[u16] = &[1, 11, 10, 16, 3, 5, 6, 7];
pub(crate) const INTEGERS: &[u16] = &[2, 3, 4, 5, 6, 7, 12, 13];
pub(crate) const NUMBERS: &[u16] = &[1, 11, 10, 16, 2, 3, 4, 5, 6, 7, 12, 13];
pub(crate) const EVERY: &[u16] = &[1, 11, 10, 16, 2, 3, 4, 5, 6, 7, 12, 13, 9];
/// 8-bit floats.
pub(crate) const SMALL_FLOATS: &[u16] = &[17, 18, 19, 20];
/// Types that moves of whole elements know: those of a byte or more.
pub(crate) const MOVED: &[u16] = &[1, 11, 10, 16, 2, 3, 4, 5, 6, 7, 12, 13, 9, 14, 15, 17, 18, 19, 20, 24];
/// Types that convert into each other.
pub(crate) const REAL: &[u16] = &[1, 11, 10, 16, 2, 3, 4, 5, 6, 7, 12, 13, 9, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26];
/// All that have a size.
pub(crate) const SIZED: &[u16] =
    &[1, 11, 10, 16, 2, 3, 4, 5, 6, 7, 12, 13, 9, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26];

/// Bits of one element.
pub(crate) fn bits(dtype: u16) -> u32 {
    match dtype {
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        4 | 5 | 10 | 16 => 16,
        21..=23 => 4,
        25 | 26 => 2,
        _ => 8,
    }
}

/// Runs `$body` with `$S` standing for the element type of code `$dtype`, one of those listed; anything else is unsupported.
macro_rules! dispatch {
    ($dtype:expr, [$($name:ident),*], $S:ident => $body:expr) => {
        match $dtype {
            $(<$crate::element::$name as $crate::element::Stored>::DTYPE => { type $S = $crate::element::$name; $body })*
            other => Err(sunmao_plugin_sdk::Error::unsupported(format!("element type {other} is not computed with here"))),
        }
    };
    ($dtype:expr, floats, $S:ident => $body:expr) => {
        $crate::element::dispatch!($dtype, [F32, F64, F16, BF16], $S => $body)
    };
    ($dtype:expr, signed, $S:ident => $body:expr) => {
        $crate::element::dispatch!($dtype, [F32, F64, F16, BF16, I8, I16, I32, I64], $S => $body)
    };
    ($dtype:expr, integers, $S:ident => $body:expr) => {
        $crate::element::dispatch!($dtype, [U8, I8, U16, I16, I32, I64, U32, U64], $S => $body)
    };
    ($dtype:expr, numbers, $S:ident => $body:expr) => {
        $crate::element::dispatch!($dtype, [F32, F64, F16, BF16, U8, I8, U16, I16, I32, I64, U32, U64], $S => $body)
    };
    ($dtype:expr, every, $S:ident => $body:expr) => {
        $crate::element::dispatch!($dtype, [F32, F64, F16, BF16, U8, I8, U16, I16, I32, I64, U32, U64, Bool], $S => $body)
    };
    // Moves of data look at the bits alone.
    ($dtype:expr, carriers, $S:ident => $body:expr) => {
        match $dtype {
            2 | 3 | 9 | 17..=20 | 24 => { type $S = $crate::element::U8; $body }
            4 | 5 | 10 | 16 => { type $S = $crate::element::U16; $body }
            1 | 6 | 12 => { type $S = $crate::element::U32; $body }
            7 | 11 | 13 | 14 => { type $S = $crate::element::U64; $body }
            15 => { type $S = $crate::element::Wide128; $body }
            other => Err(sunmao_plugin_sdk::Error::unsupported(format!("element type {other} is not moved here"))),
        }
    };
}
pub(crate) use dispatch;
