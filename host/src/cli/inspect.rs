//! `host inspect`: what the host makes of a model, and who runs what of it.

use super::arguments::{self, What};
use super::assemble::{Assembled, options};
use super::failure::Failure;
use super::files::describe;
use super::print;
use super::progress::during;
use crate::device::{FastPathOutcome, FastPathRecord};
use crate::engine::{EngineError, Layout};
use crate::formats::{parse_shape, shape_text};
use crate::plan::Plan;
use crate::program::Segment;
use crate::session::Session;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

/// What is shown of a request's shapes.
struct Planned {
    plan: Plan,
    /// How many times the plan is run for one request.
    parts: u64,
}

/// Loads the model and prints the parts that were asked for.
pub(super) fn inspect(arguments: &arguments::Inspect) -> Result<ExitCode, Failure> {
    let assembled = Assembled::once(&arguments.common)?;
    let model = &arguments.model;
    let session =
        during(&format!("loading {}", model.display()), || assembled.session(model, options(&arguments.common)))?;
    let shows = |what: What| arguments.what.contains(&what);
    let plan = if shows(What::Plan) || shows(What::Memory) || shows(What::Devices) {
        let rest_is_shown = shows(What::Graph) || shows(What::Steps);
        match shapes(&session, &arguments.shape)? {
            _ if session.program().whole().is_none() => {
                let what = "the model runs in several steps, each planned when its shapes are known, so there is no plan of the whole";
                if !rest_is_shown {
                    return Err(Failure::usage(what, "use --what steps"));
                }
                tracing::warn!("{what}");
                None
            }
            Some(shapes) => {
                let plan = during("planning", || session.plan(&shapes))
                    .map_err(|error| Failure::from(error).at(model.display()))?;
                Some(Planned { plan, parts: session.parts(&shapes) })
            }
            None if rest_is_shown => {
                tracing::warn!(
                    "the shapes of the inputs are open, so there is no plan to show; give them with --shape NAME=1x3x224x224"
                );
                None
            }
            None => {
                return Err(Failure::usage(
                    "the shapes of the inputs are open, so there is no plan to show",
                    format!("give them: {}", example(&session)),
                ));
            }
        }
    } else {
        None
    };
    let out = if arguments.json {
        json_form(arguments, &session, plan.as_ref())
    } else {
        text_form(arguments, &session, plan.as_ref())
    };
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// The shapes to plan for: what the model fixes, with what the user gives in place of open lengths. none: some are still open.
pub(super) fn shapes(session: &Session, given: &[String]) -> Result<Option<Vec<Vec<u64>>>, Failure> {
    if given.is_empty() {
        return Ok(session.shapes_when_known());
    }
    let mut by_name = BTreeMap::new();
    for argument in given {
        let Some((name, shape)) = argument.split_once('=') else {
            return Err(Failure::usage(format!("--shape {argument}: no `=`"), format!("write {}", example(session))));
        };
        if !session.inputs().iter().any(|spec| spec.name == name) {
            let names: Vec<_> = session.inputs().iter().map(|spec| spec.name.as_str()).collect();
            return Err(Failure::usage(
                format!("--shape {argument}: no input `{name}`"),
                format!("the model takes {}", names.join(", ")),
            ));
        }
        let shape = parse_shape(shape).map_err(|error| {
            Failure::usage(format!("--shape {argument}: {error}"), format!("write {}", example(session)))
        })?;
        by_name.insert(name, shape);
    }
    Ok(session
        .inputs()
        .iter()
        .map(|spec| match by_name.remove(spec.name.as_str()) {
            Some(shape) => Some(shape),
            None => spec.shape.iter().enumerate().map(|(axis, length)| length.or((axis == 0).then_some(1))).collect(),
        })
        .collect())
}

fn example(session: &Session) -> String {
    let of = |spec: &crate::session::TensorSpec| {
        format!("--shape {}={}", spec.name, shape_text(&spec.shape).replace('?', "LENGTH"))
    };
    session.inputs().iter().filter(|spec| spec.shape.contains(&None)).map(of).collect::<Vec<_>>().join(" ")
}

fn text_form(arguments: &arguments::Inspect, session: &Session, planned: Option<&Planned>) -> String {
    let shows = |what: What| arguments.what.contains(&what);
    let chip = session.chip();
    let mut out = format!(
        "{} on chip {}\ninputs\n{}outputs\n{}",
        arguments.model.display(),
        chip.name,
        describe(session.inputs()),
        describe(session.outputs())
    );
    if shows(What::Graph) {
        let _ = write!(out, "\ngraph: {} nodes\n{}", session.graph().nodes.len(), session.graph());
    }
    if shows(What::Steps) {
        let _ = write!(out, "\nsteps\n{}segments\n", session.program());
        for (number, segment) in session.segments().iter().enumerate() {
            let operators = operators(segment).into_iter().map(|(op, count)| format!("{count} {op}"));
            let operators = operators.collect::<Vec<_>>().join(", ");
            let _ =
                writeln!(out, "{number:4}  {} nodes: {operators}{}", segment.graph.nodes.len(), bound_text(segment));
        }
    }
    let Some(Planned { plan, parts: count }) = planned else { return out };
    if *count > 1 {
        let _ = writeln!(
            out,
            "\na request of these shapes is computed in {count} parts, one sample each; this is for one of them"
        );
    }
    if shows(What::Plan) {
        let _ = write!(out, "\nplan\n{plan}");
    }
    if shows(What::Memory) {
        let memory = &plan.memory;
        out.push_str("\nmemory\n");
        let mut line = |what: &str, bytes: u64, note: String| {
            let _ = writeln!(out, "  {what:28} {bytes:>14} bytes{note}");
        };
        line("activations of a request", memory.slot, String::new());
        line(
            "largest live set",
            memory.live,
            format!("  activations are {:.3}x of it", memory.slot as f64 / memory.live.max(1) as f64),
        );
        line(
            "sum of all tensors",
            memory.tensors,
            format!("  {:.2}x of the activations", memory.tensors as f64 / memory.slot.max(1) as f64),
        );
        line("constants", memory.constants, String::new());
        line("more while packing", memory.staging, String::new());
        if let Ok(layout) = layout(session, plan) {
            let _ = writeln!(out, "  arena, offsets from its start in each instance and in the host");
            for part in parts(&layout, plan) {
                let (at, end) = (part.at, part.at + part.bytes);
                let _ = writeln!(out, "    {at:#010x}..{end:#010x}  {:10} {:>14} bytes used", part.name, part.used);
            }
        }
    }
    if shows(What::Devices) {
        out.push_str("\ndevices\n");
        for ((place, op, reason), count) in counted(plan) {
            let _ = writeln!(out, "  {count:>5}  {place:9}  {op:20}  {reason}");
        }
        for (path, op, what) in failed_fast_paths() {
            let _ = writeln!(out, "  fast path {path} for {op} failed its self-check and is not used: {what}");
        }
    }
    out
}

/// Fast paths that were found wrong on this machine, with the operator and what was seen.
fn failed_fast_paths() -> Vec<(&'static str, String, String)> {
    let outcomes = FastPathRecord::of_process().outcomes().into_iter();
    let failed = |(path, op, outcome)| match outcome {
        FastPathOutcome::Differs(what) => Some((path, op, what)),
        FastPathOutcome::Agrees(_) => None,
    };
    outcomes.filter_map(failed).collect()
}

/// How many nodes of each operator a segment has.
fn operators(segment: &Segment) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    segment.graph.nodes.iter().for_each(|node| *counts.entry(node.op.as_str()).or_default() += 1);
    counts
}

