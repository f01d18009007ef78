//! Small tensors, element by element: the arithmetic that models do on shapes.
//!
//! Where an element does not follow it is `Unknown`; nothing here fails, for a kernel will meet the same numbers later.

use super::layout::slice_axis;
use super::select::shape_window;
use super::{Elem, FOLLOWED_MAX, Fact, Scope, axis_index, count_of};
use crate::{DType, Dim};

/// A length given as an element.
pub(super) fn as_dim(elem: Elem) -> Result<Dim, String> {
    match elem {
        Elem::Int(value) => super::length(value, "length").map(Dim::Known),
        Elem::Symbol(symbol) => Ok(Dim::Symbol(symbol)),
        Elem::Float(_) | Elem::Unknown => Ok(Dim::Unknown),
    }
}

fn from_dim(dim: Dim) -> Elem {
    match dim {
        Dim::Known(length) => i64::try_from(length).map_or(Elem::Unknown, Elem::Int),
        Dim::Symbol(symbol) => Elem::Symbol(symbol),
        Dim::Unknown => Elem::Unknown,
    }
}

/// Adds the elements to the facts of a node whose inputs are followed.
pub(super) fn follow(scope: &Scope<'_>, mut facts: Vec<Fact>) -> Vec<Fact> {
    if scope.node.op == "Split" {
        split(scope, &mut facts);
    } else if let Some(fact) = facts.first_mut() {
        let count = fact.shape.as_ref().and_then(|shape| count_of(shape));
        if count.is_some_and(|count| count <= FOLLOWED_MAX) && fact.dtype.is_some_and(follows) {
            fact.elems = elements(scope, fact);
        }
    }
    facts
}

/// Whether elements are followed through an operator, input by input. Reductions are not among them: a content stands for many others behind one.
pub(crate) fn is_followed(op: &str) -> bool {
    matches!(
        op,
        "Identity"
            | "Reshape"
            | "Squeeze"
            | "Unsqueeze"
            | "Flatten"
            | "Cast"
            | "Concat"
            | "Gather"
            | "Slice"
            | "Split"
            | "Transpose"
            | "ConstantOfShape"
            | "Expand"
            | "Where"
    ) || is_unary(op)
        || is_binary(op)
}

fn follows(dtype: DType) -> bool {
    matches!(dtype, DType::I64 | DType::I32 | DType::Bool | DType::F32 | DType::F64)
}

fn elements(scope: &Scope<'_>, fact: &Fact) -> Option<Vec<Elem>> {
    let shape = concrete(fact.shape.as_deref())?;
    match scope.node.op.as_str() {
        "Shape" => {
            let source = scope.shape(0)?;
            Some(source[shape_window(scope, source.len())].iter().map(|dim| from_dim(*dim)).collect())
        }
        "Size" => Some(vec![
            count_of(scope.shape(0)?).and_then(|count| i64::try_from(count).ok()).map_or(Elem::Unknown, Elem::Int),
        ]),
        "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => Some(scope.elems(0)?.to_vec()),
        "Cast" => cast(scope.elems(0)?, scope.dtype(0)?, fact.dtype?),
        "Concat" => concat(scope, &shape),
        "Gather" => gather(scope),
        "Slice" => slice(scope),
        "Transpose" => transpose(scope, &shape),
        "ConstantOfShape" => {
            let value = match scope.node.attributes.get("value") {
                Some(crate::Attribute::Value(id)) => *scope.inference.elems(*id)?.first()?,
                _ => Elem::Float(0.0),
            };
            Some(vec![value; count(&shape)?])
        }
        "Range" => range(scope, count(&shape)?),
        "Expand" => broadcast_to(scope.elems(0)?, &concrete(scope.shape(0))?, &shape),
        "Where" => {
            let parts = operands(scope, 3, &shape)?;
            Some(
                (0..count(&shape)?)
                    .map(|at| match parts[0][at] {
                        Elem::Int(0) => parts[2][at],
                        Elem::Int(_) => parts[1][at],
                        _ if parts[1][at] == parts[2][at] => parts[1][at],
                        _ => Elem::Unknown,
                    })
                    .collect(),
            )
        }
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" if shape.iter().all(|length| *length == 1) => {
            let op: fn(i64, i64) -> Option<i64> = match scope.node.op.as_str() {
                "ReduceProd" => i64::checked_mul,
                "ReduceSum" => i64::checked_add,
                "ReduceMax" => |a, b| Some(a.max(b)),
                _ => |a, b| Some(a.min(b)),
            };
            let all = scope.elems(0)?.iter().map(|elem| if let Elem::Int(value) = elem { Some(*value) } else { None });
            let sum = all.collect::<Option<Vec<i64>>>()?.into_iter().map(Some).reduce(|a, b| op(a?, b?))??;
            Some(vec![Elem::Int(sum)])
        }
        op if is_unary(op) => {
            let double = fact.dtype == Some(DType::F64);
            Some(scope.elems(0)?.iter().map(|elem| unary(op, *elem, double)).collect())
        }
        op if is_binary(op) => {
            let double = scope.dtype(0) == Some(DType::F64);
            let narrow = scope.dtype(0) == Some(DType::I32);
            let parts = operands(scope, scope.node.own_inputs(), &shape)?;
            let (first, rest) = parts.split_first()?;
            let mut result = first.clone();
            for part in rest {
                for (mine, other) in result.iter_mut().zip(part) {
                    *mine = binary(op, *mine, *other, double);
                    if let Elem::Int(value) = *mine
                        && narrow
                        && i32::try_from(value).is_err()
                    {
                        *mine = Elem::Unknown;
                    }
                }
            }
            Some(result)
        }
        _ => None,
    }
}

