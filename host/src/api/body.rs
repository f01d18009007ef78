//! Reads a request's body: bounded in bytes, in time, and in what all bodies together may take.

use super::{ApiError, App};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};
use tokio::time::{Instant, timeout_at};

/// A client that sends less than this on average is cut off, after the first silence it is allowed.
const MIN_BYTES_PER_MS: u64 = 16;
/// Share of the common buffer that is taken at a time.
const STEP_BYTES: u64 = 256 * 1024;

/// A whole body, and its share of the common buffer, which is given back when it is dropped.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

pub(super) async fn read(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Received, ApiError> {
    let most = app.limits.max_body_bytes;
    let too_large = || {
        let message = format!(
            "the body is larger than the {} MiB that this server takes; max_body_mib in plugins.toml raises it",
            most >> 20
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let encoding = encoding.to_str().unwrap_or("?");
        let message = format!("content encoding `{encoding}` is not supported; send the body as it is");
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    // Pages that are never written to cost nothing, so a lie about the length does not either.
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(announced.unwrap_or(0) as usize).is_err() {
        return Err(ApiError::busy("no memory for a body of this size; try again later"));
    }
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut taken = 0;
    let start = Instant::now();
    loop {
        let slowest = start + app.limits.body_idle + Duration::from_millis(bytes.len() as u64 / MIN_BYTES_PER_MS);
        let until = (Instant::now() + app.limits.body_idle).min(slowest);
        let frame = timeout_at(until, body.frame())
            .await
            .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| ApiError::bad(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let total = bytes.len() as u64 + data.len() as u64;
        if total > most {
            return Err(too_large());
        }
        if total > taken {
            let more = (total - taken).next_multiple_of(STEP_BYTES);
            let permit =
                app.buffer.clone().try_acquire_many_owned((more / 1024) as u32).map_err(|error| match error {
                    TryAcquireError::NoPermits => {
                        ApiError::busy("too many requests are being received; try again later")
                    }
                    TryAcquireError::Closed => ApiError::busy("the server is going down"),
                })?;
            taken += more;
            match &mut share {
                Some(share) => share.merge(permit),
                None => share = Some(permit),
            }
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes, _share: share })
}
