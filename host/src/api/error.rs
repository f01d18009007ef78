//! From what went wrong to a status and `{"error": "..."}`. The map is Triton's: not found 404, unavailable 503, unsupported 501, internal 500, all else 400.

use crate::catalog::CatalogError;
use crate::formats::FormatError;
use crate::session::InferError;
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// An answer that is an error. Its text names what the client sent, and never anything of the host's own (paths, addresses).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    retry: bool,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry: false }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 503 with a Retry-After: the same request may well be answered a moment later.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, message: message.into(), retry: true }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(serde_json::json!({ "error": self.message }))).into_response();
        if self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::PAYLOAD_TOO_LARGE || self.status == StatusCode::REQUEST_TIMEOUT {
            // The rest of the body has not been read.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::UnknownModel { .. } | CatalogError::UnknownVersion { .. } => {
                Self::new(StatusCode::NOT_FOUND, error.to_string())
            }
            CatalogError::Loading { .. } => Self::busy(error.to_string()),
            // The reason may name files of the host: it is for the log and the operator.
            CatalogError::Unavailable { name, .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("model `{name}` could not be loaded; the server's log says why"),
            ),
        }
    }
}

impl From<FormatError> for ApiError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Unsupported(_) => Self::unsupported(error.to_string()),
            FormatError::Malformed(_) => Self::bad(error.to_string()),
            FormatError::Io { .. } => Self::internal("the server could not read a file; its log says which"),
        }
    }
}

impl From<InferError> for ApiError {
    fn from(error: InferError) -> Self {
        match error {
            InferError::UnknownInput { .. }
            | InferError::DuplicateInput { .. }
            | InferError::MissingInput { .. }
            | InferError::WrongType { .. }
            | InferError::WrongShape { .. }
            | InferError::WrongLength { .. }
            | InferError::WrongKind { .. }
            | InferError::UnknownOutput { .. }
            | InferError::Rejected(_) => Self::bad(error.to_string()),
            InferError::Busy(_) | InferError::OutOfMemory(_) | InferError::SetAside(_) => Self::busy(error.to_string()),
            // The engine has logged the failure itself; its words may tell of the host's insides.
            InferError::Internal(_) => Self::internal(error.to_string()),
            InferError::Failed { chip, .. } => Self::internal(format!(
                "chip `{chip}` failed twice on this request, so the request is given up; the server's log says more"
            )),
        }
    }
}

pub(super) async fn no_route(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(128).collect();
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("nothing at `{path}`; the protocol begins at /v2, the models are listed at /v2/models"),
    )
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(128).collect();
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not what `{path}` takes; infer takes POST, all else GET"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceError;
    use crate::engine::EngineError;
    use crate::plan::PlanError;

    #[test]
    fn what_will_never_fit_is_the_clients_and_what_may_fit_later_is_tried_again() {
        let answer = |error: EngineError| {
            let response = ApiError::from(InferError::from(error)).into_response();
            (response.status(), response.headers().contains_key(header::RETRY_AFTER))
        };
        assert_eq!(answer(EngineError::TooLarge { needed: 1 << 40, limit: 1 << 32 }), (StatusCode::BAD_REQUEST, false));
        let full = EngineError::OutOfMemory { needed: 1 << 40, available: 1 };
        assert_eq!(answer(full), (StatusCode::SERVICE_UNAVAILABLE, true));
        let aside = PlanError::from(DeviceError::SetAside { chip: "c".into() });
        assert_eq!(answer(aside.into()), (StatusCode::SERVICE_UNAVAILABLE, true));
        assert_eq!(answer(EngineError::Panic), (StatusCode::INTERNAL_SERVER_ERROR, false));
    }
}
