//! From a model's outputs to the bytes of the answer.

use super::ApiError;
use super::request::Request;
use crate::catalog::Served;
use crate::formats::{FlatData, datatype};
use crate::session::Tensor;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Serialize;

/// Length of the JSON in front of binary tensors.
pub(super) const JSON_LENGTH: &str = "inference-header-content-length";

/// An answer, encoded.
pub(super) struct Encoded {
    bytes: Vec<u8>,
    /// Length of the JSON, when binary tensors follow it.
    json_bytes: Option<usize>,
}

#[derive(Serialize)]
struct Wire<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<WireOutput<'a>>,
}

#[derive(Serialize)]
struct WireOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<WireParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<FlatData<'a>>,
}

#[derive(Serialize)]
struct WireParameters {
    binary_data_size: usize,
}

pub(super) fn encode(served: &Served, request: &Request, outputs: &[(String, Tensor)]) -> Result<Encoded, ApiError> {
    let mut wire = Vec::with_capacity(outputs.len());
    let (mut blobs, mut any_binary) = (0, false);
    for (name, tensor) in outputs {
        let datatype = datatype(tensor.dtype).ok_or_else(|| {
            ApiError::unsupported(format!("output `{name}` has element type {}, for which the protocol has no datatype; ask for the other outputs", tensor.dtype))
        })?;
        let binary = is_binary(request, name);
        any_binary |= binary;
        blobs += if binary { tensor.data.len() } else { 0 };
        wire.push(WireOutput {
            name,
            datatype,
            shape: &tensor.shape,
            parameters: binary.then_some(WireParameters { binary_data_size: tensor.data.len() }),
            data: (!binary).then_some(FlatData(tensor)),
        });
    }
    let wire = Wire {
        model_name: &served.name,
        model_version: served.version.to_string(),
        id: request.id.as_deref(),
        outputs: wire,
    };
    let mut bytes = serde_json::to_vec(&wire)
        .map_err(|error| ApiError::internal(format!("the answer could not be written: {error}")))?;
    let json_bytes = bytes.len();
    bytes.reserve_exact(blobs);
    for (name, tensor) in outputs {
        if is_binary(request, name) {
            bytes.extend_from_slice(&tensor.data);
        }
    }
    Ok(Encoded { bytes, json_bytes: any_binary.then_some(json_bytes) })
}

fn is_binary(request: &Request, output: &str) -> bool {
    request.outputs.iter().find(|(name, _)| name == output).map_or(request.binary, |(_, binary)| *binary)
}

impl Encoded {
    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.bytes));
        let headers = response.headers_mut();
        match self.json_bytes {
            Some(bytes) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                headers.insert(JSON_LENGTH, HeaderValue::from(bytes));
            }
            None => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        response
    }
}
