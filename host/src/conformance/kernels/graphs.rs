//! What must hold of a whole model: the same result however it is divided among devices and threads, optimised or not, and after other
//! batches have come and gone.

use super::Failure;
use crate::conformance::{Suite, Target, USUAL_SEED, blame};
use crate::device::{DeviceError, Place, Placed, Placer, fast_path, native_kernel};
use crate::engine::{Executor, Layout, Loaded, Run};
use crate::plan::{self, Options};
use crate::plugin::{ChipInstance, Plugin};
use crate::scheduler::Team;
use std::sync::Arc;
use sunmao_conformance::oracle::{Content, Question, Tensor, answer, dtype};
use sunmao_conformance::property::{Draw, DrawnGraph, DrawnNode, drawn_graph};
use sunmao_conformance::{CaseFacts, Comparison, Outcome, Places, Verdict};
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{Attribute, Content as Constant, DType, Dim, Graph, Node, Role, Value, ValueId};
use sunmao_plugin_sdk::abi;

/// Name of the suite.
pub const GRAPHS: &str = "graphs";
const CASES: u64 = 40;
/// Batches in the order in which one executor gets them: up, down, and the first again.
const BATCHES: [usize; 4] = [2, 5, 1, 2];
/// Error of one node, as a fraction of the largest number that it made.
const PER_NODE: f64 = 2e-6;
const QUEUE: usize = 1;
const ALIGNMENT: u32 = 64;

/// Drawn graphs of three to eight nodes.
pub struct Graphs {
    seed: u64,
}

impl Graphs {
    /// The graphs of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Default for Graphs {
    /// The graphs that every run of the suite has.
    fn default() -> Self {
        Self::new(USUAL_SEED)
    }
}

impl Suite for Graphs {
    fn name(&self) -> &'static str {
        GRAPHS
    }

    fn cases(&self) -> Vec<CaseFacts> {
        let facts = |number| {
            let mut operators: Vec<String> = Vec::new();
            for node in drawn_graph(self.seed, number).nodes {
                if !operators.iter().any(|op| op == node.op) {
                    operators.push(node.op.to_owned());
                }
            }
            let name = format!("graph/{}/{number}", self.seed);
            CaseFacts { name, suite: GRAPHS.into(), operators, dtypes: vec!["f32".into()], opset: None }
        };
        (0..CASES).map(facts).collect()
    }

    fn run(&self, facts: &CaseFacts, target: &Target) -> Outcome {
        let number = facts.name.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let drawn = drawn_graph(self.seed, number);
        let mut seen = Comparison { rule: "same bits, or near the oracle".into(), ..Comparison::default() };
        match check(&drawn, number, &target.chip.plugin, target.fast_paths, &mut seen) {
            Ok(()) => Outcome::pass(seen).at(Places { chip: drawn.nodes.len() as u32, ..Places::default() }),
            Err(Failure { verdict, reason }) => Outcome { comparison: seen, ..Outcome::failed(verdict, reason) },
        }
    }
}

/// Who runs which node.
#[derive(Clone, Copy)]
enum Division {
    /// All on the chip.
    Chip,
    /// Fast paths where there are some, then the chip.
    FastPaths,
    /// Each node on whoever the dice say.
    Scattered(u64),
}

struct Dice<'a> {
    division: Division,
    draw: Draw,
    instance: &'a mut ChipInstance,
}

impl Placer for Dice<'_> {
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError> {
        // None: the best fast path there is.
        let order: &[Option<Place>] = match self.division {
            Division::Chip => &[Some(Place::Chip)],
            Division::FastPaths => &[None, Some(Place::Chip)],
            Division::Scattered(_) => match self.draw.next() % 3 {
                0 => &[None, Some(Place::Portable)],
                1 => &[Some(Place::Portable)],
                _ => &[Some(Place::Chip), Some(Place::Portable)],
            },
        };
        for &wish in order {
            let (place, requirements) = if wish == Some(Place::Chip) {
                let needs = match self.instance.prepare(operation) {
                    Ok(kernel) => {
                        let needs = self.instance.requirements(kernel)?;
                        self.instance.drop_kernel(kernel);
                        needs
                    }
                    Err(crate::plugin::PluginError::Plugin {
                        code: sunmao_plugin_sdk::ErrorCode::Unsupported, ..
                    }) => continue,
                    Err(error) => return Err(error.into()),
                };
                (Place::Chip, needs)
            } else {
                let kernel = match wish {
                    None => fast_path(operation, |_| true),
                    Some(place) => native_kernel(place, operation).map(|kernel| (place, kernel)),
                };
                let Ok((place, kernel)) = kernel else { continue };
                (place, kernel.requirements())
            };
            return Ok(Placed { place, requirements, reason: String::new() });
        }
        let reasons = "the drawn division has nobody for it".to_owned();
        Err(DeviceError::Unsupported { op: operation.op.clone(), node: node.to_owned(), reasons })
    }
}

