//! What the chip claims, and the way from an operation to its kernel: an operation is accepted by the row that covers it.

use crate::arguments::{Op, dims};
use crate::element::bits;
use std::sync::OnceLock;
use sunmao_plugin_sdk::abi::{Alias, Attribute, Kv, Operand, Operation, OperatorSupport, Signature, Tolerance};
use sunmao_plugin_sdk::{Error, ErrorCode, Kernel, Result};

/// Largest rank of any operand.
pub(crate) const MAX_RANK: usize = 8;

/// The newest revision whose form these kernels know.
pub(crate) const LATEST: u16 = 28;

/// Offsets are 32 bits wide, so no operand can have more bytes.
const OPERAND_BYTES_MAX: u64 = (1 << 31) - 1;

/// One row of the table.
pub(crate) struct Row {
    op: &'static str,
    revisions: (u16, u16),
    signatures: Vec<Signature>,
    limits: Vec<Kv>,
    epilogues: &'static [&'static str],
    in_place: &'static [u32],
    constants: &'static [i64],
    tolerance: Tolerance,
    prepare: fn(Op<'_>) -> Result<Box<dyn Kernel>>,
}

impl Row {
    pub(crate) fn new(
        op: &'static str,
        revisions: (u16, u16),
        signatures: Vec<Signature>,
        tolerance: Tolerance,
        prepare: fn(Op<'_>) -> Result<Box<dyn Kernel>>,
    ) -> Self {
        Self {
            op,
            revisions,
            signatures,
            limits: Vec::new(),
            epilogues: &[],
            in_place: &[],
            constants: &[],
            tolerance,
            prepare,
        }
    }

    /// Output 0 may lie on the bytes of each of these inputs.
    pub(crate) fn in_place(mut self, inputs: &'static [u32]) -> Self {
        self.in_place = inputs;
        self
    }

    pub(crate) fn epilogues(mut self, steps: &'static [&'static str]) -> Self {
        self.epilogues = steps;
        self
    }

    /// Inputs that must be constants with a literal.
    pub(crate) fn constants(mut self, inputs: &'static [i64]) -> Self {
        self.constants = inputs;
        self
    }

    /// An attribute must have exactly this value (or one of these texts).
    pub(crate) fn limit(mut self, key: &str, val: Attribute) -> Self {
        self.limits.push(Kv { key: key.into(), val });
        self
    }

    /// Padding comes in numbers, or is none: who asks for "SAME" is to work it out.
    pub(crate) fn explicit_pads(self) -> Self {
        self.limit("auto_pad", Attribute::Texts(vec!["NOTSET".into(), "VALID".into()]))
    }

    /// The row in the ABI's words.
    pub(crate) fn support(&self) -> OperatorSupport {
        let mut ext = Vec::new();
        if !self.constants.is_empty() {
            ext.push(Kv { key: "constant-inputs".into(), val: Attribute::Integers(self.constants.to_vec()) });
        }
        OperatorSupport {
            op: self.op.into(),
            revision_min: self.revisions.0,
            revision_max: self.revisions.1,
            signatures: self.signatures.clone(),
            max_rank: MAX_RANK as u32,
            layouts: Vec::new(),
            limits: self.limits.clone(),
            epilogues: self.epilogues.iter().map(|&step| step.into()).collect(),
            in_place: self.in_place.iter().map(|&input| Alias { output: 0, input }).collect(),
            tolerance: self.tolerance,
            ext,
        }
    }

    fn covers(&self, op: Op<'_>) -> bool {
        (self.revisions.0..=self.revisions.1).contains(&op.revision())
            && self.signatures.iter().any(|signature| matches(signature, op))
            && op.0.epilogue.iter().all(|step| self.epilogues.contains(&step.op.as_str()))
            && self.limits.iter().all(|limit| match (&limit.val, op.attributes().get(&limit.key)) {
                (_, None) => true,
                (Attribute::Texts(choices), Some(Attribute::Text(text))) => choices.contains(text),
                (Attribute::Integers(choices), Some(Attribute::Integer(number))) => choices.contains(number),
                (one, Some(given)) => one == given,
            })
    }
}

fn matches(signature: &Signature, op: Op<'_>) -> bool {
    let fits = |types: &[u16], index: usize, dtype: u16| {
        types.get(index).or(types.last()).is_some_and(|&wanted| wanted == dtype)
    };
    let inputs = (0..op.inputs()).all(|i| op.optional(i).is_none_or(|o| fits(&signature.inputs, i, o.dtype)));
    let outputs = op.0.outputs.iter().enumerate();
    inputs && outputs.into_iter().all(|(i, o)| o.as_ref().is_none_or(|o| fits(&signature.outputs, i, o.dtype)))
}

