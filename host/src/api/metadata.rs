//! What the server and its models are, and whether they are ready.

use super::{ApiError, App};
use crate::catalog::{CatalogError, Served};
use crate::formats::datatype;
use crate::session::TensorSpec;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use sunmao_graph::Container;

/// The part of the URL that names a model.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) model: String,
    pub(super) version: Option<String>,
}

impl Named {
    pub(super) fn get(&self, app: &App) -> Result<Arc<Served>, CatalogError> {
        app.catalog.get(&self.model, self.version.as_deref())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(named) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::bad("the URL does not name a model in UTF-8"))?;
        Ok(named)
    }
}

pub(super) async fn server() -> Response {
    Json(json!({ "name": "sunmao", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"] }))
        .into_response()
}

pub(super) async fn live() -> Response {
    Json(json!({ "live": true })).into_response()
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    // The specification's schema has the field `live` here, servers send `ready`: clients find both.
    let ready = app.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "live": true, "ready": ready }))).into_response()
}

pub(super) async fn models(State(app): State<Arc<App>>) -> Response {
    let mut names: Vec<String> = app.catalog.list().into_iter().map(|(name, ..)| name).collect();
    names.dedup();
    Json(json!({ "models": names })).into_response()
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    versions: Vec<String>,
    platform: &'a str,
    inputs: Vec<TensorMetadata<'a>>,
    outputs: Vec<TensorMetadata<'a>>,
}

#[derive(Serialize)]
struct TensorMetadata<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<i64>,
}

impl<'a> From<&'a TensorSpec> for TensorMetadata<'a> {
    fn from(spec: &'a TensorSpec) -> Self {
        // -1: the length comes with the request. The protocol has no word for a rank that does.
        let shape = spec
            .shape
            .iter()
            .map(|length| length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX)))
            .collect();
        let datatype = datatype(spec.dtype).filter(|_| spec.container == Container::Tensor);
        Self { name: &spec.name, datatype: datatype.unwrap_or("UNSUPPORTED"), shape }
    }
}

pub(super) async fn model(State(app): State<Arc<App>>, named: Named) -> Result<Response, ApiError> {
    let served = named.get(&app)?;
    let versions = match named.version {
        Some(version) => vec![version],
        None => app.catalog.versions(&served.name).iter().map(u64::to_string).collect(),
    };
    let metadata = Metadata {
        name: &served.name,
        versions,
        platform: &served.platform,
        inputs: served.model.inputs().iter().map(TensorMetadata::from).collect(),
        outputs: served.model.outputs().iter().map(TensorMetadata::from).collect(),
    };
    Ok(Json(metadata).into_response())
}

pub(super) async fn model_ready(State(app): State<Arc<App>>, named: Named) -> Result<Response, ApiError> {
    match named.get(&app) {
        Ok(served) => Ok(Json(json!({ "name": served.name, "ready": true })).into_response()),
        Err(CatalogError::Loading { name }) => Ok((
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "name": name, "ready": false, "error": "still loading" })),
        )
            .into_response()),
        Err(error) => Err(error.into()),
    }
}
