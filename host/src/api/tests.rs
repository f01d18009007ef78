//! The protocol over real connections, with a model that adds one, so that every number of an answer is known.

use super::*;
use crate::catalog::Source;
use crate::session::{InferError, Model, Tensor, TensorSpec};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;
use sunmao_graph::DType;
use tokio::sync::watch;

/// Adds one to `x` (f32, one or two open axes), hands `mask` (bool) on. `x` of length 13 blocks until the gate opens, 14 panics.
struct AddOne {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    gate: Arc<std::sync::Mutex<()>>,
}

impl AddOne {
    fn new(with_mask: bool, gate: &Arc<std::sync::Mutex<()>>) -> Self {
        let spec = |name: &str, dtype, shape: &[Option<u64>]| TensorSpec::tensor(name, dtype, shape);
        let (x, mask) = (spec("x", DType::F32, &[None, None]), spec("mask", DType::Bool, &[None]));
        let (y, passed) = (spec("y", DType::F32, &[None, None]), spec("passed", DType::Bool, &[None]));
        let (inputs, outputs) = if with_mask { (vec![x, mask], vec![y, passed]) } else { (vec![x], vec![y]) };
        Self { inputs, outputs, gate: gate.clone() }
    }
}

impl Model for AddOne {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }
    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }
    fn infer(&self, inputs: Vec<(String, Tensor)>, outputs: &[String]) -> Result<Vec<(String, Tensor)>, InferError> {
        let known = || self.inputs.iter().map(|spec| spec.name.clone()).collect();
        let mut answers = Vec::new();
        for (name, mut tensor) in inputs {
            match name.as_str() {
                "x" => {
                    let count = tensor.data.len() / 4;
                    if count == 13 {
                        drop(self.gate.lock());
                    }
                    assert!(count != 14, "on purpose");
                    for item in tensor.data.as_chunks_mut::<4>().0 {
                        *item = (f32::from_le_bytes(*item) + 1.0).to_le_bytes();
                    }
                    answers.push(("y".to_owned(), tensor));
                }
                "mask" => answers.push(("passed".to_owned(), tensor)),
                _ => return Err(InferError::UnknownInput { name, known: known() }),
            }
        }
        if outputs.is_empty() {
            return Ok(answers);
        }
        let find = |name: &String| {
            answers
                .iter()
                .find(|(other, _)| other == name)
                .cloned()
                .ok_or_else(|| InferError::UnknownOutput { name: name.clone(), known: vec!["y".into()] })
        };
        outputs.iter().map(find).collect()
    }
}

struct Server {
    address: SocketAddr,
    app: Arc<App>,
    phase: watch::Sender<Phase>,
    gate: Arc<std::sync::Mutex<()>>,
    outcome: mpsc::Receiver<Outcome>,
}

fn limits() -> Limits {
    Limits {
        max_body_bytes: 1 << 20,
        header: Duration::from_millis(400),
        body_idle: Duration::from_millis(400),
        drain: Duration::from_secs(5),
        ..Limits::from(&crate::config::Server::default())
    }
}

impl Server {
    fn start(limits: Limits) -> Self {
        let gate = Arc::new(std::sync::Mutex::new(()));
        let of_models = gate.clone();
        let loader = move |source: &Source| match source.name.as_str() {
            "broken" => Err("/secret/path is damaged".to_owned()),
            name => Ok(Box::new(AddOne::new(name == "masked", &of_models)) as Box<dyn Model>),
        };
        let source = |name: &str| Source {
            name: name.into(),
            version: 3,
            path: format!("{name}.onnx").into(),
            chip: None,
            threads: None,
        };
        let sources = ["add", "masked", "broken"].map(source).to_vec();
        let catalog = Catalog::new(&sources);
        catalog.load_all(&sources, &loader);
        let app = App::new(catalog, limits);
        let (phase, phases) = watch::channel(Phase::Running);
        let (sender, address) = mpsc::channel();
        let (ended, outcome) = mpsc::channel();
        let served = app.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                let _ = ended.send(serve(served, listener, phases).await);
            });
        });
        Self { address: address.recv().unwrap(), app, phase, gate, outcome }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn send(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may answer and close before it has taken everything.
        let _ = stream.write_all(request);
        Answer::read(stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.send(&request)
    }

    fn infer(&self, body: &str) -> Answer {
        self.post("/v2/models/add/infer", "", body.as_bytes())
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let cut =
            all.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("no head in {all:?}"));
        let head = String::from_utf8(all[..cut].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, body: all[cut + 4..].to_vec(), head }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[track_caller]
    fn refused(&self, status: u16, with: &str) {
        let error = self.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(self.status == status && error.contains(with), "{} {error}", self.status);
    }
}

