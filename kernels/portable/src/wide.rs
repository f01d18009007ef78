//! Elements of any plain type, seen as the widest of their kind: `f64`, `i64` or `u64`.
//!
//! Kernels that are not worth a copy of themselves for every combination of element types work on chunks of these. What a chunk is narrowed to
//! follows ONNX's casts: floats to integers cut the fraction and saturate, integers to narrower ones wrap, a boolean asks for not zero.

use crate::element::{Bool, Stored, dispatch};
use crate::narrow::{self, Rounding};
use crate::number::Number;
use crate::settle::CHUNK;
use crate::strided::Strided;
use half::{bf16, f16};
use sunmao_plugin_sdk::{Bindings, Call, Input, Output, Result};

/// A chunk of numbers of one kind.
#[derive(Clone)]
pub(crate) enum Wide {
    Real([f64; CHUNK]),
    Signed([i64; CHUNK]),
    Unsigned([u64; CHUNK]),
}

/// A tensor that is read as wide numbers.
pub(crate) trait Source: Send + Sync {
    /// A chunk of this tensor's kind.
    fn chunk(&self) -> Wide;
    /// Loads elements `at..at + n` of the walk, `shift` elements further on, to the front of a chunk of this tensor's kind.
    fn load(&self, call: &Call, walk: &Strided, shift: usize, at: usize, n: usize, into: &mut Wide);
}

/// A tensor that wide numbers are written to.
pub(crate) trait Sink: Send + Sync {
    /// Stores the first `n` numbers as elements `at..at + n`.
    fn store(&self, call: &Call, at: usize, n: usize, from: &Wide);
}

/// Input `index` as a source.
pub(crate) fn source(bindings: &Bindings<'_>, dtype: u16, index: usize) -> Result<Box<dyn Source>> {
    if narrow::covers(dtype) {
        return narrow::source(bindings, dtype, index);
    }
    dispatch!(dtype, every, S => Ok(Box::new(Typed::<S, _>(bindings.input::<<S as Stored>::Element>(index)?, std::marker::PhantomData))))
}

/// Output `index` as a sink.
pub(crate) fn sink(bindings: &Bindings<'_>, dtype: u16, index: usize) -> Result<Box<dyn Sink>> {
    rounding_sink(bindings, dtype, index, Rounding::DEFAULT)
}

/// Output `index` as a sink that rounds to small floats in that way. Elements that share a byte must be stored from the start of one on.
pub(crate) fn rounding_sink(
    bindings: &Bindings<'_>,
    dtype: u16,
    index: usize,
    rounding: Rounding,
) -> Result<Box<dyn Sink>> {
    if narrow::covers(dtype) {
        return narrow::sink(bindings, dtype, index, rounding);
    }
    dispatch!(dtype, every, S => Ok(Box::new(Typed::<S, _>(bindings.output::<<S as Stored>::Element>(index)?, std::marker::PhantomData))))
}

struct Typed<S, T>(T, std::marker::PhantomData<S>);

/// The kind of an element type, and the ways to and from it.
trait Widened: Stored {
    fn chunk() -> Wide;
    fn widen(element: Self::Element, at: usize, into: &mut Wide);
    fn real(value: f64) -> Self::Element;
    fn signed(value: i64) -> Self::Element;
    fn unsigned(value: u64) -> Self::Element;
}

macro_rules! widened {
    ($($name:ident, $kind:ident($wide:ty);)*) => { $(
        impl Widened for crate::element::$name {
            fn chunk() -> Wide {
                Wide::$kind([<$wide>::default(); CHUNK])
            }
            #[inline(always)]
            fn widen(element: Self::Element, at: usize, into: &mut Wide) {
                if let Wide::$kind(into) = into {
                    into[at] = Self::load(element) as $wide;
                }
            }
            #[inline(always)]
            fn real(value: f64) -> Self::Element {
                <Self as Stored>::Value::from_f64(value)
            }
            #[inline(always)]
            fn signed(value: i64) -> Self::Element {
                <Self as Stored>::Value::from_i64(value)
            }
            #[inline(always)]
            fn unsigned(value: u64) -> Self::Element {
                <Self as Stored>::Value::from_u64(value)
            }
        }
    )* };
}

