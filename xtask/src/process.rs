//! Running other programs: shown before they start, bounded in time where they use the network, and named when they fail.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The cargo that runs us, with the workspace's root as its folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::workspace::root());
    command
}

/// `--locked` where nobody is there to commit a changed lock file.
pub(crate) fn lock_arguments() -> &'static [&'static str] {
    if std::env::var_os("CI").is_some() { &["--locked"] } else { &[] }
}

/// Finds a program on `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// The command as a person would type it, without its environment.
fn words(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Says what runs, runs it, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    eprintln!("+ {words}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{words}`"))?;
    if !status.success() {
        bail!("`{words}` failed: {status}");
    }
    Ok(())
}

/// Runs it and ends it after `limit`. The error tells a failure from a time-out.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let words = words(command);
    eprintln!("+ {words}  (at most {} s)", limit.as_secs());
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start `{words}`"))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for `{words}`"))? {
            if status.success() {
                return Ok(());
            }
            bail!("`{words}` failed: {status}");
        }
        if start.elapsed() > limit {
            child.kill().ok();
            child.wait().ok();
            bail!("`{words}` was not ready after {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What the command prints to stdout, trimmed; an error if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{words}`"))?;
    if !output.status.success() {
        bail!("`{words}` failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a relayed command printed, and whether it succeeded.
pub(crate) struct Relayed {
    /// Lines of stdout and stderr, in the order in which they came.
    pub(crate) lines: Vec<String>,
    /// Whether it exited with 0.
    pub(crate) success: bool,
}

/// Runs it, passes on every line as it comes, and keeps the lines.
pub(crate) fn relay(command: &mut Command) -> Result<Relayed> {
    let words = words(command);
    eprintln!("+ {words}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let streams: [(Box<dyn Read + Send>, bool); 2] = [
        (Box::new(child.stdout.take().expect("stdout is piped")), false),
        (Box::new(child.stderr.take().expect("stderr is piped")), true),
    ];
    let readers = streams.map(|(stream, to_stderr)| {
        let lines = Arc::clone(&lines);
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                if to_stderr {
                    eprintln!("{text}");
                } else {
                    println!("{text}");
                }
                lines.lock().expect("readers do not panic").push(text);
                line.clear();
            }
        })
    });
    let status = child.wait().with_context(|| format!("cannot wait for `{words}`"))?;
    for reader in readers {
        reader.join().expect("readers do not panic");
    }
    let lines = std::mem::take(&mut *lines.lock().expect("readers are done"));
    Ok(Relayed { lines, success: status.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let start = Instant::now();
        let error = run_within(Command::new("sleep").arg("20"), Duration::from_millis(200)).expect_err("too slow");
        assert!(error.to_string().contains("`sleep 20` was not ready"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn relayed_lines_are_kept() {
        let relayed = relay(Command::new("sh").args(["-c", "echo one; exit 3"])).expect("starts");
        assert_eq!(relayed.lines, ["one"]);
        assert!(!relayed.success);
    }
}
