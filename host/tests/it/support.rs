//! Runs `host`, and talks to it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use sunmao_host::device::Registry;
use sunmao_host::plugin::{LoadOptions, Runtime, RuntimeOptions};

/// Long enough for compiling plugins on a machine that does other things as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of its own for one test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A plugins.toml with the project's importer, its portable chip, and more lines.
    pub(crate) fn config(&self, more: &str) -> PathBuf {
        let mut text = format!("plugins_dir = {:?}\n", self.path("dropped"));
        for name in ["portable", "import-onnx"] {
            let _ = write!(text, "[[plugin]]\nname = \"{name}\"\npath = {:?}\n", plugin(name));
        }
        text.push_str("[[chip]]\nname = \"portable\"\nplugin = \"portable\"\n[[importer]]\nplugin = \"import-onnx\"\n");
        text.push_str("[server]\nport = 0\ndrain_delay_ms = 200\n");
        text.push_str(more);
        self.write("plugins.toml", text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Compiled plugins are kept between tests and runs: a cold compile takes longer than most tests.
pub(crate) fn runtime() -> Arc<Runtime> {
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"));
    Runtime::new(RuntimeOptions { cache_dir, ..RuntimeOptions::default() }).unwrap()
}

/// These plugins of ours, ready for models.
pub(crate) fn registry(runtime: &Arc<Runtime>, names: &[&str]) -> Arc<Registry> {
    let registry = Arc::new(Registry::default());
    for name in names {
        registry.add(runtime.load(&plugin(name), &LoadOptions::default()).unwrap());
    }
    registry
}

/// A built plugin of the project.
pub(crate) fn plugin(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: `cargo xtask build-plugins` builds it", path.display());
    path
}

/// A built plugin of the tests.
pub(crate) fn guest(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: `cargo xtask build-plugins` builds it", path.display());
    path
}

/// `host` with these arguments and nothing of the caller's environment that could matter. Compiled plugins are shared among tests.
pub(crate) fn host(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SUNMAO_")) {
        command.env_remove(name);
    }
    command.env("SUNMAO_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("it-home")).args(arguments);
    command
}

/// Its whole output; the exit code must be `code`.
#[track_caller]
pub(crate) fn run(code: i32, arguments: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = host(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

/// A running server; it is killed when the test ends.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    log: Arc<std::sync::Mutex<String>>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = host(&["serve"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(std::sync::Mutex::new(String::new()));
        let (lines, stderr) = (log.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("http://")
            .unwrap_or_else(|| panic!("{line:?} {}", log.lock().unwrap()))
            .to_owned();
        Self { child, address, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{what}: {ended:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn until_ready(&mut self) {
        self.until("ready", |server| server.get("/v2/health/ready").0 == 200);
    }

    pub(crate) fn get(&self, path: &str) -> (u16, serde_json::Value) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, serde_json::Value) {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn send(&self, request: &str) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
    }

    /// Sends SIGTERM and answers the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let start = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None => assert!(start.elapsed() < PATIENCE, "does not stop\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