fn is_unary(op: &str) -> bool {
    matches!(op, "Neg" | "Abs" | "Not" | "Floor" | "Ceil" | "Round" | "Sqrt")
}

fn is_binary(op: &str) -> bool {
    matches!(
        op,
        "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Mod"
            | "Max"
            | "Min"
            | "Equal"
            | "Less"
            | "LessOrEqual"
            | "Greater"
            | "GreaterOrEqual"
            | "And"
            | "Or"
    )
}

fn float(value: f64, double: bool) -> Elem {
    Elem::Float(if double { value } else { f64::from(value as f32) })
}

fn unary(op: &str, elem: Elem, double: bool) -> Elem {
    match (op, elem) {
        ("Neg", Elem::Int(a)) => a.checked_neg().map_or(Elem::Unknown, Elem::Int),
        ("Abs", Elem::Int(a)) => a.checked_abs().map_or(Elem::Unknown, Elem::Int),
        ("Abs", Elem::Symbol(_)) => elem,
        ("Not", Elem::Int(a)) => Elem::Int(i64::from(a == 0)),
        ("Neg", Elem::Float(a)) => Elem::Float(-a),
        ("Abs", Elem::Float(a)) => Elem::Float(a.abs()),
        ("Floor", Elem::Float(a)) => Elem::Float(a.floor()),
        ("Ceil", Elem::Float(a)) => Elem::Float(a.ceil()),
        ("Round", Elem::Float(a)) => Elem::Float(a.round_ties_even()),
        ("Sqrt", Elem::Float(a)) => float(a.sqrt(), double),
        _ => Elem::Unknown,
    }
}

