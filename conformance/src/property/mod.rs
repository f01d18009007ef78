//! Cases of our own where the ONNX cases are thin: operations drawn with a seed, with the answers of the oracle.
//!
//! Every operator has a stream of its own, so a case is named by operator, seed and number and is the same for ever, whatever else is
//! added. Sizes are small but awkward: primes, ones and zeros, ranks up to six, axes and steps that count backwards, infinities, NaN,
//! negative zeros and denormals. Running them is the host's work.

mod arithmetic;
mod attention;
mod draw;
mod gather;
mod graphs;
mod layout;
mod mutants;
mod normalise;
mod pointwise;
mod product;
mod quantise;
mod reduce;
mod regions;
mod regressions;
mod window;

pub use draw::Draw;
pub use graphs::{DrawnGraph, DrawnNode, drawn_graph};
pub use mutants::{Mutant, mutants};
pub use regressions::REGRESSIONS;

use crate::oracle::{Answer, Question, answer};

/// Draws one operation of an operator.
type Drawing = fn(&str, &mut Draw) -> Question;

/// The operators, by the file that draws them.
const FAMILIES: &[(&[&str], Drawing)] = &[
    (pointwise::OPERATORS, pointwise::draw),
    (arithmetic::OPERATORS, arithmetic::draw),
    (reduce::OPERATORS, reduce::draw),
    (normalise::OPERATORS, normalise::draw),
    (product::OPERATORS, product::draw),
    (window::OPERATORS, window::draw),
    (regions::OPERATORS, regions::draw),
    (layout::OPERATORS, layout::draw),
    (gather::OPERATORS, gather::draw),
    (quantise::OPERATORS, quantise::draw),
    (attention::OPERATORS, attention::draw),
];

/// Draws that the oracle does not know are thrown away; more than this in a row is a fault of the drawing.
const ATTEMPTS: usize = 100;

/// One operation with the answers that belong to it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The operator, the seed and the number, as in `MatMul/7/12`.
    pub name: String,
    /// The operation and the bytes of its inputs.
    pub question: Question,
    /// What the outputs must be.
    pub answers: Vec<Answer>,
    /// Whether no input holds an infinity or a NaN.
    pub finite: bool,
}

/// Every operator that cases are drawn for.
pub fn operators() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|(operators, _)| operators.iter().copied())
}

/// Case `number` of an operator; none for an operator that is not drawn here.
pub fn case(op: &str, seed: u64, number: u64) -> Option<Case> {
    let (_, drawing) = FAMILIES.iter().find(|(operators, _)| operators.contains(&op))?;
    let mut draw = Draw::new(op, seed, number);
    for _ in 0..ATTEMPTS {
        let question = drawing(op, &mut draw);
        if let Ok(answers) = answer(&question) {
            let floats = question.inputs.iter().flatten().filter(|operand| operand.tensor.is_float());
            let finite = floats.into_iter().all(|operand| operand.tensor.reals().iter().all(|x| x.is_finite()));
            return Some(Case { name: format!("{op}/{seed}/{number}"), question, answers, finite });
        }
    }
    None
}

/// The inputs that an operator must know beforehand: axes, pads, lengths.
pub fn settled(op: &str) -> &'static [usize] {
    match op {
        "Slice" => &[1, 2, 3, 4],
        "Pad" | "Resize" => &[1, 2, 3],
        "CumSum" | "CumProd" | "TopK" | "Split" | "Reshape" | "Squeeze" | "Unsqueeze" | "Expand" | "Tile" => &[1],
        "sunmao.QMatMul" => &[1],
        name if name.starts_with("Reduce") => &[1],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_drawn_and_its_cases_are_the_same_for_ever() {
        let mut names = std::collections::HashSet::new();
        for op in operators() {
            assert!(names.insert(op), "{op} is drawn twice");
            for number in 0..8 {
                let case = case(op, 1, number).unwrap_or_else(|| panic!("{op}/1/{number} cannot be drawn"));
                assert_eq!(case.answers.len(), case.question.outputs.len(), "{op}/{number}");
                for (answer, &dtype) in case.answers.iter().zip(&case.question.outputs) {
                    assert_eq!(answer.dtype, dtype, "{}", case.name);
                }
                if number == 0 {
                    let again = super::case(op, 1, number).expect("was drawn before");
                    assert_eq!(format!("{:?}", case.question), format!("{:?}", again.question));
                    let other = super::case(op, 2, number).expect("another seed");
                    assert_ne!(format!("{:?}", case.question), format!("{:?}", other.question), "{op}/{number}");
                }
            }
        }
    }

    #[test]
    fn awkward_sizes_and_numbers_come_up() {
        let cases: Vec<Case> = (0..40).filter_map(|number| case("Add", 3, number)).collect();
        let some = |what: &dyn Fn(&Case) -> bool| cases.iter().any(what);
        let first = |case: &Case| case.question.inputs[0].clone().expect("has operands").tensor;
        assert!(some(&|case| first(case).count() == 0));
        assert!(some(&|case| first(case).shape.len() == 6));
        assert!(some(&|case| first(case).shape.is_empty()));
        assert!(some(&|case| !case.finite));
        assert!(some(&|case| first(case).count() > 10_000));
        assert!(some(&|case| case.question.outputs == [10]));
    }
}
