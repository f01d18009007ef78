//! Einsum: what its equation says, and the shape of its result.

use super::{Fact, Facts, Scope, unify};
use crate::text::clipped;
use crate::{Dim, Node};
use std::collections::BTreeMap;

/// A name of an axis: a place in the dots, counted from the last one, or a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Dots(usize),
    Letter(char),
}

/// An equation with the names of every axis spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Equation {
    /// By input.
    pub(crate) terms: Vec<Vec<Label>>,
    pub(crate) result: Vec<Label>,
}

impl Equation {
    /// Reads a node's equation for inputs of those ranks; none when dots stand for a number of axes that is not known.
    pub(crate) fn read(node: &Node, ranks: &[Option<usize>]) -> Result<Option<Self>, String> {
        let text = node.text("equation").ok_or("has no equation")?;
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let parts: Vec<&str> = left.split(',').collect();
        if parts.len() != ranks.len() {
            return Err(format!("has {} terms in its equation for {} inputs", parts.len(), ranks.len()));
        }
        let mut terms = Vec::with_capacity(parts.len());
        for (index, (part, rank)) in parts.iter().zip(ranks).enumerate() {
            let (before, after) = halves(part)?;
            let letters = before.len() + after.as_ref().map_or(0, Vec::len);
            let dots = match (rank, &after) {
                (_, None) => 0,
                (None, Some(_)) => return Ok(None),
                (Some(rank), Some(_)) => rank.checked_sub(letters).ok_or_else(|| wrong_rank(index, letters, *rank))?,
            };
            if let Some(rank) = rank.filter(|rank| *rank != letters + dots) {
                return Err(wrong_rank(index, letters, rank));
            }
            terms.push(spelled(before, dots, after));
        }
        let dots =
            terms.iter().flatten().filter_map(|label| if let Label::Dots(at) = label { Some(at + 1) } else { None });
        let dots = dots.max().unwrap_or(0);
        let result = match right {
            Some(right) => {
                let (before, after) = halves(right)?;
                let dots = if after.is_some() { dots } else { 0 };
                spelled(before, dots, after)
            }
            None => {
                let mut counts = BTreeMap::<Label, usize>::new();
                terms.iter().flatten().for_each(|label| *counts.entry(*label).or_default() += 1);
                let once = counts.iter().filter(|(label, count)| matches!(label, Label::Letter(_)) && **count == 1);
                (0..dots).rev().map(Label::Dots).chain(once.map(|(label, _)| *label)).collect()
            }
        };
        if let Some(stranger) = result.iter().find(|label| !terms.iter().flatten().any(|known| known == *label)) {
            return Err(format!("has {} in the result of its equation alone", stranger.text()));
        }
        Ok(Some(Equation { terms, result }))
    }
}

impl Label {
    fn text(self) -> String {
        match self {
            Label::Dots(_) => "`...`".to_owned(),
            Label::Letter(letter) => format!("`{letter}`"),
        }
    }
}

fn wrong_rank(index: usize, letters: usize, rank: usize) -> String {
    format!("names {letters} axes in term {index} of its equation, the input has {rank}")
}

/// The letters before and behind the dots.
fn halves(part: &str) -> Result<(Vec<char>, Option<Vec<char>>), String> {
    let (before, after) = match part.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (part, None),
    };
    if before.chars().chain(after.unwrap_or_default().chars()).any(|letter| !letter.is_ascii_alphabetic()) {
        return Err(format!("has the term `{}` in its equation", clipped(part)));
    }
    Ok((before.chars().collect(), after.map(|after| after.chars().collect())))
}

fn spelled(before: Vec<char>, dots: usize, after: Option<Vec<char>>) -> Vec<Label> {
    let dots = (0..dots).rev().map(Label::Dots);
    before.into_iter().map(Label::Letter).chain(dots).chain(after.into_iter().flatten().map(Label::Letter)).collect()
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let dtype = scope.dtype(0);
    let ranks: Vec<Option<usize>> = (0..scope.node.own_inputs()).map(|index| scope.rank(index)).collect();
    let Some(equation) = Equation::read(scope.node, &ranks)? else { return Ok(vec![Fact::new(dtype, None)]) };
    let mut lengths = BTreeMap::<Label, Dim>::new();
    for (index, term) in equation.terms.iter().enumerate() {
        for (axis, label) in term.iter().enumerate() {
            let dim = scope.shape(index).map_or(Dim::Unknown, |shape| shape[axis]);
            let known = lengths.entry(*label).or_insert(dim);
            *known = match (*known, dim) {
                // Axes of length 1 are repeated.
                (Dim::Known(1), other) | (other, Dim::Known(1)) => other,
                (a, b) => unify(a, b).map_err(|(x, y)| format!("uses {} for lengths {x} and {y}", label.text()))?,
            };
        }
    }
    let shape = equation.result.iter().map(|label| lengths[label]).collect();
    Ok(vec![Fact::new(dtype, Some(shape))])
}
