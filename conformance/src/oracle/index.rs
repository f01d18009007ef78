//! Walking over shapes: index tuples in row-major order, offsets, broadcasting.

/// All index tuples of a shape.
pub(crate) fn tuples(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    let count: usize = shape.iter().product();
    (0..count).map(move |at| tuple(at, &shape))
}

/// Index tuple of element `at`.
pub(crate) fn tuple(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = at % shape[axis];
        at /= shape[axis];
    }
    index
}

/// Place of an index tuple.
pub(crate) fn place(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (&i, &dim)| at * dim + i)
}

/// The shape that shapes broadcast to; none when they do not.
pub(crate) fn broadcast(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        let lead = rank - shape.len();
        for (axis, &dim) in shape.iter().enumerate() {
            match (out[lead + axis], dim) {
                (_, 1) => {}
                (1, dim) => out[lead + axis] = dim,
                (a, b) if a == b => {}
                _ => return None,
            }
        }
    }
    Some(out)
}

/// Place in a tensor of `shape` that index `index` of a broadcast result reads.
pub(crate) fn under(index: &[usize], shape: &[usize]) -> usize {
    let lead = index.len() - shape.len();
    shape.iter().enumerate().fold(0, |at, (axis, &dim)| at * dim + if dim == 1 { 0 } else { index[lead + axis] })
}