fn binary(op: &str, a: Elem, b: Elem, double: bool) -> Elem {
    let int = |value: Option<i64>| value.map_or(Elem::Unknown, Elem::Int);
    let truth = |value: bool| Elem::Int(i64::from(value));
    match (op, a, b) {
        ("Add", Elem::Int(a), Elem::Int(b)) => int(a.checked_add(b)),
        ("Sub", Elem::Int(a), Elem::Int(b)) => int(a.checked_sub(b)),
        ("Mul", Elem::Int(a), Elem::Int(b)) => int(a.checked_mul(b)),
        // Integer division truncates towards zero.
        ("Div", Elem::Int(a), Elem::Int(b)) => int(a.checked_div(b)),
        // The sign of the divisor, as Python's %; with fmod it is left alone.
        ("Mod", Elem::Int(a), Elem::Int(b)) if a >= 0 && b > 0 => int(a.checked_rem(b)),
        ("Max", Elem::Int(a), Elem::Int(b)) => Elem::Int(a.max(b)),
        ("Min", Elem::Int(a), Elem::Int(b)) => Elem::Int(a.min(b)),
        ("Equal", Elem::Int(a), Elem::Int(b)) => truth(a == b),
        ("Less", Elem::Int(a), Elem::Int(b)) => truth(a < b),
        ("LessOrEqual", Elem::Int(a), Elem::Int(b)) => truth(a <= b),
        ("Greater", Elem::Int(a), Elem::Int(b)) => truth(a > b),
        ("GreaterOrEqual", Elem::Int(a), Elem::Int(b)) => truth(a >= b),
        ("And", Elem::Int(a), Elem::Int(b)) => truth(a != 0 && b != 0),
        ("Or", Elem::Int(a), Elem::Int(b)) => truth(a != 0 || b != 0),
        // A length is never negative.
        ("Equal", Elem::Symbol(_), Elem::Int(n)) | ("Equal", Elem::Int(n), Elem::Symbol(_)) if n < 0 => Elem::Int(0),
        ("Equal", Elem::Symbol(a), Elem::Symbol(b)) if a == b => Elem::Int(1),
        ("Add" | "Sub", Elem::Symbol(_), Elem::Int(0)) | ("Mul" | "Div", Elem::Symbol(_), Elem::Int(1)) => a,
        ("Add", Elem::Int(0), Elem::Symbol(_)) | ("Mul", Elem::Int(1), Elem::Symbol(_)) => b,
        ("Max" | "Min", Elem::Symbol(a_symbol), Elem::Symbol(b_symbol)) if a_symbol == b_symbol => a,
        ("Add", Elem::Float(a), Elem::Float(b)) => float(a + b, double),
        ("Sub", Elem::Float(a), Elem::Float(b)) => float(a - b, double),
        ("Mul", Elem::Float(a), Elem::Float(b)) => float(a * b, double),
        ("Div", Elem::Float(a), Elem::Float(b)) => float(a / b, double),
        _ => Elem::Unknown,
    }
}

fn concrete(shape: Option<&[Dim]>) -> Option<Vec<u64>> {
    shape?.iter().map(|dim| dim.known()).collect()
}

fn count(shape: &[u64]) -> Option<usize> {
    usize::try_from(crate::tensor::elements(shape)?).ok()
}

/// For each element of `to`, the one of `from` that broadcasting repeats there.
fn broadcast_to(elems: &[Elem], from: &[u64], to: &[u64]) -> Option<Vec<Elem>> {
    let skip = to.len().checked_sub(from.len())?;
    let total = count(to)?;
    let mut result = Vec::with_capacity(total);
    for flat in 0..total as u64 {
        let (mut rest, mut place, mut stride) = (flat, 0, 1);
        for axis in (0..to.len()).rev() {
            let at = rest.checked_rem(to[axis])?;
            rest /= to[axis];
            if let Some(own) = axis.checked_sub(skip) {
                place += if from[own] == 1 { 0 } else { at } * stride;
                stride *= from[own];
            }
        }
        result.push(*elems.get(usize::try_from(place).ok()?)?);
    }
    Some(result)
}

fn operands(scope: &Scope<'_>, inputs: usize, shape: &[u64]) -> Option<Vec<Vec<Elem>>> {
    (0..inputs).map(|index| broadcast_to(scope.elems(index)?, &concrete(scope.shape(index))?, shape)).collect()
}

fn cast(elems: &[Elem], from: DType, to: DType) -> Option<Vec<Elem>> {
    let each = |elem: &Elem| match (*elem, to) {
        (Elem::Int(value), DType::I64) => Elem::Int(value),
        (Elem::Int(value), DType::I32) => i32::try_from(value).map_or(Elem::Unknown, |value| Elem::Int(value.into())),
        (Elem::Int(value), DType::Bool) => Elem::Int(i64::from(value != 0)),
        (Elem::Int(value), DType::F32) => Elem::Float(f64::from(value as f32)),
        (Elem::Int(value), DType::F64) => Elem::Float(value as f64),
        (Elem::Symbol(_), DType::I64 | DType::I32) => *elem,
        (Elem::Float(value), DType::F32) => float(value, false),
        (Elem::Float(_), DType::F64) => *elem,
        // Truncation; beyond the type it is undefined and left to the kernel.
        (Elem::Float(value), DType::I64 | DType::I32) if value.abs() < 2e9 => Elem::Int(value as i64),
        _ => Elem::Unknown,
    };
    (follows(from)).then(|| elems.iter().map(each).collect())
}

