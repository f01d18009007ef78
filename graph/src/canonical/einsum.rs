//! Einsum as a product of matrices, or as a sum and a transpose, where it is one. The rest is the kernel's.

use super::node_facts::{float, known};
use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::infer::{Equation, Label};
use crate::{Attribute, DType, Node, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "einsum-to-matmul", ops: &["Einsum"], apply: to_matmul },
    Rule { name: "einsum-to-sum", ops: &["Einsum"], apply: to_sum },
];

fn equation(editor: &Editor<'_>, node: &Node) -> Option<Equation> {
    let ranks: Vec<Option<usize>> = node.inputs.iter().map(|input| editor.shape((*input)?).map(<[_]>::len)).collect();
    let equation = Equation::read(node, &ranks).ok().flatten()?;
    // A name twice in a term is a diagonal, and one twice in the result is nothing that anybody writes.
    let plain = |labels: &[Label]| labels.iter().enumerate().all(|(at, label)| !labels[..at].contains(label));
    (equation.terms.iter().all(|term| plain(term)) && plain(&equation.result)).then_some(equation)
}

/// Where the wanted labels stand in a list of them.
fn places(of: &[Label], within: &[Label]) -> Option<Vec<i64>> {
    of.iter().map(|label| within.iter().position(|other| other == label).map(|at| at as i64)).collect()
}

fn transposed(sketch: &mut Sketch<'_, '_>, value: ValueId, from: &[Label], to: &[Label]) -> Option<ValueId> {
    let perm = Attribute::Integers(places(to, from)?);
    Some(sketch.op("Transpose", &[value], &[("perm", perm)]))
}

fn reshaped(sketch: &mut Sketch<'_, '_>, value: ValueId, lengths: &[i64]) -> ValueId {
    let shape = sketch.vector(lengths);
    sketch.op("Reshape", &[value, shape], &[("allowzero", Attribute::Integer(1))])
}

fn to_matmul(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (&[Some(a), Some(b)], Some(output)) = (node.inputs.as_slice(), node.output(0)) else { return Ok(None) };
    let multiplies = |dtype| {
        use DType::{BF16, F16, F32, F64, I32, I64, U32, U64};
        matches!(dtype, F32 | F64 | F16 | BF16 | I32 | I64 | U32 | U64)
    };
    if !editor.dtype(output).is_some_and(multiplies) {
        return Ok(None);
    }
    let (Some(Equation { terms, result }), Some(a_shape), Some(b_shape)) =
        (equation(editor, node), editor.shape(a).and_then(known), editor.shape(b).and_then(known))
    else {
        return Ok(None);
    };
    let [left, right] = terms.as_slice() else { return Ok(None) };
    let length = |label: &Label| {
        let own = left.iter().position(|other| other == label).map(|at| a_shape[at]);
        own.or_else(|| right.iter().position(|other| other == label).map(|at| b_shape[at])).unwrap_or(1)
    };
    let unequal = |label: &Label| {
        let at = right.iter().position(|other| other == label);
        left.contains(label) && at.is_some_and(|at| b_shape[at] != length(label))
    };
    let alone = |label: &&Label| !result.contains(label) && left.contains(label) != right.contains(label);
    let labels = || left.iter().chain(right);
    if labels().any(unequal) || labels().any(|label| alone(&label)) || labels().any(|label| length(label) == 0) {
        return Ok(None);
    }
    let pick = |in_left: bool, in_right: bool| {
        let fits = |label: &&Label| left.contains(label) == in_left && right.contains(label) == in_right;
        result.iter().filter(fits).copied().collect::<Vec<_>>()
    };
    let (stack, rows, columns) = (pick(true, true), pick(true, false), pick(false, true));
    let inner: Vec<Label> = left.iter().filter(|label| !result.contains(label)).copied().collect();
    let total = |labels: &[Label]| labels.iter().map(|label| length(label) as i64).product::<i64>();
    let (batches, m, n, k) = (total(&stack), total(&rows), total(&columns), total(&inner));
    let made: Vec<Label> = [&stack[..], &rows, &columns].concat();
    let made_shape: Vec<i64> = made.iter().map(|label| length(label) as i64).collect();
    let Some(order) = places(&result, &made) else { return Ok(None) };
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let Some(a) = transposed(&mut sketch, a, left, &[&stack[..], &rows, &inner].concat()) else { return Ok(None) };
    let Some(b) = transposed(&mut sketch, b, right, &[&stack[..], &inner, &columns].concat()) else {
        return Ok(None);
    };
    let a = reshaped(&mut sketch, a, &[batches, m, k]);
    let b = reshaped(&mut sketch, b, &[batches, k, n]);
    let product = sketch.op("MatMul", &[a, b], &[]);
    let spread = reshaped(&mut sketch, product, &made_shape);
    sketch.finish("Transpose", &[spread], &[("perm", Attribute::Integers(order))])
}

fn to_sum(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let &[Some(input)] = node.inputs.as_slice() else { return Ok(None) };
    let Some(Equation { terms, result }) = equation(editor, node) else { return Ok(None) };
    let [term] = terms.as_slice() else { return Ok(None) };
    let summed: Vec<Label> = term.iter().filter(|label| !result.contains(label)).copied().collect();
    let kept: Vec<Label> = term.iter().filter(|label| result.contains(label)).copied().collect();
    let (Some(axes), Some(order)) = (places(&summed, term), places(&result, &kept)) else { return Ok(None) };
    if !axes.is_empty() && float(editor, input).is_none() {
        return Ok(None);
    }
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let mut value = input;
    if !axes.is_empty() {
        let axes = sketch.vector(&axes);
        value = sketch.op("ReduceSum", &[input, axes], &[("keepdims", Attribute::Integer(0))]);
    }
    sketch.finish("Transpose", &[value], &[("perm", Attribute::Integers(order))])
}

#[cfg(test)]
mod tests {
    use crate::testing::prepared;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&prepared(text).to_string());
    }

    #[test]
    fn names_of_two_operands_become_a_stack_of_matrices() {
        check(
            "input a f32[2,3,4]\n input b f32[5,2,4]\n y = Einsum(a, b) equation=bik,jbk->bij\n output y",
            expect![[r#"
                input %a: f32[2,3,4]
                input %b: f32[5,2,4]
                %y~4: f32[2,4,5] = Transpose(%b) {perm=[1,2,0]}  // y
                %y: f32[2,3,5] = MatMul(%a, %y~4)  // y
                output %y
            "#]],
        );
    }

    #[test]
    fn names_that_one_operand_sums_alone_are_left_to_the_kernel() {
        check(
            "input a f32[2,3]\n input b f32[3]\n y = Einsum(a, b) equation=ij,j->j\n output y",
            expect![[r#"
            input %a: f32[2,3]
            input %b: f32[3]
            %y: f32[3] = Einsum(%a, %b) {equation=ij,j->j}  // y
            output %y
        "#]],
        );
    }

    #[test]
    fn one_operand_is_summed_and_transposed() {
        check(
            "input a f32[N,3,4]\n y = Einsum(a) equation=...ij->j...\n output y",
            expect![[r#"
            symbol N: 0..
            input %a: f32[N,3,4]
            %y~3: f32[N,4] = ReduceSum(%a, const i64[1] [1]) {keepdims=0, noop_with_empty_axes=0}  // y
            %y: f32[4,N] = Transpose(%y~3) {perm=[1,0]}  // y
            output %y
        "#]],
        );
    }
}
