//! Values for a person who reads a report.

use crate::{CaseValue, judge};

/// Elements that are shown.
const SHOWN: usize = 24;
/// A text of one value ends there.
const MAX_TEXT: usize = 600;

/// One line: `x: f32 [2, 3] = 0.5, 1, ...`.
pub fn describe(name: &str, value: &CaseValue) -> String {
    let mut line = format!("{name}: {}", text(value));
    if let Some((at, _)) = line.char_indices().nth(MAX_TEXT) {
        line.truncate(at);
        line.push_str("...");
    }
    line
}

fn text(value: &CaseValue) -> String {
    match value {
        CaseValue::Tensor(tensor) => {
            let elements = judge::first_elements(tensor, SHOWN);
            let more = if sunmao_graph::tensor::elements(&tensor.shape).is_some_and(|all| all > SHOWN as u64) {
                ", ..."
            } else {
                ""
            };
            format!("{} {:?} = {}{more}", tensor.dtype, tensor.shape, elements.join(", "))
        }
        CaseValue::Sequence(items) => format!("sequence({})", items.iter().map(text).collect::<Vec<_>>().join("; ")),
        CaseValue::Optional(None) => "nothing".to_owned(),
        CaseValue::Optional(Some(value)) => format!("optional({})", text(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sunmao_graph::Tensor;

    #[test]
    fn a_value_is_one_line_however_long_it_is() {
        let tensor = CaseValue::Tensor(Tensor::vector(&[1, -2]));
        assert_eq!(describe("x", &tensor), "x: i64 [2] = 1, -2");
        let long = CaseValue::Tensor(Tensor::vector(&[7; 30]));
        assert!(describe("x", &long).ends_with("7, ..."));
        let nested = CaseValue::Sequence(vec![CaseValue::Optional(None), CaseValue::Optional(Some(Box::new(tensor)))]);
        assert_eq!(describe("s", &nested), "s: sequence(nothing; optional(i64 [2] = 1, -2))");
        let many = CaseValue::Sequence(vec![nested; 100]);
        assert!(describe("s", &many).len() < 700);
    }
}
