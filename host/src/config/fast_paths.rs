//! Which native kernels may stand in for a chip's own, as a user writes it.

use super::nearest;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;

/// Which native kernels may stand in for a chip's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum FastPaths {
    /// Every one that is registered for this machine.
    #[default]
    Auto,
    /// None.
    Off,
    /// Some, by name.
    Named {
        /// Only these; empty: all.
        only: BTreeSet<String>,
        /// But for these.
        except: BTreeSet<String>,
    },
}

impl FastPaths {
    /// `auto`, `off`, or names with commas between: those alone may be chosen, and one with a `-` in front may not.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let known: BTreeSet<&str> = sunmao_fastpath::registered().iter().map(|entry| entry.path).collect();
        let (mut only, mut except) = (BTreeSet::new(), BTreeSet::new());
        for part in text.split(',').map(str::trim) {
            let (name, list) = match part.strip_prefix('-') {
                Some(name) => (name, &mut except),
                None => (part, &mut only),
            };
            if !known.contains(name) {
                return Err(unknown(name, &known));
            }
            list.insert(name.to_owned());
        }
        Ok(Self::Named { only, except })
    }

    /// Whether the fast path of that name may be chosen.
    pub fn allows(&self, path: &str) -> bool {
        match self {
            Self::Auto => true,
            Self::Off => false,
            Self::Named { only, except } => (only.is_empty() || only.contains(path)) && !except.contains(path),
        }
    }
}

fn unknown(name: &str, known: &BTreeSet<&str>) -> String {
    let list: Vec<&str> = known.iter().copied().collect();
    let near = nearest(name, list.iter().copied().chain(["auto", "off"]));
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let list = if list.is_empty() { "this host has none".into() } else { format!("there are {}", list.join(", ")) };
    format!("no fast path is named `{}`: {list}; or use `auto` or `off`{near}", name.escape_debug())
}

impl TryFrom<String> for FastPaths {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl fmt::Display for FastPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Named { only, except } => {
                let except = except.iter().map(|name| format!("-{name}"));
                f.write_str(&only.iter().cloned().chain(except).collect::<Vec<_>>().join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_names_are_read_and_written() {
        let known: Vec<&str> = sunmao_fastpath::registered().iter().map(|entry| entry.path).collect();
        assert_eq!((FastPaths::parse("auto"), FastPaths::parse(" off ")), (Ok(FastPaths::Auto), Ok(FastPaths::Off)));
        let Some(&name) = known.first() else { return };
        let only = FastPaths::parse(name).unwrap();
        assert_eq!((only.allows(name), only.allows("another"), only.to_string()), (true, false, name.to_owned()));
        let except = FastPaths::parse(&format!("-{name}")).unwrap();
        assert_eq!((except.allows(name), except.allows("another")), (false, true));
        assert_eq!(FastPaths::parse(&except.to_string()), Ok(except));
    }

    #[test]
    fn an_unknown_name_is_told_with_those_that_exist() {
        let error = FastPaths::parse("fastest").unwrap_err();
        assert!(error.contains("`fastest`") && error.contains("`auto` or `off`"), "{error}");
        for entry in sunmao_fastpath::registered() {
            assert!(error.contains(entry.path), "{error}");
        }
        assert!(FastPaths::parse("of").unwrap_err().contains("did you mean `off`?"));
        assert!(FastPaths::parse("").is_err() && FastPaths::parse("-").is_err());
    }
}
