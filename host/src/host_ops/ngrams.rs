//! TfIdfVectorizer: how often each known n-gram occurs in a row of tokens.
//!
//! Weights belong to columns of the result, as in the reference implementation and in ONNX Runtime; the specification's text gives them
//! to n-grams, which is the same as long as `ngram_indexes` counts up.

use super::call::{Call, Outcome, one};
use super::elements::texts;
use super::limits::{Steps, check_bytes};
use std::collections::HashMap;
use std::hash::Hash;
use sunmao_graph::Tensor;

/// What the counts become.
enum Weighting {
    Count,
    Presence,
    WeightedCount,
}

/// The n-grams of the pool as a tree of tokens. Tokens are numbers here, whatever they were.
#[derive(Default)]
struct Tree {
    children: HashMap<(usize, usize), usize>,
    /// For each node but the root, the column of the n-gram that ends there.
    columns: Vec<Option<usize>>,
}

impl Tree {
    const ROOT: usize = 0;

    fn insert(&mut self, gram: &[usize], column: usize) {
        let mut node = Self::ROOT;
        for token in gram {
            let next = self.columns.len() + 1;
            node = *self.children.entry((node, *token)).or_insert(next);
            if node == next {
                self.columns.push(None);
            }
        }
        if let Some(place) = node.checked_sub(1) {
            self.columns[place] = Some(column);
        }
    }
}

/// Which n-grams are counted.
struct Lengths {
    least: usize,
    most: usize,
    skips: usize,
}

/// Counts of n-grams, weighted by the mode: a vector for a vector, a row for each row of a matrix.
pub(super) fn vectorize(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let weighting = match call.text("mode")? {
        "TF" => Weighting::Count,
        "IDF" => Weighting::Presence,
        "TFIDF" => Weighting::WeightedCount,
        other => return Err(format!("has mode={other:?}; give TF, IDF or TFIDF")),
    };
    let size = |key: &str| {
        let value = call.attribute(key)?;
        usize::try_from(value).map_err(|_| format!("has {key}={value}; give at least 0"))
    };
    let lengths = Lengths {
        least: size("min_gram_length")?.max(1),
        most: size("max_gram_length")?,
        skips: size("max_skip_count")?,
    };
    let (rows, length) = match tensor.shape.as_slice() {
        [] => (1, 1),
        [length] => (1, *length),
        [rows, length] => (*rows, *length),
        shape => return Err(format!("takes a vector or a matrix of tokens and got {shape:?}; reshape them")),
    };
    let (tokens, pool) = match (call.node.integers("pool_int64s"), call.text_list("pool_strings")) {
        (Some(pool), None) => numbered(&call.integers(0)?, pool),
        (None, Some(pool)) => numbered(&texts(tensor)?, &pool.iter().map(String::as_str).collect::<Vec<_>>()),
        _ => return Err("has both or neither of pool_int64s and pool_strings; give one of them".to_owned()),
    };
    let columns = call.node.integers("ngram_indexes").unwrap_or_default();
    let width = columns.iter().max().map_or(0, |most| most.saturating_add(1));
    let width = u64::try_from(width).map_err(|_| "has a negative column in ngram_indexes".to_owned())?;
    check_bytes(width.checked_mul(rows).and_then(|count| count.checked_mul(8)))?;
    let tree = tree(&pool, call.node.integers("ngram_counts").unwrap_or_default(), columns, &lengths)?;
    let weights = call.number_list("weights");
    if weights.is_some_and(|weights| (weights.len() as u64) < width) {
        return Err(format!("has fewer weights than its {width} columns; give one for each"));
    }
    let mut steps = Steps::new();
    let mut result: Vec<f32> = Vec::with_capacity((width * rows) as usize);
    for row in 0..rows as usize {
        let row = &tokens[row * length as usize..][..length as usize];
        let counts = count(row, &tree, &lengths, width as usize, &mut steps)?;
        result.extend(counts.into_iter().enumerate().map(|(column, count)| {
            let weight = weights.map_or(1.0, |weights| weights[column] as f32);
            match weighting {
                Weighting::Count => count as f32,
                Weighting::Presence if count > 0 => weight,
                Weighting::Presence => 0.0,
                Weighting::WeightedCount => weight * count as f32,
            }
        }));
    }
    let mut shape = tensor.shape.clone();
    shape.pop();
    shape.push(width);
    one(Tensor::from_f32(shape, &result))
}

/// Tokens as places in a list of the pool's different ones; none for a token that the pool does not have.
fn numbered<T: Eq + Hash + Copy>(tokens: &[T], pool: &[T]) -> (Vec<Option<usize>>, Vec<usize>) {
    let mut known = HashMap::new();
    let pool = pool
        .iter()
        .map(|token| {
            let next = known.len();
            *known.entry(*token).or_insert(next)
        })
        .collect();
    (tokens.iter().map(|token| known.get(token).copied()).collect(), pool)
}

