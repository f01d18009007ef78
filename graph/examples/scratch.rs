use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::time::Instant;
use sunmao_graph::*;

pub struct Blob(pub Vec<u8>);
impl Weights for Blob {
    fn bytes(&self, _: &Value, w: &Weight) -> Result<Arc<[u8]>, String> {
        self.0.get(w.offset as usize..(w.offset + w.length) as usize).map(Arc::from).ok_or("range".into())
    }
}
struct Py(std::process::ChildStdin, BufReader<std::process::ChildStdout>, usize);
impl Evaluator for Py {
    fn evaluate(&mut self, node: &Node, inputs: &[Option<Tensor>], outputs: &[Option<TensorType>]) -> Option<Result<Vec<Tensor>, String>> {
        if std::env::var("NOEVAL").is_ok() { return None; }
        self.2 += 1;
        let mut head = format!("{}\t{}", node.op, outputs.len());
        for (k, a) in &node.attributes { if let Some(s) = attr(a) { head += &format!("\t@{k}={s}"); } }
        for i in inputs {
            match i { None => head += "\t-", Some(t) => head += &format!("\t{}:{}:{}", t.dtype.code(), dims(&t.shape), t.bytes.len()) }
        }
        head.push('\n');
        self.0.write_all(head.as_bytes()).unwrap();
        for i in inputs.iter().flatten() { self.0.write_all(&i.bytes).unwrap(); }
        self.0.flush().unwrap();
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.starts_with("ERR") { eprintln!("evaluator: {} {line}", node.op); return None; }
        let mut r = vec![];
        for p in line.split('\t') {
            let q: Vec<&str> = p.split(':').collect();
            let mut b = vec![0; q[2].parse().unwrap()];
            self.1.read_exact(&mut b).unwrap();
            r.push(Tensor { dtype: DType::from_code(q[0].parse().unwrap()).unwrap(), shape: if q[1] == "-" { vec![] } else { q[1].split(',').map(|x| x.parse().unwrap()).collect() }, bytes: b.into() });
        }
        Some(Ok(r))
    }
}
fn dims(s: &[u64]) -> String { if s.is_empty() { "-".into() } else { s.iter().map(|x| x.to_string()).collect::<Vec<_>>().join(",") } }
fn attr(a: &Attribute) -> Option<String> {
    let j = |v: Vec<String>| v.join(",");
    Some(match a {
        Attribute::Integer(v) => format!("i{v}"),
        Attribute::Number(v) => format!("f{v:?}"),
        Attribute::Text(v) => format!("s{v}"),
        Attribute::Integers(v) => format!("I{}", j(v.iter().map(|x| x.to_string()).collect())),
        Attribute::Numbers(v) => format!("F{}", j(v.iter().map(|x| format!("{x:?}")).collect())),
        Attribute::Value(v) => format!("v{}", v.0),
        _ => return None,
    })
}
pub fn load(base: &str) -> Graph {
    let mut g = Graph::default();
    for l in std::fs::read_to_string(format!("{base}.txt")).unwrap().lines() {
        let p: Vec<&str> = l.split('\t').collect();
        let ids = |s: &str| -> Vec<Option<ValueId>> { if s.is_empty() { vec![] } else { s.split(',').map(|x| x.parse().ok().map(ValueId)).collect() } };
        match p[0] {
            "S" => g.symbols.push(Symbol { name: p[1].into(), min: 0, max: u64::MAX, multiple_of: 1 }),
            "V" => {
                let shape = match p[3] { "?" => None, "-" => Some(vec![]), s => Some(s.split(',').map(|d| match d.strip_prefix('s') { Some(i) => Dim::Symbol(SymbolId(i.parse().unwrap())), None => Dim::Known(d.parse().unwrap()) }).collect()) };
                let role = match p[1] { "C" => Role::Constant(Content::Weight(Weight { source: 0, offset: p[4].parse().unwrap(), length: p[5].parse().unwrap(), encoding: "raw-le".into() })), "I" => Role::Input, _ => Role::Computed };
                g.values.push(Value { name: p[6].into(), dtype: DType::from_code(p[2].parse().unwrap()), shape, role });
            }
            "N" => {
                let mut attributes = BTreeMap::new();
                for a in &p[6..] {
                    let (k, v) = a.split_once('=').unwrap();
                    let t = &v[1..];
                    let list = || t.split(',').filter(|x| !x.is_empty());
                    let v = match &v[..1] { "i" => Attribute::Integer(t.parse().unwrap()), "f" => Attribute::Number(t.parse().unwrap()), "s" => Attribute::Text(t.into()),
                        "I" => Attribute::Integers(list().map(|x| x.parse().unwrap()).collect()), "F" => Attribute::Numbers(list().map(|x| x.parse().unwrap()).collect()), _ => Attribute::Value(ValueId(t.parse().unwrap())) };
                    attributes.insert(k.to_string(), v);
                }
                g.nodes.push(Node { name: if p[3] == "-" { String::new() } else { p[3].into() }, op: p[1].into(), revision: p[2].parse().unwrap(), attributes, inputs: ids(p[4]), outputs: ids(p[5]), epilogue: vec![] });
            }
            "G" => { g.inputs = ids(p[1]).into_iter().flatten().collect(); g.outputs = ids(p[2]).into_iter().flatten().collect(); }
            _ => {}
        }
    }
    g
}
fn dim_text(v: &Value) -> String {
    match &v.shape { None => "?".into(), Some(s) if s.is_empty() => "-".into(), Some(s) => s.iter().map(|d| d.known().map_or("?".into(), |x| x.to_string())).collect::<Vec<_>>().join(",") }
}
fn store(g: &Graph, w: &dyn Weights, base: &str) {
    let mut bin = vec![];
    let mut t = String::new();
    let mut used = vec![false; g.values.len()];
    for n in &g.nodes { for i in n.inputs.iter().flatten() { used[i.index()] = true; } for a in n.attributes.values() { if let Attribute::Value(i) = a { used[i.index()] = true; } } }
    for i in &g.outputs { used[i.index()] = true; }
    for (k, v) in g.values.iter().enumerate() {
        let (r, o, l) = match &v.role {
            Role::Input => ("I", 0, 0),
            Role::Computed => ("X", 0, 0),
            Role::Constant(_) if !used[k] => ("C", 0, 0),
            Role::Constant(c) => { let b = match c { Content::Bytes(b) => b.clone(), Content::Weight(x) => w.bytes(v, x).unwrap() }; let o = bin.len(); bin.extend_from_slice(&b); ("C", o, b.len()) }
        };
        t += &format!("V\t{r}\t{}\t{}\t{o}\t{l}\t{}\n", v.dtype.map_or(0, |d| d.code()), dim_text(v), v.name);
    }
    let ids = |l: &[Option<ValueId>]| l.iter().map(|i| i.map_or("-".to_string(), |i| i.0.to_string())).collect::<Vec<_>>().join(",");
    for n in &g.nodes {
        t += &format!("N\t{}\t{}\t{}\t{}\t{}", n.op, n.revision, if n.name.is_empty() { "-" } else { &n.name }, ids(&n.inputs), ids(&n.outputs));
        for (k, a) in &n.attributes { if let Some(s) = attr(a) { t += &format!("\t{k}={s}"); } }
        for e in &n.epilogue {
            t += &format!("\t+{}\x01{}", e.op, e.input.map_or("-".into(), |i| i.to_string()));
            for (k, a) in &e.attributes { if let Some(s) = attr(a) { t += &format!("\x01{k}={s}"); } }
        }
        t.push('\n');
    }
    let l = |v: &[ValueId]| v.iter().map(|i| i.0.to_string()).collect::<Vec<_>>().join(",");
    t += &format!("G\t{}\t{}\n", l(&g.inputs), l(&g.outputs));
    std::fs::write(format!("{base}.txt"), t).unwrap();
    std::fs::write(format!("{base}.bin"), bin).unwrap();
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (src, inputs, out) = (&a[1], &a[2], &a[3]);
    let raw = load(src);
    let blob = Blob(std::fs::read(format!("{src}.bin")).unwrap());
    let mut child = std::process::Command::new("/work/scratch/venv/bin/python").arg("/work/scratch/graphio/eval.py").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut py = Py(child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()), 0);
    let given: Vec<(String, Vec<u64>)> = std::fs::read_to_string(inputs).unwrap().lines().map(|l| { let p: Vec<&str> = l.split('\t').collect(); (p[0].to_string(), p[2].split(',').map(|x| x.parse().unwrap()).collect()) }).collect();
    let find = |g: &Graph| -> Vec<(ValueId, Vec<u64>)> { given.iter().map(|(n, s)| (*g.inputs.iter().find(|i| g.value(**i).name == *n).unwrap(), s.clone())).collect() };
    // plain shapes
    let mut v = match validate::validate(raw.clone()) { Ok(v) => v, Err(e) => { println!("{e}"); return; } };
    fold::load_small(&mut v, &blob).unwrap();
    let s = find(&v);
    let mut t = String::new();
    match specialise::specialise(&v, &s) {
        Ok(g) => for n in &g.nodes { for o in n.outputs.iter().flatten() { let x = g.value(*o); t += &format!("{}\t{}\t{}\n", x.name, x.dtype.map_or(0, |d| d.code()), dim_text(x)); } },
        Err(e) => println!("specialise alone: {e}"),
    }
    std::fs::write(format!("{out}.shapes"), t).unwrap();
    let n0 = raw.nodes.len();
    let t0 = Instant::now();
    let p = match optimise::prepare(raw, &blob, &mut py) { Ok(p) => p, Err(e) => { println!("{e}"); return; } };
    let t1 = t0.elapsed();
    let calls = py.2;
    std::fs::write(format!("{out}.prepared"), p.to_string()).unwrap();
    let s = find(&p);
    let t0 = Instant::now();
    let c = match optimise::concrete(&p, &s, &blob, &mut py) { Ok(p) => p, Err(e) => { println!("{e}"); return; } };
    let t2 = t0.elapsed();
    std::fs::write(format!("{out}.concrete"), c.to_string()).unwrap();
    store(&c, &blob, out);
    let mut h = BTreeMap::<String, usize>::new();
    for n in &c.nodes { *h.entry(n.op.clone()).or_default() += 1; for e in &n.epilogue { *h.entry(format!("+{}", e.op)).or_default() += 1; } }
    println!("{} nodes {n0} -> {} -> {}; prepare {t1:.1?} ({calls} evaluations), concrete {t2:.1?} ({} evaluations)\n   {h:?}", out.rsplit('/').next().unwrap(), p.nodes.len(), c.nodes.len(), py.2 - calls);
}
