//! A second opinion on the oracle of the property cases: tract computes the same drawn operations. What it refuses says nothing; where it
//! disagrees, one of the two is wrong, and a person has to look.

use crate::conformance::Means;
use crate::figure::{Goal, Report};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use sunmao_conformance::oracle::{Answer, Bound, Content, Operand, Tensor, dtype, judge};
use sunmao_conformance::property::{Case, case, operators, settled};
use sunmao_plugin_sdk::abi::Attribute;

/// Drawn cases for each operator, and their seed.
const CASES: u64 = 24;
const QUICK_CASES: u64 = 4;
const SEED: u64 = 1;
/// After so long a case has no answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What both may be apart, as a fraction of the largest result: opinions are about meaning, and not about the last digits.
const APART: f64 = 1e-3;
const APART_IN_HALF: f64 = 1e-2;
/// Where all results are smaller than this, both may be apart by as much.
const TINY: f64 = 1e-6;

/// A kind of case in which tract is known to answer something else than the specification says.
struct Unreliable {
    what: &'static str,
    holds: fn(&Case) -> bool,
}

/// All of them. Each was looked into: ONNX's own node cases or the text of the specification stand on the oracle's side.
const UNRELIABLE: &[Unreliable] = &[
    Unreliable { what: "alpha of Celu and Swish is left out", holds: |case| matches!(op(case), "Celu" | "Swish") },
    Unreliable {
        what: "Mod exchanges operands that it broadcasts",
        holds: |case| op(case) == "Mod" && operand_shape(case, 0) != operand_shape(case, 1),
    },
    Unreliable {
        what: "DynamicQuantizeLinear of nothing but zeros has scale 0",
        holds: |case| op(case) == "DynamicQuantizeLinear" && all_zero(case),
    },
    Unreliable {
        what: "boolean masks of Attention are added, and a causal mask does not know of the past",
        holds: |case| {
            op(case) == "Attention" && (operand_type(case, 3) == Some(dtype::BOOL) || case.question.inputs.len() > 4)
        },
    },
    Unreliable {
        what: "sums of integers are narrower than the type, sums of halves are kept in halves",
        holds: |case| op(case).starts_with("Reduce") && !matches!(operand_type(case, 0), Some(dtype::F32 | dtype::F64)),
    },
    Unreliable {
        what: "LogSoftmax and GlobalMaxPool leave the range of halves",
        holds: |case| matches!(op(case), "LogSoftmax" | "GlobalMaxPool") && operand_type(case, 0) == Some(dtype::F16),
    },
    Unreliable {
        what: "Resize of doubles goes through floats",
        holds: |case| op(case) == "Resize" && operand_type(case, 0) == Some(dtype::F64),
    },
];

fn op(case: &Case) -> &str {
    &case.question.op
}

fn operand(case: &Case, index: usize) -> Option<&Tensor> {
    case.question.inputs.get(index)?.as_ref().map(|operand| &operand.tensor)
}

fn operand_type(case: &Case, index: usize) -> Option<u16> {
    operand(case, index).map(|tensor| tensor.dtype)
}

fn operand_shape(case: &Case, index: usize) -> Option<&[usize]> {
    operand(case, index).map(|tensor| &tensor.shape[..])
}

fn all_zero(case: &Case) -> bool {
    operand(case, 0).is_some_and(|tensor| tensor.bytes.iter().all(|&byte| byte == 0))
}

/// How many of tract's answers agree with the oracle's.
pub(crate) fn measure(report: &mut Report<'_>, means: &Means<'_>) -> Result<()> {
    let Some(python) = &means.python else { bail!("no peer could be installed to ask") };
    let script = means.script.with_file_name("second_opinion.py");
    let mut peer = Peer::start(python, &script)?;
    let (mut agreed, mut answered) = (0usize, 0usize);
    let mut refused = BTreeMap::<&str, usize>::new();
    let mut passed_over = vec![0usize; UNRELIABLE.len()];
    for op in operators() {
        for number in 0..if means.quick { QUICK_CASES } else { CASES } {
            let Some(case) = case(op, SEED, number).filter(can_be_asked) else { continue };
            if let Some(kind) = UNRELIABLE.iter().position(|kind| (kind.holds)(&case)) {
                passed_over[kind] += 1;
                continue;
            }
            let Some(said) = peer.ask(&Asked::new(&case))? else {
                peer = Peer::start(python, &script)?;
                *refused.entry(op).or_default() += 1;
                continue;
            };
            match differs(&case, &said) {
                Err(_) => *refused.entry(op).or_default() += 1,
                Ok(None) => (agreed, answered) = (agreed + 1, answered + 1),
                Ok(Some(how)) => {
                    answered += 1;
                    eprintln!("tract disagrees: {}: {how}", case.name);
                }
            }
        }
    }
    let list: Vec<String> = refused.iter().map(|(op, count)| format!("{op} {count}")).collect();
    eprintln!("tract refused or did not return: {}", list.join(", "));
    for (kind, count) in UNRELIABLE.iter().zip(passed_over) {
        eprintln!("tract was not asked in {count} cases: {}", kind.what);
    }
    let name = "opinion.tract.disagreements";
    report.line(name, (answered - agreed) as f64, "", Goal::AtMost(0.0), answered);
    Ok(())
}

