//! What one operation must answer, computed by plain loops in `f64` (integers in `i128`) from the same stored inputs that a kernel gets.
//!
//! Written from the ONNX specification, one element at a time, and sharing no code with any kernel. Each real number comes with the sum
//! of the magnitudes of the terms that made it, so that a tolerance can be a bound for this very element. `judge` compares; which
//! operations are asked is `property`'s work.

mod attention;
mod blocks;
mod convert;
mod elementwise;
mod epilogue;
mod float;
mod functions;
mod index;
mod judge;
mod moves;
mod normalise;
mod pick;
mod product;
mod quantise;
mod question;
mod reduce;
mod regions;
mod resize;
mod scatter;
mod tensor;
#[cfg(test)]
mod tests;
mod tolerance;
mod window;

pub use judge::{Distance, Fault, judge};
pub use question::{Operand, Question, Unknown};
pub use tensor::{Tensor, dtype};
pub use tolerance::{Bound, bound};

/// What one output must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Code of the element type.
    pub dtype: u16,
    /// The shape.
    pub shape: Vec<usize>,
    /// The elements.
    pub content: Content,
}

/// The elements of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Stored bytes: moves of data, integers, booleans.
    Bytes(Vec<u8>),
    /// Real numbers, to be met within a tolerance.
    Reals(Reals),
}

/// Real numbers and what is known about how they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Reals {
    /// One for each element, not yet rounded to the element type.
    pub values: Vec<f64>,
    /// Sum of the magnitudes of the terms of each element; empty: the magnitude of the value itself.
    pub magnitudes: Vec<f64>,
    /// Length of the longest sum behind an element; at least 1.
    pub terms: usize,
    /// Whether the sign of a zero is settled by IEEE 754.
    pub signed_zeros: bool,
    /// Whether algorithms may spread what is not finite to neighbours (transforms and zero padding do): elements that are finite here
    /// are then not judged when an input holds an infinity or a NaN.
    pub spreads: bool,
}

impl Reals {
    /// Values that one rounding away from exact arithmetic gives.
    pub(crate) fn exact(values: Vec<f64>) -> Self {
        Self { values, magnitudes: Vec::new(), terms: 1, signed_zeros: true, spreads: false }
    }

    /// Values whose zeros may have either sign.
    pub(crate) fn plain(values: Vec<f64>) -> Self {
        Self { signed_zeros: false, ..Self::exact(values) }
    }

    /// Sums of up to `terms` terms.
    pub(crate) fn sums(values: Vec<f64>, magnitudes: Vec<f64>, terms: usize) -> Self {
        Self { values, magnitudes, terms: terms.max(1), signed_zeros: false, spreads: false }
    }
}

impl Answer {
    pub(crate) fn reals(dtype: u16, shape: &[usize], reals: Reals) -> Self {
        Self { dtype, shape: shape.to_vec(), content: Content::Reals(reals) }
    }

    pub(crate) fn stored(tensor: Tensor) -> Self {
        Self { dtype: tensor.dtype, shape: tensor.shape, content: Content::Bytes(tensor.bytes) }
    }

    /// Bytes of the stored tensor.
    pub fn bytes(&self) -> usize {
        Tensor::bytes_of(self.dtype, &self.shape)
    }
}

/// Answers what it knows: none for an operator of another family.
type Family = fn(&Question) -> Option<Result<Vec<Answer>, Unknown>>;

/// The answers to a question, one for each output that it names. The error says what the oracle does not know.
pub fn answer(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let families: [Family; 13] = [
        elementwise::answer,
        functions::answer,
        convert::answer,
        product::answer,
        window::answer,
        regions::answer,
        reduce::answer,
        normalise::answer,
        moves::answer,
        pick::answer,
        scatter::answer,
        quantise::answer,
        resize::answer,
    ];
    let found = families.iter().find_map(|family| family(question)).or_else(|| attention::answer(question));
    let mut answers = found.unwrap_or_else(|| Err(Unknown(format!("operator {}", question.op))))?;
    if !question.epilogue.is_empty() {
        epilogue::apply(question, answers.first_mut().ok_or_else(|| Unknown("an epilogue without an output".into()))?)?;
    }
    answers.truncate(question.outputs.len());
    Ok(answers)
}
