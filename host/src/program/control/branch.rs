//! If: one of two blocks.

use super::{Context, Control, Fault, Operands, single};
use crate::host_ops::Value;

pub(super) fn run(control: &Control, context: &mut Context<'_>, mut operands: Operands) -> Result<Vec<Value>, Fault> {
    let taken = if single(operands.take(0)?, "condition")? != 0 { "then_branch" } else { "else_branch" };
    Ok(control.body(taken)?.run(context, operands.captured)?)
}
