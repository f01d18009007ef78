//! One inference request, from its bytes to the bytes of its answer.
//!
//! Reading is asynchronous; all that computes (parsing, the model, encoding) happens on one blocking thread. How many requests are in hand is bounded here, how many
//! wait for the model is bounded by `scheduler`. A client that goes away drops the handler: what has not begun by then is not begun.

use super::body::{self, Received};
use super::metadata::Named;
use super::request::parse;
use super::response::{Encoded, JSON_LENGTH, encode};
use super::{ApiError, App};
use crate::catalog::Served;
use axum::extract::{Request, State};
use axum::response::Response;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(super) async fn infer(State(app): State<Arc<App>>, named: Named, request: Request) -> Result<Response, ApiError> {
    // Looked up first: an unknown model is not worth reading a body for.
    let served = named.get(&app)?;
    let turn = app.queue.clone().try_acquire_owned().map_err(|_| {
        ApiError::busy(format!(
            "{} requests are in hand already, which is all that this server takes; try again later",
            app.limits.queue
        ))
    })?;
    let (head, body) = request.into_parts();
    let json_bytes = match head.headers.get(JSON_LENGTH) {
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| ApiError::bad("Inference-Header-Content-Length is not a number"))?,
        ),
        None => None,
    };
    let received = body::read(&app, &head.headers, body).await?;
    let (answer, answered) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        // Held until the work is done, also when the client has gone: the bound is on work, not on clients.
        let _turn = turn;
        if !answer.is_closed() {
            let result = compute(&served, received, json_bytes, || answer.is_closed());
            // Nobody there any more: nothing to do.
            let _ = answer.send(result);
        }
    });
    let result =
        answered.await.map_err(|_| ApiError::internal("the server failed on this request; its log says more"))?;
    result.map(Encoded::into_response)
}

fn compute(
    served: &Served,
    received: Received,
    json_bytes: Option<u64>,
    is_gone: impl Fn() -> bool,
) -> Result<Encoded, ApiError> {
    let mut request = parse(&received.bytes, json_bytes, served.model.inputs())?;
    drop(received);
    if is_gone() {
        return Err(ApiError::bad("the client has gone"));
    }
    let wanted: Vec<String> = request.outputs.iter().map(|(name, _)| name.clone()).collect();
    let outputs = served.model.infer(std::mem::take(&mut request.inputs), &wanted)?;
    encode(served, &request, &outputs)
}
