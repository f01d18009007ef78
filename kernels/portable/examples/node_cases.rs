//! scratch
#[path = "../tests/it/harness.rs"]
mod harness;
use harness::*;
use std::collections::BTreeMap;
use sunmao_plugin_sdk::abi::Attribute;
fn hex(s: &str) -> Vec<u8> {
    if s == "-" {
        return vec![];
    }
    (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect()
}
fn shape(s: &str) -> Vec<usize> {
    if s == "-" { vec![] } else { s.split(',').map(|x| x.parse().unwrap()).collect() }
}
fn vals(t: &Tensor) -> Vec<f64> {
    let b = &t.bytes;
    macro_rules! c {
        ($t:ty,$n:literal) => {
            b.chunks_exact($n).map(|x| <$t>::from_le_bytes(x.try_into().unwrap()) as f64).collect()
        };
    }
    match t.dtype {
        1 => c!(f32, 4),
        2 | 9 => c!(u8, 1),
        3 => c!(i8, 1),
        4 => c!(u16, 2),
        5 => c!(i16, 2),
        6 => c!(i32, 4),
        7 => c!(i64, 8),
        11 => c!(f64, 8),
        12 => c!(u32, 4),
        13 => c!(u64, 8),
        10 => b.chunks_exact(2).map(|x| half::f16::from_le_bytes(x.try_into().unwrap()).to_f64()).collect(),
        16 => b.chunks_exact(2).map(|x| half::bf16::from_le_bytes(x.try_into().unwrap()).to_f64()).collect(),
        d => panic!("{d}"),
    }
}
fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let verbose = std::env::args().nth(2).is_some();
    let text = std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
    let (mut pass, mut wrong, mut declined, mut panics) = (0, 0, 0, 0);
    let mut reasons: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    let mut passed: BTreeMap<String, usize> = BTreeMap::new();
    for block in text.split("end\n") {
        let mut case: Option<Case> = None;
        let mut name = String::new();
        let mut want: Vec<Option<Tensor>> = vec![];
        let mut tol = (1e-3, 1e-7);
        for line in block.lines() {
            let f: Vec<&str> = line.split(' ').collect();
            match f[0] {
                "case" => name = f[1].into(),
                "tol" => tol = (f[1].parse().unwrap(), f[2].parse().unwrap()),
                "op" => case = Some(Case::new(f[1], f[2].parse().unwrap())),
                "attr" => {
                    let c = case.take().unwrap();
                    let v = f.get(3).copied().unwrap_or("");
                    let list = |s: &str| {
                        if s.is_empty() { vec![] } else { s.split(',').map(|x| x.to_string()).collect::<Vec<_>>() }
                    };
                    case = Some(c.attribute(
                        f[1],
                        match f[2] {
                            "i" => Attribute::Integer(v.parse().unwrap()),
                            "f" => Attribute::Number(v.parse().unwrap()),
                            "s" => Attribute::Text(v.into()),
                            "is" => Attribute::Integers(list(v).iter().map(|x| x.parse().unwrap()).collect()),
                            "fs" => Attribute::Numbers(list(v).iter().map(|x| x.parse().unwrap()).collect()),
                            o => panic!("{o}"),
                        },
                    ));
                }
                "in" => {
                    let c = case.take().unwrap();
                    case = Some(if f[1] == "none" {
                        c.absent()
                    } else {
                        c.constant(Tensor { dtype: f[1].parse().unwrap(), shape: shape(f[2]), bytes: hex(f[3]) })
                    });
                }
                "out" => {
                    if f[1] == "none" {
                        case.as_mut().unwrap().operation.outputs.push(None);
                        want.push(None);
                    } else {
                        let t = Tensor { dtype: f[1].parse().unwrap(), shape: shape(f[2]), bytes: hex(f[3]) };
                        let c = case.take().unwrap();
                        case = Some(c.output(t.dtype, &t.shape));
                        want.push(Some(t));
                    }
                }
                _ => {}
            }
        }
        let Some(case) = case else { continue };
        let op = case.operation.op.clone();
        let mut note = |kind: &str, why: String, name: &str| {
            let e = reasons.entry(format!("{kind} {why}")).or_default();
            e.0 += 1;
            if e.1.len() < 3 {
                e.1.push(name.into());
            }
        };
        match std::panic::catch_unwind(|| case.try_run()) {
            Err(e) => {
                panics += 1;
                let m = e
                    .downcast_ref::<String>()
                    .cloned()
                    .or(e.downcast_ref::<&str>().map(|s| s.to_string()))
                    .unwrap_or_default();
                note("PANIC", format!("{op}: {m}"), &name);
            }
            Ok(Err(e)) => {
                declined += 1;
                note("declined", e.message.chars().take(170).collect(), &name);
            }
            Ok(Ok(got)) => {
                let mut bad = None;
                for (g, w) in got.iter().zip(want.iter().flatten()) {
                    let (a, b) = (vals(g), vals(w));
                    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
                        let ok = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tol.1 + tol.0 * y.abs();
                        if !ok && bad.is_none() {
                            bad = Some(format!("at {i}: got {x} want {y}"));
                        }
                    }
                }
                match bad {
                    None => {
                        pass += 1;
                        *passed.entry(op).or_default() += 1;
                    }
                    Some(b) => {
                        wrong += 1;
                        note("WRONG", format!("{op} {b}"), &name);
                    }
                }
            }
        }
    }
    for (k, (n, names)) in &reasons {
        if verbose || !k.starts_with("declined") {
            println!("{n:4} {k}   [{}]", names.join(" "));
        }
    }
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    for (k, (n, _)) in &reasons {
        if k.starts_with("declined") {
            *by.entry(k.split(':').next().unwrap()[9..].to_string()).or_default() += n;
        }
    }
    println!("declined by op: {by:?}");
    println!("pass {pass} wrong {wrong} panics {panics} declined {declined}; ops passing {}", passed.len());
}
