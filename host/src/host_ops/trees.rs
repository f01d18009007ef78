//! TreeEnsemble of ai.onnx.ml: the leaves that a row of features reaches, added up by target.
//!
//! Trees come as lists of nodes and leaves that name each other. They are followed step by step, never built, so that rings and
//! dangling numbers are an error where they are met.

use super::call::{Call, Outcome, numbers_as, one};
use super::limits::{Steps, check_bytes};
use sunmao_graph::tensor::{read_integers, read_numbers};

/// How a node compares a feature, by the codes of the operator.
const MODES: [fn(f64, f64) -> bool; 6] = [
    |feature, split| feature <= split,
    |feature, split| feature < split,
    |feature, split| feature >= split,
    |feature, split| feature > split,
    |feature, split| feature == split,
    |feature, split| feature != split,
];
/// The code of "is one of a set".
const MEMBER: usize = MODES.len();

/// What a node asks.
enum Question {
    Compare(fn(f64, f64) -> bool, f64),
    Member(Vec<f64>),
}

/// Where a branch leads.
#[derive(Clone, Copy)]
enum Next {
    Node(usize),
    Leaf(usize),
}

struct Branch {
    feature: usize,
    question: Question,
    /// Where a missing feature (NaN) goes although the question has no answer.
    missing_is_true: bool,
    yes: Next,
    no: Next,
}

struct Ensemble {
    branches: Vec<Branch>,
    /// Target and weight.
    leaves: Vec<(usize, f64)>,
    roots: Vec<usize>,
}

/// A score for each target, for each row of features.
pub(super) fn ensemble(call: &Call<'_>) -> Outcome {
    let data = call.tensor(0)?;
    let [rows, features] = *data.shape.as_slice() else {
        return Err(format!("takes features [N, F] and got {:?}; reshape them", data.shape));
    };
    let targets = call.attribute("n_targets")?;
    let targets = u64::try_from(targets).map_err(|_| format!("has {targets} targets; give at least 0"))?;
    check_bytes(rows.checked_mul(targets).and_then(|count| count.checked_mul(8)))?;
    let ensemble = read(call, features as usize, targets as usize)?;
    let transform = transform(call.attribute("post_transform")?)?;
    let aggregate = call.attribute("aggregate_function")?;
    let inputs = call.numbers(0)?;
    let mut steps = Steps::new();
    let mut result = Vec::with_capacity((rows * targets) as usize);
    for row in 0..rows as usize {
        let row = &inputs[row * features as usize..][..features as usize];
        let mut scores: Vec<Option<f64>> = vec![None; targets as usize];
        for root in &ensemble.roots {
            let (target, weight) = ensemble.leaves[ensemble.leaf(*root, row, &mut steps)?];
            let score = &mut scores[target];
            *score = Some(match (aggregate, *score) {
                (_, None) => weight,
                (0 | 1, Some(sum)) => sum + weight,
                (2, Some(least)) => least.min(weight),
                (3, Some(most)) => most.max(weight),
                (other, _) => return Err(format!("has aggregate_function={other}; give 0 to 3")),
            });
        }
        // A target that no leaf has reached has no score, and counts as 0.
        let divisor = if aggregate == 0 { ensemble.roots.len().max(1) as f64 } else { 1.0 };
        let mut scores: Vec<f64> = scores.into_iter().map(|score| score.unwrap_or(0.0) / divisor).collect();
        transform(&mut scores);
        result.extend(scores);
    }
    one(numbers_as(data.dtype, vec![rows, targets], &result)?)
}

impl Ensemble {
    /// The leaf that a row reaches from a root.
    fn leaf(&self, root: usize, row: &[f64], steps: &mut Steps) -> Result<usize, String> {
        let mut at = root;
        // A way through a tree meets no node twice.
        for _ in 0..self.branches.len() {
            steps.take(1)?;
            let branch = &self.branches[at];
            let feature = row[branch.feature];
            let answer = match &branch.question {
                Question::Compare(compare, split) => compare(feature, *split),
                Question::Member(set) => {
                    steps.take(set.len() as u64)?;
                    set.contains(&feature)
                }
            };
            match if answer || (branch.missing_is_true && feature.is_nan()) { branch.yes } else { branch.no } {
                Next::Node(next) => at = next,
                Next::Leaf(leaf) => return Ok(leaf),
            }
        }
        Err("has nodes that lead in a ring; the model is damaged".to_owned())
    }
}