/// The n-grams of the lengths that are counted; `starts` says where those of each length start in the pool.
fn tree(pool: &[usize], starts: &[i64], columns: &[i64], lengths: &Lengths) -> Result<Tree, String> {
    let damaged = || "has ngram_counts that do not divide its pool; export the model anew".to_owned();
    let mut bounds: Vec<usize> =
        starts.iter().map(|start| usize::try_from(*start)).collect::<Result<_, _>>().map_err(|_| damaged())?;
    bounds.push(pool.len());
    let mut tree = Tree::default();
    let mut grams = 0;
    for (index, bound) in bounds.windows(2).enumerate() {
        let length = index + 1;
        let part = pool.get(bound[0]..bound[1]).ok_or_else(damaged)?;
        if !part.len().is_multiple_of(length) {
            return Err(damaged());
        }
        for gram in part.chunks_exact(length) {
            let column = columns.get(grams).and_then(|column| usize::try_from(*column).ok());
            let column = column.ok_or("has fewer ngram_indexes than n-grams in its pool; give one for each")?;
            if (lengths.least..=lengths.most).contains(&length) {
                tree.insert(gram, column);
            }
            grams += 1;
        }
    }
    Ok(tree)
}

fn count(
    row: &[Option<usize>],
    tree: &Tree,
    lengths: &Lengths,
    width: usize,
    steps: &mut Steps,
) -> Result<Vec<u64>, String> {
    let mut counts = vec![0; width];
    let mut least = lengths.least;
    // Tokens that are further apart than the row is long make no n-gram.
    for distance in 1..=lengths.skips.saturating_add(1).min(row.len()) {
        for start in 0..row.len() {
            let mut node = Tree::ROOT;
            let mut taken = 0;
            for token in row[start..].iter().step_by(distance).take(lengths.most) {
                taken += 1;
                let Some(next) = token.and_then(|token| tree.children.get(&(node, token)).copied()) else { break };
                node = next;
                if taken >= least
                    && let Some(column) = tree.columns[node - 1]
                {
                    counts[column] += 1;
                }
            }
            steps.take(taken as u64 + 1)?;
        }
        // Single tokens are the same at every distance, and counted once.
        least = least.max(2);
        if least > lengths.most {
            break;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    fn attributes(least: i64, most: i64, skips: i64, counts: &[i64]) -> Vec<(&'static str, Attribute)> {
        vec![
            ("mode", Attribute::Text("TF".to_owned())),
            ("min_gram_length", Attribute::Integer(least)),
            ("max_gram_length", Attribute::Integer(most)),
            ("max_skip_count", Attribute::Integer(skips)),
            ("ngram_counts", Attribute::Integers(counts.to_vec())),
            ("ngram_indexes", Attribute::Integers((0..7).collect())),
            ("pool_int64s", Attribute::Integers(vec![2, 3, 5, 4, 5, 6, 7, 8, 6, 7])),
        ]
    }

    const TOKENS: [i64; 12] = [1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8];

    #[track_caller]
    fn check(attributes: &[(&str, Attribute)], tokens: Value, shape: &[u64], counts: &[f64]) {
        let result = run_one("TfIdfVectorizer", attributes, &[tokens]);
        assert_eq!(as_numbers(&result), (shape.to_vec(), counts.to_vec()));
    }

    #[test]
    fn pairs_with_and_without_skips() {
        let row = || integers(&[12], &TOKENS);
        check(&attributes(2, 2, 0, &[0, 4]), row(), &[7], &[0., 0., 0., 0., 1., 1., 1.]);
        check(&attributes(2, 2, 5, &[0, 4]), row(), &[7], &[0., 0., 0., 0., 1., 3., 1.]);
        check(&attributes(1, 2, 5, &[0, 4]), row(), &[7], &[0., 3., 1., 0., 1., 3., 1.]);
        let rows = integers(&[2, 6], &TOKENS);
        let counts = [0., 3., 0., 0., 0., 0., 0., 0., 0., 1., 0., 1., 1., 1.];
        check(&attributes(1, 2, 5, &[0, 4]), rows, &[2, 7], &counts);
    }

    #[test]
    fn weights_and_texts() {
        let mut attributes = attributes(1, 1, 0, &[0]);
        attributes.retain(|(key, _)| !matches!(*key, "pool_int64s" | "ngram_indexes" | "mode"));
        attributes.extend([
            ("pool_strings", Attribute::Texts(vec!["a".to_owned(), "b".to_owned()])),
            ("ngram_indexes", Attribute::Integers(vec![1, 0])),
            ("weights", Attribute::Numbers(vec![0.5, 2.0])),
        ]);
        let words = || strings(&[3], &["a", "c", "a"]);
        let mut with = |mode: &str| {
            attributes.retain(|(key, _)| *key != "mode");
            attributes.push(("mode", Attribute::Text(mode.to_owned())));
            as_numbers(&run_one("TfIdfVectorizer", &attributes, &[words()])).1
        };
        assert_eq!(with("TF"), [0.0, 2.0]);
        assert_eq!(with("IDF"), [0.0, 2.0]);
        assert_eq!(with("TFIDF"), [0.0, 4.0]);
    }

    #[test]
    fn a_pool_that_does_not_divide_is_refused() {
        assert_eq!(
            refusal("TfIdfVectorizer", &attributes(1, 2, 0, &[0, 5]), &[integers(&[12], &TOKENS)]),
            "has ngram_counts that do not divide its pool; export the model anew"
        );
    }
}
