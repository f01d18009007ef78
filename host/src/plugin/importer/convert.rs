//! Between the generated types of the importer world and the plain ones.

use super::generated::sunmao::kernel::{sink as wire_sink, types as words};
use super::{Attribute, Content, Dim, Kv, Quantisation, Rejection, Role, SessionState, Value, Weight};
use sunmao_plugin_sdk::ErrorCode;

pub(super) fn plain_value(value: wire_sink::Value) -> Value {
    let dim = |dim| match dim {
        wire_sink::Dim::Known(n) => Dim::Known(n),
        wire_sink::Dim::Symbolic(n) => Dim::Symbolic(n),
    };
    let content = value.content.map(|content| match content {
        wire_sink::Content::Literal(bytes) => Content::Literal(bytes),
        wire_sink::Content::Weight(weight) => Content::Weight(Weight {
            source: weight.source,
            offset: weight.offset,
            length: weight.length,
            encoding: weight.encoding,
            strides: weight.strides,
            ext: kvs(weight.ext),
        }),
    });
    Value {
        name: value.name,
        dtype: value.dtype,
        shape: value.shape.map(|shape| shape.into_iter().map(dim).collect()),
        role: match value.role {
            wire_sink::Role::Input => Role::Input,
            wire_sink::Role::Output => Role::Output,
            wire_sink::Role::Constant => Role::Constant,
            wire_sink::Role::State => Role::State,
            wire_sink::Role::Intermediate => Role::Intermediate,
        },
        content,
        quantisation: value.quantisation.map(|q| Quantisation {
            axis: q.axis,
            block: q.block,
            scale: q.scale,
            zero: q.zero,
        }),
        state: value.state.map(|state| SessionState {
            kind: state.kind,
            axis: state.axis,
            capacity: state.capacity,
            next: state.next,
        }),
        ext: kvs(value.ext),
    }
}

pub(super) fn kvs(list: Vec<words::Kv>) -> Vec<Kv> {
    list.into_iter().map(|kv| Kv { key: kv.key, val: plain_attribute(kv.val) }).collect()
}

pub(super) fn plain_attribute(value: words::Attribute) -> Attribute {
    use words::Attribute as W;
    match value {
        W::Integer(v) => Attribute::Integer(v),
        W::Number(v) => Attribute::Number(v),
        W::Text(v) => Attribute::Text(v),
        W::Integers(v) => Attribute::Integers(v),
        W::Numbers(v) => Attribute::Numbers(v),
        W::Texts(v) => Attribute::Texts(v),
        W::Bytes(v) => Attribute::Bytes(v),
        W::Value(v) => Attribute::Value(v),
        W::Block(v) => Attribute::Block(v),
    }
}

pub(super) fn attribute(value: Attribute) -> words::Attribute {
    use words::Attribute as W;
    match value {
        Attribute::Integer(v) => W::Integer(v),
        Attribute::Number(v) => W::Number(v),
        Attribute::Text(v) => W::Text(v),
        Attribute::Integers(v) => W::Integers(v),
        Attribute::Numbers(v) => W::Numbers(v),
        Attribute::Texts(v) => W::Texts(v),
        Attribute::Bytes(v) => W::Bytes(v),
        Attribute::Value(v) => W::Value(v),
        Attribute::Block(v) => W::Block(v),
    }
}

pub(super) fn to_wire(rejection: Rejection) -> words::Error {
    refuse(rejection.code, rejection.message)
}

pub(super) fn refuse(code: ErrorCode, message: impl Into<String>) -> words::Error {
    use {ErrorCode as E, words::ErrorCode as W};
    let code = match code {
        E::Unsupported => W::Unsupported,
        E::InvalidArgument => W::InvalidArgument,
        E::InvalidData => W::InvalidData,
        E::OutOfMemory => W::OutOfMemory,
        E::LimitExceeded => W::LimitExceeded,
        E::NotFound => W::NotFound,
        E::Internal => W::Internal,
    };
    words::Error { code, message: message.into(), index: None, offset: None, ext: Vec::new() }
}

pub(super) fn code(code: words::ErrorCode) -> ErrorCode {
    use {ErrorCode as E, words::ErrorCode as W};
    match code {
        W::Unsupported => E::Unsupported,
        W::InvalidArgument => E::InvalidArgument,
        W::InvalidData => E::InvalidData,
        W::OutOfMemory => E::OutOfMemory,
        W::LimitExceeded => E::LimitExceeded,
        W::NotFound => E::NotFound,
        W::Internal => E::Internal,
    }
}