fn read(call: &Call<'_>, features: usize, targets: usize) -> Result<Ensemble, String> {
    let list = |key: &str| call.node.integers(key).unwrap_or_default();
    let numbers = |index: usize| {
        let tensor = call.tensor(index)?;
        read_numbers(tensor.dtype, &tensor.bytes)
            .ok_or_else(|| format!("has {} in input {index}; give floating-point numbers", tensor.dtype))
    };
    let weights = numbers(1)?;
    let modes = call.tensor(2)?;
    let modes = read_integers(modes.dtype, &modes.bytes).ok_or("has modes of nodes that are no integers")?;
    let splits = numbers(3)?;
    let sets = if call.value(4).is_some() { numbers(4)? } else { Vec::new() };
    let count = modes.len();
    for key in ["nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs", "nodes_falseleafs"] {
        if list(key).len() != count || splits.len() != count {
            return Err(format!(
                "has {count} modes of nodes, {} splits and {} {key}; give one for each node",
                splits.len(),
                list(key).len()
            ));
        }
    }
    let leaf_targets = list("leaf_targetids");
    if leaf_targets.len() != weights.len() {
        return Err(format!(
            "has {} leaf_targetids and {} leaf_weights; give one for each leaf",
            leaf_targets.len(),
            weights.len()
        ));
    }
    let within = |index: i64, limit: usize, what: &str| {
        usize::try_from(index)
            .ok()
            .filter(|index| *index < limit)
            .ok_or_else(|| format!("names {what} {index} of {limit}; the model is damaged"))
    };
    let next = |ids: &str, leafs: &str, node: usize| match list(leafs)[node] {
        0 => within(list(ids)[node], count, "node").map(Next::Node),
        _ => within(list(ids)[node], weights.len(), "leaf").map(Next::Leaf),
    };
    let missing = list("nodes_missing_value_tracks_true");
    // Sets of members stand one behind the other, each ended by a NaN, in the order of the nodes that ask for one.
    let mut sets = sets.split(|member| member.is_nan());
    let mut branches = Vec::with_capacity(count);
    for (node, mode) in modes.iter().enumerate() {
        let question = match usize::try_from(*mode) {
            Ok(MEMBER) => Question::Member(
                sets.next().ok_or("has fewer sets of membership_values than nodes that ask for one")?.to_vec(),
            ),
            Ok(mode) if mode < MODES.len() => Question::Compare(MODES[mode], splits[node]),
            _ => return Err(format!("has the mode {mode} in node {node}; give 0 to 6")),
        };
        branches.push(Branch {
            feature: within(list("nodes_featureids")[node], features, "feature")?,
            question,
            missing_is_true: missing.get(node).is_some_and(|flag| *flag != 0),
            yes: next("nodes_truenodeids", "nodes_trueleafs", node)?,
            no: next("nodes_falsenodeids", "nodes_falseleafs", node)?,
        });
    }
    let leaves = leaf_targets
        .iter()
        .zip(&weights)
        .map(|(target, weight)| Ok((within(*target, targets, "target")?, *weight)))
        .collect::<Result<_, String>>()?;
    let roots = list("tree_roots").iter().map(|root| within(*root, count, "node")).collect::<Result<_, _>>()?;
    Ok(Ensemble { branches, leaves, roots })
}

/// What becomes of the scores of one row, by the codes of the operator.
fn transform(code: i64) -> Result<fn(&mut [f64]), String> {
    Ok(match code {
        0 => |_| {},
        1 => |scores| softmax(scores, |_| true),
        2 => |scores| scores.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp())),
        3 => |scores| softmax(scores, |score| score != 0.0),
        4 => |scores| scores.iter_mut().for_each(|score| *score = probit(*score)),
        other => return Err(format!("has post_transform={other}; give 0 to 4")),
    })
}

/// Softmax of those that take part; the others keep their score.
fn softmax(scores: &mut [f64], takes_part: impl Fn(f64) -> bool) {
    let most = scores.iter().copied().filter(|score| takes_part(*score)).fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut().filter(|score| takes_part(**score)) {
        *score = (*score - most).exp();
        sum += *score;
    }
    // Exponentials are zero only where they underflow, and dividing zero changes nothing.
    scores.iter_mut().filter(|score| takes_part(**score)).for_each(|score| *score /= sum);
}

