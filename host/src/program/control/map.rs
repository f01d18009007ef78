//! SequenceMap: a body for each element of a sequence.

use super::{Context, Control, Fault, Operands};
use crate::host_ops::Value;

pub(super) fn run(control: &Control, context: &mut Context<'_>, mut operands: Operands) -> Result<Vec<Value>, Fault> {
    let body = control.body("body")?;
    let own = (0..operands.own.len()).map(|index| operands.take(index)).collect::<Result<Vec<_>, _>>()?;
    let Some(Value::Sequence(first)) = own.first() else {
        return Err("takes a sequence as its first input".to_owned().into());
    };
    let length = first.len();
    for (index, value) in own.iter().enumerate() {
        if let Value::Sequence(list) = value
            && list.len() != length
        {
            return Err(
                format!("got a sequence of {} values as input {index} beside one of {length}", list.len()).into()
            );
        }
    }
    let mut results: Vec<Vec<Value>> = vec![Vec::with_capacity(length); body.graph().outputs.len()];
    for at in 0..length {
        context.count_iteration()?;
        let element = |value: &Value| match value {
            Value::Sequence(list) => Some(list[at].clone()),
            shared => Some(shared.clone()),
        };
        let inputs = own.iter().map(element).chain(operands.captured.iter().cloned()).collect();
        for (list, value) in results.iter_mut().zip(body.run(context, inputs)?) {
            if let Value::Tensor(tensor) = &value {
                context.count_bytes(tensor.bytes.len())?;
            }
            list.push(value);
        }
    }
    Ok(results.into_iter().map(Value::Sequence).collect())
}