/// Inputs of a segment whose content decides shapes.
fn bound(segment: &Segment) -> Vec<&str> {
    let inputs = segment.graph.inputs.iter().zip(&segment.bound).filter(|(_, bound)| **bound);
    inputs.map(|(id, _)| segment.graph.value(*id).name.as_str()).collect()
}

fn bound_text(segment: &Segment) -> String {
    match &bound(segment)[..] {
        [] => String::new(),
        names => format!("; planned for each content of {}", names.join(", ")),
    }
}

/// The arena that a session makes for this plan, if it is the first one.
fn layout(session: &Session, plan: &Plan) -> Result<Layout, EngineError> {
    Layout::for_plan(plan.memory, session.threads() as u64)
}

/// A stretch of the arena.
struct Part {
    name: String,
    at: u64,
    bytes: u64,
    /// What this plan needs of it; the rest is room for others.
    used: u64,
}

fn parts(layout: &Layout, plan: &Plan) -> Vec<Part> {
    let part = |name: String, at, bytes, used| Part { name, at, bytes, used };
    let fixed = [
        part("constants".into(), 0, layout.constants, plan.memory.constants),
        part("staging".into(), layout.staging_at, layout.staging, plan.memory.staging),
    ];
    let slot = |number: u64| {
        let at = layout.slots_at + number * layout.slot_stride;
        part(format!("slot {number}"), at, layout.slot_stride, plan.memory.slot)
    };
    fixed.into_iter().chain((0..layout.slots).map(slot)).collect()
}

