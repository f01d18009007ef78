//! Which fast path an operation may have: what the flags say, what the chip's entry says, and what the self-checks found out.

use super::{Place, fast_path};
use crate::config::FastPaths;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use sunmao_plugin_sdk::{self as sdk, abi};

/// What a self-check found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FastPathOutcome {
    /// It agrees with the portable kernel on so many operations; 0: there was none small enough to try.
    Agrees(usize),
    /// It does not, and is not used.
    Differs(String),
}

/// What the self-checks of a process found out, by fast path and operator.
#[derive(Debug, Default)]
pub struct FastPathRecord(Mutex<BTreeMap<(&'static str, String), FastPathOutcome>>);

impl FastPathRecord {
    /// The one that all models share.
    pub fn of_process() -> &'static Self {
        static RECORD: FastPathRecord = FastPathRecord(Mutex::new(BTreeMap::new()));
        &RECORD
    }

    /// Whether a fast path was checked for an operator already.
    pub fn is_known(&self, path: &'static str, op: &str) -> bool {
        self.lock().contains_key(&(path, op.to_owned()))
    }

    /// Writes an outcome down.
    pub fn note(&self, path: &'static str, op: &str, outcome: FastPathOutcome) {
        self.lock().insert((path, op.to_owned()), outcome);
    }

    /// Everything so far, in the order of names.
    pub fn outcomes(&self) -> Vec<(&'static str, String, FastPathOutcome)> {
        self.lock().iter().map(|((path, op), outcome)| (*path, op.clone(), outcome.clone())).collect()
    }

    /// How many fast paths failed, each operator counted.
    pub fn failures(&self) -> usize {
        self.lock().values().filter(|outcome| matches!(outcome, FastPathOutcome::Differs(_))).count()
    }

    /// Whether a fast path failed for an operator.
    pub fn is_refused(&self, path: &'static str, op: &str) -> bool {
        self.failure(path, op).is_some()
    }

    fn failure(&self, path: &'static str, op: &str) -> Option<String> {
        match self.lock().get(&(path, op.to_owned())) {
            Some(FastPathOutcome::Differs(what)) => Some(what.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), FastPathOutcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked before a fast path is chosen.
#[derive(Clone, Debug)]
pub struct FastPathRules<'a> {
    flag: FastPaths,
    entry: FastPaths,
    off: Option<&'static str>,
    record: &'a FastPathRecord,
}

impl<'a> FastPathRules<'a> {
    /// What the command line and the chip's entry in plugins.toml say, and what is on record.
    pub fn new(flag: FastPaths, entry: FastPaths, record: &'a FastPathRecord) -> Self {
        let off = match (&flag, &entry) {
            (FastPaths::Off, _) => Some("--fast-paths off"),
            (_, FastPaths::Off) => Some("fast_paths = \"off\" in plugins.toml"),
            _ => None,
        };
        Self { flag, entry, off, record }
    }

    /// The best fast path for an operation and why it, or why there is none; both for a person.
    pub(super) fn choose(&self, operation: &abi::Operation) -> Result<(Place, Box<dyn sdk::Kernel>, String), String> {
        if let Some(why) = self.off {
            return Err(format!("fast paths are off ({why})"));
        }
        let refused = |path: &'static str| self.refusal(path, &operation.op);
        let chosen = fast_path(operation, |path| refused(path).is_none());
        // Who would have come first is asked only where somebody can have been refused.
        let first = match self.refuses_any() {
            true => fast_path(operation, |path| refused(path).is_some()).ok().and_then(|(place, _)| place.fast_path()),
            false => None,
        };
        let refusal = first.and_then(|path| Some(format!("{path} is not used: {}", refused(path)?)));
        match (chosen, refusal) {
            (Ok((place, kernel)), refusal) => {
                let path = place.fast_path().unwrap_or_default();
                let refusal = refusal.map_or_else(String::new, |refusal| format!("; {refusal}"));
                Ok((place, kernel, format!("{path}, registered for {}{refusal}", sunmao_fastpath::Isa::detect())))
            }
            (Err(_), Some(refusal)) => Err(format!("fast path: {refusal}")),
            (Err(error), None) => Err(format!("fast path: {}", error.message)),
        }
    }

    /// The fast path of that name, if it may be chosen and takes the operation, with what its kernel wants.
    pub(super) fn named(&self, path: &str, operation: &abi::Operation) -> Option<(Place, abi::Requirements)> {
        let is_it =
            |name: &'static str| name == path && self.off.is_none() && self.refusal(name, &operation.op).is_none();
        fast_path(operation, is_it).ok().map(|(place, kernel)| (place, kernel.requirements()))
    }

    fn refuses_any(&self) -> bool {
        self.flag != FastPaths::Auto || self.entry != FastPaths::Auto || self.record.failures() > 0
    }

    /// Why a fast path may not be chosen for an operator; none: it may.
    fn refusal(&self, path: &'static str, op: &str) -> Option<String> {
        if !self.flag.allows(path) {
            return Some(format!("--fast-paths {}", self.flag));
        }
        if !self.entry.allows(path) {
            return Some(format!("fast_paths = \"{}\" in plugins.toml", self.entry));
        }
        self.record.failure(path, op).map(|what| format!("its self-check failed: {what}"))
    }
}

impl FastPathRules<'static> {
    /// No fast path at all, for the reason given.
    pub fn off(why: &'static str) -> Self {
        let (flag, entry) = (FastPaths::Off, FastPaths::Off);
        Self { flag, entry, off: Some(why), record: FastPathRecord::of_process() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sunmao_graph::DType;

    fn exp() -> abi::Operation {
        let operand = || {
            Some(abi::Operand {
                dtype: DType::F32.code(),
                shape: vec![2, 5],
                layout: 0,
                constant: false,
                literal: None,
                quantisation: None,
                extents: Vec::new(),
                ext: Vec::new(),
            })
        };
        abi::Operation {
            op: "Exp".into(),
            revision: 13,
            attributes: Vec::new(),
            inputs: vec![operand()],
            outputs: vec![operand()],
            epilogue: Vec::new(),
            ext: Vec::new(),
        }
    }

    #[test]
    fn who_is_refused_is_named_with_the_reason() {
        let record = FastPathRecord::default();
        let rules = |flag: &str, entry: &str| {
            FastPathRules::new(FastPaths::parse(flag).unwrap(), FastPaths::parse(entry).unwrap(), &record)
        };
        let choose = |rules: FastPathRules<'_>| rules.choose(&exp()).map(|(place, _, reason)| (place, reason));
        assert_eq!(choose(rules("off", "auto")), Err("fast paths are off (--fast-paths off)".into()));
        assert_eq!(
            choose(rules("auto", "off")),
            Err("fast paths are off (fast_paths = \"off\" in plugins.toml)".into())
        );
        // A processor without fast paths has nobody to refuse.
        let Ok((place, reason)) = choose(rules("auto", "auto")) else { return };
        let path = place.fast_path().unwrap();
        assert!(reason.starts_with(&format!("{path}, registered for ")), "{reason}");
        let without = format!("-{path}");
        assert_eq!(
            choose(rules(&without, "auto")),
            Err(format!("fast path: {path} is not used: --fast-paths {without}"))
        );
        assert!(choose(rules("auto", &without)).unwrap_err().contains("in plugins.toml"));
        assert_eq!(choose(rules(path, "auto")).unwrap().0, place);
        record.note(path, "Tanh", FastPathOutcome::Differs("element 0".into()));
        assert!(choose(rules("auto", "auto")).is_ok(), "another operator's failure");
        record.note(path, "Exp", FastPathOutcome::Differs("element 3 is 1 where 2 is right".into()));
        let refused = choose(rules("auto", "auto")).unwrap_err();
        assert!(refused.ends_with("its self-check failed: element 3 is 1 where 2 is right"), "{refused}");
        assert_eq!((record.failures(), record.outcomes().len()), (2, 2));
    }
}
