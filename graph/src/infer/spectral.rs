//! Fourier transforms, and the windows and weights that go with them.

use super::{Fact, Facts, Scope, axis_index, length};
use crate::{DType, Dim};

pub(super) fn covers(op: &str) -> bool {
    matches!(op, "DFT" | "STFT" | "MelWeightMatrix" | "HannWindow" | "HammingWindow" | "BlackmanWindow")
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    match scope.node.op.as_str() {
        "DFT" => dft(scope),
        "STFT" => stft(scope),
        "MelWeightMatrix" => {
            let bins = dim(scope.integer(0), "number of mel bins")?;
            let spectrum = match dim(scope.integer(1), "dft_length")? {
                Dim::Known(length) => Dim::Known(length / 2 + 1),
                unknown => unknown,
            };
            Ok(vec![Fact::new(output_dtype(scope)?, Some(vec![spectrum, bins]))])
        }
        _ => Ok(vec![Fact::new(output_dtype(scope)?, Some(vec![dim(scope.integer(0), "size")?]))]),
    }
}

fn output_dtype(scope: &Scope<'_>) -> Result<Option<DType>, String> {
    let code = scope.attribute("output_datatype", 1);
    let dtype = u16::try_from(code).ok().and_then(DType::from_code);
    dtype.map(Some).ok_or_else(|| format!("has the unknown output_datatype {code}"))
}

/// A length that follows from an input's only element.
fn dim(element: Option<i64>, what: &str) -> Result<Dim, String> {
    element.map_or(Ok(Dim::Unknown), |element| length(element, what).map(Dim::Known))
}

fn dft(scope: &Scope<'_>) -> Facts {
    scope.want_rank(0, 2, usize::MAX)?;
    let Some(x) = scope.shape(0) else { return Ok(vec![Fact::new(scope.dtype(0), None)]) };
    let (inverse, onesided) = (scope.attribute("inverse", 0) != 0, scope.attribute("onesided", 0) != 0);
    let parts = if inverse && onesided { 1 } else { 2 };
    let mut shape = x.to_vec();
    let last = x.len() - 1;
    shape[last] = Dim::Known(parts);
    let axis = if scope.has(2) { scope.integer(2) } else { Some(-2) };
    let Some(axis) = axis else {
        // Any axis may be the one that changes its length.
        shape[..last].fill(Dim::Unknown);
        return Ok(vec![Fact::new(scope.dtype(0), Some(shape))]);
    };
    let axis = axis_index(axis, x.len())?;
    if axis == last {
        return Err("transforms the axis of real and imaginary parts".to_owned());
    }
    let full = match (scope.has(1), x[axis]) {
        (true, _) => dim(scope.integer(1), "dft_length")?,
        (false, Dim::Known(given)) if inverse && onesided => Dim::Known(given.saturating_sub(1).saturating_mul(2)),
        (false, Dim::Symbol(_)) if inverse && onesided => Dim::Unknown,
        (false, given) => given,
    };
    shape[axis] = match full {
        Dim::Known(length) if onesided && !inverse => Dim::Known(length / 2 + 1),
        Dim::Symbol(_) if onesided && !inverse => Dim::Unknown,
        other => other,
    };
    Ok(vec![Fact::new(scope.dtype(0), Some(shape))])
}

fn stft(scope: &Scope<'_>) -> Facts {
    scope.want_rank(0, 2, 3)?;
    let Some([batch, samples, ..]) = scope.shape(0) else {
        return Ok(vec![Fact::new(scope.dtype(0), None)]);
    };
    let frame = if scope.has(3) {
        dim(scope.integer(3), "frame_length")?
    } else if scope.has(2) {
        scope.shape(2).and_then(|window| window.first().copied()).unwrap_or(Dim::Unknown)
    } else {
        *samples
    };
    let frames = match (*samples, frame, dim(scope.integer(1), "frame_step")?) {
        (_, _, Dim::Known(0)) => return Err("steps by 0 elements".to_owned()),
        (Dim::Known(samples), Dim::Known(frame), Dim::Known(step)) => {
            let room = samples.checked_sub(frame);
            Dim::Known(room.ok_or_else(|| format!("takes frames of {frame} elements of {samples}"))? / step + 1)
        }
        _ => Dim::Unknown,
    };
    let bins = match frame {
        Dim::Known(frame) if scope.attribute("onesided", 1) != 0 => Dim::Known(frame / 2 + 1),
        Dim::Symbol(_) if scope.attribute("onesided", 1) != 0 => Dim::Unknown,
        other => other,
    };
    Ok(vec![Fact::new(scope.dtype(0), Some(vec![*batch, frames, bins, Dim::Known(2)]))])
}
