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

/// Proves that the CPU has NEON, as every 64-bit Arm that runs an operating system does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neon(());

impl Neon {
    /// The token, if the CPU has it.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Some(Self(()));
        }
        None
    }
}

/// Proves that the CPU has NEON and multiplies bytes by fours (`dotprod`), which Armv8.2 left open and 8.4 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dotprod(());

impl Neon {
    /// The token for products of bytes, if the CPU has them too.
    pub fn dotprod(self) -> Option<Dotprod> {
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            return Some(Dotprod(()));
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
    /// 64-bit Arm with NEON.
    Neon(Neon),
}

impl Isa {
    /// Asks the CPU.
    pub fn detect() -> Self {
        let avx2 = Avx2::detect().map(Self::Avx2);
        avx2.or_else(|| Neon::detect().map(Self::Neon)).unwrap_or(Self::Baseline)
    }

    /// The token for AVX2, if this set includes it.
    pub fn avx2(self) -> Option<Avx2> {
        match self {
            Self::Avx2(token) => Some(token),
            _ => None,
        }
    }

    /// The token for NEON, if this set includes it.
    pub fn neon(self) -> Option<Neon> {
        match self {
            Self::Neon(token) => Some(token),
            _ => None,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Avx2(_) => Avx2::NAME,
            Self::Neon(token) if token.dotprod().is_some() => Dotprod::NAME,
            Self::Neon(_) => Neon::NAME,
        })
    }
}

/// A proof that the CPU has an instruction set.
pub(crate) trait Token: Copy + Send + Sync + 'static {
    /// As reports name the set.
    const NAME: &'static str;

    /// The token, if the CPU has it.
    fn find() -> Option<Self>;
}

impl Token for Avx2 {
    const NAME: &'static str = "x86-64 avx2+fma";

    fn find() -> Option<Self> {
        Self::detect()
    }
}

impl Token for Neon {
    const NAME: &'static str = "aarch64 neon";

    fn find() -> Option<Self> {
        Self::detect()
    }
}

impl Token for Dotprod {
    const NAME: &'static str = "aarch64 neon+dotprod";

    fn find() -> Option<Self> {
        Neon::detect()?.dotprod()
    }
}