widened! {
    F32, Real(f64);
    F64, Real(f64);
    U8, Unsigned(u64);
    I8, Signed(i64);
    U16, Unsigned(u64);
    I16, Signed(i64);
    I32, Signed(i64);
    I64, Signed(i64);
    U32, Unsigned(u64);
    U64, Unsigned(u64);
}

macro_rules! widened_half {
    ($($name:ident, $t:ty;)*) => { $(
        impl Widened for crate::element::$name {
            fn chunk() -> Wide {
                Wide::Real([0.0; CHUNK])
            }
            #[inline(always)]
            fn widen(element: u16, at: usize, into: &mut Wide) {
                if let Wide::Real(into) = into {
                    into[at] = Self::load(element).into();
                }
            }
            // Once from f64: by way of f32 it would round twice.
            #[inline(always)]
            fn real(value: f64) -> u16 {
                <$t>::from_f64(value).to_bits()
            }
            #[inline(always)]
            fn signed(value: i64) -> u16 {
                <$t>::from_f64(value as f64).to_bits()
            }
            #[inline(always)]
            fn unsigned(value: u64) -> u16 {
                <$t>::from_f64(value as f64).to_bits()
            }
        }
    )* };
}
widened_half! { F16, f16; BF16, bf16; }

impl Widened for Bool {
    fn chunk() -> Wide {
        Wide::Unsigned([0; CHUNK])
    }
    #[inline(always)]
    fn widen(element: u8, at: usize, into: &mut Wide) {
        if let Wide::Unsigned(into) = into {
            into[at] = (element != 0).into();
        }
    }
    #[inline(always)]
    fn real(value: f64) -> u8 {
        (value != 0.0).into()
    }
    #[inline(always)]
    fn signed(value: i64) -> u8 {
        (value != 0).into()
    }
    #[inline(always)]
    fn unsigned(value: u64) -> u8 {
        (value != 0).into()
    }
}

impl<S: Widened> Source for Typed<S, Input<S::Element>> {
    fn chunk(&self) -> Wide {
        S::chunk()
    }

    fn load(&self, call: &Call, walk: &Strided, shift: usize, at: usize, n: usize, into: &mut Wide) {
        let x = call.read(&self.0);
        walk.runs(at..at + n, |index, offset, stride, count| {
            let mut offset = offset + shift;
            for i in index - at..index - at + count {
                S::widen(x.get(offset), i, into);
                offset = offset.wrapping_add_signed(stride);
            }
        });
    }
}

impl<S: Widened> Sink for Typed<S, Output<S::Element>> {
    fn store(&self, call: &Call, at: usize, n: usize, from: &Wide) {
        let to = call.write(&self.0).part(at..at + n);
        match from {
            Wide::Real(from) => from[..n].iter().enumerate().for_each(|(i, &value)| to.set(i, S::real(value))),
            Wide::Signed(from) => from[..n].iter().enumerate().for_each(|(i, &value)| to.set(i, S::signed(value))),
            Wide::Unsigned(from) => from[..n].iter().enumerate().for_each(|(i, &value)| to.set(i, S::unsigned(value))),
        }
    }
}

impl Wide {
    /// The first `n` numbers as floats.
    pub(crate) fn reals(&self, n: usize, into: &mut [f64; CHUNK]) {
        let into = into[..n].iter_mut().enumerate();
        match self {
            Wide::Real(from) => into.for_each(|(i, value)| *value = from[i]),
            Wide::Signed(from) => into.for_each(|(i, value)| *value = from[i] as f64),
            Wide::Unsigned(from) => into.for_each(|(i, value)| *value = from[i] as f64),
        }
    }
}
