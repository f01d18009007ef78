//! Operators that the host runs between planned segments. Sequences and optional values have no facts of their own: what comes out of
//! them is known once they have been run.

use super::{Fact, Facts, Scope, axis_index, broadcast, length};
use crate::{DType, Dim};

pub(super) fn covers(op: &str) -> bool {
    matches!(
        op,
        "Unique"
            | "SequenceLength"
            | "OptionalHasElement"
            | "OptionalGetElement"
            | "StringConcat"
            | "StringSplit"
            | "StringNormalizer"
            | "RegexFullMatch"
            | "TfIdfVectorizer"
            | "ImageDecoder"
            | "ai.onnx.ml.ArrayFeatureExtractor"
            | "ai.onnx.ml.Binarizer"
            | "ai.onnx.ml.LabelEncoder"
            | "ai.onnx.ml.TreeEnsemble"
            | "ai.onnx.preview.training.Adagrad"
            | "ai.onnx.preview.training.Adam"
            | "ai.onnx.preview.training.Momentum"
    )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let shape = || scope.shape(0).map(<[Dim]>::to_vec);
    let fact = |dtype, shape| Ok(vec![Fact::new(dtype, shape)]);
    match scope.node.op.as_str() {
        "Unique" => unique(scope),
        "SequenceLength" => fact(Some(DType::I64), Some(vec![])),
        "OptionalHasElement" => fact(Some(DType::Bool), Some(vec![])),
        "OptionalGetElement" => fact(scope.dtype(0), shape()),
        "StringConcat" => {
            want_strings(scope, 2)?;
            let shape = match (scope.shape(0), scope.shape(1)) {
                (Some(left), Some(right)) => Some(broadcast(left, right)?),
                _ => None,
            };
            fact(Some(DType::String), shape)
        }
        "StringSplit" => {
            want_strings(scope, 1)?;
            let parts = shape().map(|mut shape| {
                shape.push(Dim::Unknown);
                shape
            });
            Ok(vec![Fact::new(Some(DType::String), parts), Fact::new(Some(DType::I64), shape())])
        }
        "StringNormalizer" => {
            want_strings(scope, 1)?;
            scope.want_rank(0, 1, 2)?;
            let shape = shape().map(|mut shape| {
                if let Some(last) = shape.last_mut() {
                    *last = Dim::Unknown;
                }
                shape
            });
            fact(Some(DType::String), shape)
        }
        "RegexFullMatch" => {
            want_strings(scope, 1)?;
            fact(Some(DType::Bool), shape())
        }
        "TfIdfVectorizer" => {
            scope.want_rank(0, 1, 2)?;
            let columns = scope.node.integers("ngram_indexes").unwrap_or_default().iter().max();
            let columns = length(columns.map_or(0, |most| most.saturating_add(1)), "ngram_indexes")?;
            let shape = shape().map(|mut shape| {
                if let Some(last) = shape.last_mut() {
                    *last = Dim::Known(columns);
                }
                shape
            });
            fact(Some(DType::F32), shape)
        }
        "ImageDecoder" => {
            scope.want_rank(0, 1, 1)?;
            let channels = if scope.node.text("pixel_format") == Some("Grayscale") { 1 } else { 3 };
            fact(Some(DType::U8), Some(vec![Dim::Unknown, Dim::Unknown, Dim::Known(channels)]))
        }
        "ai.onnx.ml.ArrayFeatureExtractor" => fact(scope.dtype(0), extracted(scope)),
        "ai.onnx.ml.LabelEncoder" => fact(label_type(scope), shape()),
        "ai.onnx.ml.TreeEnsemble" => {
            scope.want_rank(0, 2, 2)?;
            let targets = Dim::Known(length(scope.attribute("n_targets", 1), "n_targets")?);
            fact(scope.dtype(0), scope.shape(0).and_then(|shape| Some(vec![*shape.first()?, targets])))
        }
        op if op.starts_with("ai.onnx.preview.training.") => trained(scope),
        // Binarizer.
        _ => fact(scope.dtype(0), shape()),
    }
}

fn want_strings(scope: &Scope<'_>, inputs: usize) -> Result<(), String> {
    for index in 0..inputs {
        if let Some(dtype) = scope.dtype(index).filter(|dtype| *dtype != DType::String) {
            return Err(format!("works on strings and got {dtype} as input {index}"));
        }
    }
    Ok(())
}

fn unique(scope: &Scope<'_>) -> Facts {
    let (shape, places) = match (scope.node.integer("axis"), scope.shape(0)) {
        (None, shape) => (Some(vec![Dim::Unknown]), shape.map_or(Dim::Unknown, count)),
        (Some(_), None) => (None, Dim::Unknown),
        (Some(axis), Some(shape)) => {
            let axis = axis_index(axis, shape.len())?;
            let mut kept = shape.to_vec();
            kept[axis] = Dim::Unknown;
            (Some(kept), shape[axis])
        }
    };
    let list = |length| Fact::new(Some(DType::I64), Some(vec![length]));
    Ok(vec![Fact::new(scope.dtype(0), shape), list(Dim::Unknown), list(places), list(Dim::Unknown)])
}

fn count(shape: &[Dim]) -> Dim {
    super::count_of(shape).map_or(Dim::Unknown, Dim::Known)
}

