//! Which instruction sets this machine has. A token is the proof: code that needs the instructions takes the token, and only detection makes one.

use std::fmt;

/// Proves that the CPU has AVX2 and FMA, and F16C, which came before both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Avx2(());

impl Avx2 {
    /// The token, if the CPU has them all.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
        {
            return Some(Self(()));
        }
        None
    }
}

/// The best instruction set of this machine that there are fast paths for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// None: no fast path runs here.
    Baseline,
    /// x86-64 with AVX2 and FMA.
    Avx2(Avx2),
}

impl Isa {
    /// Asks the CPU.
    pub fn detect() -> Self {
        Avx2::detect().map_or(Self::Baseline, Self::Avx2)
    }

    /// The token for AVX2, if this set includes it.
    pub fn avx2(self) -> Option<Avx2> {
        match self {
            Self::Baseline => None,
            Self::Avx2(token) => Some(token),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Avx2(_) => AVX2_NAME,
        })
    }
}

/// As reports name it.
pub(crate) const AVX2_NAME: &str = "x86-64 avx2+fma";
