//! Operators that put windows back where they came from: MaxUnpool, Col2Im.

use super::network::PoolGeometry;
use super::numbers::as_dim;
use super::{Fact, Facts, Scope};
use crate::Dim;

pub(super) fn covers(op: &str) -> bool {
    matches!(op, "MaxUnpool" | "Col2Im")
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let shape = if scope.node.op == "MaxUnpool" { max_unpool(scope)? } else { col2im(scope)? };
    Ok(vec![Fact::new(scope.dtype(0), shape)])
}

fn max_unpool(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    scope.want_rank(0, 3, usize::MAX)?;
    let Some(x) = scope.shape(0) else { return Ok(None) };
    if scope.has(2) {
        let Some(lengths) = scope.elems(2) else { return Ok(Some(vec![Dim::Unknown; x.len()])) };
        if lengths.len() != x.len() {
            return Err(format!("has an output_shape of {} lengths for {} axes", lengths.len(), x.len()));
        }
        return lengths.iter().map(|length| as_dim(*length)).collect::<Result<_, _>>().map(Some);
    }
    let geometry = PoolGeometry::read(scope.node, x.len() - 2, None)?.ok_or("has no kernel_shape")?;
    let mut shape = x[..2].to_vec();
    for (axis, dim) in geometry.axes.iter().zip(&x[2..]) {
        shape.push(match dim {
            Dim::Known(size) => Dim::Known(axis.unslide(*size, 0)?),
            _ => Dim::Unknown,
        });
    }
    Ok(Some(shape))
}

fn col2im(scope: &Scope<'_>) -> Result<Option<Vec<Dim>>, String> {
    scope.want_rank(0, 3, 3)?;
    let batch = scope.shape(0).map_or(Dim::Unknown, |x| x[0]);
    let rows = scope.shape(0).map_or(Dim::Unknown, |x| x[1]);
    let taps = scope.integers(2).and_then(|block| {
        block.iter().try_fold(1u64, |taps, length| taps.checked_mul(u64::try_from(*length).ok().filter(|n| *n > 0)?))
    });
    let channels = match (rows, taps) {
        (Dim::Known(rows), Some(taps)) if rows % taps != 0 => {
            return Err(format!("has {rows} rows for blocks of {taps} elements"));
        }
        (Dim::Known(rows), Some(taps)) => Dim::Known(rows / taps),
        _ => Dim::Unknown,
    };
    let image = match (scope.elems(1), scope.shape(1)) {
        (Some(lengths), _) => lengths.iter().map(|length| as_dim(*length)).collect::<Result<Vec<_>, _>>()?,
        (None, Some([Dim::Known(axes)])) if *axes <= 8 => vec![Dim::Unknown; *axes as usize],
        _ => return Ok(None),
    };
    Ok(Some([&[batch, channels], &image[..]].concat()))
}
