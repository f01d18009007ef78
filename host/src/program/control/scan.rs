//! Scan: a body that walks along an axis of its inputs and carries states; opset 8 had a batch of such walks.

use super::repeat::Collected;
use super::slices::{axis_of, slice, stack};
use super::{Context, Control, Fault, Operands, tensor};
use crate::host_ops::Value;
use sunmao_graph::tensor::read_integers;
use sunmao_graph::{Node, Tensor};

/// A tensor that is walked along, its axis resolved.
struct Track {
    tensor: Tensor,
    axis: usize,
    backwards: bool,
}

pub(super) fn run(control: &Control, context: &mut Context<'_>, mut operands: Operands) -> Result<Vec<Value>, Fault> {
    let node = &control.node;
    let scanned = scanned(node)?;
    let count = operands.own.len() - scanned;
    let states = (0..count).map(|index| operands.take(index)).collect::<Result<Vec<_>, _>>()?;
    let track = |(at, value): (usize, Value)| {
        let tensor = tensor(value)?;
        let axis = axis_of(entry(node, "scan_input_axes", at), tensor.shape.len())?;
        Ok(Track { tensor, axis, backwards: entry(node, "scan_input_directions", at) != 0 })
    };
    let inputs = (count..count + scanned).map(|index| operands.take(index)).collect::<Result<Vec<_>, _>>()?;
    let tracks = inputs.into_iter().enumerate().map(track).collect::<Result<Vec<_>, Fault>>()?;
    let length = common_length(&tracks)?;
    let (mut states, collected) = walk(control, context, states, &tracks, length, &operands.captured)?;
    states.extend(
        collected.finish(|at| (entry(node, "scan_output_axes", at), entry(node, "scan_output_directions", at) != 0))?,
    );
    Ok(states)
}

/// One walk for each index of the first axis, each as long as the list of lengths says; shorter ones are filled up with zeros.
pub(super) fn run_batch(
    control: &Control,
    context: &mut Context<'_>,
    mut operands: Operands,
) -> Result<Vec<Value>, Fault> {
    let node = &control.node;
    let scanned = scanned(node)?;
    let lengths = tensor(operands.take(0)?)?;
    let lengths = read_integers(lengths.dtype, &lengths.bytes).ok_or_else(|| "takes integers as lengths".to_owned())?;
    let count = operands.own.len() - 1 - scanned;
    let own = (1..operands.own.len()).map(|index| tensor(operands.take(index)?)).collect::<Result<Vec<_>, _>>()?;
    let batch = own.first().and_then(|tensor| tensor.shape.first().copied()).unwrap_or(0);
    let mut rows: Vec<Vec<Tensor>> = Vec::new();
    let mut longest = 0;
    for row in 0..batch {
        let (states, inputs) = own.split_at(count);
        let states = states.iter().map(|state| Ok(Value::Tensor(slice(state, 0, row)?)));
        let states = states.collect::<Result<Vec<_>, Fault>>()?;
        let track = |(at, input): (usize, &Tensor)| {
            let backwards = entry(node, "scan_input_directions", at) != 0;
            Ok(Track { tensor: slice(input, 0, row)?, axis: 0, backwards })
        };
        let tracks = inputs.iter().enumerate().map(track).collect::<Result<Vec<_>, Fault>>()?;
        let whole = common_length(&tracks)?;
        let length = match lengths.get(row as usize) {
            None => whole,
            Some(length) => u64::try_from(*length)
                .ok()
                .filter(|length| *length <= whole)
                .ok_or_else(|| format!("has the length {length} for row {row}, whose tensors are {whole} long"))?,
        };
        longest = longest.max(whole);
        let (states, collected) = walk(control, context, states, &tracks, length, &operands.captured)?;
        let results = states.into_iter().chain(collected.finish(|_| (0, false))?);
        rows.push(results.map(tensor).collect::<Result<_, _>>()?);
    }
    let results = rows.first().map_or(0, Vec::len);
    let join = |index: usize| {
        let column: Vec<Tensor> =
            rows.iter_mut().map(|row| fill_up(row[index].clone(), index >= count, longest)).collect();
        Ok(Value::Tensor(stack(&column, 0)?))
    };
    (0..results).map(join).collect()
}

/// Zeros behind the results of a walk that was shorter than the longest.
fn fill_up(tensor: Tensor, is_collected: bool, length: u64) -> Tensor {
    match tensor.shape.first() {
        Some(own) if is_collected && *own > 0 && *own < length => {
            let row = tensor.bytes.len() / *own as usize;
            let mut bytes = tensor.bytes.to_vec();
            bytes.resize(row * length as usize, 0);
            let mut shape = tensor.shape.clone();
            shape[0] = length;
            Tensor { shape, bytes: bytes.into(), ..tensor }
        }
        _ => tensor,
    }
}

/// Runs the body `length` times; the last states, and what each run gave.
fn walk(
    control: &Control,
    context: &mut Context<'_>,
    mut states: Vec<Value>,
    tracks: &[Track],
    length: u64,
    captured: &[Option<Value>],
) -> Result<(Vec<Value>, Collected), Fault> {
    let body = control.body("body")?;
    let count = states.len();
    let mut collected = Collected::new(body, count);
    for step in 0..length {
        context.count_iteration()?;
        let mut inputs: Vec<Option<Value>> = states.drain(..).map(Some).collect();
        for track in tracks {
            let at = if track.backwards { track.tensor.shape[track.axis] - 1 - step } else { step };
            inputs.push(Some(Value::Tensor(slice(&track.tensor, track.axis, at)?)));
        }
        inputs.extend(captured.iter().cloned());
        let mut results = body.run(context, inputs)?.into_iter();
        states.extend(results.by_ref().take(count));
        collected.push(context, results)?;
    }
    Ok((states, collected))
}

fn common_length(tracks: &[Track]) -> Result<u64, Fault> {
    let mut lengths = tracks.iter().map(|track| track.tensor.shape.get(track.axis).copied().unwrap_or(0));
    let first = lengths.next().ok_or_else(|| "scans no input".to_owned())?;
    match lengths.find(|length| *length != first) {
        Some(other) => Err(format!("scans inputs of length {first} and {other}").into()),
        None => Ok(first),
    }
}

fn scanned(node: &Node) -> Result<usize, Fault> {
    let count = node.integer("num_scan_inputs").and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| Fault::Refused("does not say how many inputs it scans".to_owned()))
}

/// Entry `at` of a list attribute; 0 where it is left out.
fn entry(node: &Node, key: &str, at: usize) -> i64 {
    node.integers(key).and_then(|list| list.get(at).copied()).unwrap_or(0)
}
