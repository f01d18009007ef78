//! Matrix products, attention, recurrent layers.

use super::elementwise::broadcast;
use super::{Fact, Facts, Scope, length, unify};
use crate::{DType, Dim};

pub(super) fn covers(op: &str) -> bool {
    matches!(
        op,
        "MatMul"
            | "MatMulInteger"
            | "QLinearMatMul"
            | "Gemm"
            | "Einsum"
            | "Det"
            | "Attention"
            | "RotaryEmbedding"
            | "TensorScatter"
            | "LSTM"
            | "GRU"
            | "RNN"
            | "sunmao.QMatMul"
    )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let same = |dtype: Option<DType>| Fact::new(dtype, scope.shape(0).map(<[Dim]>::to_vec));
    match scope.node.op.as_str() {
        "MatMul" => {
            scope.same_dtype(0, 1)?;
            Ok(vec![Fact::new(scope.dtype(0).or(scope.dtype(1)), matmul(scope, 0, 1)?)])
        }
        "MatMulInteger" => Ok(vec![Fact::new(Some(DType::I32), matmul(scope, 0, 1)?)]),
        "QLinearMatMul" => Ok(vec![Fact::new(scope.dtype(7), matmul(scope, 0, 3)?)]),
        "Gemm" => gemm(scope),
        "Einsum" => einsum(scope),
        "Det" => Ok(vec![Fact::new(
            scope.dtype(0),
            scope.shape(0).map(|shape| shape[..shape.len().saturating_sub(2)].to_vec()),
        )]),
        "Attention" => attention(scope),
        "sunmao.QMatMul" => qmatmul(scope),
        "LSTM" | "GRU" | "RNN" => recurrent(scope),
        _ => Ok(vec![same(scope.dtype(0))]),
    }
}

fn matmul(scope: &Scope<'_>, left: usize, right: usize) -> Result<Option<Vec<Dim>>, String> {
    let (Some(a), Some(b)) = (scope.shape(left), scope.shape(right)) else { return Ok(None) };
    let (a_rows, a_inner, a_batch) = match a {
        [] => return Err("cannot multiply a scalar".to_owned()),
        [k] => (None, *k, &a[..0]),
        [batch @ .., m, k] => (Some(*m), *k, batch),
    };
    let (b_inner, b_columns, b_batch) = match b {
        [] => return Err("cannot multiply by a scalar".to_owned()),
        [k] => (*k, None, &b[..0]),
        [batch @ .., k, n] => (*k, Some(*n), batch),
    };
    unify(a_inner, b_inner).map_err(|(x, y)| format!("multiplies rows of {x} elements by columns of {y}"))?;
    let mut result = broadcast(a_batch, b_batch)?;
    result.extend(a_rows);
    result.extend(b_columns);
    Ok(Some(result))
}

fn gemm(scope: &Scope<'_>) -> Facts {
    scope.same_dtype(0, 1)?;
    scope.want_rank(0, 2, 2)?;
    scope.want_rank(1, 2, 2)?;
    let flip = |shape: Option<&[Dim]>, key: &str| match shape {
        Some([a, b]) if scope.attribute(key, 0) != 0 => (*b, *a),
        Some([a, b]) => (*a, *b),
        _ => (Dim::Unknown, Dim::Unknown),
    };
    let (rows, inner) = flip(scope.shape(0), "transA");
    let (inner_b, columns) = flip(scope.shape(1), "transB");
    unify(inner, inner_b).map_err(|(x, y)| format!("multiplies rows of {x} elements by columns of {y}"))?;
    let shape = vec![rows, columns];
    if let Some(c) = scope.shape(2).filter(|_| scope.has(2)) {
        let wide = broadcast(&shape, c)?;
        if wide.len() != 2
            || wide.iter().zip(&shape).any(|(w, s)| matches!((w, s), (Dim::Known(w), Dim::Known(s)) if w != s))
        {
            return Err("has an input C that does not broadcast to the result".to_owned());
        }
    }
    Ok(vec![Fact::new(scope.dtype(0), Some(shape))])
}

fn qmatmul(scope: &Scope<'_>) -> Facts {
    let n = length(scope.attribute("n", 0), "n")?;
    let k = length(scope.attribute("k", 0), "k")?;
    let shape = match scope.shape(0) {
        None => None,
        Some([]) => return Err("cannot multiply a scalar".to_owned()),
        Some([batch @ .., inner]) => {
            unify(*inner, Dim::Known(k))
                .map_err(|(x, y)| format!("multiplies rows of {x} elements by blocks of {y}"))?;
            Some([batch, &[Dim::Known(n)]].concat())
        }
    };
    Ok(vec![Fact::new(scope.dtype(0), shape)])
}

