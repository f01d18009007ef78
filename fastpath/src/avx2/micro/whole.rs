//! The loops of whole tiles, in assembly. Where a core is shared with another thread, what there is least of are instructions: four steps stand between
//! two branches, none of them is about addresses but the last few, and a loop begins at a line of the cache. Compilers promise none of it.

use super::{Ahead, COLUMNS, Left, ROWS, Right};
use std::arch::asm;
use std::arch::x86_64::*;

/// The sums of a whole tile.
type Sums = [[__m256; 2]; ROWS];

/// Two vectors of the right side, to registers 12 and 13.
macro_rules! load {
    ($from:expr) => {
        concat!("vmovups ymm12, [", $from, "]\nvmovups ymm13, [", $from, "+32]\n")
    };
}

/// A number of the left side times both vectors.
macro_rules! row {
    ($from:expr, $x:literal, $first:literal, $second:literal) => {
        concat!(
            "vbroadcastss ymm",
            $x,
            ", [",
            $from,
            "]\n",
            "vfmadd231ps ymm",
            $first,
            ", ymm12, ymm",
            $x,
            "\n",
            "vfmadd231ps ymm",
            $second,
            ", ymm13, ymm",
            $x,
            "\n",
        )
    };
}

/// Six numbers of the left side that lie together.
macro_rules! together {
    ($a:literal) => {
        concat!(
            row!($a, 14, 0, 1),
            row!(concat!($a, "+4"), 15, 2, 3),
            row!(concat!($a, "+8"), 14, 4, 5),
            row!(concat!($a, "+12"), 15, 6, 7),
            row!(concat!($a, "+16"), 14, 8, 9),
            row!(concat!($a, "+20"), 15, 10, 11),
        )
    };
}

/// Numbers of six rows, `$on` bytes behind the first and the fourth of which `{a}` and `{d}` name.
macro_rules! apart {
    ($on:literal) => {
        concat!(
            row!(concat!("{a}+", $on), 14, 0, 1),
            row!(concat!("{a}+{row}+", $on), 15, 2, 3),
            row!(concat!("{a}+2*{row}+", $on), 14, 4, 5),
            row!(concat!("{d}+", $on), 15, 6, 7),
            row!(concat!("{d}+{row}+", $on), 14, 8, 9),
            row!(concat!("{d}+2*{row}+", $on), 15, 10, 11),
        )
    };
}

/// Writes what was read of the right side, `$on` bytes behind `{to}`.
macro_rules! copy {
    ($on:literal) => {
        concat!("vmovups [{to}+", $on, "], ymm12\nvmovups [{to}+", $on, "+32], ymm13\n")
    };
}

/// A loop of four steps at a time, then one of single steps; what each moves on by; and the operands.
macro_rules! sums {
    ($($four:expr),+; $($on:expr),+; $one:expr; $($single:expr),+; $depth:ident, $($operands:tt)*) => {{
        let zero = _mm256_setzero_ps();
        let mut sums = [[zero; 2]; ROWS];
        let [[s0, s1], [s2, s3], [s4, s5], [s6, s7], [s8, s9], [s10, s11]] = &mut sums;
        asm!(
            "test {k}, {k}", "jz 4f", ".p2align 6",
            "3:", $($four,)+ $($on,)+ "dec {k}", "jnz 3b",
            "4:", "test {rest}, {rest}", "jz 6f",
            "5:", $one, $($single,)+ "dec {rest}", "jnz 5b",
            "6:",
            k = inout(reg) $depth / 4 => _, rest = inout(reg) $depth % 4 => _,
            $($operands)*
            inout("ymm0") *s0, inout("ymm1") *s1, inout("ymm2") *s2, inout("ymm3") *s3, inout("ymm4") *s4, inout("ymm5") *s5,
            inout("ymm6") *s6, inout("ymm7") *s7, inout("ymm8") *s8, inout("ymm9") *s9, inout("ymm10") *s10, inout("ymm11") *s11,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
        sums
    }};
}

/// A left side whose rows lie together, `step_left` floats from one column to the next; rows of the right side `step_right` floats apart.
///
/// # Safety
/// The CPU has AVX2 and FMA; six floats are readable at each of `depth` columns of `left`, and two vectors at each of `depth` rows of `right`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn columns(depth: usize, left: Left, right: Right, ahead: Ahead) -> Sums {
    let (a, b) = (left.step * size_of::<f32>(), right.step * size_of::<f32>());
    // SAFETY: the loops read six floats and two vectors a step, `depth` steps, as the caller promises, and hint at what `ahead` names, which may be any
    // address. They write nothing.
    unsafe {
        sums!(
            concat!(load!("{b}"), together!("{a}")), concat!(load!("{b}+{s}"), together!("{a}+{q}")),
            concat!(load!("{b}+2*{s}"), together!("{a}+2*{q}")), concat!(load!("{b}+{t}"), together!("{a}+{r}"));
            "prefetcht1 [{n}]", "add {n}, {by}", "lea {b}, [{b}+4*{s}]", "lea {a}, [{a}+4*{q}]";
            concat!(load!("{b}"), together!("{a}"));
            "add {b}, {s}", "add {a}, {q}";
            depth,
            a = inout(reg) left.start => _, q = in(reg) a, r = in(reg) 3 * a,
            b = inout(reg) right.start => _, s = in(reg) b, t = in(reg) 3 * b,
            n = inout(reg) ahead.start => _, by = in(reg) ahead.step * size_of::<f32>(),
        )
    }
}

