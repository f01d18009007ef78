//! Operations that are misread: an attribute, a small constant or a step is not what it says.

use sunmao_plugin_sdk::abi::{Attribute, Operation};

/// Changes `operation` as the words say; none: unknown words. Words that do not concern this operation leave it as it is.
pub(crate) fn misread(operation: &mut Operation, words: &[&str]) -> Option<()> {
    match *words {
        ["drop", index] => {
            let index: usize = index.parse().ok()?;
            if let Some(input) = operation.inputs.get_mut(index) {
                *input = None;
            }
        }
        ["steps", which] => {
            let last = operation.epilogue.len().saturating_sub(1);
            let steps = std::mem::take(&mut operation.epilogue);
            for (at, step) in steps.into_iter().enumerate() {
                if !(which == "none" || which == "last" && at == last || which == step.op) {
                    operation.epilogue.push(step);
                } else if let Some(input) = step.input.and_then(|input| operation.inputs.get_mut(input as usize)) {
                    // Nobody reads it any more.
                    *input = None;
                }
            }
        }
        ["window", "dilate"] => dilate(operation),
        ["attribute", key, how, ref by @ ..] => {
            let by = by.first().copied().unwrap_or("");
            let found = operation.attributes.iter_mut().find(|kv| kv.key == key);
            if let Some(kv) = found {
                attribute(&mut kv.val, how, by)?;
            }
        }
        ["literal", index, how, ref by @ ..] => {
            let index: usize = index.parse().ok()?;
            let by: i64 = by.first().map_or(Some(0), |by| by.parse().ok())?;
            let operand = operation.inputs.get_mut(index).and_then(Option::as_mut);
            if let Some(operand) = operand
                && let Some(literal) = &mut operand.literal
                && operand.dtype == 7
            {
                let mut numbers: Vec<i64> = literal
                    .chunks_exact(8)
                    .map(|bytes| i64::from_le_bytes(bytes.try_into().expect("8 bytes")))
                    .collect();
                integers(&mut numbers, how, by)?;
                *literal = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            }
        }
        _ => return None,
    }
    Some(())
}

/// Taps that lie one further apart, and as much padding as keeps the result's shape.
fn dilate(operation: &mut Operation) {
    let list = |operation: &Operation, wanted: &str| {
        let found = operation.attributes.iter().find(|kv| kv.key == wanted);
        found.and_then(|kv| if let Attribute::Integers(list) = &kv.val { Some(list.clone()) } else { None })
    };
    let Some(kernel) = list(operation, "kernel_shape") else { return };
    for kv in &mut operation.attributes {
        match (kv.key.as_str(), &mut kv.val) {
            ("dilations", Attribute::Integers(dilations)) => dilations.iter_mut().for_each(|dilation| *dilation += 1),
            ("pads", Attribute::Integers(pads)) => {
                pads.iter_mut().skip(kernel.len()).zip(&kernel).for_each(|(pad, &taps)| *pad += taps - 1);
            }
            _ => {}
        }
    }
}

fn attribute(value: &mut Attribute, how: &str, by: &str) -> Option<()> {
    match value {
        Attribute::Integer(number) if how == "toggle" => *number = i64::from(*number == 0),
        Attribute::Integer(number) if how == "add" => *number += by.parse::<i64>().ok()?,
        Attribute::Integers(numbers) => integers(numbers, how, by.parse().unwrap_or(0))?,
        Attribute::Number(number) if how == "scale" => *number *= by.parse::<f64>().ok()?,
        Attribute::Text(text) if how == "text" => *text = by.to_owned(),
        _ => {}
    }
    Some(())
}

fn integers(numbers: &mut Vec<i64>, how: &str, by: i64) -> Option<()> {
    let half = numbers.len() / 2;
    match how {
        // Paddings: one more in front, one less behind.
        "slide" => {
            for i in 0..half {
                numbers[i] += 1;
                numbers[half + i] -= 1;
            }
        }
        "add" => numbers.iter_mut().for_each(|number| *number = number.saturating_add(by)),
        "first" => numbers.iter_mut().take(1).for_each(|number| *number = number.saturating_add(by)),
        "last" => numbers.iter_mut().rev().take(1).for_each(|number| *number = number.saturating_add(by)),
        "reverse" => numbers.reverse(),
        "turn" if !numbers.is_empty() => numbers.rotate_left(1),
        "turn" => {}
        "negate" => numbers.iter_mut().for_each(|number| *number = number.saturating_neg()),
        "empty" => numbers.clear(),
        _ => return None,
    }
    Some(())
}
