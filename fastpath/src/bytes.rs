//! Tensors of bytes and their zero points, and what the operators that multiply them ask for.
//!
//! A signed byte with its top bit flipped is an unsigned one that is 128 larger, and the other way around: `flip` says what makes a byte unsigned.

use crate::epilogue::{Along, Epilogue, Step};
use crate::request::{Request, count};
use sunmao_plugin_sdk::Element;
use sunmao_plugin_sdk::abi::Operand;

/// A tensor of bytes.
pub(crate) struct Bytes {
    pub(crate) shape: Vec<usize>,
    pub(crate) flip: u8,
}

impl Bytes {
    fn of(operand: &Operand) -> Option<Self> {
        let flip = match operand.dtype {
            u8::DTYPE => 0,
            i8::DTYPE => 0x80,
            _ => return None,
        };
        Some(Self { shape: operand.shape.iter().map(|&d| d as usize).collect(), flip })
    }

    /// Input `index` of the operation.
    pub(crate) fn input(request: Request<'_>, index: usize) -> Option<Self> {
        request.operand(index).and_then(Self::of)
    }

    /// The only output.
    pub(crate) fn output(request: Request<'_>) -> Option<Self> {
        match request.operation().outputs.as_slice() {
            [Some(output)] => Self::of(output),
            _ => None,
        }
    }

    /// Whether input `index` is one byte of the same type.
    pub(crate) fn has_zero(&self, request: Request<'_>, index: usize) -> bool {
        Self::input(request, index).is_some_and(|zero| zero.flip == self.flip && count(&zero.shape) == 1)
    }

    /// The zero point that constant input `index` holds for all rows or columns alike, in flipped form; without the input it is 0.
    pub(crate) fn settled_zero(&self, request: Request<'_>, index: usize) -> Option<u8> {
        let Some(operand) = request.operand(index) else { return Some(self.flip) };
        if !operand.constant || Self::of(operand)?.flip != self.flip {
            return None;
        }
        let (&first, rest) = operand.literal.as_deref()?.split_first()?;
        rest.iter().all(|&zero| zero == first).then_some(first ^ self.flip)
    }
}

/// Whether input `index` is a single float.
pub(crate) fn is_scale(request: Request<'_>, index: usize) -> bool {
    request.input(index).is_some_and(|shape| count(&shape) == 1)
}

/// Whether input `index` is one float, or else (true) one for each of `lines`. None: neither.
pub(crate) fn scale_each(request: Request<'_>, index: usize, lines: usize) -> Option<bool> {
    let shape = request.input(index)?;
    match count(&shape) {
        1 => Some(false),
        n if n == lines && shape.len() == 1 => Some(true),
        _ => None,
    }
}

/// A number as it is multiplied: a byte less its zero point.
#[derive(Clone, Copy)]
pub(crate) struct Less {
    /// What makes the byte unsigned.
    pub(crate) flip: u8,
    /// The zero point, made unsigned too.
    pub(crate) zero: u8,
}

impl Less {
    pub(crate) fn number(self, byte: u8) -> i16 {
        i16::from(byte ^ self.flip) - i16::from(self.zero)
    }
}

/// A product of bytes whose right side is one constant matrix for all matrices on the left, which are one tall one.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) a_flip: u8,
    pub(crate) b: Less,
}

impl Product {
    /// `zeros` are the inputs that hold the zero points.
    fn of(request: Request<'_>, zeros: [usize; 2], output: &[usize]) -> Option<Self> {
        let (a, b) = (Bytes::input(request, 0)?, Bytes::input(request, 1)?);
        let (&[ref stack @ .., rows, depth], &[ref ones @ .., inner, columns]) = (&a.shape[..], &b.shape[..]) else {
            return None;
        };
        let (batch, expected) = (count(stack), [stack, &[rows, columns]].concat());
        let fits = inner == depth
            && ones.len() <= stack.len()
            && count(ones) == 1
            && output == expected
            && request.operand(1)?.constant
            && (request.operand(zeros[0]).is_none() || a.has_zero(request, zeros[0]));
        let b_less = Less { flip: b.flip, zero: b.settled_zero(request, zeros[1])? };
        fits.then_some(Self { rows: batch * rows, columns, depth, a_flip: a.flip, b: b_less })
    }
}

/// Inputs of `MatMulInteger` that hold the zero points.
pub(crate) const SUMS_ZEROS: [usize; 2] = [2, 3];
/// And of `sunmao.MatMulIntegerToFloat`.
pub(crate) const SCALED_ZEROS: [usize; 2] = [4, 5];

/// Reads a `MatMulInteger`, whose result is the sums.
pub(crate) fn sums(request: Request<'_>) -> Option<Product> {
    let [Some(output)] = request.operation().outputs.as_slice() else { return None };
    if output.dtype != i32::DTYPE || !request.operation().epilogue.is_empty() {
        return None;
    }
    let shape: Vec<usize> = output.shape.iter().map(|&d| d as usize).collect();
    Product::of(request, SUMS_ZEROS, &shape)
}

/// Reads a `sunmao.MatMulIntegerToFloat`, whose sums are multiplied by the scale of the left side (input 2) and by that of the right one (input 3), or
/// by that of each column. The answer says which.
pub(crate) fn scaled(request: Request<'_>) -> Option<(Product, bool, Epilogue)> {
    let output = request.output()?;
    let product = Product::of(request, SCALED_ZEROS, &output)?;
    if !is_scale(request, 2) {
        return None;
    }
    let each = scale_each(request, 3, product.columns)?;
    let mut steps = Vec::new();
    if request.operand(6).is_some() {
        if request.input(6)? != [product.columns] {
            return None;
        }
        steps.push(Step::Add { addend: 6, along: Along::Columns, factor: 1.0 });
    }
    let epilogue = Epilogue::plan(request, steps, Along::Columns, product.columns)?;
    Some((product, each, epilogue))
}
