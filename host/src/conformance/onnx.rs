//! ONNX's own node cases: a model, inputs and expected outputs, through the importer and a session.
//!
//! Expected outputs were computed by numpy, mostly in f32, so the bound of a case is the operator's own tolerance, widened to the one that the case
//! grants (relative 1e-3, absolute 1e-7); the distance in ULP is reported whatever it is. Integers, bools, strings and everything that is only moved must
//! be exact. The few cases whose outputs are drawn at random are judged by what their operator promises (`judge::Chance`).

use super::model_file::ModelFile;
use super::{Suite, Target, answer, blame};
use crate::device::Place;
use crate::session::Session;
use sunmao_conformance::judge::{Bound, Chance, judge, judge_by_chance, largest, terms, tolerance};
use sunmao_conformance::{Case, CaseFacts, CaseValue, Comparison, DataSet, Outcome, Places, Store, Verdict, describe};
use sunmao_graph::DType;

/// Name of the suite.
pub const NAME: &str = "onnx-node";

/// The node cases of the `onnx` package.
pub struct OnnxNodes;

impl Suite for OnnxNodes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cases(&self) -> Vec<CaseFacts> {
        Store::onnx_nodes().cases().map(|case| case.facts(NAME)).collect()
    }

    fn run(&self, case: &CaseFacts, target: &Target) -> Outcome {
        let stored = stored(case);
        let data = match stored.data() {
            Ok(data) => data,
            Err(error) => return Outcome::failed(Verdict::Declined, error.to_string()),
        };
        let file = match ModelFile::new(stored.name(), stored.model()) {
            Ok(file) => file,
            Err(error) => {
                return Outcome::failed(Verdict::Crash, format!("cannot write the model of the case: {error}"));
            }
        };
        let session = match Session::load(file.path(), &target.host_for_a_case(), target.options()) {
            Ok(session) => session,
            Err(error) => return blame::loading(&error),
        };
        let (answer, places) = match answer::answer(&session, &data.inputs) {
            Ok(answer) => (answer, places(&session, &data.inputs)),
            Err(outcome) => return outcome,
        };
        judge_answer(&stored, &data, &answer).at(places)
    }

    fn show(&self, case: &CaseFacts) -> Vec<String> {
        let Ok(data) = stored(case).data() else { return Vec::new() };
        let inputs = data.inputs.iter().map(|(name, value)| describe(name, value));
        inputs.chain(data.outputs.iter().map(|(name, value)| format!("expected {}", describe(name, value)))).collect()
    }
}

fn stored(case: &CaseFacts) -> Case<'static> {
    Store::onnx_nodes().case(&case.name).expect("the suite gives out only cases of its store")
}

fn judge_answer(case: &Case<'_>, data: &DataSet, answer: &[(String, CaseValue)]) -> Outcome {
    let mut seen = Comparison::default();
    let mut ordered = Vec::with_capacity(data.outputs.len());
    for (name, _) in &data.outputs {
        match answer.iter().find(|(other, _)| other == name) {
            Some(found) => ordered.push(found.clone()),
            None => return Outcome::wrong(format!("there is no output {name}"), seen),
        }
    }
    if let Some(chance) = Chance::of(case.name()) {
        return match judge_by_chance(chance, data, &ordered, &mut seen) {
            Ok(()) => Outcome::pass(seen),
            Err(what) => Outcome::wrong(what, seen),
        };
    }
    for ((name, expected), (_, actual)) in data.outputs.iter().zip(&ordered) {
        if let Err(what) = judge(expected, actual, &bound(case, data, expected), &mut seen) {
            return Outcome::wrong(format!("output {name}, {what}"), seen);
        }
    }
    Outcome::pass(seen)
}

fn bound(case: &Case<'_>, data: &DataSet, expected: &CaseValue) -> Bound {
    let CaseValue::Tensor(tensor) = expected else { return Bound { granted: Some(case.tolerances()), ..Bound::EXACT } };
    let facts = case.facts(NAME);
    // A body of several operators adds up what each may be off by; the table knows single ones.
    let op = match &facts.operators[..] {
        [only] => only,
        _ => "",
    };
    let terms = terms(op, &data.inputs, &data.outputs);
    tolerance(op, tensor.dtype, terms).bound(float(tensor.dtype), largest(expected), Some(case.tolerances()))
}

/// The type whose spacing counts.
fn float(dtype: DType) -> DType {
    if matches!(dtype, DType::F16 | DType::BF16 | DType::F64) { dtype } else { DType::F32 }
}

/// Where the dispatches ran, as far as the plan for these shapes tells.
fn places(session: &Session, inputs: &[(String, CaseValue)]) -> Places {
    let mut places = Places::default();
    let Some(shapes) = answer::shapes(session, inputs) else { return places };
    let Ok(plan) = session.plan(&shapes) else { return places };
    for dispatch in &plan.dispatches {
        match dispatch.place {
            Place::Chip => places.chip += 1,
            Place::FastPath(_) => places.fast_path += 1,
            Place::Portable => places.portable += 1,
        }
    }
    places
}
