//! From the bytes of an inference request to tensors: JSON alone, JSON followed by binary tensors, or one raw tensor.

use super::ApiError;
use super::limits::{MAX_ID, MAX_NAME, MAX_PARAMETERS, MAX_TENSORS};
use crate::formats::{self, MAX_RANK, dense_bytes, from_datatype};
use crate::session::{Tensor, TensorSpec};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use sunmao_graph::DType;

/// An inference request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) id: Option<String>,
    pub(super) inputs: Vec<(String, Tensor)>,
    /// Outputs asked for, with how they are to be sent; empty: all of them.
    pub(super) outputs: Vec<(String, bool)>,
    /// How outputs are sent of which nothing is said.
    pub(super) binary: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(borrow)]
    inputs: Vec<WireInput<'a>>,
    #[serde(borrow, default)]
    outputs: Option<Vec<WireOutput<'a>>>,
}

#[derive(Deserialize)]
struct WireInput<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    shape: Vec<u64>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireOutput<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    parameters: Option<Parameters>,
}

type Parameters = BTreeMap<String, serde_json::Value>;

/// `json_bytes` is what the header `Inference-Header-Content-Length` says, when it is there; `wanted` are the model's inputs.
pub(super) fn parse(body: &[u8], json_bytes: Option<u64>, wanted: &[TensorSpec]) -> Result<Request, ApiError> {
    let json_bytes = match json_bytes {
        Some(0) => return raw(body, wanted),
        Some(bytes) => usize::try_from(bytes).ok().filter(|bytes| *bytes <= body.len()).ok_or_else(|| {
            ApiError::bad(format!(
                "Inference-Header-Content-Length is {bytes}, but the whole body has {} bytes",
                body.len()
            ))
        })?,
        None => body.len(),
    };
    let (json, mut blobs) = body.split_at(json_bytes);
    let wire: Wire<'_> = serde_json::from_slice(json)
        .map_err(|error| ApiError::bad(format!("the request is not as the protocol says: {error}")))?;
    let id = wire.id.map(Cow::into_owned);
    if id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
        return Err(ApiError::bad(format!("`id` is longer than {MAX_ID} bytes")));
    }
    let requested = wire.outputs.unwrap_or_default();
    if wire.inputs.len() > MAX_TENSORS || requested.len() > MAX_TENSORS {
        return Err(ApiError::bad(format!("more than {MAX_TENSORS} tensors")));
    }
    let parameters = checked(wire.parameters, "the request")?;
    let binary = flag(&parameters, "binary_data_output")?.unwrap_or(false);
    let mut inputs = Vec::with_capacity(wire.inputs.len());
    for input in wire.inputs {
        inputs.push(tensor(input, &mut blobs)?);
    }
    if !blobs.is_empty() {
        return Err(ApiError::bad(format!(
            "{} bytes of binary data belong to no input: `binary_data_size` says which do",
            blobs.len()
        )));
    }
    let mut outputs = Vec::with_capacity(requested.len());
    for output in requested {
        let name = named(output.name)?;
        if outputs.iter().any(|(other, _)| *other == name) {
            return Err(ApiError::bad(format!("output `{name}` is asked for twice")));
        }
        let parameters = checked(output.parameters, &name)?;
        if parameters.contains_key("classification") {
            return Err(ApiError::unsupported(
                "the classification extension is not supported; ask for the output itself",
            ));
        }
        let binary = flag(&parameters, "binary_data")?.unwrap_or(binary);
        outputs.push((name, binary));
    }
    Ok(Request { id, inputs, outputs, binary })
}

fn tensor(input: WireInput<'_>, blobs: &mut &[u8]) -> Result<(String, Tensor), ApiError> {
    let name = named(input.name)?;
    let in_input = |message: String| ApiError::bad(format!("input `{name}`: {message}"));
    let datatype: String = input.datatype.chars().take(32).collect();
    let dtype = match from_datatype(&input.datatype) {
        Some(dtype) => dtype,
        None => {
            return Err(in_input(format!(
                "unknown datatype `{datatype}`; the protocol has BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64, BYTES"
            )));
        }
    };
    let shape = input.shape;
    if shape.len() > MAX_RANK {
        return Err(in_input(format!("{} axes; at most {MAX_RANK} are taken", shape.len())));
    }
    let overflows = || in_input(format!("the shape {shape:?} overflows"));
    // Strings take as many bytes as they say.
    let expected = match dtype {
        DType::String => None,
        _ => Some(dense_bytes(dtype, &shape).ok_or_else(overflows)?),
    };
    let parameters = checked(input.parameters, &name)?;
    let data = match (size(&parameters, &name)?, input.data) {
        (Some(_), Some(_)) => return Err(in_input("both `data` and `binary_data_size`; give one".into())),
        (None, None) => return Err(in_input("neither `data` nor `binary_data_size`".into())),
        (Some(bytes), None) if expected.is_some_and(|expected| bytes != expected) => {
            return Err(in_input(format!(
                "`binary_data_size` is {bytes}, but {datatype} of shape {shape:?} takes {} bytes",
                expected.unwrap_or_default()
            )));
        }
        (Some(bytes), None) => match usize::try_from(bytes).ok().and_then(|bytes| blobs.split_at_checked(bytes)) {
            Some((blob, rest)) => {
                *blobs = rest;
                blob.to_vec()
            }
            None => {
                return Err(in_input(format!(
                    "`binary_data_size` is {bytes}, but {} bytes of binary data are left",
                    blobs.len()
                )));
            }
        },
        (None, Some(text)) => {
            formats::parse_data(text.get(), dtype, &shape).map_err(|error| in_input(error.to_string()))?
        }
    };
    if dtype == DType::String && !formats::fits(dtype, &shape, &data) {
        return Err(in_input(format!(
            "its data is not {shape:?} strings, each its length as a little-endian u32 and then its UTF-8 text"
        )));
    }
    let mut tensor = Tensor { dtype, shape, data };
    normalise(&mut tensor);
    Ok((name, tensor))
}

