//! Checks what neither the compiler nor clippy does. Each rule is a file, takes texts and answers with findings, and has its own tests.

mod arrows;
mod frozen;
mod lints;
mod names;
mod places;
mod readme;
mod rooms;
mod source;
mod strangers;

use crate::workspace;
use anyhow::{Context, Result, bail};
use source::Source;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no text of ours.
const SKIPPED: &[&str] = &[".git", "target", "plugins", "models", "node_modules", "__pycache__"];
/// A text longer than this is data.
const MAX_TEXT: u64 = 4 << 20;

/// Something that a rule does not allow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 speaks of the whole file.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// A text file of the project, its path relative to the root with `/` between folders.
pub(crate) struct Text {
    path: String,
    text: String,
}

/// Runs every rule over the work tree.
pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let mut texts = Vec::new();
    collect(&root, &root, &mut texts)?;
    texts.sort_by(|a, b| a.path.cmp(&b.path));
    let sources: Vec<Source> = texts
        .iter()
        .filter(|text| text.path.ends_with(".rs"))
        .map(|text| Source::new(&text.path, &text.text))
        .collect();

    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(arrows::check(source));
        findings.extend(rooms::check(source));
        findings.extend(strangers::check(source));
    }
    for text in &texts {
        findings.extend(names::check(&text.path));
        findings.extend(places::check(text));
        if text.path.ends_with(".rs") {
            findings.extend(names::header(text));
        }
        if text.path.ends_with("Cargo.toml") {
            findings.extend(lints::check(text));
        }
    }
    findings.extend(readme::check(find(&texts, "README.md"), find(&texts, "README.zh-CN.md")));
    findings.extend(frozen::check(&root.join("plugin-sdk/wit"))?);

    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy has {} findings in {} files", findings.len(), texts.len());
    }
    println!("tidy: {} files, nothing to say", texts.len());
    Ok(())
}

fn find<'a>(texts: &'a [Text], path: &str) -> &'a str {
    texts.iter().find(|text| text.path == path).map_or("", |text| &text.text)
}

fn collect(root: &Path, folder: &Path, texts: &mut Vec<Text>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let (path, kind) = (entry.path(), entry.file_type().context("cannot tell a file from a folder")?);
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() {
            let skipped = SKIPPED.contains(&name.as_str()) || name.starts_with("target-");
            if !skipped {
                collect(root, &path, texts)?;
            }
        } else if kind.is_file() && entry.metadata().is_ok_and(|facts| facts.len() <= MAX_TEXT) {
            // What is not UTF-8 is no text.
            if let Ok(text) = fs::read_to_string(&path) {
                texts.push(Text { path: relative(root, &path), text });
            }
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(root).unwrap_or(path).into();
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
