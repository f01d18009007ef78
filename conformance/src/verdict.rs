//! What a case came to: the verdict, and what was compared to reach it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The verdict on one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every output was compared and is within its bound.
    Pass,
    /// An answer came and is not the expected one.
    Wrong,
    /// Plugin or host said beforehand that it does not run this. Fine for a plugin, counted all the same.
    Declined,
    /// The plugin's table says yes, and then `prepare`, `bind` or `run` failed.
    BrokenPromise,
    /// No answer within the deadline.
    Timeout,
    /// The plugin trapped, or the host panicked.
    Crash,
}

impl Verdict {
    /// All of them, in the order in which tables print them.
    pub const ALL: [Verdict; 6] =
        [Verdict::Pass, Verdict::Wrong, Verdict::Declined, Verdict::BrokenPromise, Verdict::Timeout, Verdict::Crash];

    /// As reports spell it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Wrong => "wrong",
            Verdict::Declined => "declined",
            Verdict::BrokenPromise => "broken-promise",
            Verdict::Timeout => "timeout",
            Verdict::Crash => "crash",
        }
    }

    /// Whether a run with such a case has failed. A declined case only lowers the count.
    pub fn is_failure(self) -> bool {
        !matches!(self, Verdict::Pass | Verdict::Declined)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What was compared in a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Values compared: outputs, or whatever the suite checks. None at all is never a pass.
    pub values: u64,
    /// Elements compared in all of them.
    pub elements: u64,
    /// Largest distance seen, in units in the last place of the element type of the output; 0 where all were equal, infinite (null in JSON)
    /// where a number was met with NaN or infinity.
    #[serde(serialize_with = "finite", deserialize_with = "or_infinite")]
    pub worst_ulp: f64,
    /// The bound that held, in words: `exact`, `18 ULP`, `shape, type and range`.
    pub rule: String,
    /// Whether the plain rule that other runtimes are measured with would say the same; none where there is no such rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_peers: Option<bool>,
}

fn finite<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(*value).serialize(serializer)
}

fn or_infinite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

/// Where the dispatches of a case ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// On the chip plugin.
    pub chip: u32,
    /// On native fast paths of the host.
    pub fast_path: u32,
    /// On the host's portable kernels.
    pub portable: u32,
}

/// What a suite answers for one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is no pass; empty for one.
    pub reason: String,
    /// What was compared; default where it did not come to that.
    pub comparison: Comparison,
    /// Where it ran; default where it did not.
    pub places: Places,
}

impl Outcome {
    /// A case that was compared and is right. One in which nothing was compared is wrong: it proves nothing.
    pub fn pass(comparison: Comparison) -> Self {
        if comparison.values == 0 {
            return Self::wrong("nothing was compared", comparison);
        }
        Self { verdict: Verdict::Pass, reason: String::new(), comparison, places: Places::default() }
    }

    /// A case that was compared and is wrong.
    pub fn wrong(reason: impl Into<String>, comparison: Comparison) -> Self {
        Self { comparison, ..Self::failed(Verdict::Wrong, reason) }
    }

    /// A case that did not come to an answer.
    pub fn failed(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self { verdict, reason: reason.into(), comparison: Comparison::default(), places: Places::default() }
    }

    /// With where it ran.
    pub fn at(self, places: Places) -> Self {
        Self { places, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_in_which_nothing_was_compared_is_no_pass() {
        assert_eq!(Outcome::pass(Comparison::default()).verdict, Verdict::Wrong);
        assert_eq!(Outcome::pass(Comparison { values: 1, ..Comparison::default() }).verdict, Verdict::Pass);
    }

    #[test]
    fn names_read_back() {
        for verdict in Verdict::ALL {
            let text = serde_json::to_string(&verdict).expect("a name");
            assert_eq!(text, format!("\"{verdict}\""));
            assert_eq!(serde_json::from_str::<Verdict>(&text).expect("reads back"), verdict);
        }
    }
}
