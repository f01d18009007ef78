//! Conversion between element types, through the widest type of the source's kind: `f64`, `i64` or `u64`.
//!
//! Floats to integers cut the fraction and saturate; integers to narrower integers wrap; anything to a boolean asks whether it is not zero.

use crate::element::Stored;
use crate::number::Number;
use half::{bf16, f16};

/// An element type as the source or the target of a conversion.
pub(crate) trait Convert: Stored {
    fn widened(element: Self::Element) -> Wide;
    fn narrowed(value: Wide) -> Self::Element;
}

/// A number on its way.
#[derive(Clone, Copy)]
pub(crate) enum Wide {
    Real(f64),
    Signed(i64),
    Unsigned(u64),
}

macro_rules! convert {
    ($($name:ident, $kind:ident($wide:ty);)*) => { $(
        impl Convert for crate::element::$name {
            #[inline(always)]
            fn widened(element: Self::Element) -> Wide {
                Wide::$kind(Self::load(element) as $wide)
            }
            #[inline(always)]
            fn narrowed(value: Wide) -> Self::Element {
                match value {
                    Wide::Real(value) => <Self as Stored>::Value::from_f64(value),
                    Wide::Signed(value) => <Self as Stored>::Value::from_i64(value),
                    Wide::Unsigned(value) => <Self as Stored>::Value::from_u64(value),
                }
            }
        }
    )* };
}

convert! {
    F32, Real(f64);
    F64, Real(f64);
    U8, Signed(i64);
    I8, Signed(i64);
    U16, Signed(i64);
    I16, Signed(i64);
    I32, Signed(i64);
    I64, Signed(i64);
    U32, Signed(i64);
    U64, Unsigned(u64);
}

impl Wide {
    #[inline(always)]
    fn real(self) -> f64 {
        match self {
            Wide::Real(value) => value,
            Wide::Signed(value) => value as f64,
            Wide::Unsigned(value) => value as f64,
        }
    }
}

macro_rules! convert_half {
    ($($name:ident, $t:ty;)*) => { $(
        impl Convert for crate::element::$name {
            #[inline(always)]
            fn widened(element: u16) -> Wide {
                Wide::Real(Self::load(element).into())
            }
            #[inline(always)]
            fn narrowed(value: Wide) -> u16 {
                <$t>::from_f64(value.real()).to_bits()
            }
        }
    )* };
}
convert_half! { F16, f16; BF16, bf16; }

impl Convert for crate::element::Bool {
    #[inline(always)]
    fn widened(element: u8) -> Wide {
        Wide::Signed((element != 0).into())
    }
    #[inline(always)]
    fn narrowed(value: Wide) -> u8 {
        u8::from(match value {
            Wide::Real(value) => value != 0.0,
            Wide::Signed(value) => value != 0,
            Wide::Unsigned(value) => value != 0,
        })
    }
}
