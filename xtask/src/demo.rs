//! The newcomer's command: build everything, serve the bundled model, ask it something real over HTTP, print the answer, stop.
//!
//! The model listens to two seconds of `demo/melody.wav` and says which notes are played. The demo fails if it hears others.

use crate::http::{self, Answer};
use crate::notes::{self, KEYS, Note};
use crate::{build_plugins, process, wav, workspace};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MODEL: &str = "basic_pitch";
const INPUT: &str = "serving_default_input_2:0";
const SOUNDING: &str = "StatefulPartitionedCall:1";
const ONSETS: &str = "StatefulPartitionedCall:2";
/// What `demo/make_melody.py` played, in the order of start and then of pitch.
const PLAYED: [&str; 6] = ["C4", "E4", "G4", "E4", "G4", "C5"];
/// The first start compiles the plugins.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Runs the demo; with `keep`, the server goes on until it is ended.
pub(crate) fn run(keep: bool) -> Result<()> {
    let start = Instant::now();
    // They write to folders of their own, and neither keeps all processors busy while it links.
    let host = thread::scope(|scope| {
        let host = scope.spawn(build_host);
        build_plugins::run(&[], false)?;
        host.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    println!("\nbuilt in {:.0} s\n", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let mut server = Server::start(&host)?;
    server.wait_until_ready()?;
    println!("serving on {} after {:.1} s", server.address, start.elapsed().as_secs_f64());

    let sound = fs::read(workspace::root().join("demo/melody.wav")).context("cannot read demo/melody.wav")?;
    let sound = wav::read(&sound).context("demo/melody.wav")?;
    let start = Instant::now();
    let heard = ask(server.address, &sound)?;
    println!("\nWhich notes are played in demo/melody.wav? The model answers ({} ms):\n", start.elapsed().as_millis());
    for line in notes::lines(&heard) {
        println!("    {line}");
    }
    println!("\n{}", roll(&heard));
    check(heard)?;
    println!("These are the notes that were played.");

    if keep {
        println!("\n{}", invitation(server.address));
        server.wait()?;
    }
    server.stop()
}

fn build_host() -> Result<PathBuf> {
    let mut build = process::cargo();
    build.args(["build", "--release", "--package", "sunmao-host", "--bin", "host"]).args(process::lock_arguments());
    process::run(&mut build)?;
    Ok(workspace::target().join("release/host"))
}

/// One inference by the Open Inference Protocol, tensors in binary both ways.
fn ask(address: SocketAddr, sound: &wav::Sound) -> Result<Vec<Note>> {
    let blob: Vec<u8> = sound.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let header = json!({
        "inputs": [{
            "name": INPUT, "datatype": "FP32", "shape": [1, sound.samples.len(), 1],
            "parameters": {"binary_data_size": blob.len()},
        }],
        "outputs": [
            {"name": SOUNDING, "parameters": {"binary_data": true}},
            {"name": ONSETS, "parameters": {"binary_data": true}},
        ],
    })
    .to_string();
    let headers = [
        ("Content-Type", "application/octet-stream".to_owned()),
        ("Inference-Header-Content-Length", header.len().to_string()),
    ];
    let body = [header.as_bytes(), &blob].concat();
    let answer = http::post(address, &format!("/v2/models/{MODEL}/infer"), &headers, &body)?;
    let tensors = tensors(&answer)?;
    let find = |name: &str| {
        let found = tensors.iter().find(|(key, _)| key == name).map(|(_, values)| values.as_slice());
        found.with_context(|| format!("the answer has no output `{name}`"))
    };
    Ok(notes::heard(find(ONSETS)?, find(SOUNDING)?, sound.rate_hz))
}

/// The outputs of a binary answer.
fn tensors(answer: &Answer) -> Result<Vec<(String, Vec<f32>)>> {
    if answer.status != 200 {
        bail!("the server answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    let length = answer.header("inference-header-content-length").and_then(|length| length.parse::<usize>().ok());
    let (header, mut blobs) = length
        .and_then(|length| answer.body.split_at_checked(length))
        .context("the answer has no Inference-Header-Content-Length that fits")?;
    let header: Value = serde_json::from_slice(header).context("the answer's header is no JSON")?;
    let outputs = header["outputs"].as_array().context("the answer has no outputs")?;
    let mut tensors = Vec::new();
    for output in outputs {
        let name = output["name"].as_str().context("an output has no name")?.to_owned();
        let bytes = output["parameters"]["binary_data_size"].as_u64().context("an output has no binary_data_size")?;
        let (blob, rest) = blobs.split_at_checked(bytes as usize).context("the answer is cut short")?;
        blobs = rest;
        let values = blob.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        tensors.push((name, values.collect()));
    }
    Ok(tensors)
}

fn check(mut heard: Vec<Note>) -> Result<()> {
    // A chord's notes start within a frame or two of each other, in no order.
    heard.sort_by_key(|note| ((note.start_s / 0.2).round() as u64, note.key));
    let names: Vec<String> = heard.iter().map(Note::name).collect();
    if names != PLAYED {
        bail!("that is wrong: the melody is {}, the model heard {}", PLAYED.join(" "), names.join(" "));
    }
    Ok(())
}

/// A piano roll: one row for each key that was heard, one column for 50 ms.
fn roll(heard: &[Note]) -> String {
    let mut keys: Vec<usize> = heard.iter().map(|note| note.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut text = String::new();
    for key in keys.into_iter().rev().filter(|&key| key < KEYS) {
        let mut row = ['.'; 40];
        let mut name = String::new();
        for note in heard.iter().filter(|note| note.key == key) {
            name = note.name();
            let column = |time_s: f64| (time_s / 0.05) as usize;
            let columns = (column(note.end_s) + 1).saturating_sub(column(note.start_s));
            row.iter_mut().skip(column(note.start_s)).take(columns).for_each(|cell| *cell = '#');
        }
        text.push_str(&format!("    {name:>3} {}\n", row.iter().collect::<String>()));
    }
    text
}

fn invitation(address: SocketAddr) -> String {
    format!(
        "The server goes on until you press Ctrl-C. Try:\n\n    curl {address}/v2/models/{MODEL}\n    curl {address}/v2/health/ready\n"
    )
}

/// A server that this process started; it ends with it.
struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// On a free port; the server's first line says which.
    fn start(host: &Path) -> Result<Self> {
        let log = workspace::notes()?.join("demo-server.log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(host);
        command.current_dir(workspace::root());
        command.args([
            "serve",
            "--plugins",
            "plugins.toml",
            "--model-path",
            &format!("demo/{MODEL}.onnx"),
            "--port",
            "0",
        ]);
        eprintln!("+ host serve --plugins plugins.toml --model-path demo/{MODEL}.onnx --port 0");
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn();
        let mut child = child.with_context(|| format!("cannot start {}", host.display()))?;
        let output = child.stdout.take().expect("stdout is piped");
        let mut server = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into(), log };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("cannot read what the server prints")?;
        match line.trim().strip_prefix("http://").and_then(|address| address.parse().ok()) {
            Some(address) => server.address = address,
            None => bail!("the server printed `{}` instead of its address:\n{}", line.trim(), server.last_lines()),
        }
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < READY_LIMIT {
            if let Some(status) = self.child.try_wait().context("cannot watch the server")? {
                bail!("the server ended ({status}):\n{}", self.last_lines());
            }
            let path = format!("/v2/models/{MODEL}/ready");
            if http::get(self.address, &path).is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("the server was not ready after {} s:\n{}", READY_LIMIT.as_secs(), self.last_lines())
    }

    /// The end of the server's log.
    fn last_lines(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let bytes = file.metadata().map_or(0, |facts| facts.len());
            file.seek(SeekFrom::Start(bytes.saturating_sub(8192))).ok();
            let mut tail = Vec::new();
            file.read_to_end(&mut tail).ok();
            text = String::from_utf8_lossy(&tail).into_owned();
        }
        text
    }

    fn wait(&mut self) -> Result<()> {
        self.child.wait().map(drop).context("cannot wait for the server")
    }

    /// Asks it to end, as an operator would, and sees that it does. There is nobody to drain for, so a second request follows the first.
    fn stop(mut self) -> Result<()> {
        for _ in 0..2 {
            if self.child.try_wait().context("cannot watch the server")?.is_some() {
                return Ok(());
            }
            process::output(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
            thread::sleep(Duration::from_millis(200));
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(40) {
            if self.child.try_wait().context("cannot watch the server")?.is_some() {
                println!("The server has stopped.");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("the server did not stop within 40 s of SIGTERM; its log is {}", workspace::shown(&self.log))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only where something failed before `stop`.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_melody_is_recognised_whatever_the_order_within_a_chord() {
        let note = |start_s, key| Note { start_s, end_s: start_s + 0.3, key, certainty: 0.9 };
        let heard = vec![note(0.0, 39), note(0.39, 43), note(0.79, 46), note(1.19, 51), note(1.2, 46), note(1.21, 43)];
        check(heard.clone()).expect("is the melody");
        assert!(roll(&heard).lines().count() == 4);
        assert!(check(heard[1..].to_vec()).is_err());
    }

    #[test]
    fn an_error_of_the_server_is_passed_on() {
        let start = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let address = start.local_addr().expect("has an address");
        let server = thread::spawn(move || {
            use std::io::Write;
            let (mut stream, _) = start.accept().expect("accepts");
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n{\"error\":\"who\"}";
            stream.write_all(answer).expect("writes");
            stream.shutdown(std::net::Shutdown::Write).expect("ends the answer");
            // Until the client has gone.
            stream.read_to_end(&mut Vec::new()).expect("reads");
        });
        let sound = wav::Sound { rate_hz: 22050, samples: vec![0.0; 4] };
        let error = ask(address, &sound).expect_err("is an error").to_string();
        server.join().expect("ends");
        assert!(error.contains("404") && error.contains("who"), "{error}");
    }
}
