//! Fast paths prove themselves on this machine before they are used: on small operands, against the portable kernels, once a process.
//!
//! A processor, a hypervisor or a build can be at fault in ways that no test on another machine sees. What fails is not chosen any more.

mod samples;

use super::native::run_once;
use crate::device::{FastPathOutcome, FastPathRecord, Place, fast_path};
use crate::plan::Plan;
use std::collections::BTreeMap;
use sunmao_graph::DType;
use sunmao_plugin_sdk::abi::{self, Tolerance};

/// Elementary operations of a dispatch of a plan that is small enough to be run for a check: a fraction of a millisecond of the portable kernel.
const WORK_MAX: u64 = 1 << 18;
/// Bits of a fraction that a drawn float has: few, so that short sums are exact in most orders.
const FRACTION_BITS: u32 = 6;

/// Checks the fast paths that `plan` uses and that were not checked yet. Answers whether all of them hold; if not, the plan must be made again
/// without those that failed, which are on record then.
pub fn check_fast_paths(plan: &Plan, record: &FastPathRecord) -> bool {
    let mut least: BTreeMap<(&'static str, &str), &crate::plan::Dispatch> = BTreeMap::new();
    for dispatch in &plan.dispatches {
        let Some(path) = dispatch.place.fast_path() else { continue };
        let op = dispatch.operation.op.as_str();
        if record.is_known(path, op) {
            continue;
        }
        least
            .entry((path, op))
            .and_modify(|least| {
                if dispatch.work < least.work {
                    *least = dispatch;
                }
            })
            .or_insert(dispatch);
    }
    let mut holds = true;
    for ((path, op), dispatch) in least {
        let mut operations = samples::of(op);
        operations.retain(|operation| fast_path(operation, |name| name == path).is_ok());
        if operations.is_empty() && dispatch.work <= WORK_MAX {
            operations.push(dispatch.operation.clone());
        }
        holds &= check(path, op, &operations, record);
    }
    holds
}

/// Checks a fast path on the operations that are kept for this; for a look at all of them.
pub fn check_on_samples(path: &'static str, op: &str, record: &FastPathRecord) {
    if !record.is_known(path, op) {
        check(path, op, &samples::of(op), record);
    }
}

/// Runs the operations that the path takes, and puts the outcome on record. False: it failed.
fn check(path: &'static str, op: &str, operations: &[abi::Operation], record: &FastPathRecord) -> bool {
    let tolerance = sunmao_fastpath::registered()
        .into_iter()
        .find(|entry| entry.path == path && entry.operator == op)
        .map_or(Tolerance::Exact, |entry| entry.tolerance);
    let mut checked = 0;
    for operation in operations.iter().filter(|operation| fast_path(operation, |name| name == path).is_ok()) {
        match compare(Place::FastPath(path), operation, tolerance) {
            Ok(true) => checked += 1,
            Ok(false) => {}
            Err(what) => {
                tracing::warn!(
                    path,
                    op,
                    what,
                    "a native kernel disagrees with its portable twin on this machine and is not used"
                );
                record.note(path, op, FastPathOutcome::Differs(what));
                return false;
            }
        }
    }
    record.note(path, op, FastPathOutcome::Agrees(checked));
    true
}

/// Whether a kernel agrees with the portable one on drawn operands; Ok(false): the portable kernel does not take them.
fn compare(place: Place, operation: &abi::Operation, tolerance: Tolerance) -> Result<bool, String> {
    let Some(inputs) = drawn_operands(operation) else { return Ok(false) };
    let Some(sizes) = operation.outputs.iter().flatten().map(size).collect::<Option<Vec<usize>>>() else {
        return Ok(false);
    };
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let Ok(wanted) = run_once(Place::Portable, operation, &inputs, &sizes) else { return Ok(false) };
    let found = run_once(place, operation, &inputs, &sizes).map_err(|error| error.message)?;
    for (index, operand) in operation.outputs.iter().flatten().enumerate() {
        let dtype = DType::from_code(operand.dtype).ok_or("an output of an unknown type")?;
        near(dtype, &found[index], &wanted[index], tolerance, terms(operation))
            .map_err(|what| format!("output {index} of {}: {what}", operation.op))?;
    }
    Ok(true)
}

/// A generous length of the sums behind one element: no input has more elements.
fn terms(operation: &abi::Operation) -> f64 {
    let elements = |operand: &abi::Operand| operand.shape.iter().map(|&d| f64::from(d)).product::<f64>();
    operation.inputs.iter().flatten().map(elements).fold(1.0, f64::max)
}

/// Whether all elements are as near as the class promises. Only a faulty kernel shall fail, so the bounds are those of the class and a little more.
fn near(dtype: DType, found: &[u8], wanted: &[u8], tolerance: Tolerance, terms: f64) -> Result<(), String> {
    let Some((found, wanted)) = floats(dtype, found).zip(floats(dtype, wanted)) else {
        return if found == wanted { Ok(()) } else { Err("other bits".into()) };
    };
    let largest = wanted.iter().filter(|value| value.is_finite()).fold(0f64, |most, value| most.max(value.abs()));
    let epsilon = match dtype {
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        DType::F64 => 2f64.powi(-52),
        _ => 2f64.powi(-23),
    };
    let allowed = match tolerance {
        Tolerance::Exact => 0.0,
        Tolerance::Ulp(units) => 2.0 * f64::from(units) * epsilon * largest,
        Tolerance::Accumulate(factor) => f64::from(factor) * terms * epsilon * largest.max(1.0),
        Tolerance::Approximate(fraction) => 4.0 * f64::from(fraction) * largest.max(f64::MIN_POSITIVE),
    };
    for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let same = found == wanted || (found.is_nan() && wanted.is_nan());
        let is_near = same || (found - wanted).abs() <= allowed;
        if !is_near {
            return Err(format!("element {at} is {found} where {wanted} is right"));
        }
    }
    Ok(())
}

