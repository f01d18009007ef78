//! Matrix products: plain, with scales and shifts, of integers, of block-quantised weights.

use super::index::{broadcast, tuples, under};
use super::quantise::{requantised, single};
use super::tensor::dtype;
use super::{Answer, Question, Reals, Tensor, Unknown, blocks};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "MatMul" => matmul(question),
        "Gemm" => gemm(question),
        "MatMulInteger" => matmul_integer(question),
        "QLinearMatMul" => qlinear_matmul(question),
        "sunmao.MatMulIntegerToFloat" => scaled_product(question),
        "sunmao.QMatMul" => block_matmul(question),
        _ => return None,
    })
}

/// Shapes of a batched product: the operands with a row or a column added where they are vectors, the batch, and the result.
struct Batched {
    left: Vec<usize>,
    right: Vec<usize>,
    batch: Vec<usize>,
    out: Vec<usize>,
    depth: usize,
}

impl Batched {
    fn of(a: &[usize], b: &[usize]) -> Result<Self, Unknown> {
        let bad = || Unknown(format!("a product of shapes {a:?} and {b:?}"));
        let (mut left, mut right) = (a.to_vec(), b.to_vec());
        if left.is_empty() || right.is_empty() {
            return Err(bad());
        }
        if a.len() == 1 {
            left.insert(0, 1);
        }
        if b.len() == 1 {
            right.push(1);
        }
        let (m, k) = (left[left.len() - 2], left[left.len() - 1]);
        let (k2, n) = (right[right.len() - 2], right[right.len() - 1]);
        let batch = broadcast(&[&left[..left.len() - 2], &right[..right.len() - 2]]).ok_or_else(bad)?;
        if k != k2 {
            return Err(bad());
        }
        let mut out = batch.clone();
        if a.len() > 1 {
            out.push(m);
        }
        if b.len() > 1 {
            out.push(n);
        }
        Ok(Self { left, right, batch, out, depth: k })
    }

    /// Calls `visit` for every element of the result with the places of its pairs of factors.
    fn each(&self, mut visit: impl FnMut(&mut dyn Iterator<Item = (usize, usize, usize)>)) {
        let (m, k) = (self.left[self.left.len() - 2], self.depth);
        let n = self.right[self.right.len() - 1];
        for batch in tuples(&self.batch) {
            let from = under(&batch, &self.left[..self.left.len() - 2]) * m * k;
            let to = under(&batch, &self.right[..self.right.len() - 2]) * k * n;
            for row in 0..m {
                for column in 0..n {
                    visit(&mut (0..k).map(|i| (from + row * k + i, to + i * n + column, i)));
                }
            }
        }
    }
}

fn matmul(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (a, b) = (question.tensor(0)?, question.tensor(1)?);
    let shapes = Batched::of(&a.shape, &b.shape)?;
    if !a.is_float() {
        let (left, right) = (a.wholes(), b.wholes());
        let mut values = Vec::new();
        shapes.each(|pairs| {
            values.push(pairs.fold(0i128, |sum, (i, j, _)| sum.wrapping_add(left[i].wrapping_mul(right[j]))))
        });
        return Ok(vec![Answer::stored(Tensor::of_wholes(a.dtype, &shapes.out, &values))]);
    }
    let (left, right) = (a.reals(), b.reals());
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    shapes.each(|pairs| {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (i, j, _) in pairs {
            sum += left[i] * right[j];
            magnitude += (left[i] * right[j]).abs();
        }
        values.push(sum);
        magnitudes.push(magnitude);
    });
    Ok(vec![Answer::reals(a.dtype, &shapes.out, Reals::sums(values, magnitudes, shapes.depth))])
}

fn gemm(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (a, b) = (question.tensor(0)?, question.tensor(1)?);
    let (turned_a, turned_b) = (question.whole("transA", 0) != 0, question.whole("transB", 0) != 0);
    let (alpha, beta) = (question.real("alpha", 1.0), question.real("beta", 1.0));
    let (&[a0, a1], &[b0, b1]) = (&a.shape[..], &b.shape[..]) else {
        return Err(Unknown("Gemm of other than matrices".into()));
    };
    let (m, k) = if turned_a { (a1, a0) } else { (a0, a1) };
    let n = if turned_b { b0 } else { b1 };
    let c = question.optional(2);
    let place_a = |row: usize, i: usize| if turned_a { i * m + row } else { row * k + i };
    let place_b = |i: usize, column: usize| if turned_b { column * k + i } else { i * n + column };
    if !a.is_float() {
        if (alpha, beta) != (1.0, 1.0) {
            return Err(Unknown("Gemm of integers with scales".into()));
        }
        let (left, right) = (a.wholes(), b.wholes());
        let addends = c.map(|c| c.wholes());
        let mut values = Vec::new();
        for index in tuples(&[m, n]) {
            let sum = (0..k).fold(0i128, |sum, i| {
                sum.wrapping_add(left[place_a(index[0], i)].wrapping_mul(right[place_b(i, index[1])]))
            });
            let addend = c.zip(addends.as_ref()).map_or(0, |(c, addends)| addends[under(&index, &c.shape)]);
            values.push(sum.wrapping_add(addend));
        }
        return Ok(vec![Answer::stored(Tensor::of_wholes(a.dtype, &[m, n], &values))]);
    }
    let (left, right) = (a.reals(), b.reals());
    let addends = c.map(|c| c.reals());
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for index in tuples(&[m, n]) {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for i in 0..k {
            let term = left[place_a(index[0], i)] * right[place_b(i, index[1])];
            sum += term;
            magnitude += term.abs();
        }
        let addend = c.zip(addends.as_ref()).map_or(0.0, |(c, addends)| beta * addends[under(&index, &c.shape)]);
        values.push(alpha * sum + addend);
        magnitudes.push((alpha * magnitude).abs() + addend.abs());
    }
    Ok(vec![Answer::reals(a.dtype, &[m, n], Reals::sums(values, magnitudes, k + 2))])
}

