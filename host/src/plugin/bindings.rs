//! Code generated from the WIT text, one module for each world, and the way between its types and the plain ones of `sunmao_plugin_sdk::abi`.
//!
//! Only conversions are here; `check` judges what comes in.

#![allow(missing_docs, unreachable_pub)]

/// The world of a chip.
pub(super) mod chip {
    wasmtime::component::bindgen!({
        path: "../plugin-sdk/wit/since_v0.1.0",
        world: "device-plugin",
    });
}

/// The world of an importer.
pub(super) mod importer {
    wasmtime::component::bindgen!({
        path: "../plugin-sdk/wit/since_v0.1.0",
        world: "importer-plugin",
        imports: { default: trappable },
        with: {
            "sunmao:kernel/sources.source": crate::plugin::importer::SourceHandle,
            "sunmao:kernel/sink.builder": crate::plugin::importer::BuilderHandle,
        },
    });
}

use chip::exports::sunmao::kernel::device as wire;
use chip::sunmao::kernel::types as words;
use sunmao_plugin_sdk::{ErrorCode, abi};

/// To the plugin.
pub(super) fn operation(operation: &abi::Operation) -> wire::Operation {
    let operands = |list: &[Option<abi::Operand>]| list.iter().map(|one| one.as_ref().map(operand)).collect();
    let steps = operation.epilogue.iter().map(|step| wire::EpilogueStep {
        op: step.op.clone(),
        input: step.input,
        attributes: kvs(&step.attributes),
    });
    wire::Operation {
        op: operation.op.clone(),
        revision: operation.revision,
        attributes: kvs(&operation.attributes),
        inputs: operands(&operation.inputs),
        outputs: operands(&operation.outputs),
        epilogue: steps.collect(),
        ext: kvs(&operation.ext),
    }
}

fn operand(operand: &abi::Operand) -> wire::Operand {
    let quantisation = operand.quantisation.as_ref().map(|q| words::Quantisation {
        axis: q.axis,
        block: q.block,
        scale: q.scale,
        zero: q.zero,
    });
    let extents = operand.extents.iter().map(|extent| wire::Extent { axis: extent.axis, input: extent.input });
    wire::Operand {
        dtype: operand.dtype,
        shape: operand.shape.clone(),
        layout: operand.layout,
        constant: operand.constant,
        literal: operand.literal.clone(),
        quantisation,
        extents: extents.collect(),
        ext: kvs(&operand.ext),
    }
}

/// To the plugin, `arena` bytes further on.
pub(super) fn view(view: &abi::View, offset: u32) -> wire::View {
    wire::View {
        offset,
        slotted: view.slotted,
        dtype: view.dtype,
        shape: view.shape.clone(),
        strides: view.strides.clone(),
        layout: view.layout,
    }
}

fn kvs(list: &[abi::Kv]) -> Vec<words::Kv> {
    list.iter().map(|kv| words::Kv { key: kv.key.clone(), val: attribute(&kv.val) }).collect()
}

fn attribute(value: &abi::Attribute) -> words::Attribute {
    use {abi::Attribute as A, words::Attribute as W};
    match value {
        A::Integer(v) => W::Integer(*v),
        A::Number(v) => W::Number(*v),
        A::Text(v) => W::Text(v.clone()),
        A::Integers(v) => W::Integers(v.clone()),
        A::Numbers(v) => W::Numbers(v.clone()),
        A::Texts(v) => W::Texts(v.clone()),
        A::Bytes(v) => W::Bytes(v.clone()),
        A::Value(v) => W::Value(*v),
        A::Block(v) => W::Block(*v),
    }
}

fn plain_kvs(list: Vec<words::Kv>) -> Vec<abi::Kv> {
    list.into_iter().map(|kv| abi::Kv { key: kv.key, val: plain_attribute(kv.val) }).collect()
}

fn plain_attribute(value: words::Attribute) -> abi::Attribute {
    use {abi::Attribute as A, words::Attribute as W};
    match value {
        W::Integer(v) => A::Integer(v),
        W::Number(v) => A::Number(v),
        W::Text(v) => A::Text(v),
        W::Integers(v) => A::Integers(v),
        W::Numbers(v) => A::Numbers(v),
        W::Texts(v) => A::Texts(v),
        W::Bytes(v) => A::Bytes(v),
        W::Value(v) => A::Value(v),
        W::Block(v) => A::Block(v),
    }
}

/// From the plugin.
pub(super) fn info(info: wire::Info) -> abi::Info {
    let units =
        info.units.into_iter().map(|unit| abi::Unit { kind: unit.kind, name: unit.name, ext: plain_kvs(unit.ext) });
    abi::Info {
        id: info.id,
        vendor: info.vendor,
        name: info.name,
        version: info.version,
        isa: info.isa,
        vector_bits: info.vector_bits,
        alignment: info.alignment,
        max_shards: info.max_shards,
        deterministic: info.deterministic,
        units: units.collect(),
        ext: plain_kvs(info.ext),
    }
}

/// From the plugin.
pub(super) fn support(row: wire::OperatorSupport) -> abi::OperatorSupport {
    let signatures = row.signatures.into_iter().map(|one| abi::Signature { inputs: one.inputs, outputs: one.outputs });
    abi::OperatorSupport {
        op: row.op,
        revision_min: row.revision_min,
        revision_max: row.revision_max,
        signatures: signatures.collect(),
        max_rank: row.max_rank,
        layouts: row.layouts,
        limits: plain_kvs(row.limits),
        epilogues: row.epilogues,
        in_place: aliases(row.in_place),
        tolerance: match row.tolerance {
            words::Tolerance::Exact => abi::Tolerance::Exact,
            words::Tolerance::Ulp(n) => abi::Tolerance::Ulp(n),
            words::Tolerance::Accumulate(factor) => abi::Tolerance::Accumulate(factor),
            words::Tolerance::Approximate(part) => abi::Tolerance::Approximate(part),
        },
        ext: plain_kvs(row.ext),
    }
}

/// From the plugin.
pub(super) fn requirements(needs: wire::Requirements) -> abi::Requirements {
    let packed = needs.packed.into_iter().map(|constant| abi::PackedConstant {
        input: constant.input,
        bytes: constant.bytes,
        align: constant.align,
        key: constant.key,
    });
    let layouts =
        needs.layouts.into_iter().map(|choice| abi::LayoutChoice { operand: choice.operand, layout: choice.layout });
    abi::Requirements {
        workspace: needs.workspace,
        shards: needs.shards,
        packed: packed.collect(),
        in_place: aliases(needs.in_place),
        layouts: layouts.collect(),
        estimated_ns: needs.estimated_ns,
        ext: plain_kvs(needs.ext),
    }
}

fn aliases(list: Vec<wire::Alias>) -> Vec<abi::Alias> {
    list.into_iter().map(|alias| abi::Alias { output: alias.output, input: alias.input }).collect()
}

/// From the plugin.
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