/// All rows, built once.
pub(crate) fn table() -> &'static [Row] {
    static TABLE: OnceLock<Vec<Row>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let families = [
            crate::unary::rows,
            crate::elementwise::rows,
            crate::compare::rows,
            crate::choose::rows,
            crate::cast::rows,
            crate::reduce::rows,
            crate::order::rows,
            crate::cumulate::rows,
            crate::softmax::rows,
            crate::normalise::rows,
            crate::matmul::rows,
            crate::conv::rows,
            crate::conv_transpose::rows,
            crate::pool::rows,
            crate::moves::rows,
            crate::pad::rows,
            crate::gather::rows,
            crate::scatter::rows,
            crate::resize::rows,
            crate::quantise::rows,
            crate::quantised_add::rows,
            crate::scaled_product::rows,
            crate::range::rows,
            crate::reverse::rows,
            crate::attention::rows,
            crate::rotary::rows,
            crate::linear_attention::rows,
            crate::recurrent::rows,
            crate::fourier::rows,
            crate::einsum::rows,
            crate::determinant::rows,
            crate::block_matmul::rows,
            crate::batch_statistics::rows,
            crate::lp_normalise::rows,
            crate::col2im::rows,
            crate::unpool::rows,
            crate::deform_conv::rows,
            crate::grid_sample::rows,
            crate::affine_grid::rows,
            crate::regions::rows,
        ];
        families.iter().flat_map(|rows| rows()).collect()
    })
}

/// Finds the row that covers the operation, and has it make the kernel.
pub(crate) fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
    let op = Op(operation);
    for (index, operand) in operation.inputs.iter().chain(&operation.outputs).enumerate() {
        if let Some(operand) = operand {
            check_operand(op, operand).map_err(|error| error.at(index))?;
        }
    }
    if let Some(key) = operation.ext.iter().find(|kv| kv.key.starts_with('!')) {
        return Err(op.unsupported(format_args!("unknown demand `{}`", key.key)));
    }
    let mut known = table().iter().filter(|row| row.op == operation.op).peekable();
    if known.peek().is_none() {
        return Err(op.unsupported("no such operator here"));
    }
    match known.find(|row| row.covers(op)) {
        Some(row) => (row.prepare)(op),
        None => {
            let types = |operands: &[Option<Operand>]| {
                operands.iter().map(|o| o.as_ref().map_or(0, |o| o.dtype)).collect::<Vec<_>>()
            };
            Err(op.unsupported(format_args!(
                "revision {} with inputs of types {:?} and outputs of types {:?}, its attributes and epilogue are not covered",
                operation.revision,
                types(&operation.inputs),
                types(&operation.outputs)
            )))
        }
    }
}

fn check_operand(op: Op<'_>, operand: &Operand) -> Result<()> {
    if operand.layout != 0 {
        return Err(op.unsupported(format_args!("layout {}", operand.layout)));
    }
    if operand.quantisation.is_some() || !operand.extents.is_empty() {
        return Err(op.unsupported("operands with a quantisation or a running length"));
    }
    if let Some(key) = operand.ext.iter().find(|kv| kv.key.starts_with('!')) {
        return Err(op.unsupported(format_args!("unknown demand `{}`", key.key)));
    }
    if operand.shape.len() > MAX_RANK {
        return Err(op.unsupported(format_args!("rank {} (at most {MAX_RANK})", operand.shape.len())));
    }
    // Zero lengths count as one, so that strides stay in range as well; and elements as a byte at least, for so they are counted.
    let width = u64::from(bits(operand.dtype).max(8) / 8);
    let bytes = operand.shape.iter().try_fold(width, |bytes, &dim| bytes.checked_mul(u64::from(dim.max(1))));
    if bytes.is_none_or(|bytes| bytes > OPERAND_BYTES_MAX) {
        return Err(Error::new(
            ErrorCode::LimitExceeded,
            format!("{}: an operand of shape {:?} exceeds {OPERAND_BYTES_MAX} bytes", op.name(), operand.shape),
        ));
    }
    if let Some(literal) = &operand.literal {
        let elements: usize = dims(operand).iter().product();
        let wanted = (elements * bits(operand.dtype) as usize).div_ceil(8);
        if literal.len() != wanted {
            return Err(op.invalid(format_args!("a literal of {} bytes where {wanted} belong", literal.len())));
        }
    }
    Ok(())
}

/// For each type of the list: that type for all inputs and all outputs.
pub(crate) fn same(inputs: usize, outputs: usize, dtypes: &[u16]) -> Vec<Signature> {
    dtypes.iter().map(|&dtype| signature(&vec![dtype; inputs], &vec![dtype; outputs])).collect()
}

/// One signature.
pub(crate) fn signature(inputs: &[u16], outputs: &[u16]) -> Signature {
    Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec() }
}