#[test]
fn the_server_and_its_models_describe_themselves() {
    let server = Server::start(limits());
    assert_eq!(
        server.get("/v2").json(),
        serde_json::json!({ "name": "sunmao", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"] })
    );
    assert_eq!(server.get("/v2/health/live").json(), serde_json::json!({ "live": true }));
    assert_eq!(server.get("/v2/health/ready").json(), serde_json::json!({ "live": true, "ready": true }));
    assert_eq!(server.get("/v2/models").json(), serde_json::json!({ "models": ["add", "broken", "masked"] }));
    let model = serde_json::json!({
        "name": "add", "versions": ["3"], "platform": "onnx_onnxv1",
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, -1] }],
        "outputs": [{ "name": "y", "datatype": "FP32", "shape": [-1, -1] }],
    });
    assert_eq!(server.get("/v2/models/add").json(), model);
    assert_eq!(server.get("/v2/models/add/versions/3").json(), model);
    assert_eq!(server.get("/v2/models/add/ready").json(), serde_json::json!({ "name": "add", "ready": true }));
    assert_eq!(server.get("/v2/models/add/versions/3/ready").status, 200);
}

#[test]
fn what_is_not_there_is_said_in_the_protocols_words() {
    let server = Server::start(limits());
    server.get("/v2/models/nobody").refused(404, "served are add, broken, masked");
    server.get("/v2/models/add/versions/4").refused(404, "it has 3");
    server.get("/v2/models/add/versions/4/ready").refused(404, "it has 3");
    server.get("/v2/models/a%ff").refused(400, "UTF-8");
    server.get("/v2/elsewhere").refused(404, "/v2/elsewhere");
    server.get("/v2/models/add/infer").refused(405, "infer takes POST");
    let broken = server.get("/v2/models/broken/ready");
    broken.refused(503, "could not be loaded");
    assert!(!String::from_utf8(broken.body).unwrap().contains("secret"), "the client never learns the host's paths");
}

