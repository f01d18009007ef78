//! Whether a chip's operator table covers an operation. `prepare` has the last word; the table saves asking in vain, and is the promise.

use sunmao_plugin_sdk::abi::{Attribute, Operand, Operation, OperatorSupport};

/// Key of a row's `ext`: numbers of the inputs that must be constants with a literal, where they are there.
const CONSTANT_INPUTS: &str = "constant-inputs";

/// Why no row covers an operation, as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCovered(pub String);

/// Whether a row of `table` covers `operation`; if not, the reason of the row that came nearest.
pub fn covers(table: &[OperatorSupport], operation: &Operation) -> Result<(), NotCovered> {
    let mut nearest = format!("it has no operator {}", operation.op);
    for row in table.iter().filter(|row| row.op == operation.op) {
        match row_covers(row, operation) {
            Ok(()) => return Ok(()),
            Err(reason) => nearest = reason,
        }
    }
    Err(NotCovered(nearest))
}

fn row_covers(row: &OperatorSupport, operation: &Operation) -> Result<(), String> {
    if !(row.revision_min..=row.revision_max).contains(&operation.revision) {
        return Err(format!(
            "{} revision {} is outside {} to {}",
            row.op, operation.revision, row.revision_min, row.revision_max
        ));
    }
    let operands = || operation.inputs.iter().chain(&operation.outputs).flatten();
    if let Some(operand) = operands().find(|operand| operand.shape.len() > row.max_rank as usize) {
        return Err(format!("rank {} is above {}", operand.shape.len(), row.max_rank));
    }
    if let Some(operand) = operands().find(|operand| operand.layout != 0 && !row.layouts.contains(&operand.layout)) {
        return Err(format!("{} does not take layout {:#x}", row.op, operand.layout));
    }
    // An epilogue's operands stand behind the operator's own and have its output's type.
    let own = operation.inputs.len() - operation.epilogue.iter().filter(|step| step.input.is_some()).count();
    let signature = row.signatures.iter().any(|signature| {
        types_match(&operation.inputs[..own], &signature.inputs) && types_match(&operation.outputs, &signature.outputs)
    });
    if !signature {
        let types: Vec<u16> = operands().map(|operand| operand.dtype).collect();
        return Err(format!("{} does not take element types {types:?}", row.op));
    }
    if let Some(step) = operation.epilogue.iter().find(|step| !row.epilogues.contains(&step.op)) {
        return Err(format!("{} has no epilogue {}", row.op, step.op));
    }
    if let Some(Attribute::Integers(inputs)) = row.ext.iter().find(|kv| kv.key == CONSTANT_INPUTS).map(|kv| &kv.val) {
        let open = |&input: &i64| {
            let operand = usize::try_from(input).ok().and_then(|input| operation.inputs.get(input));
            operand.and_then(Option::as_ref).is_some_and(|operand| operand.literal.is_none())
        };
        if let Some(input) = inputs.iter().find(|input| open(input)) {
            return Err(format!("input {input} of {} must be a small constant", row.op));
        }
    }
    for limit in &row.limits {
        check_limit(&limit.key, &limit.val, operation)?;
    }
    Ok(())
}

fn types_match(operands: &[Option<Operand>], pattern: &[u16]) -> bool {
    let Some(&last) = pattern.last() else { return operands.is_empty() };
    operands.iter().enumerate().all(|(index, operand)| {
        let want = pattern.get(index).copied().unwrap_or(last);
        operand.as_ref().is_none_or(|operand| want == 0 || want == operand.dtype)
    })
}

fn check_limit(key: &str, allowed: &Attribute, operation: &Operation) -> Result<(), String> {
    let (name, bound) = match (key.strip_suffix("<="), key.strip_suffix(">=")) {
        (Some(name), _) => (name, Some(true)),
        (_, Some(name)) => (name, Some(false)),
        _ => (key, None),
    };
    let Some(actual) = operation.attributes.iter().find(|kv| kv.key == name).map(|kv| &kv.val) else { return Ok(()) };
    let fits = match (bound, actual, allowed) {
        (Some(upper), actual, allowed) => match (numbers(actual), numbers(allowed).as_deref()) {
            (Some(actual), Some([limit])) => actual.iter().all(|n| if upper { n <= limit } else { n >= limit }),
            _ => false,
        },
        (None, Attribute::Integer(n), Attribute::Integers(set)) => set.contains(n),
        (None, Attribute::Number(n), Attribute::Numbers(set)) => set.contains(n),
        (None, Attribute::Text(text), Attribute::Texts(set)) => set.contains(text),
        (None, actual, allowed) => actual == allowed,
    };
    if fits { Ok(()) } else { Err(format!("attribute {name} is outside what the chip takes")) }
}

fn numbers(attribute: &Attribute) -> Option<Vec<f64>> {
    match attribute {
        Attribute::Integer(n) => Some(vec![*n as f64]),
        Attribute::Number(n) => Some(vec![*n]),
        Attribute::Integers(list) => Some(list.iter().map(|&n| n as f64).collect()),
        Attribute::Numbers(list) => Some(list.clone()),
        _ => None,
    }
}
