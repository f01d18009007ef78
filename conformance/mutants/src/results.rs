//! Results that are changed after the kernel wrote them, or elements that are put back to what they were before.
//!
//! Only where one shard does everything: parts of a split would change the same elements several times over.

use crate::Wrapped;
use sunmao_plugin_sdk::abi::Operation;
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Element, Kernel, Output, Result};

/// What happens to the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Negate,
    Shift,
    Relative,
    Half,
    Truncate,
    NanToZero,
    Finite,
    ZeroSign,
    F64Detour,
    StaleFirst,
    StaleLast,
}

impl Fault {
    pub(crate) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "negate" => Self::Negate,
            "shift" => Self::Shift,
            "relative" => Self::Relative,
            "half" => Self::Half,
            "truncate" => Self::Truncate,
            "nan-to-zero" => Self::NanToZero,
            "finite" => Self::Finite,
            "zero-sign" => Self::ZeroSign,
            "f64-detour" => Self::F64Detour,
            "stale-first" => Self::StaleFirst,
            "stale-last" => Self::StaleLast,
            _ => return None,
        })
    }

    /// The changed results. `before` is what lay there.
    fn apply(self, dtype: u16, before: &[u64], results: &mut [u64]) {
        let count = results.len();
        match self {
            Self::Shift => results.rotate_left(usize::from(count > 1)),
            Self::StaleFirst => results.iter_mut().zip(before).take(1).for_each(|(result, &old)| *result = old),
            Self::StaleLast => {
                results.iter_mut().zip(before).skip(count.saturating_sub(1)).for_each(|(r, &old)| *r = old)
            }
            // Some elements: the last eighth.
            Self::Relative => {
                results[count - count.div_ceil(8)..].iter_mut().for_each(|r| *r = self.changed(dtype, *r))
            }
            _ => results.iter_mut().for_each(|result| *result = self.changed(dtype, *result)),
        }
    }

    fn changed(self, dtype: u16, bits: u64) -> u64 {
        match dtype {
            1 => {
                let value = f32::from_bits(bits as u32);
                // Ten bits of fraction are left.
                let half = f32::from_bits((bits as u32).wrapping_add(1 << 12) & !((1 << 13) - 1));
                let toward_zero = f32::from_bits((bits as u32).wrapping_sub(1));
                let value = match self {
                    Self::Half if value.is_finite() => half,
                    Self::Truncate if value.is_finite() && value != 0.0 => toward_zero,
                    _ => self.real(value.into()) as f32,
                };
                u64::from(value.to_bits())
            }
            11 => self.real(f64::from_bits(bits)).to_bits(),
            // A half's sign is its first bit; of other changes only the coarse ones are worth making.
            10 | 16 => match self {
                Self::Negate => bits ^ 0x8000,
                Self::Relative => bits ^ 0x0010,
                Self::NanToZero if bits & 0x7fff > if dtype == 10 { 0x7c00 } else { 0x7f80 } => 0,
                Self::ZeroSign if bits == 0x8000 => 0,
                _ => bits,
            },
            9 => {
                if matches!(self, Self::Negate | Self::Relative) {
                    bits ^ 1
                } else {
                    bits
                }
            }
            7 if self == Self::F64Detour => (bits as i64 as f64) as i64 as u64,
            13 if self == Self::F64Detour => (bits as f64) as u64,
            _ => match self {
                Self::Negate => bits.wrapping_neg(),
                Self::Relative => bits.wrapping_add(1),
                _ => bits,
            },
        }
    }

    fn real(self, value: f64) -> f64 {
        match self {
            Self::Negate => -value,
            Self::Relative => value * 1.001,
            Self::NanToZero if value.is_nan() => 0.0,
            Self::Finite if value.is_infinite() => value.signum() * f64::from(f32::MAX),
            Self::ZeroSign if value == 0.0 => 0.0,
            _ => value,
        }
    }
}

/// A kernel whose first result has the fault.
pub(crate) fn wrong(operation: &Operation, fault: Fault) -> Result<Box<dyn Kernel>> {
    let inner = sunmao_portable::prepare(operation)?;
    let dtype = operation.outputs.first().and_then(Option::as_ref).map_or(0, |output| output.dtype);
    let bind = move |inner: &dyn Kernel, bindings: &Bindings<'_>| -> Result<Box<dyn Dispatch>> {
        let dispatch = inner.bind(bindings)?;
        Ok(match dtype {
            1 | 6 | 12 => changing(dispatch, bindings.output_bits::<u32>(0)?, dtype, fault),
            7 | 11 | 13 => changing(dispatch, bindings.output_bits::<u64>(0)?, dtype, fault),
            4 | 5 | 10 | 16 => changing(dispatch, bindings.output_bits::<u16>(0)?, dtype, fault),
            2 | 3 | 9 => changing(dispatch, bindings.output_bits::<u8>(0)?, dtype, fault),
            // Elements under a byte stay as they are.
            _ => dispatch,
        })
    };
    Ok(Box::new(Wrapped { inner, bind }))
}

/// Bits of an element, of any width.
trait Bits: Element + Send + Sync {
    fn widen(self) -> u64;
    fn narrow(bits: u64) -> Self;
}

macro_rules! bits {
    ($($t:ty),*) => { $(
        impl Bits for $t {
            fn widen(self) -> u64 {
                self.into()
            }
            fn narrow(bits: u64) -> Self {
                bits as $t
            }
        }
    )* };
}
bits!(u8, u16, u32, u64);

fn changing<T: Bits>(inner: Box<dyn Dispatch>, output: Output<T>, dtype: u16, fault: Fault) -> Box<dyn Dispatch> {
    Box::new(move |call: &Call| {
        let y = call.write(&output);
        let all = || (0..y.len()).map(|at| y.get(at).widen()).collect::<Vec<u64>>();
        let before = all();
        inner.run(call)?;
        if call.shards == 1 {
            let mut results = all();
            fault.apply(dtype, &before, &mut results);
            for (at, &bits) in results.iter().enumerate() {
                y.set(at, T::narrow(bits));
            }
        }
        Ok(())
    })
}
