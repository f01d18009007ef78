//! From the text of plugins.toml to its typed form. Keys and ranges are checked on the parsed text, where every value still knows its line, and then what the
//! entries say of each other.

use super::error::ConfigError;
use super::keys::{ChipEntry, File, ImporterEntry, Key, ModelEntry, PluginEntry, Range, Top, Trust, sections};
use super::nearest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Names of all sections.
const SECTIONS: [&str; 6] = ["server", "loops", "plugin", "chip", "importer", "model"];
/// Entries of one list.
const MAX_ENTRIES: usize = 1024;

/// Reads and checks the whole text; `path` is for the messages.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    Checker { path, text }.file()
}

struct Checker<'a> {
    path: &'a Path,
    text: &'a str,
}

/// A list section's typed entries with their lines.
type Entries<T> = Vec<(T, usize)>;

impl<'a> Checker<'a> {
    fn file(&self) -> Result<File, ConfigError> {
        let document = DeTable::parse(self.text).map_err(|error| self.syntax(&error))?;
        let sections: BTreeMap<&str, Vec<Key>> = sections().into_iter().map(|(title, _, keys)| (title, keys)).collect();
        let mut top = DeTable::new();
        for (key, value) in document.get_ref() {
            if SECTIONS.contains(&key.get_ref().as_ref()) {
                continue;
            }
            top.insert(key.clone(), value.clone());
        }
        let mut known: Vec<&'static str> = sections["top level"].iter().map(|key| key.name).collect();
        known.extend(SECTIONS);
        self.keys(&top, &sections["top level"], "top level", &known, 1)?;
        let top: Top = self.typed(top, 1)?;
        let server = self.single(document.get_ref(), "server", "[server]", &sections)?;
        let loops = self.single(document.get_ref(), "loops", "[loops]", &sections)?;
        let plugin = self.list(document.get_ref(), "plugin", "[[plugin]]", &sections)?;
        let chip = self.list(document.get_ref(), "chip", "[[chip]]", &sections)?;
        let importer = self.list(document.get_ref(), "importer", "[[importer]]", &sections)?;
        let model = self.list(document.get_ref(), "model", "[[model]]", &sections)?;
        self.trust(&document, &top, &plugin)?;
        self.plugins(&plugin)?;
        self.chips(&chip, &plugin)?;
        self.importers(&importer, &plugin)?;
        self.models(&model)?;
        let (plugin, chip, importer, model) = (bare(plugin), bare(chip), bare(importer), bare(model));
        Ok(File { top, server, loops, plugin, chip, importer, model })
    }

    fn trust(
        &self,
        document: &Spanned<DeTable<'_>>,
        top: &Top,
        plugins: &Entries<PluginEntry>,
    ) -> Result<(), ConfigError> {
        let line_of = |key: &str| document.get_ref().get(key).map_or(1, |value| self.line(value.span().start));
        let is_key = |key: &&String| key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(bad) = top.trusted_keys.iter().find(|key| !is_key(key)) {
            return Err(self.invalid(
                line_of("trusted_keys"),
                format!("`{}` in trusted_keys is no public key of 64 hexadecimal digits", bad.escape_debug()),
                "take the line that `host plugin keygen` prints",
            ));
        }
        match top.trust {
            Trust::Any => Ok(()),
            Trust::Pinned => match plugins.iter().find(|(plugin, _)| plugin.sha256.is_empty()) {
                Some((plugin, line)) => Err(self.invalid(
                    *line,
                    format!("plugin `{}` has no sha256, and trust = \"pinned\" takes only pinned plugins", plugin.name),
                    format!(
                        "add the line that `host plugin verify {}` prints, or set trust = \"any\"",
                        plugin.path.display()
                    ),
                )),
                None => Ok(()),
            },
            Trust::Signed if top.trusted_keys.is_empty() => Err(self.invalid(
                line_of("trust"),
                "trust = \"signed\" without trusted_keys takes no plugin at all",
                "add trusted_keys = [\"...\"] with the public keys of those whose plugins you use; `host plugin keygen` makes a pair of your own",
            )),
            Trust::Signed => Ok(()),
        }
    }