/// Nodes by place, operator and reason: nodes of one operator mostly share them. `--json` has each node.
fn counted(plan: &Plan) -> BTreeMap<(String, &str, &str), usize> {
    let mut counts = BTreeMap::new();
    for dispatch in &plan.dispatches {
        *counts.entry((dispatch.place.to_string(), &*dispatch.operation.op, &*dispatch.reason)).or_default() += 1;
    }
    counts
}

fn json_form(arguments: &arguments::Inspect, session: &Session, planned: Option<&Planned>) -> String {
    let shows = |what: What| arguments.what.contains(&what);
    let specs = |specs: &[crate::session::TensorSpec]| -> Vec<Value> {
        specs.iter().map(|spec| json!({ "name": spec.name, "dtype": spec.dtype.name(), "shape": spec.shape })).collect()
    };
    let mut out = json!({ "model": arguments.model, "chip": session.chip().name, "inputs": specs(session.inputs()), "outputs": specs(session.outputs()) });
    if shows(What::Graph) {
        out["graph"] = json!({ "nodes": session.graph().nodes.len(), "text": session.graph().to_string() });
    }
    if shows(What::Steps) {
        let of = |segment: &Segment| json!({ "nodes": segment.graph.nodes.len(), "operators": operators(segment), "bound": bound(segment) });
        let segments: Vec<Value> = session.segments().iter().map(of).collect();
        out["steps"] = json!({ "text": session.program().to_string(), "segments": segments });
    }
    if let Some(Planned { plan, parts: count }) = planned {
        out["parts"] = json!(count);
        if shows(What::Plan) {
            out["plan"] = json!({ "dispatches": plan.dispatches.len(), "text": plan.to_string() });
        }
        if shows(What::Memory) {
            let memory = &plan.memory;
            out["memory"] = json!({
                "slot_bytes": memory.slot, "live_bytes": memory.live, "tensor_bytes": memory.tensors,
                "constant_bytes": memory.constants, "staging_bytes": memory.staging,
            });
            if let Ok(layout) = layout(session, plan) {
                let part = |part: Part| json!({ "name": part.name, "at": part.at, "bytes": part.bytes, "used_bytes": part.used });
                out["memory"]["arena"] = parts(&layout, plan).into_iter().map(part).collect();
            }
        }
        if shows(What::Devices) {
            let of = |dispatch: &crate::plan::Dispatch| {
                let shapes: Vec<_> =
                    dispatch.operation.outputs.iter().flatten().map(|output| output.shape.clone()).collect();
                json!({
                    "node": dispatch.node, "op": dispatch.operation.op, "epilogue": dispatch.operation.epilogue.iter().map(|step| &step.op).collect::<Vec<_>>(),
                    "place": dispatch.place.to_string(), "fast_path": dispatch.place.fast_path(), "reason": dispatch.reason, "shards": dispatch.shards, "outputs": shapes,
                })
            };
            out["devices"] = plan.dispatches.iter().map(of).collect();
            let failed = failed_fast_paths()
                .into_iter()
                .map(|(path, op, what)| json!({ "fast_path": path, "op": op, "what": what }));
            out["failed_fast_paths"] = failed.collect();
        }
    }
    format!("{out:#}\n")
}
