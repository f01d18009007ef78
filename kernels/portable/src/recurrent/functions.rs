//! The activation functions of recurrent operators, by the names and constants in their attributes.

use super::Cell;
use crate::activation::{Map, activation, map};
use crate::arguments::Op;
use crate::number::Number;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::{Attribute, Kv};
use sunmao_plugin_sdk::{Attributes, Result};

/// The functions of one direction: of the gates, of the candidate, and (LSTM) of the cell on its way out.
pub(super) struct Functions<V> {
    pub(super) gate: Map<V>,
    pub(super) candidate: Map<V>,
    pub(super) cell: Map<V>,
}

/// Names, and whether a function takes its own alpha and beta from the lists.
const KNOWN: &[(&str, bool, bool)] = &[
    ("Relu", false, false),
    ("Tanh", false, false),
    ("Sigmoid", false, false),
    ("Affine", true, true),
    ("LeakyRelu", true, false),
    ("ThresholdedRelu", true, false),
    ("ScaledTanh", true, true),
    ("HardSigmoid", true, true),
    ("Elu", true, false),
    ("Softsign", false, false),
    ("Softplus", false, false),
];

/// The functions of every direction. Constants are handed out in the order of the functions that take one.
pub(super) fn functions<V: Number>(op: Op<'_>, cell: Cell, directions: usize) -> Result<Arc<[Functions<V>]>> {
    let defaults: &[&str] = match cell {
        Cell::Rnn => &["Tanh"],
        Cell::Gru => &["Sigmoid", "Tanh"],
        Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
    };
    let attributes = op.attributes();
    let names: Vec<&str> = match attributes.texts("activations").filter(|names| !names.is_empty()) {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => defaults.repeat(directions),
    };
    if names.len() != defaults.len() * directions {
        return Err(op.invalid(format_args!("{} activations for {directions} directions", names.len())));
    }
    let mut alphas = attributes.numbers("activation_alpha").unwrap_or_default().iter().copied();
    let mut betas = attributes.numbers("activation_beta").unwrap_or_default().iter().copied();
    let mut made = Vec::with_capacity(names.len());
    for name in names {
        let known = KNOWN.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        let Some(&(name, takes_alpha, takes_beta)) = known else {
            return Err(op.unsupported(format_args!("the activation `{name}`")));
        };
        let alpha = if takes_alpha { alphas.next() } else { None };
        let beta = if takes_beta { betas.next() } else { None };
        made.push(function(op, name, alpha, beta)?);
    }
    let mut made = made.into_iter();
    let mut next = || made.next().unwrap_or_else(|| map(|x| x));
    let of_direction = |_| match cell {
        Cell::Rnn => Functions { gate: map(|x| x), candidate: next(), cell: map(|x| x) },
        Cell::Gru => Functions { gate: next(), candidate: next(), cell: map(|x| x) },
        Cell::Lstm => Functions { gate: next(), candidate: next(), cell: next() },
    };
    Ok((0..directions).map(of_direction).collect())
}

fn function<V: Number>(op: Op<'_>, name: &str, alpha: Option<f64>, beta: Option<f64>) -> Result<Map<V>> {
    let (first, second) = (alpha.unwrap_or(1.0), beta);
    Ok(match name {
        "Affine" => map(move |x: V| V::from_f64(first * x.to_f64() + second.unwrap_or(0.0))),
        "ScaledTanh" => map(move |x: V| V::from_f64(first * libm::tanh(second.unwrap_or(1.0) * x.to_f64()))),
        _ => {
            let given = [("alpha", alpha), ("beta", beta)];
            let constants: Vec<Kv> = given
                .into_iter()
                .filter_map(|(key, value)| Some(Kv { key: key.into(), val: Attribute::Number(value?) }))
                .collect();
            let made = activation(name, Attributes(&constants));
            made.ok_or_else(|| op.unsupported(format_args!("the activation `{name}`")))?
        }
    })
}
