//! The Open Inference Protocol v2 over HTTP, with its binary tensor extension. The only room that names HTTP types.
//!
//! A handler reads the body within its bounds (`body`), then one blocking thread parses it (`request`), has the model compute, and encodes the answer
//! (`response`). `listener` owns the connections and the way out.

mod access;
mod body;
mod error;
mod infer;
mod limits;
mod listener;
mod metadata;
mod request;
mod response;

pub use error::ApiError;
pub use limits::Limits;
pub use listener::{Outcome, Phase, serve};

use crate::catalog::Catalog;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// What the handlers share.
pub struct App {
    catalog: Arc<Catalog>,
    limits: Limits,
    draining: AtomicBool,
    /// Inference requests that may still come in.
    queue: Arc<Semaphore>,
    /// KiB of bodies that may still be held.
    buffer: Arc<Semaphore>,
}

impl App {
    /// Serves these models within these limits.
    pub fn new(catalog: Arc<Catalog>, limits: Limits) -> Arc<Self> {
        let kib = usize::try_from(limits.buffer_bytes / 1024).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            catalog,
            draining: AtomicBool::new(false),
            queue: Arc::new(Semaphore::new(limits.queue)),
            buffer: Arc::new(Semaphore::new(kib)),
            limits,
        })
    }

    /// From now on readiness says no; requests are still answered.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.catalog.is_ready()
    }
}

/// Every route of the protocol.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v2", get(metadata::server))
        .route("/v2/", get(metadata::server))
        .route("/v2/health/live", get(metadata::live))
        .route("/v2/health/ready", get(metadata::ready))
        .route("/v2/models", get(metadata::models))
        .route("/v2/models/{model}", get(metadata::model))
        .route("/v2/models/{model}/ready", get(metadata::model_ready))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}", get(metadata::model))
        .route("/v2/models/{model}/versions/{version}/ready", get(metadata::model_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer))
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(axum::middleware::from_fn(access::log))
        .with_state(app)
}

#[cfg(test)]
mod tests;
