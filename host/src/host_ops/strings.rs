//! StringConcat and StringSplit.

use super::Value;
use super::call::{Call, Outcome, one};
use super::elements::{string_tensor, texts};
use super::limits::STRINGS_MAX;
use super::walk::{broadcast, sources};
use sunmao_graph::Tensor;

/// StringConcat: texts of the second tensor behind those of the first, broadcast.
pub(super) fn concat(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.tensor(0)?, call.tensor(1)?);
    let shape = broadcast(&[&left.shape, &right.shape])?;
    let places = sources(&left.shape, &shape)?.into_iter().zip(sources(&right.shape, &shape)?);
    let (left, right) = (texts(left)?, texts(right)?);
    one(string_tensor(shape, places.map(|(a, b)| [left[a], right[b]].concat()))?)
}

/// StringSplit: the parts of each text along a new last axis, filled up with empty ones, and how many there are.
pub(super) fn split(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let delimiter = call.node.text("delimiter").unwrap_or_default();
    // A negative number of splits is no bound, as in the reference implementation.
    let most = call.node.integer("maxsplit").and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let texts = texts(tensor)?;
    let parts: Vec<Vec<&str>> = texts.iter().map(|text| parts(text, delimiter, most)).collect();
    let width = parts.iter().map(Vec::len).max().unwrap_or_default();
    if (width as u64).checked_mul(texts.len() as u64).is_none_or(|count| count > STRINGS_MAX) {
        return Err("would make more than 2^24 strings; set `maxsplit`, or give it fewer texts at a time".to_owned());
    }
    let counts: Vec<i64> = parts.iter().map(|parts| parts.len() as i64).collect();
    let mut shape = tensor.shape.clone();
    shape.push(width as u64);
    let filled = parts.iter().flat_map(|parts| parts.iter().copied().chain(std::iter::repeat("")).take(width));
    Ok(vec![
        Value::Tensor(string_tensor(shape, filled)?),
        Value::Tensor(Tensor::from_i64(tensor.shape.clone(), &counts)),
    ])
}

/// At most `most` splits; the rest stays whole.
fn parts<'a>(text: &'a str, delimiter: &str, most: usize) -> Vec<&'a str> {
    if !delimiter.is_empty() {
        return text.splitn(most.saturating_add(1), delimiter).collect();
    }
    // Runs of blanks are one delimiter, and none at the ends.
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        match rest.split_once(char::is_whitespace).filter(|_| parts.len() < most) {
            Some((part, behind)) => {
                parts.push(part);
                rest = behind.trim_start();
            }
            None => {
                parts.push(rest);
                rest = "";
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    #[test]
    fn concat_broadcasts() {
        let run = |left: Value, right: Value| {
            let tensor = run_one("StringConcat", &[], &[left, right]);
            let (shape, texts) = as_texts(&tensor);
            (shape, texts.join("|"))
        };
        assert_eq!(
            run(strings(&[2], &["abc", "def"]), strings(&[2], &[".com", ".net"])),
            (vec![2], "abc.com|def.net".to_owned())
        );
        assert_eq!(
            run(strings(&[3], &["cat", "dog", "snake"]), strings(&[1], &["s"])),
            (vec![3], "cats|dogs|snakes".to_owned())
        );
        assert_eq!(run(strings(&[], &["的"]), strings(&[], &[""])), (vec![], "的".to_owned()));
        assert_eq!(
            refusal("StringConcat", &[], &[strings(&[2], &["a", "b"]), strings(&[3], &["a", "b", "c"])]),
            "cannot broadcast [[2], [3]]; give lengths that are equal or 1"
        );
    }

    #[track_caller]
    fn check_split(attributes: &[(&str, Attribute)], input: Value, parts: (&[u64], &[&str]), counts: &[i64]) {
        let mut results = run("StringSplit", attributes, &[input], 2).into_iter().map(tensor);
        let (texts, lengths) = (results.next().expect("texts"), results.next().expect("counts"));
        assert_eq!(as_texts(&texts), (parts.0.to_vec(), parts.1.to_vec()));
        assert_eq!(as_integers(&lengths).1, counts);
    }

    #[test]
    fn split_at_a_delimiter() {
        let dot = || ("delimiter", Attribute::Text(".".to_owned()));
        check_split(
            &[dot()],
            strings(&[2], &["abc.com", "def.net"]),
            (&[2, 2], &["abc", "com", "def", "net"]),
            &[2, 2],
        );
        check_split(
            &[("delimiter", Attribute::Text("-".to_owned()))],
            strings(&[2], &["o-n-n--x-", "o-n----nx"]),
            (&[2, 6], &["o", "n", "n", "", "x", "", "o", "n", "", "", "", "nx"]),
            &[6, 6],
        );
        check_split(
            &[dot(), ("maxsplit", Attribute::Integer(1))],
            strings(&[2], &["a.b.c", ""]),
            (&[2, 2], &["a", "b.c", "", ""]),
            &[2, 1],
        );
    }

    #[test]
    fn split_at_blanks() {
        check_split(
            &[("maxsplit", Attribute::Integer(2))],
            strings(&[2, 2], &["hello world", "def.net", "o n n x", "the quick brown fox"]),
            (&[2, 2, 3], &["hello", "world", "", "def.net", "", "", "o", "n", "n x", "the", "quick", "brown fox"]),
            &[2, 1, 3, 3],
        );
        check_split(
            &[("delimiter", Attribute::Text(String::new()))],
            strings(&[2], &["  hello \t world ", " "]),
            (&[2, 2], &["hello", "world", "", ""]),
            &[2, 0],
        );
        check_split(&[], strings(&[0], &[]), (&[0, 0], &[]), &[]);
    }
}
