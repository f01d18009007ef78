//! One log line for each request, and the request's id: the caller's own, or one made here; it goes back in the answer.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const HEADER: &str = "x-request-id";
const MAX_ID: usize = 128;

pub(super) async fn log(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request.headers().get(HEADER).filter(|id| is_id(id)).cloned().unwrap_or_else(made_up);
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(256).collect();
    let mut response = next.run(request).await;
    let (status, elapsed_us) = (response.status().as_u16(), start.elapsed().as_micros() as u64);
    let request_id = id.to_str().unwrap_or_default().to_owned();
    response.headers_mut().insert(HEADER, id);
    // Probes come every few seconds for ever.
    if path.starts_with("/v2/health/") {
        tracing::debug!(target: "access", %method, path = %path.escape_debug(), status, elapsed_us, request_id);
    } else {
        tracing::info!(target: "access", %method, path = %path.escape_debug(), status, elapsed_us, request_id);
    }
    response
}

fn is_id(id: &HeaderValue) -> bool {
    !id.is_empty() && id.len() <= MAX_ID && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn made_up() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:016x}{:08x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&id).expect("hexadecimal digits")
}
