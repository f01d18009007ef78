//! A chip plugin that misbehaves on demand: one build gives all hostile plugins of the tests.
//!
//! The mode is two decimal digits in a marker in the data section. A test finds `SUNMAO-GUEST-MODE:` in the bytes of the built component,
//! writes its two digits behind it, and loads the result. What a mode does not name behaves as mode 00 does: it runs Relu, Add and
//! Mul on f32, with broadcasting, and leaves the rest to the host.
//!
//! | mode | misdeed |
//! |---|---|
//! | 00 | none |
//! | 01 | `run` loops for ever without touching memory |
//! | 02 | `run` loops for ever over memory |
//! | 03 | `run` traps |
//! | 04 | `run` traps on the fourth call of an instance: a retry on a fresh one succeeds |
//! | 05 | `run` traps on the first call of an instance: a retry on a fresh one traps too |
//! | 06 | `prepare` loops for ever |
//! | 07 | `describe` loops for ever |
//! | 08 | `prepare` takes memory until it is denied, and keeps it |
//! | 09 | `run` recurses until the stack is gone |
//! | 10 | `prepare` fails with a message of 64 MiB (as much of it as its memory allows) |
//! | 11 | `operators` promises Conv, MatMul and Gemm; `prepare` refuses them |
//! | 12 | `requirements` asks for a workspace of 2^32 - 1 bytes |
//! | 13 | `requirements` lists 10^6 packed constants |
//! | 14 | `requirements` wants 0 shards |
//! | 15 | `reserve` answers an offset far outside of memory |
//! | 16 | `reserve` answers an offset that is not aligned |
//! | 17 | `reserve` answers an offset in its own data |
//! | 18 | `reserve` takes no memory and answers the end of it |
//! | 19 | `run` writes right, then over 4 KiB on either side of each output |
//! | 20 | `run` writes right, then over the whole arena but its outputs: weights, inputs, other slots |
//! | 21 | `run` succeeds and leaves the outputs unwritten |
//! | 22 | `run` fills the outputs with NaN |
//! | 23 | `describe` and `run` write 10 000 lines of 4 KiB to the log |
//! | 24 | `operators` has 10^6 rows (as many of them as its memory allows) |
//! | 25 | `bind` answers dispatch numbers that do not count up from 0 |
//! | 26 | `run` fails, each time, with an index that does not exist |
//! | 27 | `describe` gives an id that is a path |
//! | 28 | `describe` gives texts of 1 MiB |
//! | 29 | `describe` traps |
//! | 30 | `requirements` answers differently from call to call |
//! | 31 | `requirements` traps |
//! | 32 | the drop of a kernel traps |
//! | 33 | `bind` loops for ever |
//! | 34 | `describe` gives an id that another plugin has: `portable` |
//! | 35 | `describe` says alignment 3 and 0 shards |
//! | 36 | `reserve` loops for ever |
//! | 37 | instantiation loops for ever |
//! | 38 | instantiation takes memory until it is denied, and keeps it |
//! | 39 | `run` makes 2^60 calls, without one loop |
//! | 40 | `run` works right, and takes memory until it is denied, behind the arena |
//! | 41 | `run` works right, and keeps 1 MiB each time |
//! | 42 | `run` reads beyond the end of memory |
//! | 43 | `run` writes beyond the end of memory |
//! | 44 | `describe` says alignment 2^31 |
//! | 45 | `bind` takes outputs that lie on inputs, which nobody granted |
//! | 46 | `run` adds the number of its calls to its first result: it is not deterministic |
//! | 47 | `run` adds its first result of the run before: it leaks from one request to the next |
//! | 48 | `run` adds its last operand to its first result: it depends on the neighbours in a batch |
//!
//! With the feature `wasi` the plugin behaves as the marker says, and imports two functions of WASI which `describe` calls: its `name` is
//! "wasi: N variables, clock stands still" or "..., clock runs", by what it saw.

#![cfg(target_arch = "wasm32")]

mod device;
mod honest;
mod misdeeds;

#[cfg(feature = "wasi")]
mod wasi {
    //! The two imports of the feature `wasi`.
    #![allow(missing_docs)]
    wit_bindgen::generate!({ path: "wit", world: "with-wasi", generate_all });
    pub(crate) use self::wasi::{cli::environment::get_environment, clocks::monotonic_clock::now};
}

/// The marker that a test patches. `used` and the volatile read keep it, once, as it is.
#[used]
static MODE: [u8; 32] = *b"SUNMAO-GUEST-MODE:00............";

/// Runs before anything else of the component does: when it is instantiated. Its name is the toolchain's.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    match mode() {
        37 => misdeeds::spin(),
        38 => _ = misdeeds::take_memory(),
        _ => {}
    }
}

/// Which misdeed this build was patched to.
fn mode() -> u8 {
    let digit = |index: usize| {
        // SAFETY: `index` is 18 or 19, inside the 32 bytes of `MODE`.
        unsafe { (&raw const MODE).cast::<u8>().add(index).read_volatile() }.wrapping_sub(b'0')
    };
    digit(18).wrapping_mul(10).wrapping_add(digit(19))
}
