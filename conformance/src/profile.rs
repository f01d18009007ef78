//! Profiles: what a chip is certified for. Each is a list of cases that must pass, written by `conformance/onnx/generate.py`.

use crate::CaseFacts;
use sha2::{Digest, Sha256};

/// The suite whose cases, all of them, are the profile `abi`.
pub const BEHAVIOUR_SUITE: &str = "behaviour";

/// A set of cases that must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// As the command line and certificates name it.
    pub name: &'static str,
    /// The list as it stands in its file; none: all cases of [`BEHAVIOUR_SUITE`].
    list: Option<&'static str>,
}

const PROFILES: &[Profile] = &[
    Profile { name: "abi", list: None },
    Profile { name: "core-f32", list: Some(include_str!("../profiles/core-f32.txt")) },
    Profile { name: "half", list: Some(include_str!("../profiles/half.txt")) },
    Profile { name: "quant", list: Some(include_str!("../profiles/quant.txt")) },
    Profile { name: "vision", list: Some(include_str!("../profiles/vision.txt")) },
    Profile { name: "llm", list: Some(include_str!("../profiles/llm.txt")) },
    Profile { name: "host-ops", list: Some(include_str!("../profiles/host-ops.txt")) },
];

impl Profile {
    /// All profiles.
    pub fn all() -> &'static [Profile] {
        PROFILES
    }

    /// The profile of that name.
    pub fn named(name: &str) -> Option<Profile> {
        PROFILES.iter().copied().find(|profile| profile.name == name)
    }

    /// Whether a case must pass for it.
    pub fn asks_for(&self, case: &CaseFacts) -> bool {
        match self.list {
            None => case.suite == BEHAVIOUR_SUITE,
            Some(_) => case.suite == "onnx-node" && self.names().any(|name| name == case.name),
        }
    }

    /// The cases of its list; none for the profile that is a whole suite.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let lines = self.list.unwrap_or_default().lines().map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// SHA-256 of the sorted names of `cases`, a line each: what a certificate says was asked for.
    pub fn digest<'a>(cases: impl Iterator<Item = &'a str>) -> String {
        let mut names: Vec<&str> = cases.collect();
        names.sort_unstable();
        let mut hasher = Sha256::new();
        for name in names {
            hasher.update(name.as_bytes());
            hasher.update(b"\n");
        }
        hex(&hasher.finalize())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn every_name_of_every_list_is_a_case() {
        let store = Store::onnx_nodes();
        for profile in Profile::all().iter().filter(|profile| profile.list.is_some()) {
            assert!(profile.names().count() >= 50, "{}", profile.name);
            for name in profile.names() {
                assert!(store.case(name).is_some(), "{}: {name}", profile.name);
            }
        }
        assert_eq!(Profile::named("core-f32").expect("known").names().count(), 1231);
        assert_eq!(Profile::named("core-f64"), None);
    }

    #[test]
    fn the_digest_is_of_the_set_and_not_of_its_order() {
        let digest = |names: &[&'static str]| Profile::digest(names.iter().copied());
        assert_eq!(digest(&["a", "b"]), digest(&["b", "a"]));
        assert_ne!(digest(&["a", "b"]), digest(&["ab"]));
    }
}
