//! Known gaps of a plugin: what it does not support, and what is known to fail. Each entry has a pattern and a reason, and goes when the gap closes.

use crate::{CaseResult, Verdict, glob};
use serde::Deserialize;

/// The known gaps of one plugin, as `conformance/lists/NAME.toml` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lists {
    /// Cases that it declines.
    #[serde(default)]
    pub unsupported: Vec<Gap>,
    /// Cases that fail, for a reason that is known.
    #[serde(default)]
    pub expected_failure: Vec<Gap>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Names of cases, with `*` and `?`.
    pub pattern: String,
    /// Why, and what would close it.
    pub reason: String,
}

/// A list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of known gaps: {0}")]
pub struct BadList(String);

const BUILT_IN: &[(&str, &str)] =
    &[("portable", include_str!("../lists/portable.toml")), ("simd128", include_str!("../lists/simd128.toml"))];

impl Lists {
    /// Reads a list.
    pub fn parse(text: &str) -> Result<Self, BadList> {
        let lists: Lists = toml::from_str(text).map_err(|error| BadList(error.to_string()))?;
        let empty = |gap: &&Gap| gap.pattern.trim().is_empty() || gap.reason.trim().is_empty();
        match lists.unsupported.iter().chain(&lists.expected_failure).find(empty) {
            Some(gap) => Err(BadList(format!("entry `{}` needs a pattern and a reason", gap.pattern))),
            None => Ok(lists),
        }
    }

    /// The project's own list for the plugin of that id; empty for others.
    pub fn built_in(plugin: &str) -> Self {
        let text = BUILT_IN.iter().find(|(name, _)| *name == plugin).map_or("", |(_, text)| text);
        Self::parse(text).expect("the built-in lists are read by a test")
    }

    /// Marks the failures that are known, and answers what is wrong with the list itself: entries that pass by now, and with `whole`
    /// (every case was run) those that no case fits.
    pub fn apply(&self, results: &mut [CaseResult], whole: bool) -> Vec<String> {
        let mut stale = Vec::new();
        for gap in &self.unsupported {
            gap.check(results, whole, &mut stale, |result| {
                result.waiver.is_none() && result.outcome.verdict == Verdict::Declined
            });
        }
        for gap in &self.expected_failure {
            gap.check(results, whole, &mut stale, |result| result.outcome.verdict.is_failure());
        }
        stale
    }
}

impl Gap {
    fn check(
        &self,
        results: &mut [CaseResult],
        whole: bool,
        stale: &mut Vec<String>,
        known: impl Fn(&CaseResult) -> bool,
    ) {
        let mut fits = false;
        for result in results.iter_mut().filter(|result| glob::matches(&self.pattern, &result.facts.name)) {
            fits = true;
            if result.outcome.verdict == Verdict::Pass {
                stale.push(format!(
                    "`{}`: {} passes; take the entry away or narrow it",
                    self.pattern, result.facts.name
                ));
            } else if known(result) {
                result.waiver = Some(self.reason.clone());
            }
        }
        if whole && !fits {
            stale.push(format!("`{}`: no case has such a name; take the entry away", self.pattern));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CaseFacts, Comparison, Outcome};

    fn result(name: &str, outcome: Outcome) -> CaseResult {
        CaseResult {
            facts: CaseFacts { name: name.into(), ..CaseFacts::default() },
            outcome,
            took_ms: 0.0,
            waiver: None,
        }
    }

    #[test]
    fn known_gaps_are_waived_and_closed_ones_are_errors() {
        let lists = Lists::parse(
            "[[unsupported]]\npattern = 'test_lstm*'\nreason = 'no recurrence'\n[[expected-failure]]\npattern = 'test_exp'\nreason = 'off by 3'\n",
        )
        .expect("reads");
        let pass = || Outcome::pass(Comparison { values: 1, ..Comparison::default() });
        let mut results = vec![
            result("test_lstm_a", Outcome::failed(Verdict::Declined, "no")),
            result("test_lstm_b", Outcome::failed(Verdict::Crash, "trap")),
            result("test_exp", Outcome::failed(Verdict::Wrong, "off")),
            result("test_log", pass()),
        ];
        assert_eq!(lists.apply(&mut results, true), [""; 0]);
        let waived: Vec<bool> = results.iter().map(|result| result.waiver.is_some()).collect();
        assert_eq!(waived, [true, false, true, false], "a crash is not what the list says");
        results[2].outcome = pass();
        assert_eq!(lists.apply(&mut results, true).len(), 1);
        assert_eq!(lists.apply(&mut results[..1], true), ["`test_exp`: no case has such a name; take the entry away"]);
        assert!(lists.apply(&mut results[..1], false).is_empty(), "a part of the cases says nothing of the others");
    }

    #[test]
    fn an_entry_needs_a_reason_and_unknown_keys_are_refused() {
        assert!(Lists::parse("[[unsupported]]\npattern = 'a'\nreason = ''\n").is_err());
        assert!(Lists::parse("[[unsuported]]\npattern = 'a'\nreason = 'b'\n").is_err());
        for (name, _) in BUILT_IN {
            Lists::built_in(name);
        }
    }
}
