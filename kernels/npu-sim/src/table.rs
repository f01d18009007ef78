//! What the chip claims, row by row, and the way from an operation to its kernel.

use crate::blocked::BLOCKED;
use crate::operation::{F32, I8, I32, Op, U8};
use crate::vector::STEPS;
use crate::walk::RANK_MAX;
use crate::{conv, matrix, pool, vector};
use std::sync::OnceLock;
use sunmao_plugin_sdk::abi::{Alias, Attribute, Kv, Operand, Operation, OperatorSupport, Signature, Tolerance};
use sunmao_plugin_sdk::{Error, ErrorCode, Kernel, Result};

/// The newest revision whose form these kernels know.
const LATEST: u16 = 28;
/// Largest operand, bytes: what the emulated chip's counters hold.
const OPERAND_BYTES_MAX: u64 = 1 << 30;

/// A row, and who makes its kernels.
pub(crate) struct Row {
    support: OperatorSupport,
    prepare: fn(Op<'_>) -> Result<Box<dyn Kernel>>,
}

impl Row {
    /// The row in the ABI's words.
    pub(crate) fn support(&self) -> OperatorSupport {
        self.support.clone()
    }

    fn limit(mut self, key: &str, val: Attribute) -> Self {
        self.support.limits.push(Kv { key: key.into(), val });
        self
    }

    fn blocked(mut self) -> Self {
        self.support.layouts = vec![BLOCKED, 0];
        self
    }

    fn epilogues(mut self, steps: &[&str]) -> Self {
        self.support.epilogues = steps.iter().map(|&step| step.into()).collect();
        self
    }

    fn in_place(mut self, inputs: &[u32]) -> Self {
        self.support.in_place = inputs.iter().map(|&input| Alias { output: 0, input }).collect();
        self
    }

    /// Whether it promises the operation.
    fn covers(&self, op: Op<'_>) -> bool {
        let row = &self.support;
        let fits = |operands: &[Option<Operand>], types: &[u16]| {
            let expected = |index: usize| types.get(index).or(types.last()).copied();
            operands
                .iter()
                .enumerate()
                .all(|(i, operand)| operand.as_ref().is_none_or(|o| Some(o.dtype) == expected(i)))
        };
        let operands = || op.0.inputs.iter().chain(&op.0.outputs).flatten();
        (row.revision_min..=row.revision_max).contains(&op.0.revision)
            && row.signatures.iter().any(|s| fits(&op.0.inputs, &s.inputs) && fits(&op.0.outputs, &s.outputs))
            && operands().all(|operand| operand.shape.len() <= row.max_rank as usize)
            && operands().all(|operand| operand.layout == 0 || row.layouts.contains(&operand.layout))
            && op.0.epilogue.iter().all(|step| row.epilogues.contains(&step.op))
            && row.limits.iter().all(|limit| op.attributes().get(&limit.key).is_none_or(|given| *given == limit.val))
    }
}

fn row(
    op: &str,
    oldest: u16,
    signatures: Vec<Signature>,
    rank: usize,
    prepare: fn(Op<'_>) -> Result<Box<dyn Kernel>>,
) -> Row {
    let support = OperatorSupport {
        op: op.into(),
        revision_min: oldest,
        revision_max: LATEST,
        signatures,
        max_rank: rank as u32,
        layouts: Vec::new(),
        limits: Vec::new(),
        epilogues: Vec::new(),
        in_place: Vec::new(),
        tolerance: Tolerance::Exact,
        ext: Vec::new(),
    };
    Row { support, prepare }
}

fn signature(inputs: &[u16], outputs: &[u16]) -> Signature {
    Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec() }
}

pub(crate) fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let bytes = [U8, I8];
        let pairs: Vec<(u16, u16)> = bytes.iter().flat_map(|&a| bytes.map(|b| (a, b))).collect();
        let integer: Vec<_> = pairs.iter().map(|&(a, b)| signature(&[a, b, a, b], &[I32])).collect();
        let quantised: Vec<_> = pairs
            .iter()
            .flat_map(|&(a, b)| bytes.map(|y| signature(&[a, F32, a, b, F32, b, F32, y, I32], &[y])))
            .collect();
        let down = bytes.map(|stored| signature(&[F32, F32, stored], &[stored])).to_vec();
        let up = [U8, I8, I32].map(|stored| signature(&[stored, F32, stored], &[F32])).to_vec();
        let floats = || vec![signature(&[F32], &[F32])];
        let narrow = || bytes.map(|byte| signature(&[byte], &[byte])).to_vec();
        let text = |value: &str| Attribute::Text(value.into());
        let explicit = |row: Row| row.limit("auto_pad", text("NOTSET")).blocked();
        let whole = |row: Row| row.limit("block_size", Attribute::Integer(0)).blocked();
        let plain = |row: Row| explicit(row).limit("storage_order", Attribute::Integer(0));
        let mut average = explicit(row("AveragePool", 7, floats(), RANK_MAX, pool::prepare)).epilogues(STEPS);
        average.support.tolerance = Tolerance::Ulp(1);
        let mut rows = vec![
            row("MatMulInteger", 10, integer.clone(), 8, matrix::prepare),
            row("QLinearMatMul", 10, quantised.clone(), 8, matrix::prepare),
            explicit(row("ConvInteger", 10, integer, RANK_MAX, conv::prepare)),
            explicit(row("QLinearConv", 10, quantised, RANK_MAX, conv::prepare)),
            plain(row("MaxPool", 8, floats(), RANK_MAX, pool::prepare)).epilogues(STEPS),
            plain(row("MaxPool", 12, narrow(), RANK_MAX, pool::prepare)),
            average,
            row("Relu", 6, floats(), RANK_MAX, vector::prepare).blocked().in_place(&[0]),
            row("Clip", 11, floats(), RANK_MAX, vector::prepare).blocked().in_place(&[0]),
            whole(row("QuantizeLinear", 10, down, RANK_MAX, vector::prepare)),
            whole(row("DequantizeLinear", 10, up, RANK_MAX, vector::prepare)),
        ];
        for op in ["Add", "Sub", "Mul"] {
            let row = row(op, 7, floats(), RANK_MAX, vector::prepare).blocked();
            rows.push(row.epilogues(STEPS).in_place(&[0, 1]));
        }
        rows
    })
}

/// Finds the row that covers the operation, and has it make the kernel.
pub(crate) fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
    let op = Op(operation);
    let operands = || operation.inputs.iter().chain(&operation.outputs).flatten();
    let demands = operands().flat_map(|operand| &operand.ext).chain(&operation.ext);
    if let Some(demand) = demands.into_iter().find(|kv| kv.key.starts_with('!')) {
        return Err(op.unsupported(format_args!("unknown demand `{}`", demand.key)));
    }
    if operands().any(|operand| operand.quantisation.is_some() || !operand.extents.is_empty()) {
        return Err(op.unsupported("operands with a quantisation or a running length"));
    }
    for operand in operands() {
        let elements = operand.shape.iter().try_fold(1u64, |n, &length| n.checked_mul(u64::from(length.max(1))));
        if elements.is_none_or(|elements| elements > OPERAND_BYTES_MAX / 4) {
            let message = format!("an operand of shape {:?} exceeds {OPERAND_BYTES_MAX} bytes", operand.shape);
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
    }
    match rows().iter().filter(|row| row.support.op == operation.op).find(|row| row.covers(op)) {
        Some(row) => (row.prepare)(op),
        None => Err(op.unsupported("not on this chip: it runs int8 products, pools and a short list of f32 operators")),
    }
}