/// The quantile of the normal distribution, by Winitzki's approximation of the inverse error function: within 0.002 of it.
fn probit(chance: f64) -> f64 {
    let x = 2.0 * chance - 1.0;
    let log = (1.0 - x * x).ln();
    let a = 0.147;
    let half = 2.0 / (std::f64::consts::PI * a) + 0.5 * log;
    std::f64::consts::SQRT_2 * x.signum() * ((half * half - log / a).sqrt() - half).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::{Attribute, DType};

    const OP: &str = "ai.onnx.ml.TreeEnsemble";

    fn tree(targets: &[i64], n_targets: i64) -> Vec<(&'static str, Attribute)> {
        let list = |values: &[i64]| Attribute::Integers(values.to_vec());
        vec![
            ("leaf_targetids", list(targets)),
            ("n_targets", Attribute::Integer(n_targets)),
            ("nodes_falseleafs", list(&[0, 1, 1])),
            ("nodes_falsenodeids", list(&[2, 2, 3])),
            ("nodes_featureids", list(&[0, 0, 0])),
            ("nodes_trueleafs", list(&[0, 1, 1])),
            ("nodes_truenodeids", list(&[1, 0, 1])),
            ("tree_roots", list(&[0])),
        ]
    }

    fn doubles(shape: &[u64], values: &[f64]) -> Value {
        typed(DType::F64, shape, values)
    }

    fn single(features: &[f64]) -> [Value; 4] {
        [
            doubles(&[features.len() as u64 / 2, 2], features),
            doubles(&[4], &[5.23, 12.12, -12.23, 7.21]),
            typed(DType::U8, &[3], &[0.0; 3]),
            doubles(&[3], &[3.5, 1.2, 4.2]),
        ]
    }

    #[test]
    fn rows_reach_their_leaves() {
        let inputs = single(&[1.2, 3.4, -0.12, 1.66, 4.14, 1.77]);
        let scores = run_one(OP, &tree(&[0, 1, 0, 1], 2), &inputs);
        assert_eq!(as_numbers(&scores), (vec![3, 2], vec![5.23, 0.0, 5.23, 0.0, 0.0, 12.12]));
    }

    #[test]
    fn sets_and_missing_features() {
        let inputs = [
            floats(&[6, 1], &[1.2, 3.4, -0.12, f32::NAN, 12.0, 7.0]),
            floats(&[4], &[1.0, 10.0, 1000.0, 100.0]),
            typed(DType::U8, &[3], &[0.0, 6.0, 6.0]),
            floats(&[3], &[11.0, 232_344.0, f32::NAN]),
            floats(&[8], &[1.2, 3.7, 8.0, 9.0, f32::NAN, 12.0, 7.0, f32::NAN]),
        ];
        let mut attributes = tree(&[0, 1, 2, 3], 4);
        attributes[3].1 = Attribute::Integers(vec![2, 3, 2]);
        attributes[6].1 = Attribute::Integers(vec![1, 0, 1]);
        let (_, scores) = as_numbers(&run_one(OP, &attributes, &inputs));
        let reached: Vec<usize> =
            scores.chunks(4).map(|row| row.iter().position(|score| *score != 0.0).expect("one")).collect();
        assert_eq!(reached, [0, 3, 3, 2, 1, 3]);
    }

    #[test]
    fn scores_are_transformed() {
        let with = |code: i64| {
            let attributes = [tree(&[0, 0, 1, 1], 2), vec![("post_transform", Attribute::Integer(code))]].concat();
            let mut inputs = single(&[1.0, 0.0]);
            inputs[1] = doubles(&[4], &[0.75, 0.0, 0.0, 0.0]);
            as_numbers(&run_one(OP, &attributes, &inputs)).1
        };
        let close = |got: Vec<f64>, wanted: [f64; 2]| {
            assert!(
                got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 2e-3),
                "{got:?} is not {wanted:?}"
            );
        };
        close(with(1), [0.679_178_7, 0.320_821_3]);
        close(with(2), [0.679_178_7, 0.5]);
        close(with(3), [1.0, 0.0]);
        // The quantile of 0 is minus infinity.
        assert!((with(4)[0] - 0.674_489_75).abs() < 2e-3);
    }

    #[test]
    fn rings_and_dangling_numbers_are_refused() {
        let mut ring = tree(&[0, 1, 0, 1], 2);
        ring[2..6].iter_mut().for_each(|(_, list)| *list = Attribute::Integers(vec![0; 3]));
        ring[6].1 = Attribute::Integers(vec![0; 3]);
        assert_eq!(refusal(OP, &ring, &single(&[1.0, 0.0])), "has nodes that lead in a ring; the model is damaged");
        assert_eq!(
            refusal(OP, &tree(&[0, 1, 0, 2], 2), &single(&[1.0, 0.0])),
            "names target 2 of 2; the model is damaged"
        );
    }
}
