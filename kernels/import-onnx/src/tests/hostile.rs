//! Damaged and malicious files: only typed errors with a byte, never a panic, bounded memory.

use super::proto::*;
use super::*;
use sunmao_plugin_sdk::importer::{Bytes, ErrorCode, Result};

#[test]
fn every_truncation_is_an_error_with_a_byte() {
    let file = everything();
    accept(&file);
    for length in 0..file.len() {
        match read(&file[..length]) {
            // Only whole fields at the very end may be missed: facts and functions that no node calls.
            Ok(_) => assert!(length >= file.len() - 120, "cut at {length} of {} was read", file.len()),
            Err(error) => assert!(error.offset.is_some_and(|at| at <= length as u64), "{}", error.message),
        }
    }
}

#[test]
fn mutants_never_panic() {
    let seeds = [everything(), tiny_add(), model(relu_graph())];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let (mut read_anyway, mut refused) = (0, 0);
    for round in 0..24_000 {
        let mut file = seeds[round % seeds.len()].clone();
        for _ in 0..=random(4) {
            let at = random(file.len());
            match random(6) {
                0 => file[at] ^= 1 << random(8),
                1 => file[at] = random(256) as u8,
                2 => file[at] = 0xff,
                3 => {
                    file.remove(at);
                }
                4 => file.insert(at, random(256) as u8),
                _ => {
                    let end = (at + random(40)).min(file.len());
                    let part = file[at..end].to_vec();
                    let to = random(file.len());
                    file.splice(to..to, part);
                }
            }
            if file.is_empty() {
                file.push(0);
            }
        }
        probe("m.onnx", file.len() as u64, &file);
        match read(&file) {
            Ok(_) => read_anyway += 1,
            Err(error) => {
                assert!(!error.message.is_empty() && error.message.len() < 1024, "{}", error.message);
                refused += 1;
            }
        }
    }
    assert!(
        read_anyway > 500 && refused > 5000,
        "{read_anyway} read, {refused} refused: the mutants are too tame or too wild"
    );
}

