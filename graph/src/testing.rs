//! Graphs for tests, written as lines of text:
//!
//! ```text
//! opset 13
//! input x f32[N,3,8,8]
//! const w f32[4,3,1,1] = 0.5          (one number fills it, or one for each element)
//! weight big f32[64,3,7,7]            (a reference that no source backs)
//! y, _ = Conv(x, w, _) kernel_shape=[1,1] auto_pad=SAME_UPPER epsilon=0.5 value=@w
//! output y
//! ```

use crate::fold::{Evaluator, NoWeights, Weights};
use crate::tensor::{Tensor, TensorType, elements};
use crate::*;
use std::collections::BTreeMap;

/// The raw graph of a text: nodes carry the opset.
#[track_caller]
pub(crate) fn graph(text: &str) -> Graph {
    let mut graph = Graph::default();
    let mut names = BTreeMap::<String, ValueId>::new();
    let mut opset = 13;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').expect("a word and more");
        match word {
            "opset" => opset = rest.parse().expect("an opset"),
            "input" => {
                let id = declare(&mut graph, &mut names, rest, Role::Input);
                graph.inputs.push(id);
            }
            "weight" => {
                let id = declare(&mut graph, &mut names, rest, Role::Computed);
                let value = &mut graph.values[id.index()];
                let length = elements(&value.concrete().expect("known"))
                    .and_then(|count| value.dtype?.bytes(count))
                    .expect("fits");
                // Each lies elsewhere, so that no two are equal.
                let weight = Weight { source: 0, offset: u64::from(id.0) << 24, length, encoding: "raw-le".to_owned() };
                value.role = Role::Constant(Content::Weight(weight));
            }
            "const" => {
                let (kind, numbers) = rest.split_once(" = ").expect("const NAME TYPE = NUMBERS");
                let id = declare(&mut graph, &mut names, kind, Role::Computed);
                let value = &mut graph.values[id.index()];
                let (dtype, shape) = (value.dtype.expect("typed"), value.concrete().expect("known"));
                let mut numbers: Vec<f64> =
                    numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect();
                let count = usize::try_from(elements(&shape).expect("fits")).expect("fits");
                if numbers.len() == 1 {
                    numbers = vec![numbers[0]; count];
                }
                let tensor = Tensor::from_numbers(dtype, shape, &numbers).expect("a plain type");
                value.role = Role::Constant(Content::Bytes(tensor.bytes));
            }
            "output" => {
                let id = names[rest];
                graph.outputs.push(id);
            }
            _ => node(&mut graph, &mut names, line, opset),
        }
    }
    graph
}

fn declare(graph: &mut Graph, names: &mut BTreeMap<String, ValueId>, text: &str, role: Role) -> ValueId {
    let (name, kind) = text.split_once(' ').expect("NAME TYPE");
    let (dtype, shape) = kind.trim_end_matches(']').split_once('[').expect("TYPE[SHAPE]");
    let dims = shape.split(',').filter(|dim| !dim.is_empty()).map(|dim| match dim.parse() {
        Ok(length) => Dim::Known(length),
        Err(_) if dim == "?" => Dim::Unknown,
        Err(_) => {
            let known = graph.symbols.iter().position(|symbol| symbol.name == dim);
            let index = known.unwrap_or_else(|| {
                graph.symbols.push(Symbol { name: dim.to_owned(), min: 0, max: u64::MAX, multiple_of: 1 });
                graph.symbols.len() - 1
            });
            Dim::Symbol(SymbolId(index as u32))
        }
    });
    let shape = Some(dims.collect());
    let dtype = DType::ALL.iter().copied().find(|known| known.name() == dtype);
    let id = graph.add_value(Value { name: name.to_owned(), dtype, shape, container: Container::Tensor, role });
    names.insert(name.to_owned(), id);
    id
}

fn node(graph: &mut Graph, names: &mut BTreeMap<String, ValueId>, line: &str, opset: u16) {
    let (outputs, call) = line.split_once(" = ").expect("OUTPUTS = Op(INPUTS)");
    let (op, rest) = call.split_once('(').expect("Op(");
    let (inputs, attributes) = rest.split_once(')').expect(")");
    let mut value = |name: &str| match name.trim() {
        "" | "_" => None,
        name => {
            Some(*names.entry(name.to_owned()).or_insert_with(|| graph.add_value(Value::computed(name.to_owned()))))
        }
    };
    let inputs: Vec<_> = if inputs.trim().is_empty() { vec![] } else { inputs.split(',').map(&mut value).collect() };
    let outputs: Vec<_> = outputs.split(',').map(&mut value).collect();
    let attributes = attributes
        .split_whitespace()
        .map(|attribute| {
            let (key, text) = attribute.split_once('=').expect("KEY=VALUE");
            let value = if let Some(name) = text.strip_prefix('@') {
                Attribute::Value(names[name])
            } else if let Some(list) = text.strip_prefix('[') {
                let parts = list.trim_end_matches(']').split(',').filter(|part| !part.is_empty());
                if list.contains('.') {
                    Attribute::Numbers(parts.map(|part| part.parse().expect("a number")).collect())
                } else {
                    Attribute::Integers(parts.map(|part| part.parse().expect("an integer")).collect())
                }
            } else if let Ok(integer) = text.parse() {
                Attribute::Integer(integer)
            } else if let Ok(number) = text.parse() {
                Attribute::Number(number)
            } else {
                Attribute::Text(text.to_owned())
            };
            (key.to_owned(), value)
        })
        .collect();
    graph.nodes.push(Node {
        name: String::new(),
        op: op.to_owned(),
        revision: opset,
        attributes,
        inputs,
        outputs,
        epilogue: vec![],
    });
}

/// Shapes for `concrete`, in the order of the inputs.
pub(crate) fn shapes(graph: &Graph, shapes: &[&[u64]]) -> Vec<Binding> {
    graph.inputs.iter().zip(shapes).map(|(input, shape)| Binding::shape(*input, shape.to_vec())).collect()
}

/// Validated, inferred, canonical; nothing evaluated.
#[track_caller]
pub(crate) fn prepared(text: &str) -> Graph {
    optimise::prepare(graph(text), &Fake, &mut fold::NoEvaluator).unwrap_or_else(|error| panic!("{error}"))
}

/// Weights that are all zeros.
pub(crate) struct Fake;

impl Weights for Fake {
    fn bytes(&self, _: &Value, weight: &Weight) -> Result<std::sync::Arc<[u8]>, String> {
        Ok(vec![0; usize::try_from(weight.length).expect("small")].into())
    }
}

/// Adds f32 constants of one shape; cannot do anything else.
#[derive(Default)]
pub(crate) struct Adder {
    pub(crate) calls: usize,
}

impl Evaluator for Adder {
    fn evaluate(
        &mut self,
        node: &Node,
        inputs: &[Option<Tensor>],
        outputs: &[Option<TensorType>],
    ) -> Option<Result<Vec<Tensor>, String>> {
        self.calls += 1;
        if node.op != "Add" {
            return None;
        }
        let read = |index: usize| {
            tensor::read_numbers(DType::F32, &inputs[index].as_ref().expect("given").bytes).expect("f32")
        };
        let sums: Vec<f64> = read(0).iter().zip(read(1)).map(|(a, b)| a + b).collect();
        let kind = outputs[0].clone().expect("wanted");
        Some(Ok(vec![Tensor::from_numbers(kind.dtype, kind.shape, &sums).expect("f32")]))
    }
}

/// No weights: none may be read.
pub(crate) const NOTHING: NoWeights = NoWeights;