fn check(
    drawn: &DrawnGraph,
    number: u64,
    plugin: &Arc<Plugin>,
    fast_paths: bool,
    seen: &mut Comparison,
) -> Result<(), Failure> {
    let weights = weights(drawn, number);
    let deterministic = plugin.chip().is_some_and(|facts| facts.info.deterministic);
    let mut divisions = vec![("on the chip", Division::Chip, 1), ("on two threads", Division::Chip, 2)];
    if fast_paths {
        divisions.push(("with fast paths", Division::FastPaths, 1));
        divisions.push(("scattered over devices", Division::Scattered(number), 1));
        divisions.push(("scattered otherwise, on two threads", Division::Scattered(number + 1000), 2));
    }
    let mut on_chip: Option<Vec<Vec<u8>>> = None;
    for (name, division, threads) in divisions {
        let named = |failure: Failure| Failure { reason: format!("{name}: {}", failure.reason), ..failure };
        let results = run(drawn, &weights, number, plugin, division, threads).map_err(named)?;
        for (&batch, result) in BATCHES.iter().zip(&results) {
            near(drawn, &weights, number, batch, result, seen).map_err(named)?;
        }
        if results[0] != results[BATCHES.len() - 1] {
            return Err(Failure::wrong(format!("{name}: other bits after other batches were run")));
        }
        match &on_chip {
            Some(first) if matches!(division, Division::Chip) && deterministic && *first != results => {
                return Err(Failure::wrong(format!("{name}: other bits than on one thread")));
            }
            Some(_) => {}
            None => on_chip = Some(results),
        }
    }
    Ok(())
}

/// Runs the graph at every batch on one executor; the output's bytes for each.
fn run(
    drawn: &DrawnGraph,
    weights: &[Tensor],
    number: u64,
    plugin: &Arc<Plugin>,
    division: Division,
    threads: usize,
) -> Result<Vec<Vec<u8>>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure { verdict: Verdict::BrokenPromise, reason: error.to_string() };
    let plan_at = |batch: usize| -> Result<plan::Plan, Failure> {
        let mut instance = ChipInstance::new(plugin).map_err(|error| failed(&error))?;
        instance.reserve(65536).map_err(|error| failed(&error))?;
        let seed = if let Division::Scattered(seed) = division { seed } else { 0 };
        let mut placer = Dice { division, draw: Draw::new("division", seed, 0), instance: &mut instance };
        let options = Options { alignment: ALIGNMENT, threads: threads as u32 };
        plan::build(graph(drawn, weights, batch), &NoWeights, &mut placer, options).map_err(|error| match error {
            plan::PlanError::Unplaced(_) => Failure { verdict: Verdict::Declined, reason: error.to_string() },
            other => Failure { verdict: Verdict::BrokenPromise, reason: other.to_string() },
        })
    };
    let largest = BATCHES.iter().copied().max().unwrap_or(1);
    let layout = Layout::for_plan(plan_at(largest)?.memory, threads as u64).map_err(|error| failed(&error))?;
    let executor = Arc::new(Executor::new(Some(plugin.clone()), threads, layout).map_err(|error| failed(&error))?);
    let team = Team::new(threads, QUEUE);
    let mut loaded: Vec<(usize, Arc<Loaded>)> = Vec::new();
    let mut results = Vec::new();
    for batch in BATCHES {
        let known = loaded.iter().find(|(at, _)| *at == batch).map(|(_, loaded)| loaded.clone());
        let ready = match known {
            Some(ready) => ready,
            None => {
                let ready = executor.load(Arc::new(plan_at(batch)?), &NoWeights).map_err(|error| failed(&error))?;
                loaded.push((batch, Arc::new(ready)));
                loaded[loaded.len() - 1].1.clone()
            }
        };
        let inputs = inputs(drawn, number, batch);
        let bytes: Vec<&[u8]> = inputs.iter().map(|tensor| &tensor.bytes[..]).collect();
        let grant = team.acquire(threads).map_err(|error| failed(&error))?;
        let members: Vec<usize> = grant.members().to_vec();
        let run = Arc::new(Run::new(executor.clone(), ready, members[0], members));
        run.copy_in(&bytes).map_err(|error| failed(&error))?;
        let part = run.clone();
        let work: Arc<dyn Fn(usize) + Send + Sync> = Arc::new(move |thread| part.take_part(thread));
        grant.run(&work);
        run.outcome().map_err(|error| match error {
            crate::engine::EngineError::Plugin(error) => {
                Failure { verdict: blame::plugin(&error, Verdict::BrokenPromise), reason: error.to_string() }
            }
            other => failed(&other),
        })?;
        results.push(run.copy_out(0).map_err(|error| failed(&error))?);
    }
    Ok(results)
}