    fn plugins(&self, plugins: &Entries<PluginEntry>) -> Result<(), ConfigError> {
        let mut seen = BTreeMap::new();
        for (plugin, line) in plugins {
            self.name(&plugin.name, 64, *line, "[[plugin]]")?;
            if !plugin.sha256.is_empty()
                && (plugin.sha256.len() != 64 || !plugin.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()))
            {
                return Err(self.invalid(
                    *line,
                    format!("the sha256 of plugin `{}` is not 64 hexadecimal digits", plugin.name),
                    format!("`sha256sum {}` prints it", plugin.path.display()),
                ));
            }
            if let Some(first) = seen.insert(plugin.name.as_str(), *line) {
                return Err(self.invalid(
                    *line,
                    format!("two plugins are named `{}` (the other one in line {first})", plugin.name),
                    "rename one of them",
                ));
            }
        }
        Ok(())
    }

    fn chips(&self, chips: &Entries<ChipEntry>, plugins: &Entries<PluginEntry>) -> Result<(), ConfigError> {
        let mut seen = BTreeMap::new();
        for (chip, line) in chips {
            for name in std::iter::once(&chip.name).chain(&chip.alias) {
                self.name(name, 64, *line, "[[chip]]")?;
                if name == "auto" {
                    return Err(self.invalid(
                        *line,
                        "no chip can be named `auto`: it means the best one",
                        "choose another name",
                    ));
                }
                if let Some(first) = seen.insert(name.as_str(), *line) {
                    return Err(self.invalid(
                        *line,
                        format!("two chips answer to `{name}` (the other one in line {first})"),
                        "rename one of them, or remove the alias",
                    ));
                }
            }
            self.refers(&chip.plugin, plugins, *line, &format!("chip `{}`", chip.name))?;
        }
        Ok(())
    }

    fn importers(&self, importers: &Entries<ImporterEntry>, plugins: &Entries<PluginEntry>) -> Result<(), ConfigError> {
        importers.iter().try_for_each(|(importer, line)| self.refers(&importer.plugin, plugins, *line, "an importer"))
    }

    fn models(&self, models: &Entries<ModelEntry>) -> Result<(), ConfigError> {
        let mut seen = BTreeMap::new();
        for (model, line) in models {
            self.name(&model.name, 128, *line, "[[model]]")?;
            if let Some(first) = seen.insert((model.name.as_str(), model.version), *line) {
                return Err(self.invalid(
                    *line,
                    format!(
                        "two models are named `{}` and have version {} (the other one in line {first})",
                        model.name, model.version
                    ),
                    "give one of them another name or version",
                ));
            }
        }
        Ok(())
    }

    fn refers(&self, name: &str, plugins: &Entries<PluginEntry>, line: usize, who: &str) -> Result<(), ConfigError> {
        if plugins.iter().any(|(plugin, _)| plugin.name == name) {
            return Ok(());
        }
        let names: Vec<_> = plugins.iter().map(|(plugin, _)| plugin.name.as_str()).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "add a [[plugin]] with that name and the path of its .wasm".into(),
            None => format!("the plugins are {}", names.join(", ")),
        };
        Err(self.invalid(line, format!("{who} wants plugin `{name}`, which no [[plugin]] names"), help))
    }

    fn name(&self, name: &str, longest: usize, line: usize, section: &str) -> Result<(), ConfigError> {
        if super::is_name(name, longest) {
            return Ok(());
        }
        Err(self.invalid(
            line,
            format!("`{}` is no name for an entry of {section}", name.escape_debug()),
            format!("use letters, digits, `-`, `_` and `.`, at most {longest}, and not only dots"),
        ))
    }

    /// A section that stands once, or not at all.
    fn single<T: Default + for<'d> Deserialize<'d>>(
        &self,
        document: &DeTable<'_>,
        key: &str,
        title: &'static str,
        sections: &BTreeMap<&str, Vec<Key>>,
    ) -> Result<T, ConfigError> {
        let Some(value) = document.get(key) else { return Ok(T::default()) };
        let line = self.line(value.span().start);
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.invalid(line, format!("`{key}` is not a section"), format!("write it as {title}")));
        };
        self.section(table, &sections[title], title, line)
    }

    fn list<T: for<'d> Deserialize<'d>>(
        &self,
        document: &DeTable<'_>,
        key: &str,
        title: &'static str,
        sections: &BTreeMap<&str, Vec<Key>>,
    ) -> Result<Entries<T>, ConfigError> {
        let Some(value) = document.get(key) else { return Ok(Vec::new()) };
        let line = self.line(value.span().start);
        let wrong =
            || self.invalid(line, format!("`{key}` is not a list of entries"), format!("write each one as {title}"));
        let DeValue::Array(array) = value.get_ref() else { return Err(wrong()) };
        if array.len() > MAX_ENTRIES {
            return Err(self.invalid(
                line,
                format!("{} entries of {title}; at most {MAX_ENTRIES} are taken", array.len()),
                "remove some",
            ));
        }
        array
            .iter()
            .map(|entry| {
                let line = self.line(entry.span().start);
                let DeValue::Table(table) = entry.get_ref() else { return Err(wrong()) };
                Ok((self.section(table, &sections[title], title, line)?, line))
            })
            .collect()
    }

    fn section<T: for<'d> Deserialize<'d>>(
        &self,
        table: &DeTable<'_>,
        keys: &[Key],
        title: &'static str,
        line: usize,
    ) -> Result<T, ConfigError> {
        let known: Vec<_> = keys.iter().map(|key| key.name).collect();
        self.keys(table, keys, title, &known, line)?;
        self.typed(table.clone(), line)
    }

    /// Unknown keys, missing ones, and numbers and words outside of their ranges.
    fn keys(
        &self,
        table: &DeTable<'_>,
        keys: &[Key],
        section: &'static str,
        known: &[&'static str],
        line: usize,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let line = self.line(name.span().start);
            let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) else {
                return Err(ConfigError::UnknownKey {
                    path: self.path.to_path_buf(),
                    line,
                    key: name.get_ref().escape_debug().to_string(),
                    section,
                    nearest: nearest(name.get_ref(), known.iter().copied()),
                    known: known.to_vec(),
                });
            };
            let fits = match (&key.range, value.get_ref()) {
                (Range::Number(min, max), DeValue::Integer(number)) => {
                    let digits: String = number.as_str().chars().filter(|c| *c != '_').collect();
                    i64::from_str_radix(&digits, number.radix()).is_ok_and(|number| (*min..=*max).contains(&number))
                }
                (Range::OneOf(words), DeValue::String(word)) => words.contains(&word.as_ref()),
                (Range::Number(..) | Range::OneOf(_), _) => false,
                (Range::Text(_), _) => true,
            };
            if !fits {
                let span = value.span();
                return Err(ConfigError::OutOfRange {
                    path: self.path.to_path_buf(),
                    line,
                    key: key.name,
                    found: self.text.get(span).unwrap_or("?").chars().take(64).collect(),
                    range: key.range.to_string(),
                    default: key.default.clone(),
                });
            }
        }
        match keys.iter().find(|key| key.default.is_empty() && !table.contains_key(key.name)) {
            Some(key) => Err(self.invalid(
                line,
                format!("{section} lacks `{}`", key.name),
                format!("add {} = ...: {}", key.name, key.range),
            )),
            None => Ok(()),
        }
    }

    fn typed<T: for<'d> Deserialize<'d>>(&self, table: DeTable<'_>, line: usize) -> Result<T, ConfigError> {
        // The spans still point into the text, so an error of a value names its own line.
        let deserializer = toml::de::Deserializer::from(Spanned::new(0..0, table));
        T::deserialize(deserializer).map_err(|error| match error.span() {
            Some(span) if span.start > 0 => self.syntax(&error),
            _ => ConfigError::Syntax { path: self.path.to_path_buf(), line, message: one_line(error.message()) },
        })
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map_or(1, |span| self.line(span.start));
        ConfigError::Syntax { path: self.path.to_path_buf(), line, message: one_line(error.message()) }
    }

    fn invalid(&self, line: usize, message: impl Into<String>, help: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { path: self.path.to_path_buf(), line, message: message.into(), help: help.into() }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
    }
}

fn bare<T>(entries: Entries<T>) -> Vec<T> {
    entries.into_iter().map(|(entry, _)| entry).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