#[test]
fn faults_of_the_wire_name_the_byte() {
    let head = Msg::new().int(1, 8).0;
    let at = head.len() as u64;
    let with = |tail: &[u8]| [head.as_slice(), tail].concat();
    let check = |tail: &[u8], words: &[&str]| {
        assert_eq!(refuse(&with(tail), words).offset, Some(at), "{words:?}");
    };
    check(&[0x3a, 0x7f, 0], &["claims 127 bytes where 1 are left"]);
    check(&[0x3b], &["wire type 3"]);
    check(&[0x3c], &["wire type 4"]);
    check(&[0x3e], &["wire type 6"]);
    check(&[0x00, 0x00], &["number 0"]);
    check(&[0xff], &["cut off"]);
    check(&[0xff; 11], &["longer than 64 bits"]);
    check(&[0x38, 0x01], &["field 7 of ModelProto is no message"]);
    refuse(
        &with(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        &["claims 18446744073709551615"],
    );
    refuse(&with(&[0x3d, 1, 2]), &["cut off"]);
}

#[test]
fn names_that_are_not_utf8_are_refused_at_their_byte() {
    let bad = Msg::new().bytes(1, [b'x', 0xff]).bytes(2, "y").bytes(4, "Relu");
    let file = model(Msg::new().msg(1, bad));
    let error = refuse(&file, &["not UTF-8"]);
    assert_eq!(file[error.offset.expect("a byte") as usize], 0xff);
}

#[test]
fn graphs_nested_too_deep_are_refused() {
    let nest = |depth: usize| {
        let leaf = Msg::new().msg(1, node("Neg", "", &["x"], &["b0"])).msg(12, info("b0", 1, &[]));
        let body = (1..depth).fold(leaf, |inner, level| {
            let output = format!("b{level}");
            let outer = node("If", "", &["x"], &[&output]).msg(5, attr("then_branch", 5).msg(6, inner));
            Msg::new().msg(1, outer).msg(12, info(&output, 1, &[]))
        });
        let outer = node("If", "", &["x"], &["q"]).msg(5, attr("then_branch", 5).msg(6, body));
        model(relu_graph().msg(1, outer))
    };
    // The stack of a component is 1 MiB; this build's frames are larger than its.
    let on_a_small_stack = move || {
        assert_eq!(accept(&nest(32)).blocks.len(), 33);
        refuse(&nest(33), &["nested deeper than 32"]);
        refuse(&nest(3000), &["nested deeper than 32"]);
    };
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(on_a_small_stack)
        .expect("a thread")
        .join()
        .expect("no overflow");
}

#[test]
fn function_bombs_end_at_the_bound_on_nodes() {
    // Each of 5 functions calls the next one 32 times: 2^25 nodes from 8 KB.
    let call = |to: usize, input: &str, output: &str| node(&format!("F{to}"), "", &[input], &[output]).bytes(7, "d");
    let function = |index: usize| {
        let named = Msg::new().bytes(1, format!("F{index}")).bytes(10, "d").all(4, &["a"]).all(5, &["r31"]);
        (0..32).fold(named, |named, step| {
            let (input, output) = (if step == 0 { "a".into() } else { format!("r{}", step - 1) }, format!("r{step}"));
            let last = node("Neg", "", &[&input], &[&output]);
            named.msg(7, if index == 4 { last } else { call(index + 1, &input, &output) })
        })
    };
    let graph = Msg::new().msg(1, call(0, "x", "y")).msg(11, info("x", 1, &[])).msg(12, info("y", 1, &[]));
    let opset = |domain: &str| Msg::new().bytes(1, domain).int(2, 18);
    let file = Msg::new().int(1, 9).msg(7, graph).msg(8, opset("")).msg(8, opset("d"));
    let file = (0..=4).fold(file, |file, index| file.msg(25, function(index))).0;
    // A sink that forgets: only the importer's own bound can end this.
    let source = MemorySource::new("m", file);
    let error = crate::model::import_within(&source, &Forgetful::default(), 20_000).expect_err("a bomb");
    assert_eq!(error.code, ErrorCode::LimitExceeded);
    assert!(error.message.contains("more than 20000 nodes"), "{}", error.message);
}

#[derive(Default)]
struct Forgetful(std::cell::Cell<u32>);

impl Forgetful {
    fn number(&self) -> Result<u32> {
        self.0.set(self.0.get() + 1);
        Ok(self.0.get())
    }
}

impl sunmao_plugin_sdk::importer::Sink for Forgetful {
    fn symbol(&self, _: &sunmao_plugin_sdk::importer::Symbol) -> Result<u32> {
        self.number()
    }
    fn value(&self, _: &sunmao_plugin_sdk::importer::Value) -> Result<u32> {
        self.number()
    }
    fn block(&self) -> Result<u32> {
        self.number()
    }
    fn node(&self, _: u32, _: &Node) -> Result<()> {
        Ok(())
    }
    fn finish_block(&self, _: u32, _: &[u32], _: &[u32]) -> Result<()> {
        Ok(())
    }
    fn meta(&self, _: &str, _: Attribute) {}
    fn warn(&self, _: &str) {}
}

/// A file of any size, whose weights are never written down: reads within them are counted and answered with zeros.
struct Sparse {
    head: Vec<u8>,
    hole: u64,
    tail: Vec<u8>,
    most: std::cell::Cell<u64>,
    read: std::cell::Cell<u64>,
}

impl Bytes for Sparse {
    fn id(&self) -> u32 {
        0
    }
    fn name(&self) -> String {
        "sparse.onnx".into()
    }
    fn size(&self) -> u64 {
        self.head.len() as u64 + self.hole + self.tail.len() as u64
    }
    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        let end = (offset + u64::from(length)).min(self.size());
        self.most.set(self.most.get().max(u64::from(length)));
        self.read.set(self.read.get() + end.saturating_sub(offset));
        let head = self.head.len() as u64;
        Ok((offset..end)
            .map(|at| match at {
                at if at < head => self.head[at as usize],
                at if at < head + self.hole => 0,
                at => self.tail[(at - head - self.hole) as usize],
            })
            .collect())
    }
    fn open(&self, _: &str) -> Result<Self> {
        Err(Error::new(ErrorCode::NotFound, "none"))
    }
}

#[test]
fn a_model_of_eight_gigabytes_is_read_through_a_few_kilobytes() {
    let hole = 8u64 << 30;
    let length = |bytes: u64| varint(bytes);
    let tensor_head = [tensor("w", 1, &[(hole / 4) as i64]).0, vec![0x4a], length(hole)].concat();
    let rest = Msg::new().msg(11, info("x", 1, &[])).msg(12, info("y", 1, &[])).0;
    let nodes = Msg::new().msg(1, node("Add", "add", &["x", "w"], &["y"])).0;
    let tensor_bytes = tensor_head.len() as u64 + hole;
    let tensor_field = [vec![0x2a], length(tensor_bytes), tensor_head].concat();
    let graph_bytes = nodes.len() as u64 + tensor_field.len() as u64 + hole + rest.len() as u64;
    let head = [Msg::new().int(1, 8).0, vec![0x3a], length(graph_bytes), nodes, tensor_field].concat();
    let tail = [rest, Msg::new().msg(8, Msg::new().int(2, 17)).0].concat();
    let source = Sparse { head, hole, tail, most: 0.into(), read: 0.into() };
    let recorder = Recorder::default();
    import(&source, &recorder).expect("reads");
    let recorded = recorder.into_inner();
    let Some(Content::Weight(weight)) = &recorded.named("w").expect("w").1.content else { panic!("no weight") };
    assert_eq!((weight.offset, weight.length), (source.head.len() as u64, hole));
    assert!(source.most.get() <= 256 << 10 && source.read.get() < 200_000, "{} bytes read", source.read.get());
}
