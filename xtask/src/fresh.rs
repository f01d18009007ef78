//! How long the README's two commands take on a fresh machine, as far as one machine can tell: in a fresh clone of the last commit, with
//! nothing built and no models. Downloads of packages may come from the caches of the package clients.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A command of the README, and the minutes that it may take.
struct Promise {
    name: &'static str,
    words: &'static [&'static str],
    minutes_max: f64,
}

const PROMISES: [Promise; 2] = [
    Promise { name: "fresh.demo", words: &["cargo", "xtask", "demo"], minutes_max: 15.0 },
    Promise { name: "fresh.ci", words: &["bash", ".ci/run"], minutes_max: 30.0 },
];

/// Prints a line for each promise whose name begins with `only`; answers whether all were kept.
pub(crate) fn measure(only: &str) -> Result<bool> {
    let mut kept = true;
    for promise in PROMISES.iter().filter(|promise| promise.name.starts_with(only)) {
        let limit = promise.minutes_max;
        match minutes(promise) {
            Ok(minutes) => {
                let verdict = if minutes <= limit { "ok" } else { "short" };
                kept &= minutes <= limit;
                println!("{}  {minutes:.2} min  <= {limit} min  {verdict}  cases=1", promise.name);
            }
            Err(error) => {
                kept = false;
                println!("{}  not measured: {error:#}  -  short", promise.name);
            }
        }
    }
    Ok(kept)
}

fn minutes(promise: &Promise) -> Result<f64> {
    let clone = Clone::make(promise.name)?;
    let start = Instant::now();
    let mut command = Command::new(promise.words[0]);
    command.args(&promise.words[1..]).current_dir(&clone.0).env("CI", "true").env_remove("CARGO_TARGET_DIR");
    // Variables of cargo's that speak of this build would make the other one build everything twice.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SUNMAO_") || text.starts_with("CARGO_PKG") || text.starts_with("CARGO_MANIFEST") {
            command.env_remove(name);
        }
    }
    let log = workspace::notes()?.join(format!("{}.log", promise.name));
    let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    eprintln!("+ {} in a fresh clone (log: {})", promise.words.join(" "), workspace::shown(&log));
    let errors = file.try_clone().context("cannot share the log")?;
    let status = command.stdin(Stdio::null()).stdout(file).stderr(errors).status().context("cannot start")?;
    if !status.success() {
        bail!("{status}; the log is {}", workspace::shown(&log));
    }
    Ok(start.elapsed().as_secs_f64() / 60.0)
}

/// A clone of the last commit; it goes when this is dropped.
struct Clone(PathBuf);

impl Clone {
    fn make(name: &str) -> Result<Self> {
        let folder = workspace::target().join("fresh").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        process::run(
            Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(workspace::root()).arg(&folder),
        )?;
        Ok(Self(folder))
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        // What is left in the target folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
