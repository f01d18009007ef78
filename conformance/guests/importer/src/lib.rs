//! An importer that misbehaves on demand, as the chip beside it does: one build gives all hostile importers of the tests.
//!
//! The mode is two decimal digits behind `SUNMAO-IMPORTER-MODE:` in the data section. What a mode does not name behaves as mode 00 does: it takes
//! files that end in `.guest`, whatever is inside, and describes `y = x + x` on f32 of shape [batch, 4].
//!
//! | mode | misdeed |
//! |---|---|
//! | 00 | none |
//! | 01 | `probe` is certain of every file |
//! | 02 | `probe` loops for ever |
//! | 03 | `probe` traps |
//! | 04 | the import loops for ever |
//! | 05 | the import traps |
//! | 06 | unpacks the file into 2^60 bytes |
//! | 07 | unpacks the file, a zlib stream, into 256 MiB, which is not what it holds |
//! | 08 | opens the file that its own content names |
//! | 09 | a weight that ends behind the end of the file |
//! | 10 | a weight whose offset and length overflow |
//! | 11 | two nodes that wait for each other |
//! | 12 | a node that reads a value which does not exist |
//! | 13 | 10^8 nodes, or as many as the host takes |
//! | 14 | a value of 2^20 axes |
//! | 15 | reads 2^32 - 1 bytes at once |
//! | 16 | an error message of 64 MiB, or as much as its memory allows |
//! | 17 | takes memory until it is denied |
//! | 18 | leaves the model's block open |
//! | 19 | a shape whose size overflows |
//! | 20 | 10^5 warnings of 1 KiB |

#![cfg(target_arch = "wasm32")]

use core::arch::wasm32::{memory_grow, unreachable};
use sunmao_plugin_sdk::export_importer;
use sunmao_plugin_sdk::importer::{
    Builder, Content, Dim, Error, ErrorCode, Format, Importer, Kv, Node, Result, Role, Sink, Source, Symbol, Value,
    Weight, inflate,
};

const F32: u16 = 1;

/// The marker that a test patches. `used` and the volatile read keep it, once, as it is.
#[used]
static MODE: [u8; 32] = *b"SUNMAO-IMPORTER-MODE:00.........";

/// Which misdeed this build was patched to.
fn mode() -> u8 {
    let digit = |index: usize| {
        // SAFETY: `index` is 21 or 22, inside the 32 bytes of `MODE`.
        unsafe { (&raw const MODE).cast::<u8>().add(index).read_volatile() }.wrapping_sub(b'0')
    };
    digit(21).wrapping_mul(10).wrapping_add(digit(22))
}

struct Guest;

impl Importer for Guest {
    fn formats() -> Vec<Format> {
        vec![Format::new("guest", "Guest", "1", &["guest"])]
    }

    fn probe(name: &str, _size: u64, _prefix: &[u8], _suffix: &[u8]) -> u8 {
        match mode() {
            1 => 100,
            2 => spin(),
            3 => unreachable(),
            _ if name.ends_with(".guest") => 90,
            _ => 0,
        }
    }

    fn import(source: &Source, out: &Builder, _options: &[Kv]) -> Result<()> {
        match mode() {
            4 => spin(),
            5 => unreachable(),
            6 => drop(inflate(source, 0, source.size(), "zlib", 1 << 60)?),
            7 => drop(inflate(source, 0, source.size(), "zlib", 256 << 20)?),
            8 => drop(source.open(&String::from_utf8_lossy(&source.read(0, 1024)?))?),
            13 => return crowd(out),
            15 => drop(source.read(0, u32::MAX)?),
            16 => return Err(Error::new(ErrorCode::Internal, "A".repeat(affordable(64 << 20)))),
            17 => while memory_grow(0, 16) != usize::MAX {},
            20 => (0..100_000).for_each(|_| Sink::warn(out, &"w".repeat(1024))),
            _ => {}
        }
        describe(source, out)
    }
}

#[expect(clippy::empty_loop, reason = "wasting cycles is the misdeed")]
fn spin() -> ! {
    loop {}
}

/// `bytes`, halved until there is memory for so many.
fn affordable(mut bytes: usize) -> usize {
    while bytes > 4096 && Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        bytes /= 2;
    }
    bytes
}

/// Nodes without end.
fn crowd(out: &Builder) -> Result<()> {
    let x = tensor(out, "x", Role::Input)?;
    for _ in 0..100_000_000 {
        let y = tensor(out, "", Role::Intermediate)?;
        Sink::node(out, 0, &node(&[x, x], &[y]))?;
    }
    Sink::finish_block(out, 0, &[x], &[x])
}

/// An input has the shape [batch, 4]; that of everything else follows.
fn tensor(out: &Builder, name: &str, role: Role) -> Result<u32> {
    let shape = match role {
        Role::Input => Some(vec![Dim::Symbolic(Sink::symbol(out, &Symbol::free("batch"))?), Dim::Known(4)]),
        _ => None,
    };
    Sink::value(out, &Value::new(name, F32, shape, role))
}

fn node(inputs: &[u32], outputs: &[u32]) -> Node {
    let some = |values: &[u32]| values.iter().map(|&value| Some(value)).collect();
    Node {
        name: "the only one".into(),
        op: "Add".into(),
        opset: 13,
        attributes: Vec::new(),
        inputs: some(inputs),
        outputs: some(outputs),
        ext: Vec::new(),
    }
}

/// `y = x + x`, or what the mode makes of it.
fn describe(source: &Source, out: &Builder) -> Result<()> {
    let x = tensor(out, "x", Role::Input)?;
    let y = tensor(out, "y", Role::Output)?;
    let weight = |offset: u64, length: u64| {
        let content = Content::Weight(Weight::range(source.id(), offset, length, "raw-le"));
        Sink::value(out, &Value::constant("w", F32, &[4], content))
    };
    let second = match mode() {
        9 => weight(source.size() - 1, 16)?,
        10 => weight(u64::MAX - 3, 16)?,
        11 => {
            let between = tensor(out, "between", Role::Intermediate)?;
            Sink::node(out, 0, &node(&[y, x], &[between]))?;
            between
        }
        12 => 999,
        14 => Sink::value(out, &Value::new("deep", F32, Some(vec![Dim::Known(1); 1 << 20]), Role::Intermediate))?,
        19 => {
            let shape = Some(vec![Dim::Known(u64::MAX), Dim::Known(u64::MAX)]);
            Sink::value(out, &Value::new("vast", F32, shape, Role::Input))?
        }
        _ => x,
    };
    Sink::node(out, 0, &node(&[x, second], &[y]))?;
    if mode() == 18 {
        return Ok(());
    }
    Sink::finish_block(out, 0, &[x], &[y])
}

export_importer!(Guest);
