//! `Einsum`: sums of products over named axes, with repeated names (diagonals), names that are summed in one operand alone, and "...".
//!
//! Every operand is a walk with strides over one index space, the axes of the output first and those that are summed behind them.

use crate::arguments::Op;
use crate::element::{NUMBERS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::{MAX_AXES, Strided, count, dense_strides};
use crate::table::{LATEST, Row, same};
use std::collections::BTreeMap;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Input, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row::new("Einsum", (12, LATEST), same(1, 1, NUMBERS), Tolerance::Accumulate(1.0), einsum)]
}

/// A name of an axis: a letter, or a place in the dots, counted from the last one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Dots(usize),
    Letter(char),
}

/// The names of a term for an operand of that rank; without a rank the dots stand for `dots` axes.
fn names(op: Op<'_>, term: &str, rank: Option<usize>, dots: usize) -> Result<Vec<Name>> {
    let unreadable = || op.invalid(format_args!("the term `{term}`"));
    let (before, after) = match term.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (term, None),
    };
    let letters = |part: &str| part.chars().map(Name::Letter).collect::<Vec<_>>();
    let mut names = letters(before);
    if let Some(after) = after {
        let own = match rank {
            Some(rank) => rank.checked_sub(names.len() + after.chars().count()).ok_or_else(unreadable)?,
            None => dots,
        };
        names.extend((0..own).rev().map(Name::Dots));
        names.extend(letters(after));
    }
    let fits = rank.is_none_or(|rank| rank == names.len());
    let plain = names.iter().all(|name| !matches!(name, Name::Letter(letter) if !letter.is_ascii_alphabetic()));
    if fits && plain { Ok(names) } else { Err(unreadable()) }
}

/// How an operand is walked: for an output, and for a place in its sum.
#[derive(Clone, Copy)]
struct Walks {
    outer: Strided,
    inner: Strided,
}

struct Plan {
    outputs: usize,
    sums: usize,
    walks: Vec<Walks>,
}

fn plan(op: Op<'_>) -> Result<Plan> {
    let equation: String = op.attributes().text("equation").chars().filter(|letter| !letter.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let shapes = op.shapes()?;
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != shapes.len() {
        return Err(op.invalid(format_args!("{} terms for {} operands", terms.len(), shapes.len())));
    }
    let mut lengths = BTreeMap::<Name, (usize, usize)>::new();
    let mut operands = Vec::new();
    for (term, shape) in terms.iter().zip(&shapes) {
        let names = names(op, term, Some(shape.len()), 0)?;
        for (name, &length) in names.iter().zip(shape) {
            let known = lengths.entry(*name).or_insert((1, 0));
            known.1 += 1;
            match (known.0, length) {
                (_, 1) => {}
                (1, _) => known.0 = length,
                (before, _) if before == length => {}
                (before, _) => return Err(op.invalid(format_args!("one name for lengths {before} and {length}"))),
            }
        }
        operands.push(names);
    }
    let dots = lengths.keys().filter(|name| matches!(name, Name::Dots(_))).count();
    let kept = match right {
        Some(right) => names(op, right, None, dots)?,
        None => {
            let once = lengths.iter().filter(|(name, known)| matches!(name, Name::Letter(_)) && known.1 == 1);
            (0..dots).rev().map(Name::Dots).chain(once.map(|(name, _)| *name)).collect()
        }
    };
    if kept.iter().any(|name| !lengths.contains_key(name)) {
        return Err(op.invalid("a name in the result that no operand has"));
    }
    let summed: Vec<Name> = lengths.keys().copied().filter(|name| !kept.contains(name)).collect();
    if kept.len() > MAX_AXES || summed.len() > MAX_AXES {
        return Err(op.unsupported(format_args!("more than {MAX_AXES} names")));
    }
    let sizes = |names: &[Name]| names.iter().map(|name| lengths[name].0).collect::<Vec<_>>();
    let (kept_sizes, summed_sizes) = (sizes(&kept), sizes(&summed));
    op.expect_output(0, &kept_sizes)?;
    let walks = operands.iter().zip(&shapes).map(|(own, shape)| {
        let strides = dense_strides(shape);
        // An axis that occurs twice walks the diagonal; one of length 1 repeats its element.
        let stride = |name: &Name| {
            let places = own.iter().zip(shape).zip(&strides).filter(|((own, length), _)| *own == name && **length != 1);
            places.map(|(_, stride)| *stride).sum::<isize>()
        };
        let walk =
            |names: &[Name], sizes: &[usize]| Strided::new(sizes, &names.iter().map(stride).collect::<Vec<_>>(), 0);
        Walks { outer: walk(&kept, &kept_sizes), inner: walk(&summed, &summed_sizes) }
    });
    Ok(Plan { outputs: count(&kept_sizes), sums: count(&summed_sizes), walks: walks.collect() })
}

fn einsum(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let Plan { outputs, sums, walks } = plan(op)?;
    let work = (outputs as u64).saturating_mul(sums as u64).saturating_mul(walks.len() as u64 * 4);
    dispatch!(op.input(0)?.dtype, numbers, S => {
        kernel(needs(work, outputs), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let operands: Vec<Input<E<S>>> =
                (0..walks.len()).map(|index| bindings.input(index)).collect::<Result<_>>()?;
            let walks = walks.clone();
            let y = bindings.output::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let y = call.write(&y);
                for at in call.share(outputs, 1) {
                    let mut sum = <<S as Stored>::Value as Number>::Wide::ZERO;
                    for place in 0..sums {
                        let mut term = <<S as Stored>::Value as Number>::Wide::ONE;
                        for (walks, operand) in walks.iter().zip(&operands) {
                            let at = walks.outer.offset(at) + walks.inner.offset(place);
                            let element = call.read(operand).get(at);
                            term = term.mul(S::load(element).widen());
                        }
                        sum = sum.add(term);
                    }
                    y.set(at, S::store(<S as Stored>::Value::narrow(sum)));
                }
                Ok(())
            }))
        })
    })
}