fn weights(drawn: &DrawnGraph, number: u64) -> Vec<Tensor> {
    let mut draw = Draw::new("weights", USUAL_SEED, number * 8);
    let scale = 1.0 / (drawn.width as f64).sqrt();
    let shape = [drawn.width, drawn.width];
    (0..drawn.weights).map(|_| reals(&mut draw, &shape, scale)).collect()
}

/// The inputs at a batch: those of a smaller one are the beginning of those of a larger one.
fn inputs(drawn: &DrawnGraph, number: u64, batch: usize) -> Vec<Tensor> {
    let shape = [batch, drawn.rows, drawn.width];
    (0..drawn.inputs).map(|i| reals(&mut Draw::new("inputs", i as u64, number * 8), &shape, 1.0)).collect()
}

fn reals(draw: &mut Draw, shape: &[usize], scale: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let unit = |draw: &mut Draw| (draw.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    let values: Vec<f64> = (0..count).map(|_| unit(draw) * scale).collect();
    Tensor::of_reals(dtype::F32, shape, &values)
}

fn graph(drawn: &DrawnGraph, weights: &[Tensor], batch: usize) -> Graph {
    let mut graph = Graph::default();
    let add = |graph: &mut Graph, shape: &[usize], role: Role| -> ValueId {
        let name = format!("v{}", graph.values.len());
        let shape = Some(shape.iter().map(|&dim| Dim::Known(dim as u64)).collect());
        graph.add_value(Value { dtype: Some(DType::F32), shape, role, ..Value::computed(name) })
    };
    let whole = [batch, drawn.rows, drawn.width];
    let mut values = Vec::new();
    for _ in 0..drawn.inputs {
        let id = add(&mut graph, &whole, Role::Input);
        graph.inputs.push(id);
        values.push(id);
    }
    for weight in weights {
        let content = Constant::Bytes(weight.bytes.clone().into());
        values.push(add(&mut graph, &weight.shape, Role::Constant(content)));
    }
    for (at, node) in drawn.nodes.iter().enumerate() {
        let output = add(&mut graph, &whole, Role::Computed);
        graph.nodes.push(Node {
            name: format!("n{at}"),
            op: node.op.to_owned(),
            revision: node.revision,
            attributes: node.axis.iter().map(|&axis| ("axis".to_owned(), Attribute::Integer(axis))).collect(),
            inputs: node.operands.iter().map(|&operand| Some(values[operand])).collect(),
            outputs: vec![Some(output)],
            epilogue: Vec::new(),
        });
        values.push(output);
    }
    graph.outputs.push(values[values.len() - 1]);
    graph
}

/// The result against the oracle's, node by node in f32.
fn near(
    drawn: &DrawnGraph,
    weights: &[Tensor],
    number: u64,
    batch: usize,
    result: &[u8],
    seen: &mut Comparison,
) -> Result<(), Failure> {
    let mut values = inputs(drawn, number, batch);
    values.extend_from_slice(weights);
    let mut scale = 0.0f64;
    for node in &drawn.nodes {
        let value = evaluated(node, &values)?;
        scale = value.reals().iter().fold(scale, |most, x| most.max(x.abs()));
        values.push(value);
    }
    let expected = values[values.len() - 1].reals();
    let shape = [batch, drawn.rows, drawn.width];
    let found = Tensor { dtype: dtype::F32, shape: shape.to_vec(), bytes: result.to_vec() }.reals();
    let allowed = scale * PER_NODE * (drawn.nodes.len() * drawn.width) as f64;
    seen.values += 1;
    seen.elements += found.len() as u64;
    match expected.iter().zip(&found).position(|(a, b)| (a - b).abs() > allowed || a.is_nan() != b.is_nan()) {
        None => Ok(()),
        Some(at) => {
            let what = format!("batch {batch}, element {at}: {:e} where {:e} belongs", found[at], expected[at]);
            Err(Failure::wrong(what))
        }
    }
}

fn evaluated(node: &DrawnNode, values: &[Tensor]) -> Result<Tensor, Failure> {
    let mut question = Question::new(node.op, node.revision).output(dtype::F32);
    if let Some(axis) = node.axis {
        question = question.integer("axis", axis);
    }
    for &operand in &node.operands {
        question = question.input(values[operand].clone());
    }
    let answers = answer(&question).map_err(|error| Failure { verdict: Verdict::Crash, reason: error.to_string() })?;
    match &answers[0].content {
        Content::Reals(reals) => Ok(Tensor::of_reals(dtype::F32, &answers[0].shape, &reals.values)),
        Content::Bytes(bytes) => {
            Ok(Tensor { dtype: dtype::F32, shape: answers[0].shape.clone(), bytes: bytes.clone() })
        }
    }
}