/// Whether ONNX has words for the case, and tract's Python binding for its element types.
fn can_be_asked(case: &Case) -> bool {
    let question = &case.question;
    let plain = |code: u16| (dtype::F32..=dtype::U64).contains(&code);
    case.finite
        && question.epilogue.is_empty()
        && !question.op.contains('.')
        && question.inputs.iter().flatten().all(|operand| plain(operand.tensor.dtype))
        && question.outputs.iter().all(|&code| plain(code))
}

#[derive(Serialize)]
struct Asked<'a> {
    op: &'a str,
    revision: u16,
    attributes: BTreeMap<&'a str, serde_json::Value>,
    inputs: Vec<Option<Stored>>,
    outputs: Vec<Form<'a>>,
}

#[derive(Serialize)]
struct Form<'a> {
    dtype: u16,
    shape: &'a [usize],
}

/// A tensor on its way there or back.
#[derive(Serialize, Deserialize)]
struct Stored {
    dtype: u16,
    shape: Vec<usize>,
    bytes: String,
    #[serde(default)]
    constant: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Outputs(Vec<Stored>),
    Refused(String),
}

impl<'a> Asked<'a> {
    fn new(case: &'a Case) -> Self {
        let question = &case.question;
        let known = settled(&question.op);
        let input = |(index, operand): (usize, &Option<Operand>)| {
            let operand = operand.as_ref()?;
            Some(Stored {
                dtype: operand.tensor.dtype,
                shape: operand.tensor.shape.clone(),
                bytes: hex(&operand.tensor.bytes),
                constant: operand.constant || known.contains(&index),
            })
        };
        let attribute = |val: &Attribute| match val {
            Attribute::Integer(value) => Some((*value).into()),
            Attribute::Number(value) => Some((*value).into()),
            Attribute::Text(value) => Some(value.clone().into()),
            // A list without elements has no type that could be written.
            Attribute::Integers(values) if !values.is_empty() => Some(values.clone().into()),
            Attribute::Numbers(values) if !values.is_empty() => Some(values.clone().into()),
            _ => None,
        };
        Self {
            op: &question.op,
            revision: question.revision,
            attributes: question
                .attributes
                .iter()
                .filter_map(|kv| Some((kv.key.as_str(), attribute(&kv.val)?)))
                .collect(),
            inputs: question.inputs.iter().enumerate().map(input).collect(),
            outputs: case.answers.iter().map(|answer| Form { dtype: answer.dtype, shape: &answer.shape }).collect(),
        }
    }
}

/// How the answer differs from the oracle's; the error is a refusal.
fn differs(case: &Case, said: &Said) -> Result<Option<String>, String> {
    let outputs = match said {
        Said::Refused(why) => return Err(why.clone()),
        Said::Outputs(outputs) => outputs,
    };
    if outputs.len() != case.answers.len() {
        return Ok(Some(format!("{} outputs where {} belong", outputs.len(), case.answers.len())));
    }
    for (at, (answer, output)) in case.answers.iter().zip(outputs).enumerate() {
        if (answer.dtype, &answer.shape) != (output.dtype, &output.shape) {
            let (dtype, shape) = (output.dtype, &output.shape);
            return Ok(Some(format!(
                "output {at} is {dtype} {shape:?} where {} {:?} belongs",
                answer.dtype, answer.shape
            )));
        }
        let bytes = unhex(&output.bytes).ok_or("the script printed no bytes")?;
        if let Err(fault) = judge(&generous(answer), &bytes, &[bound(answer)], case.finite) {
            return Ok(Some(format!("output {at}, {fault}")));
        }
    }
    Ok(None)
}

/// How far the other runtime may be from the answer.
fn bound(answer: &Answer) -> Bound {
    let Content::Reals(reals) = &answer.content else { return Bound::Exact };
    let largest =
        reals.values.iter().filter(|value| value.is_finite()).fold(0.0f64, |most, value| most.max(value.abs()));
    match answer.dtype {
        _ if largest < TINY => Bound::Absolute(TINY),
        dtype::F16 => Bound::Approximate(APART_IN_HALF),
        _ => Bound::Approximate(APART),
    }
}

/// The answer without a word about the signs of zeros.
fn generous(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    if let Content::Reals(reals) = &mut answer.content {
        reals.signed_zeros = false;
    }
    answer
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// The other runtime, in a process that may die or hang of any case.
struct Peer {
    process: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    fn start(python: &Path, script: &Path) -> Result<Self> {
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().with_context(|| format!("cannot start {}", python.display()))?;
        let questions = process.stdin.take().context("the child has no input")?;
        let lines = BufReader::new(process.stdout.take().context("the child has no output")?).lines();
        // One question is asked at a time, so no more than one answer ever waits.
        let (sender, answers) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Ok(Self { process, questions, answers })
    }

    /// None: the process ended, or did not answer in time.
    fn ask(&mut self, asked: &Asked<'_>) -> Result<Option<Said>> {
        let mut line = serde_json::to_string(asked)?;
        line.push('\n');
        if self.questions.write_all(line.as_bytes()).is_err() {
            return Ok(None);
        }
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).map(Some).with_context(|| format!("the peer printed `{line}`")),
            Err(_) => Ok(None),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be hanging, and then ends in no other way; if it has ended already, there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
