//! Operators that keep the shape of their input, or broadcast several.

use super::{Fact, Facts, Scope};
use crate::{DType, Dim};

/// Whether an operator computes each element of its result from those at the same place of its operands, which broadcast.
pub(crate) fn covers(op: &str) -> bool {
    unary(op)
        || comparison(op)
        || arithmetic(op)
        || matches!(
            op,
            "Where" | "Cast" | "CastLike" | "BitCast" | "Dropout" | "IsNaN" | "IsInf" | "Not" | "PRelu" | "Clip"
        )
}

fn unary(op: &str) -> bool {
    matches!(
        op,
        "Abs"
            | "Neg"
            | "Sign"
            | "Reciprocal"
            | "Sqrt"
            | "Exp"
            | "Log"
            | "Sin"
            | "Cos"
            | "Tan"
            | "Asin"
            | "Acos"
            | "Atan"
            | "Sinh"
            | "Cosh"
            | "Tanh"
            | "Asinh"
            | "Acosh"
            | "Atanh"
            | "Erf"
            | "Floor"
            | "Ceil"
            | "Round"
            | "BitwiseNot"
            | "Identity"
            | "Relu"
            | "Sigmoid"
            | "Gelu"
            | "Swish"
            | "Softplus"
            | "Softsign"
            | "Elu"
            | "Selu"
            | "Celu"
            | "LeakyRelu"
            | "HardSigmoid"
            | "HardSwish"
            | "Mish"
            | "ThresholdedRelu"
            | "Shrink"
    )
}

fn comparison(op: &str) -> bool {
    matches!(op, "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor")
}

fn arithmetic(op: &str) -> bool {
    matches!(
        op,
        "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Mod"
            | "Pow"
            | "Max"
            | "Min"
            | "Sum"
            | "Mean"
            | "BitwiseAnd"
            | "BitwiseOr"
            | "BitwiseXor"
            | "BitShift"
            | "SwiGLU"
    )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let shape = || scope.shape(0).map(<[Dim]>::to_vec);
    let op = scope.node.op.as_str();
    match op {
        "IsNaN" | "IsInf" | "Not" => Ok(vec![Fact::new(Some(DType::Bool), shape())]),
        "Dropout" => Ok(vec![Fact::new(scope.dtype(0), shape()), Fact::new(Some(DType::Bool), shape())]),
        "Cast" => {
            let code = scope.attribute("to", 0);
            let dtype = u16::try_from(code).ok().and_then(DType::from_code);
            let dtype = dtype.ok_or_else(|| format!("casts to the unknown element type {code}"))?;
            Ok(vec![Fact::new(Some(dtype), shape())])
        }
        "BitCast" => {
            let code = scope.attribute("to", 0);
            let dtype = u16::try_from(code).ok().and_then(DType::from_code);
            let dtype = dtype.ok_or_else(|| format!("sees its bits as the unknown element type {code}"))?;
            match scope.dtype(0) {
                Some(from) if from.bits() != dtype.bits() || from.bits() == 0 => {
                    Err(format!("sees the bits of {from} as {dtype}, which has another size"))
                }
                _ => Ok(vec![Fact::new(Some(dtype), shape())]),
            }
        }
        "CastLike" => Ok(vec![Fact::new(scope.dtype(1), shape())]),
        "Clip" => {
            for bound in 1..3 {
                if scope.has(bound) {
                    scope.same_dtype(0, bound)?;
                }
            }
            Ok(vec![Fact::new(scope.dtype(0), shape())])
        }
        "PRelu" => {
            scope.same_dtype(0, 1)?;
            let slope = broadcast_inputs(scope, 0..2)?;
            // The slope broadcasts to the input, never the other way.
            Ok(vec![Fact::new(scope.dtype(0), shape().or(slope))])
        }
        "Where" => {
            if let Some(dtype) = scope.dtype(0).filter(|dtype| *dtype != DType::Bool) {
                return Err(format!("needs a condition of bool and got {dtype}"));
            }
            scope.same_dtype(1, 2)?;
            Ok(vec![Fact::new(scope.dtype(1).or(scope.dtype(2)), broadcast_inputs(scope, 0..3)?)])
        }
        _ if unary(op) => Ok(vec![Fact::new(scope.dtype(0), shape())]),
        _ => {
            let count = scope.node.own_inputs();
            if op != "Pow" {
                for index in 1..count {
                    scope.same_dtype(0, index)?;
                }
            }
            let dtype = match op {
                _ if comparison(op) => Some(DType::Bool),
                "Pow" => scope.dtype(0),
                _ => (0..count).find_map(|index| scope.dtype(index)),
            };
            Ok(vec![Fact::new(dtype, broadcast_inputs(scope, 0..count)?)])
        }
    }
}

fn broadcast_inputs(scope: &Scope<'_>, inputs: std::ops::Range<usize>) -> Result<Option<Vec<Dim>>, String> {
    let mut result: Option<Vec<Dim>> = None;
    for index in inputs {
        let Some(shape) = scope.shape(index) else { return Ok(None) };
        result = Some(match result {
            None => shape.to_vec(),
            Some(so_far) => broadcast(&so_far, shape)?,
        });
    }
    Ok(result)
}

/// The shape that two shapes broadcast to.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Dim], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(own) => shape[own],
        None => Dim::Known(1),
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (Dim::Known(1), other) | (other, Dim::Known(1)) => Ok(other),
            (Dim::Known(x), Dim::Known(y)) if x != y => {
                Err(format!("cannot broadcast lengths {x} and {y} on axis {axis} of the result"))
            }
            (Dim::Known(x), _) | (_, Dim::Known(x)) => Ok(Dim::Known(x)),
            (Dim::Symbol(x), Dim::Symbol(y)) if x == y => Ok(Dim::Symbol(x)),
            _ => Ok(Dim::Unknown),
        })
        .collect()
}