fn floats(dtype: DType, bytes: &[u8]) -> Option<Vec<f64>> {
    let of_two = |convert: fn([u8; 2]) -> f64| bytes.as_chunks().0.iter().map(|bytes| convert(*bytes)).collect();
    match dtype {
        DType::F32 => Some(bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()),
        DType::F64 => Some(bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
        DType::F16 => Some(of_two(|bytes| half::f16::from_le_bytes(bytes).to_f64())),
        DType::BF16 => Some(of_two(|bytes| half::bf16::from_le_bytes(bytes).to_f64())),
        _ => None,
    }
}

fn size(operand: &abi::Operand) -> Option<usize> {
    let elements = operand.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)))?;
    usize::try_from(DType::from_code(operand.dtype)?.bytes(elements)?).ok()
}

/// Bytes for each input that is there: literals as they are, everything else from a fixed seed. None: some type cannot be drawn.
pub fn drawn_operands(operation: &abi::Operation) -> Option<Vec<Vec<u8>>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 32
    };
    let mut fraction = || {
        let unit = 1u64 << FRACTION_BITS;
        ((next() % (2 * unit)) as f64 - unit as f64 + 0.5) / unit as f64
    };
    let mut inputs = Vec::new();
    for operand in operation.inputs.iter().flatten() {
        let bytes = size(operand)?;
        inputs.push(match (&operand.literal, DType::from_code(operand.dtype)?) {
            (Some(literal), _) => literal.clone(),
            (None, DType::F32) => (0..bytes / 4).flat_map(|_| (fraction() as f32).to_le_bytes()).collect(),
            (None, DType::F64) => (0..bytes / 8).flat_map(|_| fraction().to_le_bytes()).collect(),
            (None, DType::F16) => (0..bytes / 2).flat_map(|_| half::f16::from_f64(fraction()).to_le_bytes()).collect(),
            (None, DType::BF16) => {
                (0..bytes / 2).flat_map(|_| half::bf16::from_f64(fraction()).to_le_bytes()).collect()
            }
            (None, DType::I8 | DType::U8) => (0..bytes).map(|_| (fraction() * 128.0) as i64 as u8).collect(),
            // Numbers of rows and the like, which must stay in range: 0 does.
            (None, DType::I32 | DType::I64 | DType::Bool) => vec![0; bytes],
            (None, _) => return None,
        });
    }
    Some(inputs)
}

#[cfg(test)]
mod tests;