/// Letters with one length each; "..." stands for leading axes and is left unknown.
fn einsum(scope: &Scope<'_>) -> Facts {
    let unknown = vec![Fact::new(scope.dtype(0), None)];
    let Some(equation) = scope.node.text("equation") else { return Ok(unknown) };
    let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    if equation.contains('.') {
        return Ok(unknown);
    }
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != scope.node.own_inputs() {
        return Err(format!("has {} terms in its equation for {} inputs", terms.len(), scope.node.own_inputs()));
    }
    let mut lengths = std::collections::BTreeMap::<char, (Dim, usize)>::new();
    for (index, term) in terms.iter().enumerate() {
        let letters: Vec<char> = term.chars().collect();
        if let Some(rank) = scope.rank(index)
            && rank != letters.len()
        {
            return Err(format!("names {} axes in term {index} of its equation, the input has {rank}", letters.len()));
        }
        for (axis, letter) in letters.into_iter().enumerate() {
            let dim = scope.shape(index).map_or(Dim::Unknown, |shape| shape[axis]);
            let entry = lengths.entry(letter).or_insert((dim, 0));
            entry.0 = match (entry.0, dim) {
                // einsum broadcasts axes of length 1.
                (Dim::Known(1), other) | (other, Dim::Known(1)) => other,
                (a, b) => unify(a, b).map_err(|(x, y)| format!("uses `{letter}` for lengths {x} and {y}"))?,
            };
            entry.1 += 1;
        }
    }
    let result: Result<Vec<Dim>, String> = match right {
        Some(right) => right
            .chars()
            .map(|letter| {
                lengths
                    .get(&letter)
                    .map(|entry| entry.0)
                    .ok_or_else(|| format!("has `{letter}` in the result of its equation alone"))
            })
            .collect(),
        None => Ok(lengths.values().filter(|entry| entry.1 == 1).map(|entry| entry.0).collect()),
    };
    Ok(vec![Fact::new(scope.dtype(0), Some(result?))])
}

fn attention(scope: &Scope<'_>) -> Facts {
    let (Some(q), Some(k), Some(v)) = (scope.shape(0), scope.shape(1), scope.shape(2)) else {
        return Ok(vec![Fact::new(scope.dtype(0), None)]);
    };
    let heads =
        |key: &str| -> Result<Option<u64>, String> { scope.node.integer(key).map(|n| length(n, key)).transpose() };
    let split = |width: Dim, heads: Option<u64>| match (width, heads) {
        (Dim::Known(width), Some(heads)) if heads > 0 => Dim::Known(width / heads),
        _ => Dim::Unknown,
    };
    let as_dim = |heads: Option<u64>| heads.map_or(Dim::Unknown, Dim::Known);
    let (q_heads, kv_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    // As [batch, heads, length, width], whatever the rank.
    let view = |shape: &[Dim], heads: Option<u64>| match shape {
        [batch, head, length, width] => Ok([*batch, *head, *length, *width]),
        [batch, length, width] => Ok([*batch, as_dim(heads), *length, split(*width, heads)]),
        _ => Err(format!("needs inputs of rank 3 or 4 and got rank {}", shape.len())),
    };
    let (q4, k4, v4) = (view(q, q_heads)?, view(k, kv_heads)?, view(v, kv_heads)?);
    let output = match q {
        [batch, length, _] => {
            let width = match (q4[1], v4[3]) {
                (Dim::Known(heads), Dim::Known(width)) => {
                    Dim::Known(heads.checked_mul(width).ok_or("has too long an axis")?)
                }
                _ => Dim::Unknown,
            };
            vec![*batch, *length, width]
        }
        _ => vec![q4[0], q4[1], q4[2], v4[3]],
    };
    let total = match (scope.has(4), scope.shape(4), k4[2]) {
        (false, _, own) => own,
        (true, Some([_, _, Dim::Known(past), _]), Dim::Known(own)) => {
            Dim::Known(past.checked_add(own).ok_or("has too long an axis")?)
        }
        _ => Dim::Unknown,
    };
    Ok(vec![
        Fact::new(scope.dtype(0), Some(output)),
        Fact::new(scope.dtype(1), Some(vec![k4[0], k4[1], total, k4[3]])),
        Fact::new(scope.dtype(2), Some(vec![v4[0], v4[1], total, v4[3]])),
        Fact::new(scope.dtype(0), Some(vec![q4[0], q4[1], q4[2], total])),
    ])
}

fn recurrent(scope: &Scope<'_>) -> Facts {
    scope.want_rank(0, 3, 3)?;
    scope.want_rank(2, 3, 3)?;
    let (Some([a, b, _]), Some([directions, _, recurrence])) = (scope.shape(0), scope.shape(2)) else {
        return Ok(vec![Fact::new(scope.dtype(0), None)]);
    };
    let (directions, hidden) = (*directions, *recurrence);
    let (full, last) = if scope.attribute("layout", 0) == 0 {
        (vec![*a, directions, *b, hidden], vec![directions, *b, hidden])
    } else {
        (vec![*a, *b, directions, hidden], vec![*a, directions, hidden])
    };
    let dtype = scope.dtype(0);
    Ok(vec![Fact::new(dtype, Some(full)), Fact::new(dtype, Some(last.clone())), Fact::new(dtype, Some(last))])
}