/// The last axis becomes as long as the list of indices; a vector counts as a row.
fn extracted(scope: &Scope<'_>) -> Option<Vec<Dim>> {
    let picked = count(scope.shape(1)?);
    match scope.shape(0)? {
        [] => None,
        [_] => Some(vec![Dim::Known(1), picked]),
        [front @ .., _] => Some([front, &[picked]].concat()),
    }
}

fn label_type(scope: &Scope<'_>) -> Option<DType> {
    let lists = [("values_floats", DType::F32), ("values_int64s", DType::I64), ("values_strings", DType::String)];
    let list = lists.into_iter().find(|(key, _)| scope.node.attributes.contains_key(*key)).map(|(_, dtype)| dtype);
    list.or(scope.dtype(2))
}

/// Inputs: learning rate, step, then the tensors, gradients and one or two states of each; outputs: the tensors and states.
fn trained(scope: &Scope<'_>) -> Facts {
    let groups = if scope.node.op.ends_with(".Adam") { 4 } else { 3 };
    let operands = scope.node.own_inputs().saturating_sub(2);
    if operands == 0 || !operands.is_multiple_of(groups) {
        return Err(format!("needs {groups} inputs for each tensor behind the first two and got {operands} in all"));
    }
    let tensors = operands / groups;
    let fact = |index: usize| Fact::new(scope.dtype(index), scope.shape(index).map(<[Dim]>::to_vec));
    // All groups but the gradients.
    Ok((0..groups)
        .filter(|group| *group != 1)
        .flat_map(|group| (0..tensors).map(move |i| 2 + group * tensors + i))
        .map(fact)
        .collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::graph;
    use crate::{infer, text, validate};

    /// The types of a graph's outputs, or what is wrong.
    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let mut graph = validate::validate(graph(lines)).unwrap_or_else(|errors| panic!("{errors}"));
        let types = match infer::infer(&mut graph) {
            Ok(()) => {
                let types = graph.outputs.iter().map(|id| text::type_text(graph.value(*id), &graph.symbols));
                types.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.what,
        };
        assert_eq!(types, expected, "{lines}");
    }

    #[test]
    fn lengths_that_follow_from_data_are_open() {
        check(
            "input x f32[N,3]\n y, i, j, c = Unique(x) axis=0\n output y\n output i\n output j\n output c",
            "f32[?,3] i64[?] i64[N] i64[?]",
        );
        check("input x f32[2,3]\n y, i, j = Unique(x)\n output y\n output j", "f32[?] i64[6]");
        check("input x f32[]\n y = NonZero(x)\n output y", "i64[0,?]");
        check("opset 20\n input x u8[N]\n y = ImageDecoder(x) pixel_format=Grayscale\n output y", "u8[?,?,1]");
    }

    #[test]
    fn strings() {
        check("opset 20\n input x string[N,1]\n input y string[3]\n z = StringConcat(x, y)\n output z", "string[N,3]");
        check(
            "opset 20\n input x string[N]\n y, z = StringSplit(x)\n m = RegexFullMatch(x) pattern=a.*\n output y\n output z\n output m",
            "string[N,?] i64[N] bool[N]",
        );
        check("input x string[1,4]\n y = StringNormalizer(x)\n output y", "string[1,?]");
        check("opset 20\n input x f32[1]\n y = StringSplit(x)\n output y", "works on strings and got f32 as input 0");
    }

    #[test]
    fn other_domains() {
        check("input x f32[N,4]\n input i i64[2]\n y = ai.onnx.ml.ArrayFeatureExtractor(x, i)\n output y", "f32[N,2]");
        check("input x f32[4]\n input i i64[1,2]\n y = ai.onnx.ml.ArrayFeatureExtractor(x, i)\n output y", "f32[1,2]");
        let step = |inputs: &str| {
            format!(
                "opset 1\n input r f32[]\n input t i64[]\n input x f32[2]\n a, b = ai.onnx.preview.training.Adagrad({inputs})\n output a\n output b"
            )
        };
        check(&step("r, t, x, x, x"), "f32[2] f32[2]");
        check(&step("r, t, x, x"), "needs 3 inputs for each tensor behind the first two and got 2 in all");
    }

    #[test]
    fn tensors_in_attributes_are_inputs() {
        let raw = graph(
            "opset 5
            input x f64[N,2]
            const weights f64[4] = 1
            const modes u8[3] = 0
            const splits f64[3] = 2
            y = ai.onnx.ml.TreeEnsemble(x) leaf_weights=@weights nodes_modes=@modes nodes_splits=@splits nodes_hitrates=@splits leaf_targetids=[0,1,0,1] n_targets=2 nodes_falseleafs=[0,1,1] nodes_falsenodeids=[2,2,3] nodes_featureids=[0,0,0] nodes_trueleafs=[0,1,1] nodes_truenodeids=[1,0,1] tree_roots=[0]
            output y",
        );
        let mut graph = validate::validate(raw).unwrap_or_else(|errors| panic!("{errors}"));
        infer::infer(&mut graph).expect("infers");
        let names: Vec<&str> =
            graph.nodes[0].inputs.iter().flatten().map(|id| graph.value(*id).name.as_str()).collect();
        assert_eq!(names, ["x", "weights", "modes", "splits"]);
        assert_eq!(text::type_text(graph.value(graph.outputs[0]), &graph.symbols), "f64[N,2]");
    }
}
