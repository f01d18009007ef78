//! Optional values: something, or nothing.

use super::Value;
use super::call::{Call, Outcome, bools, one};

/// Optional: the input wrapped, or nothing without one.
pub(super) fn optional(call: &Call<'_>) -> Outcome {
    match call.value(0) {
        Some(Value::Optional(_)) => Err("wraps an optional value in another; wrap a tensor or a sequence".to_owned()),
        content => Ok(vec![Value::Optional(content.cloned().map(Box::new))]),
    }
}

/// OptionalHasElement: whether there is something. A tensor or a sequence is something.
pub(super) fn has_element(call: &Call<'_>) -> Outcome {
    let there = !matches!(call.value(0), None | Some(Value::Optional(None)));
    one(bools(vec![], std::iter::once(there)))
}

/// OptionalGetElement: what is in there.
pub(super) fn get_element(call: &Call<'_>) -> Outcome {
    match call.value(0) {
        None | Some(Value::Optional(None)) => {
            Err("takes what an optional value holds, and it holds nothing; ask OptionalHasElement first".to_owned())
        }
        Some(Value::Optional(Some(content))) => Ok(vec![(**content).clone()]),
        Some(content) => Ok(vec![content.clone()]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;

    #[test]
    fn wrapped_and_taken_out_again() {
        let content = || integers(&[2], &[1, 2]);
        let wrapped = run("Optional", &[], &[content()], 1).remove(0);
        assert_eq!(wrapped, Value::Optional(Some(Box::new(content()))));
        assert_eq!(run("OptionalGetElement", &[], &[wrapped], 1), [content()]);
        assert_eq!(run("OptionalGetElement", &[], &[content()], 1), [content()]);
        assert_eq!(run("Optional", &[], &[], 1), [Value::Optional(None)]);
    }

    #[test]
    fn nothing_is_told_from_something() {
        let has = |inputs: &[Value]| as_integers(&run_one("OptionalHasElement", &[], inputs));
        assert_eq!(has(&[]), (vec![], vec![0]));
        assert_eq!(has(&[Value::Optional(None)]), (vec![], vec![0]));
        assert_eq!(has(&[Value::Optional(Some(Box::new(Value::Sequence(vec![]))))]), (vec![], vec![1]));
        assert_eq!(has(&[integers(&[], &[0])]), (vec![], vec![1]));
        assert_eq!(
            refusal("OptionalGetElement", &[], &[Value::Optional(None)]),
            "takes what an optional value holds, and it holds nothing; ask OptionalHasElement first"
        );
    }
}
