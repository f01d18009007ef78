//! Element types, by the codes of ONNX `TensorProto.DataType`.

use std::fmt;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $bits:literal;)*) => {
        /// The element type of a tensor.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum DType { $($(#[$doc])* $name = $code,)* }

        impl DType {
            /// Every element type.
            pub const ALL: &'static [DType] = &[$(DType::$name,)*];

            /// The type with that code, if there is one.
            pub fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(DType::$name),)* _ => None }
            }

            /// Its short name: `f32`, `i64`, ...
            pub fn name(self) -> &'static str {
                match self { $(DType::$name => $text,)* }
            }

            /// Bits of one element; 0 for strings, which have no fixed size, and for blocks, whose elements share bits.
            pub fn bits(self) -> u32 {
                match self { $(DType::$name => $bits,)* }
            }
        }
    };
}

dtypes! {
    /// IEEE single.
    F32 = 1, "f32", 32;
    /// Unsigned byte.
    U8 = 2, "u8", 8;
    /// Signed byte.
    I8 = 3, "i8", 8;
    /// Unsigned 16 bits.
    U16 = 4, "u16", 16;
    /// Signed 16 bits.
    I16 = 5, "i16", 16;
    /// Signed 32 bits.
    I32 = 6, "i32", 32;
    /// Signed 64 bits.
    I64 = 7, "i64", 64;
    /// UTF-8 strings; they stay with the host.
    String = 8, "string", 0;
    /// One byte, 0 or 1.
    Bool = 9, "bool", 8;
    /// IEEE half.
    F16 = 10, "f16", 16;
    /// IEEE double.
    F64 = 11, "f64", 64;
    /// Unsigned 32 bits.
    U32 = 12, "u32", 32;
    /// Unsigned 64 bits.
    U64 = 13, "u64", 64;
    /// Two f32.
    Complex64 = 14, "complex64", 64;
    /// Two f64.
    Complex128 = 15, "complex128", 128;
    /// Upper half of an f32.
    BF16 = 16, "bf16", 16;
    /// 8-bit float, 4 exponent bits, no infinity.
    F8E4M3FN = 17, "f8e4m3fn", 8;
    /// The same without negative zero.
    F8E4M3FNUZ = 18, "f8e4m3fnuz", 8;
    /// 8-bit float, 5 exponent bits.
    F8E5M2 = 19, "f8e5m2", 8;
    /// The same without negative zero or infinity.
    F8E5M2FNUZ = 20, "f8e5m2fnuz", 8;
    /// Unsigned 4 bits, two to a byte, the first in the low half.
    U4 = 21, "u4", 4;
    /// Signed 4 bits.
    I4 = 22, "i4", 4;
    /// 4-bit float.
    F4E2M1 = 23, "f4e2m1", 4;
    /// A power of two: the exponent of a shared scale, without sign or mantissa.
    F8E8M0 = 24, "f8e8m0", 8;
    /// Unsigned 2 bits, four to a byte, the first in the lowest bits.
    U2 = 25, "u2", 2;
    /// Signed 2 bits.
    I2 = 26, "i2", 2;
    /// GGUF blocks of 32 numbers of 4 bits with one scale.
    Q4_0 = 0x100, "q4_0", 0;
    /// GGUF blocks of 256 numbers of 4 bits in eight groups.
    Q4K = 0x101, "q4_k", 0;
    /// GGUF blocks of 256 numbers of 5 bits in eight groups.
    Q5K = 0x102, "q5_k", 0;
    /// GGUF blocks of 256 numbers of 6 bits in sixteen groups.
    Q6K = 0x103, "q6_k", 0;
    /// GGUF blocks of 32 numbers of 8 bits with one scale.
    Q8_0 = 0x104, "q8_0", 0;
}

impl DType {
    /// The ABI's code.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Elements and bytes of one block of a block format. Blocks lie along the last axis.
    pub fn block(self) -> Option<(u64, u64)> {
        match self {
            DType::Q4_0 => Some((32, 18)),
            DType::Q4K => Some((256, 144)),
            DType::Q5K => Some((256, 176)),
            DType::Q6K => Some((256, 210)),
            DType::Q8_0 => Some((32, 34)),
            _ => None,
        }
    }

    /// Bytes of `elements` dense elements; none when it overflows, the type has no fixed size, or a block is not full.
    pub fn bytes(self, elements: u64) -> Option<u64> {
        if let Some((block, bytes)) = self.block() {
            return if elements.is_multiple_of(block) { (elements / block).checked_mul(bytes) } else { None };
        }
        match self.bits() {
            0 => None,
            bits => Some(elements.checked_mul(u64::from(bits))?.div_ceil(8)),
        }
    }

    /// Whether it is a floating-point type (real).
    pub fn is_float(self) -> bool {
        use DType::*;
        matches!(self, F32 | F16 | F64 | BF16 | F8E4M3FN | F8E4M3FNUZ | F8E5M2 | F8E5M2FNUZ | F4E2M1 | F8E8M0)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