#[test]
fn json_is_answered_with_json() {
    let server = Server::start(limits());
    let answer = server
        .infer(r#"{"id":"42","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[0,1.5],[-2,1e3]]}]}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.json(),
        serde_json::json!({ "model_name": "add", "model_version": "3", "id": "42",
            "outputs": [{ "name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.5, -1.0, 1001.0] }] })
    );
    // Order of the keys does not matter, flat data is as good, unknown keys are passed over, no id is none.
    let answer = server.infer(r#"{"outputs":[{"name":"y"}],"more":[1],"inputs":[{"data":[1],"datatype":"FP32","shape":[1,1],"name":"x","parameters":{"a":1}}]}"#);
    assert_eq!(answer.json()["outputs"][0]["data"], serde_json::json!([2.0]));
    assert!(answer.json().get("id").is_none());
}

#[test]
fn binary_tensors_go_in_and_out() {
    let server = Server::start(limits());
    let json = r#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},
        {"name":"mask","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}}],"outputs":[{"name":"passed"},{"name":"y","parameters":{"binary_data":true}}]}"#;
    let mut body = json.as_bytes().to_vec();
    body.extend([0f32, 2.5].iter().flat_map(|value| value.to_le_bytes()));
    body.extend([1, 0, 7]);
    let header =
        format!("Inference-Header-Content-Length: {}\r\nContent-Type: application/octet-stream\r\n", json.len());
    let answer = server.post("/v2/models/masked/versions/3/infer", &header, &body);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")));
    let cut: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let head: serde_json::Value = serde_json::from_slice(&answer.body[..cut]).unwrap();
    assert_eq!(
        head["outputs"][0],
        serde_json::json!({ "name": "passed", "datatype": "BOOL", "shape": [3], "parameters": { "binary_data_size": 3 } })
    );
    assert_eq!(head["outputs"][1]["parameters"]["binary_data_size"], 8);
    let expected: Vec<u8> =
        [1, 0, 1].into_iter().chain([1f32, 3.5].iter().flat_map(|value| value.to_le_bytes())).collect();
    assert_eq!(answer.body[cut..], expected);
}

#[test]
fn one_answer_may_mix_json_and_binary() {
    let server = Server::start(limits());
    let answer = server.post(
        "/v2/models/masked/infer",
        "",
        br#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]},{"name":"mask","shape":[1],"datatype":"BOOL","data":[true]}],
            "outputs":[{"name":"y","parameters":{"binary_data":false}},{"name":"passed"}]}"#,
    );
    let cut: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let head: serde_json::Value = serde_json::from_slice(&answer.body[..cut]).unwrap();
    assert_eq!(head["outputs"][0]["data"], serde_json::json!([2.0]));
    assert_eq!(answer.body[cut..], [1]);
}

#[test]
fn a_raw_body_is_the_only_input() {
    let server = Server::start(limits());
    let body: Vec<u8> = [1f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let answer = server.post("/v2/models/add/infer", "Inference-Header-Content-Length: 0\r\n", &body);
    let cut: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let head: serde_json::Value = serde_json::from_slice(&answer.body[..cut]).unwrap();
    assert_eq!(head["outputs"][0]["shape"], serde_json::json!([1, 3]));
    assert_eq!(answer.body[cut..], [2f32, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
    server.post("/v2/models/add/infer", "Inference-Header-Content-Length: 0\r\n", &body[..7]).refused(400, "7 bytes");
    server
        .post("/v2/models/masked/infer", "Inference-Header-Content-Length: 0\r\n", &body)
        .refused(400, "models of one input; this one has 2");
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let server = Server::start(limits());
    let input = |fields: &str| format!(r#"{{"inputs":[{{"name":"x",{fields}}}]}}"#);
    for (body, status, with) in [
        ("", 400, "EOF"),
        ("{", 400, "EOF"),
        ("[1,2", 400, "not as the protocol says"),
        ("{}", 400, "missing field `inputs`"),
        (r#"{"inputs":{}}"#, 400, "expected a sequence"),
        (&input(r#""shape":[1],"datatype":"FP32""#), 400, "neither `data` nor"),
        (&input(r#""shape":[-1],"datatype":"FP32","data":[1]"#), 400, "integer `-1`"),
        (&input(r#""shape":[3],"datatype":"FP32","data":[1]"#), 400, "has 1 elements"),
        (&input(r#""shape":[1],"datatype":"FLOAT","data":[1]"#), 400, "unknown datatype `FLOAT`"),
        (&input(r#""shape":[1],"datatype":"BYTES","data":["a"]"#), 400, "is string, the model takes f32"),
        (&input(r#""shape":[1],"datatype":"FP32","data":["a"]"#), 400, "element 0"),
        (&input(r#""shape":[18446744073709551615,9],"datatype":"FP32","data":[1]"#), 400, "overflows"),
        (
            &input(r#""shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}"#),
            400,
            "0 bytes of binary data are left",
        ),
        (&input(r#""shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}"#), 400, "give one"),
        (&input(r#""shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"a"}"#), 501, "shared memory"),
        (&input(r#""shape":[1],"datatype":"FP32","data":[1],"parameters":{"a":[1]}"#), 400, "parameter `a`"),
        (r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"classification":3}}]}"#, 501, "classification"),
        (r#"{"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]}"#, 400, "twice"),
        (
            r#"{"inputs":[{"name":"z","shape":[1],"datatype":"FP32","data":[1]}]}"#,
            400,
            "no input `z`: the model takes x",
        ),
        (r#"{"inputs":[],"outputs":[{"name":"z"}]}"#, 400, "no output `z`"),
        (r#"{"inputs":[],"parameters":{"binary_data_output":1}}"#, 400, "neither true nor false"),
    ] {
        let answer = server.infer(body);
        answer.refused(status, with);
    }
    server
        .post("/v2/models/add/infer", "Inference-Header-Content-Length: 9\r\n", b"{}")
        .refused(400, "the whole body has 2 bytes");
    server.post("/v2/models/add/infer", "Inference-Header-Content-Length: -1\r\n", b"{}").refused(400, "not a number");
    server
        .post("/v2/models/add/infer", "Inference-Header-Content-Length: 13\r\n", br#"{"inputs":[]}tail"#)
        .refused(400, "4 bytes of binary data belong to no input");
    server.post("/v2/models/add/infer", "Content-Encoding: gzip\r\n", b"{}").refused(415, "gzip");
    let nested = format!(
        r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{}}}]}}"#,
        "[".repeat(100_000) + &"]".repeat(100_000)
    );
    server.infer(&nested).refused(400, "nested deeper");
    let parameters = format!(r#"{{"parameters":{{"a":{}1{}}},"inputs":[]}}"#, "[".repeat(50_000), "]".repeat(50_000));
    server.infer(&parameters).refused(400, "recursion limit");
    // And after all that it still works.
    assert_eq!(server.infer(&input(r#""shape":[1],"datatype":"FP32","data":[1]"#)).status, 200);
}

#[test]
fn cut_and_changed_requests_never_break_the_server() {
    let server = Server::start(limits());
    let whole =
        r#"{"id":"1","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}],"outputs":[{"name":"y"}]}"#
            .as_bytes();
    for at in 0..whole.len() {
        assert_eq!(server.post("/v2/models/add/infer", "", &whole[..at]).status, 400);
        let mut changed = whole.to_vec();
        changed[at] ^= 0x11;
        assert!(server.post("/v2/models/add/infer", "", &changed).status < 500);
    }
}

#[test]
fn bodies_are_bounded_in_bytes_and_time() {
    let server = Server::start(limits());
    let head = |rest: &str| format!("POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\n{rest}\r\n");
    server.send(head("Content-Length: 1048577\r\n").as_bytes()).refused(413, "larger than the 1 MiB");
    let mut chunked = head("Transfer-Encoding: chunked\r\n").into_bytes();
    for _ in 0..300 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b' '; 4096]);
        chunked.extend_from_slice(b"\r\n");
    }
    server.send(&chunked).refused(413, "larger than the 1 MiB");
    let mut stream = server.connect();
    stream.write_all(head("Content-Length: 100\r\n").as_bytes()).unwrap();
    Answer::read(stream).refused(408, "too slowly");
    // A head that never ends: the connection is closed without an answer or with 408.
    let mut stream = server.connect();
    stream.write_all(b"GET /v2 HTTP/1.1\r\nHost:").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
}

#[test]
fn a_full_buffer_or_queue_asks_to_come_back() {
    let server = Server::start(Limits { buffer_bytes: 512 << 10, ..limits() });
    let answer = server.infer(&" ".repeat(1_000_000));
    answer.refused(503, "too many requests are being received");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(server.infer("{}").status, 400, "the buffer was given back");

    let server = Server::start(Limits { queue: 1, ..limits() });
    let closed = server.gate.clone();
    let closed = closed.lock().unwrap();
    let waits = format!(r#"{{"inputs":[{{"name":"x","shape":[1,13],"datatype":"FP32","data":{:?}}}]}}"#, [0; 13]);
    let mut first = server.connect();
    first.write_all(format!("POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{waits}", waits.len()).as_bytes()).unwrap();
    while server.app.queue.available_permits() > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.infer(&waits).refused(503, "1 requests are in hand");
    assert_eq!(server.get("/v2/health/live").status, 200, "health does not wait for compute");
    drop(closed);
    assert_eq!(Answer::read(first).status, 200);
}

#[test]
fn a_panic_costs_its_own_request_only() {
    let server = Server::start(limits());
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":[1,14],"datatype":"FP32","data":{:?}}}]}}"#, [0; 14]);
    server.infer(&body).refused(500, "failed on this request");
    assert_eq!(server.app.queue.available_permits(), server.app.limits.queue);
    assert_eq!(server.infer(r#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}"#).status, 200);
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let server = Server::start(limits());
    let gate = server.gate.clone();
    let closed = gate.lock().unwrap();
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":[1,13],"datatype":"FP32","data":{:?}}}]}}"#, [0; 13]);
    for _ in 0..8 {
        let mut stream = server.connect();
        stream
            .write_all(
                format!(
                    "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            )
            .unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    drop(closed);
    for _ in 0..200 {
        if server.app.queue.available_permits() == server.app.limits.queue {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} turns were not given back", server.app.limits.queue - server.app.queue.available_permits());
}

#[test]
fn the_callers_request_id_comes_back() {
    let server = Server::start(limits());
    let answer = server.send(b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: mine-7\r\n\r\n");
    assert_eq!(answer.header("x-request-id"), Some("mine-7"));
    assert_eq!(server.get("/v2").header("x-request-id").unwrap().len(), 24);
    assert!(server.get("/nowhere").header("x-request-id").is_some(), "on errors too");
}

#[test]
fn the_way_out_finishes_what_is_in_flight() {
    let server = Server::start(limits());
    let gate = server.gate.clone();
    let closed = gate.lock().unwrap();
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":[1,13],"datatype":"FP32","data":{:?}}}]}}"#, [0; 13]);
    let mut waiting = server.connect();
    waiting
        .write_all(
            format!("POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .as_bytes(),
        )
        .unwrap();
    while server.app.queue.available_permits() == server.app.limits.queue {
        std::thread::sleep(Duration::from_millis(5));
    }
    let idle = server.connect();
    server.app.drain();
    server.phase.send(Phase::Draining).unwrap();
    assert_eq!(server.get("/v2/health/ready").status, 503);
    assert_eq!(server.get("/v2/health/live").status, 200);
    assert_eq!(
        server.infer(r#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}"#).status,
        200,
        "still answered while draining"
    );
    server.phase.send(Phase::Stopping).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(TcpStream::connect(server.address).is_err(), "the listener is gone");
    drop(closed);
    let answer = Answer::read(waiting);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    drop(idle);
    assert_eq!(server.outcome.recv_timeout(Duration::from_secs(5)).unwrap(), Outcome::Drained);
}

#[test]
fn what_will_not_finish_is_cut_off() {
    let server = Server::start(Limits { drain: Duration::from_millis(100), ..limits() });
    let gate = server.gate.clone();
    let _closed = gate.lock().unwrap();
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":[1,13],"datatype":"FP32","data":{:?}}}]}}"#, [0; 13]);
    let mut waiting = server.connect();
    waiting
        .write_all(
            format!("POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .as_bytes(),
        )
        .unwrap();
    while server.app.queue.available_permits() == server.app.limits.queue {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.phase.send(Phase::Stopping).unwrap();
    assert_eq!(server.outcome.recv_timeout(Duration::from_secs(5)).unwrap(), Outcome::CutOff(1));
}
