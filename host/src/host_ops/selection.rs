//! NonZero and Compress: which elements stay follows from the data.

use super::call::{Call, Outcome, axis_index, one};
use super::elements::{reshaped, take};
use super::limits::{PLACES_MAX, check_bytes};
use sunmao_graph::tensor::elements;
use sunmao_graph::{DType, Tensor};

/// The places of the elements that are not zero, one row for each axis. A scalar has no axes, and so no rows.
pub(super) fn non_zero(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let count = elements(&tensor.shape).unwrap_or_default();
    if count > PLACES_MAX {
        return Err("got more than 2^27 elements; give it less to work on".to_owned());
    }
    let set = nonzero_flags(tensor)?;
    let found: Vec<u64> = (0..count).zip(&set).filter(|(_, set)| **set).map(|(place, _)| place).collect();
    let rank = tensor.shape.len();
    check_bytes((found.len() as u64).checked_mul(8 * rank as u64))?;
    let mut bytes = Vec::with_capacity(found.len() * rank * 8);
    let mut inner = count;
    for length in &tensor.shape {
        inner /= (*length).max(1);
        for place in &found {
            // An axis of length 0 leaves nothing to be found.
            bytes.extend((place / inner.max(1) % length).to_le_bytes());
        }
    }
    one(Tensor { dtype: DType::I64, shape: vec![rank as u64, found.len() as u64], bytes: bytes.into() })
}

/// Whether each element is something else than zero; -0 is zero, NaN is not.
fn nonzero_flags(tensor: &Tensor) -> Result<Vec<bool>, String> {
    let bits = tensor.dtype.bits();
    if tensor.dtype == DType::String || !bits.is_multiple_of(8) || bits == 0 {
        return Err(format!(
            "does not look for zeros among {}; cast it to a number of 8 bits or more first",
            tensor.dtype
        ));
    }
    // Of the types of 8 bits only those with a negative zero have a sign that does not count.
    let signed = match tensor.dtype {
        DType::F8E4M3FNUZ | DType::F8E5M2FNUZ | DType::Complex64 | DType::Complex128 => false,
        dtype => dtype.is_float(),
    };
    let size = bits as usize / 8;
    let parts = match tensor.dtype {
        DType::Complex64 | DType::Complex128 => size / 2,
        _ => size,
    };
    let complex = parts != size;
    let nonzero = |number: &[u8], signed: bool| match number.split_last() {
        Some((top, rest)) => rest.iter().any(|byte| *byte != 0) || if signed { top & 0x7f != 0 } else { *top != 0 },
        None => false,
    };
    Ok(tensor
        .bytes
        .chunks_exact(size)
        .map(|element| element.chunks_exact(parts).any(|number| nonzero(number, signed || complex)))
        .collect())
}

/// What lies where the condition holds: along an axis, or among all elements.
pub(super) fn compress(call: &Call<'_>) -> Outcome {
    let data = call.tensor(0)?;
    let condition = call.tensor(1)?;
    if condition.dtype != DType::Bool || condition.shape.len() != 1 {
        return Err(format!("needs a vector of bools as condition and got {}{:?}", condition.dtype, condition.shape));
    }
    let flat;
    let (data, axis) = match call.node.integer("axis") {
        Some(axis) => (data, axis_index(axis, data.shape.len())?),
        None => {
            let count = elements(&data.shape).ok_or("got a shape that overflows")?;
            flat = reshaped(data, vec![count])?;
            (&flat, 0)
        }
    };
    // A condition may be shorter than the axis; what it does not reach goes.
    let length = data.shape[axis];
    let kept: Vec<usize> =
        condition.bytes.iter().enumerate().filter(|(_, keep)| **keep != 0).map(|(place, _)| place).collect();
    match kept.last() {
        Some(last) if *last as u64 >= length => {
            Err(format!("keeps place {last} of an axis of length {length}; give a condition that is no longer"))
        }
        _ => one(take(data, axis, &kept)?),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use sunmao_graph::{Attribute, DType};

    #[test]
    fn nonzero_lists_the_places_axis_by_axis() {
        let x = typed(DType::Bool, &[2, 2], &[1.0, 0.0, 1.0, 1.0]);
        assert_eq!(as_integers(&run_one("NonZero", &[], &[x])), (vec![2, 3], vec![0, 1, 1, 0, 0, 1]));
        let zeros = floats(&[3], &[-0.0, f32::NAN, 0.0]);
        assert_eq!(as_integers(&run_one("NonZero", &[], &[zeros])), (vec![1, 1], vec![1]));
    }

    #[test]
    fn nonzero_of_a_scalar_has_no_rows() {
        assert_eq!(as_integers(&run_one("NonZero", &[], &[floats(&[], &[5.0])])), (vec![0, 1], vec![]));
        assert_eq!(as_integers(&run_one("NonZero", &[], &[floats(&[2, 0], &[])])), (vec![2, 0], vec![]));
    }

    #[test]
    fn compress_keeps_rows_columns_or_elements() {
        let x = || floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let keep = |flags: &[f64]| typed(DType::Bool, &[flags.len() as u64], flags);
        let axis = |axis| [("axis", Attribute::Integer(axis))];
        let rows = run_one("Compress", &axis(0), &[x(), keep(&[0.0, 1.0, 1.0])]);
        assert_eq!(as_numbers(&rows), (vec![2, 2], vec![3.0, 4.0, 5.0, 6.0]));
        let columns = run_one("Compress", &axis(-1), &[x(), keep(&[0.0, 1.0])]);
        assert_eq!(as_numbers(&columns), (vec![3, 1], vec![2.0, 4.0, 6.0]));
        let all = run_one("Compress", &[], &[x(), keep(&[0.0, 1.0, 0.0, 0.0, 1.0])]);
        assert_eq!(as_numbers(&all), (vec![2], vec![2.0, 5.0]));
        let texts = run_one("Compress", &[], &[strings(&[3], &["a", "bc", ""]), keep(&[0.0, 1.0, 1.0])]);
        assert_eq!(as_texts(&texts), (vec![2], vec!["bc", ""]));
    }

    #[test]
    fn compress_refuses_a_condition_beyond_the_axis() {
        let keep = typed(DType::Bool, &[3], &[0.0, 0.0, 1.0]);
        assert_eq!(
            refusal("Compress", &[("axis", Attribute::Integer(0))], &[floats(&[2], &[1.0, 2.0]), keep]),
            "keeps place 2 of an axis of length 2; give a condition that is no longer"
        );
    }
}
