//! StringNormalizer: texts without stop words, in one case.
//!
//! Letters change case as Unicode says, whatever the locale: the standard library knows no other rules. Of the locales in use only
//! Turkish, Azeri and Lithuanian differ.

use super::call::{Call, Outcome, one};
use super::elements::{string_tensor, texts};
use std::borrow::Cow;
use std::collections::HashSet;

/// The texts that are no stop words; if none is left, one empty text.
pub(super) fn normalize(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let row = match tensor.shape.as_slice() {
        [_] => false,
        [1, _] => true,
        shape => return Err(format!("takes [C] or [1, C] texts and got {shape:?}; reshape them")),
    };
    let change: fn(&str) -> String = match call.text("case_change_action")? {
        "LOWER" => str::to_lowercase,
        "UPPER" => str::to_uppercase,
        "NONE" => str::to_owned,
        other => return Err(format!("has case_change_action={other:?}; give LOWER, UPPER or NONE")),
    };
    let sensitive = call.attribute("is_case_sensitive")? != 0;
    let compared = |text: &str| if sensitive { Cow::Owned(text.to_owned()) } else { Cow::Owned(text.to_lowercase()) };
    let stop_words: HashSet<Cow<'_, str>> =
        call.text_list("stopwords").unwrap_or_default().iter().map(|word| compared(word)).collect();
    let mut kept: Vec<String> =
        texts(tensor)?.into_iter().filter(|text| !stop_words.contains(&compared(text))).map(change).collect();
    if kept.is_empty() {
        kept.push(String::new());
    }
    let count = kept.len() as u64;
    one(string_tensor(if row { vec![1, count] } else { vec![count] }, kept)?)
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    #[track_caller]
    fn check(action: &str, sensitive: i64, stop_words: &[&str], input: Value, shape: &[u64], texts: &[&str]) {
        let attributes = [
            ("case_change_action", Attribute::Text(action.to_owned())),
            ("is_case_sensitive", Attribute::Integer(sensitive)),
            ("stopwords", Attribute::Texts(stop_words.iter().map(|word| (*word).to_owned()).collect())),
        ];
        let tensor = run_one("StringNormalizer", &attributes, &[input]);
        assert_eq!(as_texts(&tensor), (shape.to_vec(), texts.to_vec()));
    }

    #[test]
    fn stop_words_go_and_the_case_changes() {
        let days = || strings(&[3], &["monday", "tuesday", "wednesday"]);
        check("NONE", 1, &["monday"], days(), &[2], &["tuesday", "wednesday"]);
        check("UPPER", 1, &["monday"], days(), &[2], &["TUESDAY", "WEDNESDAY"]);
        check("UPPER", 1, &["monday", "tuesday", "wednesday"], days(), &[1], &[""]);
        check("LOWER", 1, &["monday"], strings(&[2], &["Monday", "É"]), &[2], &["monday", "é"]);
        let row = strings(&[1, 3], &["Monday", "tuesday", "Monday"]);
        check("UPPER", 0, &["monday"], row, &[1, 1], &["TUESDAY"]);
    }

    #[test]
    fn matrices_are_refused() {
        assert_eq!(
            refusal("StringNormalizer", &[], &[strings(&[2, 1], &["a", "b"])]),
            "takes [C] or [1, C] texts and got [2, 1]; reshape them"
        );
    }
}
