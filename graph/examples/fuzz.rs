use std::sync::Arc;
use sunmao_graph::*;
#[path = "scratch.rs"] #[allow(dead_code)] mod scratch;
struct Zero;
impl Weights for Zero { fn bytes(&self, v: &Value, w: &Weight) -> Result<Arc<[u8]>, String> { if w.length > 1 << 20 { return Err("big".into()); } let n = v.concrete().unwrap().iter().product::<u64>(); Ok(vec![0; v.dtype.unwrap().bytes(n).unwrap() as usize].into()) } }
struct R(u64);
impl R { fn n(&mut self, m: usize) -> usize { self.0 ^= self.0 << 13; self.0 ^= self.0 >> 7; self.0 ^= self.0 << 17; (self.0 % m.max(1) as u64) as usize }
 fn i(&mut self) -> i64 { let t = [0, 1, -1, 2, 3, -2, 7, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 40, 1 << 31, -(1 << 31), 4294967296, 63, 64, 1000000007]; t[self.n(t.len())] } }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let rounds: usize = a[1].parse().unwrap();
    let ops: Vec<&str> = schema::all().map(|s| s.op).collect();
    let (mut ok, mut bad, mut conc) = (0, 0, 0);
    let mut slow = std::time::Duration::ZERO;
    for f in &a[2..] {
        let mut base = scratch::load(f);
        let blob = scratch::Blob(std::fs::read(format!("{f}.bin")).unwrap());
        fold::load_small(&mut base, &blob).unwrap();
        for seed in 0..rounds {
            let mut r = R(0x9E3779B97F4A7C15 ^ (seed as u64 + 1).wrapping_mul(0xD1342543DE82EF95));
            r.n(3);
            let mut g = base.clone();
            for _ in 0..1 + r.n(4) {
                let k = r.n(g.nodes.len()); let vs = g.values.len();
                match r.n(12) {
                    0 => g.nodes[k].op = ops[r.n(ops.len())].into(),
                    1 => { if !g.nodes[k].inputs.is_empty() { let i = r.n(g.nodes[k].inputs.len()); g.nodes[k].inputs[i] = if r.n(5) == 0 { None } else { Some(ValueId(r.n(vs) as u32)) }; } }
                    2 => { let i = r.i(); let mut n = r.n(9); for v in g.nodes[k].attributes.values_mut() { match v { Attribute::Integer(x) => *x = i, Attribute::Integers(x) => { if n == 0 { x.push(i) } else if !x.is_empty() { n = n % x.len(); x[n] = i } } Attribute::Number(x) => *x = [0.0, f64::NAN, f64::INFINITY, -1.0, 1e300][n % 5], Attribute::Text(x) => *x = "NOTSET".into(), _ => {} } } }
                    3 | 4 | 5 => { let cs: Vec<usize> = (0..vs).filter(|i| matches!(&g.values[*i].role, Role::Constant(Content::Bytes(b)) if !b.is_empty())).collect(); if !cs.is_empty() { let c = cs[r.n(cs.len())]; if let Role::Constant(Content::Bytes(b)) = &g.values[c].role { let mut b = b.to_vec(); let v = r.i().to_le_bytes(); let at = r.n(b.len() / 8) * 8; for (j, x) in v.iter().enumerate() { if at + j < b.len() { b[at + j] = *x } } g.values[c].role = Role::Constant(Content::Bytes(b.into())); } } }
                    6 => { let i = r.n(vs); if let Some(s) = &mut g.values[i].shape { if !s.is_empty() { let j = r.n(s.len()); s[j] = match r.n(4) { 0 => Dim::Unknown, 1 => Dim::Known(r.i() as u64), 2 => Dim::Symbol(SymbolId(r.n(3) as u32)), _ => Dim::Known(r.n(5) as u64) } } } }
                    7 => { let i = r.n(vs); g.values[i].dtype = Some(DType::ALL[r.n(DType::ALL.len())]); }
                    8 => g.nodes[k].revision = 7 + r.n(22) as u16,
                    9 => { let o = g.nodes[k].outputs.clone(); let l = r.n(g.nodes.len()); if r.n(3) == 0 { g.nodes[l].outputs = o } else { g.outputs.push(ValueId(r.n(vs) as u32)) } }
                    10 => { g.nodes[k].inputs.push(Some(ValueId(r.n(vs) as u32))); }
                    _ => { let l = r.n(g.nodes.len()); g.nodes.swap(k, l); }
                }
            }
            if std::env::var("ALLOPSET").is_ok() { for n in &mut g.nodes { n.revision = 7 + r.n(3) as u16 * 5; } }
            let t = std::time::Instant::now();
            let res = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match optimise::prepare(g.clone(), &Zero, &mut fold::NoEvaluator) {
                Ok(p) => { let mut c = 0; for s in [1u64, 32, 3, 0, 1 << 39] { let sh: Vec<_> = p.inputs.iter().map(|i| (*i, p.value(*i).shape.as_ref().map_or(vec![], |x| x.iter().map(|d| d.known().unwrap_or(s)).collect::<Vec<u64>>()))).collect(); if let Ok(q) = optimise::concrete(&p, &sh, &Zero, &mut fold::NoEvaluator) { let _ = q.to_string(); c += 1; } } (1, c) }
                Err(e) => { let _ = e.to_string(); (0, 0) }
            }));
            slow = slow.max(t.elapsed());
            match res { Ok((1, c)) => { ok += 1; conc += c } Ok(_) => bad += 1, Err(_) => { println!("PANIC {f} seed {seed}"); } }
        }
    }
    println!("accepted {ok} (concrete {conc}) refused {bad} slowest {slow:?}");
}