/// A body that is the model's only input, as it lies in memory.
fn raw(body: &[u8], wanted: &[TensorSpec]) -> Result<Request, ApiError> {
    let [spec] = wanted else {
        return Err(ApiError::bad(format!(
            "a raw body (Inference-Header-Content-Length: 0) is for models of one input; this one has {}",
            wanted.len()
        )));
    };
    if spec.dtype == DType::String {
        return Err(ApiError::unsupported("a raw body has no datatype BYTES; send the strings with a JSON header"));
    }
    // One axis may follow from the number of bytes. The first of two open ones is the batch, and a raw body is a batch of one.
    let open = spec.shape.iter().filter(|length| length.is_none()).count();
    let mut lengths = spec.shape.clone();
    if open == 2 && lengths[0].is_none() {
        lengths[0] = Some(1);
    } else if open > 1 {
        return Err(ApiError::bad(format!(
            "the shape {} of `{}` does not follow from a raw body; send the shape in a JSON header",
            formats::shape_text(&lengths),
            spec.name
        )));
    }
    let known: Vec<u64> = lengths.iter().copied().flatten().collect();
    let fixed = dense_bytes(spec.dtype, &known).filter(|bytes| *bytes > 0);
    let bytes = body.len() as u64;
    let shape: Option<Vec<u64>> = match (fixed, lengths.iter().any(Option::is_none)) {
        (Some(fixed), true) if bytes.is_multiple_of(fixed) => {
            Some(lengths.iter().map(|length| length.unwrap_or(bytes / fixed)).collect())
        }
        (Some(fixed), false) if bytes == fixed => Some(known),
        _ => None,
    };
    let shape = shape.ok_or_else(|| {
        ApiError::bad(format!(
            "a raw body of {bytes} bytes is no {} of shape {}",
            spec.dtype,
            formats::shape_text(&spec.shape)
        ))
    })?;
    let mut tensor = Tensor { dtype: spec.dtype, shape, data: body.to_vec() };
    normalise(&mut tensor);
    Ok(Request { id: None, inputs: vec![(spec.name.clone(), tensor)], outputs: Vec::new(), binary: true })
}

/// Kernels rely on booleans being 0 or 1.
fn normalise(tensor: &mut Tensor) {
    if tensor.dtype == DType::Bool {
        tensor.data.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
}

fn named(name: Cow<'_, str>) -> Result<String, ApiError> {
    if name.len() > MAX_NAME {
        return Err(ApiError::bad(format!("a tensor's name is longer than {MAX_NAME} bytes")));
    }
    Ok(name.into_owned())
}

fn checked(parameters: Option<Parameters>, of: &str) -> Result<Parameters, ApiError> {
    let parameters = parameters.unwrap_or_default();
    if parameters.len() > MAX_PARAMETERS {
        return Err(ApiError::bad(format!("more than {MAX_PARAMETERS} parameters of {of}")));
    }
    if let Some((key, _)) =
        parameters.iter().find(|(_, value)| value.is_array() || value.is_object() || value.is_null())
    {
        let key: String = key.chars().take(64).collect();
        return Err(ApiError::bad(format!(
            "parameter `{key}` of {of} is neither a number, nor text, nor true or false"
        )));
    }
    if parameters.keys().any(|key| key.starts_with("shared_memory")) {
        return Err(ApiError::unsupported(
            "the shared memory extensions are not supported; send the tensors in the request",
        ));
    }
    Ok(parameters)
}

fn flag(parameters: &Parameters, key: &str) -> Result<Option<bool>, ApiError> {
    match parameters.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_bool()
            .map(Some)
            .ok_or_else(|| ApiError::bad(format!("parameter `{key}` is neither true nor false"))),
    }
}

fn size(parameters: &Parameters, of: &str) -> Result<Option<u64>, ApiError> {
    match parameters.get("binary_data_size") {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| ApiError::bad(format!("parameter `binary_data_size` of {of} is not a number of bytes"))),
    }
}