/// A packed left side, and rows of the right side as they lie, which are written to `to` in their packed form.
///
/// # Safety
/// As for [`columns`]; a packed panel of `depth` rows is writable at `to`, and nobody else's.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn packing(depth: usize, left: *const f32, right: Right, to: *mut f32, ahead: Ahead) -> Sums {
    let b = right.step * size_of::<f32>();
    // SAFETY: as for `columns`; besides, two vectors a step are written to `to`, one step behind the other.
    unsafe {
        sums!(
            concat!(load!("{b}"), copy!("0"), together!("{a}")), concat!(load!("{b}+{s}"), copy!("64"), together!("{a}+24")),
            concat!(load!("{b}+2*{s}"), copy!("128"), together!("{a}+48")),
            concat!(load!("{b}+{t}"), copy!("192"), together!("{a}+72"));
            "prefetcht1 [{n}]", "add {n}, {by}", "lea {b}, [{b}+4*{s}]", "sub {to}, -256", "add {a}, 96";
            concat!(load!("{b}"), copy!("0"), together!("{a}"));
            "add {b}, {s}", "add {to}, 64", "add {a}, 24";
            depth,
            a = inout(reg) left => _, to = inout(reg) to => _,
            b = inout(reg) right.start => _, s = in(reg) b, t = in(reg) 3 * b,
            n = inout(reg) ahead.start => _, by = in(reg) ahead.step * size_of::<f32>(),
        )
    }
}

/// A left side whose columns lie together, six rows `left.row` floats apart; rows of the right side as they lie.
///
/// # Safety
/// The CPU has AVX2 and FMA; `depth` floats are readable at each of six rows of `left`, and two vectors at each of `depth` rows of `right`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn rows(depth: usize, left: Left, right: Right) -> Sums {
    let b = right.step * size_of::<f32>();
    // SAFETY: the loops read a float of each of six rows and two vectors a step, `depth` steps, as the caller promises. They write nothing.
    unsafe {
        sums!(
            concat!(load!("{b}"), apart!("0")), concat!(load!("{b}+{s}"), apart!("4")),
            concat!(load!("{b}+2*{s}"), apart!("8")), concat!(load!("{b}+{t}"), apart!("12"));
            "lea {b}, [{b}+4*{s}]", "add {a}, 16", "add {d}, 16";
            concat!(load!("{b}"), apart!("0"));
            "add {b}, {s}", "add {a}, 4", "add {d}, 4";
            depth,
            a = inout(reg) left.start => _, d = inout(reg) left.start.wrapping_add(3 * left.row) => _,
            row = in(reg) left.row * size_of::<f32>(),
            b = inout(reg) right.start => _, s = in(reg) b, t = in(reg) 3 * b,
        )
    }
}

const _: () = assert!(ROWS == 6 && COLUMNS == 16, "the loops above are written for these");
