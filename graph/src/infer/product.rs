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
            | "Det"
            | "Attention"
            | "ai.onnx.preview.FlexAttention"
            | "LinearAttention"
            | "CausalConvWithState"
            | "RotaryEmbedding"
            | "TensorScatter"
            | "LSTM"
            | "GRU"
            | "RNN"
            | "sunmao.MatMulIntegerToFloat"
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
        "sunmao.MatMulIntegerToFloat" => Ok(vec![Fact::new(Some(DType::F32), matmul(scope, 0, 1)?)]),
        "QLinearMatMul" => Ok(vec![Fact::new(scope.dtype(7), matmul(scope, 0, 3)?)]),
        "Gemm" => gemm(scope),
        "Det" => Ok(vec![Fact::new(
            scope.dtype(0),
            scope.shape(0).map(|shape| shape[..shape.len().saturating_sub(2)].to_vec()),
        )]),
        "Attention" | "ai.onnx.preview.FlexAttention" => attention(scope),
        "LinearAttention" => linear_attention(scope),
        "CausalConvWithState" => causal_convolution(scope),
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
    scope.want_rank(1, 2, 2)?;
    if let Some(dtype) = scope.dtype(1).filter(|dtype| dtype.block().is_none()) {
        return Err(format!("has weights of type {dtype}, which is no block format"));
    }
    let shape = match (scope.shape(0), scope.shape(1)) {
        (Some([]), _) => return Err("cannot multiply a scalar".to_owned()),
        (Some([batch @ .., inner]), Some([n, k])) => {
            unify(*inner, *k).map_err(|(x, y)| format!("multiplies rows of {x} elements by rows of {y}"))?;
            Some([batch, &[*n]].concat())
        }
        _ => None,
    };
    Ok(vec![Fact::new(scope.dtype(0), shape)])
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

fn linear_attention(scope: &Scope<'_>) -> Facts {
    let state_dtype = if scope.has(3) { scope.dtype(3) } else { scope.dtype(0) };
    let (Some([batch, tokens, q]), Some([.., v])) = (scope.shape(0), scope.shape(2)) else {
        return Ok(vec![Fact::new(scope.dtype(0), None), Fact::new(state_dtype, None)]);
    };
    let heads = |key: &str| match scope.attribute(key, 0) {
        heads if heads > 0 => length(heads, key),
        heads => Err(format!("has {heads} heads (`{key}`)")),
    };
    let (q_heads, kv_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    let split = |width: Dim, heads: u64| width.known().map(|width| width / heads);
    let (keys, values) = (split(*q, q_heads), split(*v, kv_heads));
    let width = match values {
        Some(values) => Some(values.checked_mul(q_heads).ok_or("has too long an axis")?),
        None => None,
    };
    let as_dim = |length: Option<u64>| length.map_or(Dim::Unknown, Dim::Known);
    Ok(vec![
        Fact::new(scope.dtype(0), Some(vec![*batch, *tokens, as_dim(width)])),
        Fact::new(state_dtype, Some(vec![*batch, Dim::Known(kv_heads), as_dim(keys), as_dim(values)])),
    ])
}

fn causal_convolution(scope: &Scope<'_>) -> Facts {
    scope.same_dtype(0, 1)?;
    scope.want_rank(0, 3, 3)?;
    scope.want_rank(1, 3, 3)?;
    let state = match (scope.shape(0), scope.shape(1)) {
        (Some([batch, channels, _]), Some([_, _, taps])) => {
            let kept = match taps {
                Dim::Known(0) => return Err("has a weight without taps".to_owned()),
                Dim::Known(taps) => Dim::Known(taps - 1),
                _ => Dim::Unknown,
            };
            Some(vec![*batch, *channels, kept])
        }
        _ => None,
    };
    let dtype = scope.dtype(0);
    Ok(vec![Fact::new(dtype, scope.shape(0).map(<[Dim]>::to_vec)), Fact::new(dtype, state)])
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