fn zero_at(zero: Option<&Tensor>, place: usize) -> i128 {
    zero.map_or(0, |zero| zero.wholes()[if zero.count() == 1 { 0 } else { place }])
}

/// Rows of the result take the zero point of their row of A, columns that of their column of B.
fn integer_product(
    a: &Tensor,
    b: &Tensor,
    a_zero: Option<&Tensor>,
    b_zero: Option<&Tensor>,
) -> Result<(Vec<i128>, Vec<usize>), Unknown> {
    let shapes = Batched::of(&a.shape, &b.shape)?;
    if [a_zero, b_zero].into_iter().flatten().any(|zero| zero.shape.len() > 1) {
        return Err(Unknown("zero points of more than one axis".into()));
    }
    let (left, right) = (a.wholes(), b.wholes());
    let (m, n) = (shapes.left[shapes.left.len() - 2], shapes.right[shapes.right.len() - 1]);
    let rows: Vec<i128> = (0..m).map(|row| zero_at(a_zero, row)).collect();
    let columns: Vec<i128> = (0..n).map(|column| zero_at(b_zero, column)).collect();
    let mut values = Vec::new();
    let mut at = 0;
    shapes.each(|pairs| {
        let (row, column) = (at / n % m, at % n);
        at += 1;
        values.push(pairs.map(|(i, j, _)| (left[i] - rows[row]) * (right[j] - columns[column])).sum());
    });
    Ok((values, shapes.out))
}

fn matmul_integer(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (a, b) = (question.tensor(0)?, question.tensor(1)?);
    let (values, out) = integer_product(a, b, question.optional(2), question.optional(3))?;
    Ok(vec![Answer::stored(Tensor::of_wholes(dtype::I32, &out, &values))])
}

fn qlinear_matmul(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (a, b) = (question.tensor(0)?, question.tensor(3)?);
    let (sums, out) = integer_product(a, b, question.optional(2), question.optional(5))?;
    requantised(question, &sums, &out)
}

/// The exact sums, rounded to f32, times the f32 product of both scales; then the bias.
fn scaled_product(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (a, b) = (question.tensor(0)?, question.tensor(1)?);
    let (a_scale, b_scale) = (question.tensor(2)?, question.tensor(3)?.reals());
    if a_scale.count() != 1 {
        return Err(Unknown("MatMulIntegerToFloat with scales by row".into()));
    }
    let a_scale = a_scale.reals()[0];
    let (sums, shape) = integer_product(a, b, question.optional(4), question.optional(5))?;
    let bias = question.optional(6).map(|bias| bias.reals());
    let columns = shape[shape.len() - 1];
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for (at, sum) in sums.into_iter().enumerate() {
        let column = at % columns;
        let scale = single(a_scale * b_scale[if b_scale.len() == 1 { 0 } else { column }]);
        let real = single(single(sum as f64) * scale);
        let addend = bias.as_ref().map_or(0.0, |bias| bias[column]);
        values.push(real + addend);
        magnitudes.push(real.abs() + addend.abs());
    }
    Ok(vec![Answer::reals(dtype::F32, &shape, Reals::sums(values, magnitudes, 1))])
}

/// `x` [..., k] times the transpose of `n` rows of blocks.
fn block_matmul(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, w) = (question.tensor(0)?, question.tensor(1)?);
    let &[n, k] = &w.shape[..] else { return Err(Unknown("weights of other than rows".into())) };
    let weights = blocks::decode(w.dtype, &w.bytes).ok_or_else(|| Unknown(format!("block format {:#x}", w.dtype)))?;
    let bias = question.optional(2).map(|bias| bias.reals());
    let factors = x.reals();
    let rows = x.count() / k.max(1);
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for index in tuples(&[rows, n]) {
        let addend = bias.as_ref().map_or(0.0, |bias| bias[index[1]]);
        let (mut sum, mut magnitude) = (addend, addend.abs());
        for i in 0..k {
            let (factor, (weight, size)) = (factors[index[0] * k + i], weights[index[1] * k + i]);
            sum += factor * weight;
            magnitude += factor.abs() * size;
        }
        values.push(sum);
        magnitudes.push(magnitude);
    }
    let mut shape = x.shape.clone();
    *shape.last_mut().ok_or_else(|| Unknown("QMatMul of a scalar".into()))? = n;
    Ok(vec![Answer::reals(x.dtype, &shape, Reals::sums(values, magnitudes, k + 1))])
}