fn concat(scope: &Scope<'_>, shape: &[u64]) -> Option<Vec<Elem>> {
    let axis = axis_index(scope.attribute("axis", 0), shape.len()).ok()?;
    let outer = count(&shape[..axis])?;
    let mut result = Vec::with_capacity(count(shape)?);
    for row in 0..outer {
        for index in 0..scope.node.own_inputs() {
            let part = concrete(scope.shape(index))?;
            let inner = count(&part[axis..])?;
            match scope.elems(index) {
                Some(elems) => result.extend_from_slice(elems.get(row * inner..(row + 1) * inner)?),
                // One stranger among the parts does not spoil the others.
                None => result.resize(result.len() + inner, Elem::Unknown),
            }
        }
    }
    Some(result)
}

fn gather(scope: &Scope<'_>) -> Option<Vec<Elem>> {
    let (elems, data) = (scope.elems(0)?, concrete(scope.shape(0))?);
    let axis = axis_index(scope.attribute("axis", 0), data.len()).ok()?;
    let indices = scope.integers(1)?;
    let (outer, size, inner) = (count(&data[..axis])?, usize::try_from(data[axis]).ok()?, count(&data[axis + 1..])?);
    let mut result = vec![];
    for row in 0..outer {
        for index in &indices {
            let at = usize::try_from(if *index < 0 { index.checked_add(size as i64)? } else { *index }).ok()?;
            let start = (row * size).checked_add(at)?.checked_mul(inner)?;
            result.extend_from_slice(elems.get(start..start.checked_add(inner)?)?);
        }
    }
    Some(result)
}

fn slice(scope: &Scope<'_>) -> Option<Vec<Elem>> {
    let data = concrete(scope.shape(0))?;
    let [size] = data[..] else { return None };
    if scope.has(3) && scope.integers(3)?.iter().any(|axis| *axis != 0 && *axis != -1) {
        return None;
    }
    let step = if scope.has(4) { scope.integer(4)? } else { 1 };
    let (start, step, count) = slice_axis(size, scope.integer(1)?, scope.integer(2)?, step).ok()?;
    let elems = scope.elems(0)?;
    (0..count as i64).map(|index| elems.get(usize::try_from(start + index * step).ok()?).copied()).collect()
}

fn transpose(scope: &Scope<'_>, shape: &[u64]) -> Option<Vec<Elem>> {
    let elems = scope.elems(0)?;
    match *shape {
        [] | [_] => Some(elems.to_vec()),
        [rows, columns] => {
            let swapped = scope.node.integers("perm").is_none_or(|perm| perm == [1, 0] || perm == [-1, 0]);
            if !swapped {
                return Some(elems.to_vec());
            }
            let (rows, columns) = (usize::try_from(rows).ok()?, usize::try_from(columns).ok()?);
            (0..rows * columns).map(|at| elems.get(at % columns * rows + at / columns).copied()).collect()
        }
        _ => None,
    }
}

fn range(scope: &Scope<'_>, count: usize) -> Option<Vec<Elem>> {
    let (start, step) = (scope.integer(0)?, scope.integer(2)?);
    (0..count as i64).map(|index| Some(Elem::Int(start.checked_add(index.checked_mul(step)?)?))).collect()
}

fn split(scope: &Scope<'_>, facts: &mut [Fact]) {
    let Some(elems) = scope.elems(0).filter(|_| scope.rank(0) == Some(1)) else { return };
    let mut start = 0;
    for fact in facts {
        let Some(count) = fact.shape.as_deref().and_then(count_of).and_then(|count| usize::try_from(count).ok()) else {
            return;
        };
        let Some(part) = elems.get(start..start + count) else { return };
        fact.elems = Some(part.to_vec());
        start += count;
    }
}
