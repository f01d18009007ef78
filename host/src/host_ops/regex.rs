//! RegexFullMatch: which texts a pattern matches from end to end.
//!
//! ONNX names the syntax of RE2. The regex crate comes from it and differs where `translated` says; both match in linear time.

use super::call::{Call, Outcome, bools, one};
use super::elements::texts;
use ::regex::{Regex, RegexBuilder};

/// Largest compiled pattern, bytes.
const COMPILED_BYTES_MAX: usize = 16 << 20;
/// Longest pattern, bytes.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// For each text, whether the pattern matches all of it.
pub(super) fn full_match(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let pattern = compiled(call.text("pattern")?)?;
    let texts = texts(tensor)?;
    one(bools(tensor.shape.clone(), texts.into_iter().map(|text| pattern.is_match(text))))
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("has a pattern of {} bytes, more than 64 KiB; split it", pattern.len()));
    }
    RegexBuilder::new(&format!(r"\A(?:{})\z", translated(pattern)))
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim();
            format!("has a pattern that is not regular ({reason}); write it in the syntax of RE2")
        })
}

/// RE2 in the words of the regex crate: `\d`, `\s`, `\w` and `\b` are ASCII, `\Q...\E` is literal, and brackets know neither nesting nor
/// set arithmetic.
fn translated(pattern: &str) -> String {
    let mut result = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    // Whether nothing stands in the brackets yet: a hyphen there is itself.
    let mut class_is_empty = false;
    while let Some(first) = rest.chars().next() {
        if let Some(literal) = rest.strip_prefix(r"\Q") {
            let (literal, behind) = literal.split_once(r"\E").unwrap_or((literal, ""));
            result.push_str(&::regex::escape(literal));
            rest = behind;
            continue;
        }
        let taken = match first {
            '\\' => rest.chars().take(2).map(char::len_utf8).sum(),
            '[' if in_class && rest.starts_with("[:") => rest.find(":]").map_or(1, |end| end + 2),
            '[' if !in_class && rest.starts_with("[^]") => 3,
            '[' if !in_class && (rest.starts_with("[^") || rest.starts_with("[]")) => 2,
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(taken);
        rest = behind;
        match token {
            r"\d" => result.push_str("[0-9]"),
            r"\D" => result.push_str("[^0-9]"),
            r"\s" => result.push_str(r"[\t\n\f\r ]"),
            r"\S" => result.push_str(r"[^\t\n\f\r ]"),
            r"\w" => result.push_str("[0-9A-Za-z_]"),
            r"\W" => result.push_str("[^0-9A-Za-z_]"),
            r"\b" | r"\B" => result.push_str(&format!("(?-u:{token})")),
            "[]" => result.push_str(r"[\]"),
            "[^]" => result.push_str(r"[^\]"),
            "[" | "&" | "~" if in_class => result.extend(["\\", token]),
            "-" if in_class && class_is_empty => result.push_str(r"\-"),
            "-" if in_class && rest.starts_with('-') => {
                // A range that ends with a hyphen.
                result.push_str(r"-\-");
                rest = &rest[1..];
            }
            token => result.push_str(token),
        }
        class_is_empty = first == '[' && !in_class && !token.ends_with(']');
        match first {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    #[track_caller]
    fn check(pattern: &str, cases: &[(&str, bool)]) {
        let (inputs, expected): (Vec<&str>, Vec<i64>) =
            cases.iter().map(|(text, matches)| (*text, i64::from(*matches))).unzip();
        let attributes = [("pattern", Attribute::Text(pattern.to_owned()))];
        let result = run_one("RegexFullMatch", &attributes, &[strings(&[inputs.len() as u64], &inputs)]);
        assert_eq!(as_integers(&result).1, expected, "{pattern} on {inputs:?}");
    }

    #[test]
    fn the_whole_text_must_match() {
        check(
            r"www\.[\w.-]+\.\bcom\b",
            &[("www.google.com", true), ("www.facebook.com", true), ("www.bbc.co.uk", false)],
        );
        check(
            r"(\W|^)[\w.\-]{0,25}@(yahoo|gmail)\.com(\W|$)",
            &[
                ("account@gmail.com", true),
                ("account@hotmail.com", false),
                ("not email", false),
                ("account2@yahoo.com", true),
            ],
        );
        check("a|ab", &[("ab", true), ("abc", false)]);
        check("", &[("", true), ("a", false)]);
    }

    #[test]
    fn classes_are_those_of_re2() {
        check(r"\d+", &[("12", true), ("١٢", false)]);
        check(r"[\d\s]+", &[("1 2", true), ("a", false)]);
        check("[[a]", &[("[", true), ("a", true), ("b", false)]);
        check("[]a]", &[("]", true), ("a", true)]);
        check("[^]a]", &[("]", false), ("b", true)]);
        check("[a&&b]+", &[("&", true), ("ab&", true)]);
        check("[+--]", &[("+", true), (",", true), ("-", true), (".", false)]);
        check("[--/]", &[("-", true), (".", true), ("/", true), ("0", false)]);
        check("[[:alpha:]]+", &[("ab", true), ("a1", false)]);
        check(r"\Qa.b\E.", &[("a.bc", true), ("axbc", false)]);
        check(".", &[("é", true), ("\n", false)]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let refused = |pattern: &str| {
            refusal("RegexFullMatch", &[("pattern", Attribute::Text(pattern.to_owned()))], &[strings(&[1], &["a"])])
        };
        assert_eq!(
            refused("(a"),
            "has a pattern that is not regular (error: unclosed group); write it in the syntax of RE2"
        );
        assert!(refused(r"(a)\1").contains("backreferences are not supported"));
        assert!(refused("((a{1000}){1000}){1000}").contains("exceeds size limit"));
    }
}
