//! Just enough HTTP/1.1 to talk to a server that this process started: one request, one connection, one answer.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Answers longer than this are refused.
const MAX_ANSWER: u64 = 256 << 20;

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Sends a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"), &[])
}

/// Sends a POST with these further headers.
pub(crate) fn post(address: SocketAddr, path: &str, headers: &[(&str, String)], body: &[u8]) -> Result<Answer> {
    let mut head =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    exchange(address, &head, body)
}

fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("cannot connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).context("cannot set a time-out")?;
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut bytes = Vec::new();
    let received = stream.take(MAX_ANSWER).read_to_end(&mut bytes);
    if bytes.is_empty() {
        // A server that refuses a request may answer before it was sent whole, so a failed write speaks only where nothing came.
        sent.context("cannot send")?;
        received.context("cannot receive")?;
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("the answer has no end of headers ({} bytes came)", bytes.len());
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let Some(status) = first.split(' ').nth(1).and_then(|code| code.parse().ok()) else {
        bail!("the answer starts with `{first}`");
    };
    let split = |line: &str| line.split_once(':').map(|(key, value)| (key.to_lowercase(), value.trim().to_owned()));
    let headers: Vec<_> = lines.filter_map(split).collect();
    let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        answer.body = unchunk(&answer.body)?;
    } else if let Some(length) = answer.header("content-length").and_then(|length| length.parse::<usize>().ok())
        && answer.body.len() != length
    {
        bail!("the answer says {length} bytes and has {}", answer.body.len());
    }
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").context("a chunk has no length")?;
        let length =
            std::str::from_utf8(&rest[..line]).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let length = length.context("a chunk's length is no number")?;
        if length == 0 {
            return Ok(body);
        }
        let chunk = rest.get(line + 2..).and_then(|after| after.get(..length)).context("a chunk is cut short")?;
        body.extend_from_slice(chunk);
        rest = rest.get(line + 2 + length + 2..).context("a chunk is cut short")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi").expect("parses");
        assert_eq!((answer.status, answer.header("x-a"), &answer.body[..]), (200, Some("b"), &b"hi"[..]));
    }

    #[test]
    fn chunks_are_joined() {
        let answer = parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n");
        assert_eq!(answer.expect("parses").body, b"hi!");
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
