//! Checks the views of a `bind` call against the operation, once, so that kernels and `run` need not.

use crate::abi::{Alias, Operand, Operation, PackedConstant, View};
use crate::memory::{Element, Input, Output};
use crate::{Error, Result};
use std::ops::Range;

/// The views of a dispatch, checked: shapes, element types, alignment, range, overlap.
pub struct Bindings<'a> {
    operation: &'a Operation,
    /// One for each operand of the operation, inputs first, then outputs; none where it was left out.
    views: Vec<Option<&'a View>>,
}

/// Checks `args` (one view for each operand that is present, inputs first) against `operation`. Offsets must lie in `arena`
/// and be multiples of `alignment`. A packed constant comes as bytes in place of the operand. An output may overlap an input only as `in_place` allows.
pub fn check_views<'a>(
    operation: &'a Operation,
    packed: &[PackedConstant],
    in_place: &[Alias],
    args: &'a [View],
    arena: Range<u64>,
    alignment: u32,
) -> Result<Bindings<'a>> {
    let operands = operation.inputs.iter().chain(&operation.outputs);
    let present = operands.clone().filter(|operand| operand.is_some()).count();
    if args.len() != present {
        return Err(Error::invalid(format!("bind got {} views for {present} operands", args.len())));
    }
    let mut rest = args.iter();
    let mut views = Vec::with_capacity(present);
    let mut spans = Vec::with_capacity(present);
    for (index, operand) in operands.enumerate() {
        let Some(operand) = operand else {
            views.push(None);
            spans.push(0..0);
            continue;
        };
        let view = rest.next().expect("as many views as operands that are present");
        let packed = packed.iter().find(|constant| constant.input as usize == index && index < operation.inputs.len());
        let bytes = match packed {
            Some(constant) => {
                if view.dtype != u8::DTYPE || view.shape != [constant.bytes] {
                    return Err(Error::invalid("the view of a packed constant is not its bytes").at(index));
                }
                u64::from(constant.bytes)
            }
            None => {
                if view.dtype != operand.dtype || view.shape != operand.shape || view.layout != operand.layout {
                    return Err(Error::invalid(format!(
                        "view of type {} shape {:?} layout {} for an operand of type {} shape {:?} layout {}",
                        view.dtype, view.shape, view.layout, operand.dtype, operand.shape, operand.layout
                    ))
                    .at(index));
                }
                bytes_of(view.dtype, &view.shape).ok_or_else(|| Error::invalid("view larger than memory").at(index))?
            }
        };
        if !view.strides.is_empty() {
            return Err(Error::unsupported("strided views are not taken by this plugin: bind dense ones").at(index));
        }
        let (start, end) = (u64::from(view.offset), u64::from(view.offset) + bytes);
        if !start.is_multiple_of(u64::from(alignment.max(1))) {
            return Err(Error::invalid(format!("offset {start} is not a multiple of {alignment}")).at(index));
        }
        if start < arena.start || end > arena.end {
            return Err(Error::invalid(format!("bytes {start} to {end} leave the arena {arena:?}")).at(index));
        }
        views.push(Some(view));
        spans.push(start..end);
    }
    let inputs = operation.inputs.len();
    for output in inputs..views.len() {
        for other in 0..output {
            let (a, b) = (&spans[output], &spans[other]);
            let slotted = |i: usize| views[i].is_some_and(|view: &View| view.slotted);
            let overlaps = a.start < b.end && b.start < a.end && slotted(output) == slotted(other);
            let granted = other < inputs
                && a == b
                && in_place
                    .iter()
                    .any(|alias| alias.output as usize == output - inputs && alias.input as usize == other);
            if overlaps && !granted {
                return Err(
                    Error::invalid(format!("output overlaps operand {other} without being allowed to")).at(output)
                );
            }
        }
    }
    Ok(Bindings { operation, views })
}

/// Bytes of a dense tensor; none when the type is no plain element type or the product overflows.
fn bytes_of(dtype: u16, shape: &[u32]) -> Option<u64> {
    let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)))?;
    if let Some((block, bytes)) = block_of(dtype) {
        // Rows are whole blocks.
        let whole = shape.last().is_some_and(|&last| u64::from(last).is_multiple_of(block));
        return if whole { (elements / block).checked_mul(bytes) } else { None };
    }
    let bits = match dtype {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        _ => return None,
    };
    Some(elements.checked_mul(bits)?.div_ceil(8))
}

/// Elements and bytes of a block of a block format.
fn block_of(dtype: u16) -> Option<(u64, u64)> {
    match dtype {
        0x100 => Some((32, 18)),
        0x101 => Some((256, 144)),
        0x102 => Some((256, 176)),
        0x103 => Some((256, 210)),
        0x104 => Some((32, 34)),
        _ => None,
    }
}

impl<'a> Bindings<'a> {
    /// The same with the inputs in another order: input `i` is what input `order[i]` was. For kernels that stand on another kernel, which
    /// was prepared for the operation with its operands in that order. Panics if `order` does not name as many inputs as there are.
    pub fn reordered(&self, order: &[usize]) -> Bindings<'a> {
        let inputs = self.operation.inputs.len();
        assert_eq!(order.len(), inputs, "one place for each input");
        let views = order.iter().map(|&from| self.views[..inputs][from]).chain(self.views[inputs..].iter().copied());
        Bindings { operation: self.operation, views: views.collect() }
    }

    /// Whether input `index` is there.
    pub fn has_input(&self, index: usize) -> bool {
        index < self.operation.inputs.len() && self.views[index].is_some()
    }

    /// Input `index` as elements of type `T`. A packed constant is `u8`, or any type when it is read as [`Bindings::packed`].
    pub fn input<T: Element>(&self, index: usize) -> Result<Input<T>> {
        let view = self.view(index, index < self.operation.inputs.len())?;
        check_element::<T>(view.dtype, index)?;
        Ok(Input::new(view.offset, view.slotted, elements(view)))
    }

    /// Packed constant `index`, seen as elements of type `T`.
    pub fn packed<T: Element>(&self, index: usize) -> Result<Input<T>> {
        let view = self.view(index, index < self.operation.inputs.len())?;
        check_element::<u8>(view.dtype, index)?;
        Ok(Input::new(view.offset, view.slotted, elements(view) / size_of::<T>()))
    }

    /// Output `index` (counted from 0) as elements of type `T`.
    pub fn output<T: Element>(&self, index: usize) -> Result<Output<T>> {
        let at = self.operation.inputs.len() + index;
        let view = self.view(at, index < self.operation.outputs.len())?;
        check_element::<T>(view.dtype, at)?;
        Ok(Output::new(view.offset, view.slotted, elements(view)))
    }

    /// Input `index` as the bits of its elements: `T` is an unsigned integer of their size. For kernels that move data and look at none.
    pub fn input_bits<T: Element>(&self, index: usize) -> Result<Input<T>> {
        let view = self.view(index, index < self.operation.inputs.len())?;
        check_size::<T>(view.dtype, index)?;
        Ok(Input::new(view.offset, view.slotted, elements(view)))
    }

    /// Output `index` as the bits of its elements.
    pub fn output_bits<T: Element>(&self, index: usize) -> Result<Output<T>> {
        let at = self.operation.inputs.len() + index;
        let view = self.view(at, index < self.operation.outputs.len())?;
        check_size::<T>(view.dtype, at)?;
        Ok(Output::new(view.offset, view.slotted, elements(view)))
    }

    /// Input `index` as the bytes that it takes, whatever its element type: for types under a byte, and for copies of whole tensors.
    pub fn input_bytes(&self, index: usize) -> Result<Input<u8>> {
        let view = self.view(index, index < self.operation.inputs.len())?;
        Ok(Input::new(view.offset, view.slotted, bytes(view)))
    }

    /// Output `index` as the bytes that it takes.
    pub fn output_bytes(&self, index: usize) -> Result<Output<u8>> {
        let at = self.operation.inputs.len() + index;
        let view = self.view(at, index < self.operation.outputs.len())?;
        Ok(Output::new(view.offset, view.slotted, bytes(view)))
    }

    /// Whether output `out` was given the bytes of input `input`.
    pub fn in_place(&self, out: usize, input: usize) -> bool {
        let output = self.views.get(self.operation.inputs.len() + out).copied().flatten();
        let input = self.views.get(input).copied().flatten();
        matches!((output, input), (Some(a), Some(b)) if a.offset == b.offset && a.slotted == b.slotted)
    }

    fn view(&self, index: usize, exists: bool) -> Result<&View> {
        let view = if exists { self.views[index] } else { None };
        view.ok_or_else(|| Error::invalid("operand left out").at(index))
    }
}

/// Bytes of an operand that lies dense in memory.
pub(crate) fn dense_bytes(operand: &Operand) -> Option<u64> {
    bytes_of(operand.dtype, &operand.shape)
}

fn elements(view: &View) -> usize {
    view.shape.iter().map(|&d| d as usize).product()
}

fn bytes(view: &View) -> usize {
    bytes_of(view.dtype, &view.shape).map_or(0, |bytes| bytes as usize)
}

/// Half-precision floats are read and written as their bits (`u16`), booleans and 8-bit floats as bytes.
fn check_element<T: Element>(dtype: u16, index: usize) -> Result<()> {
    let carrier = match dtype {
        9 | 17..=20 | 24 => u8::DTYPE,
        10 | 16 => u16::DTYPE,
        other => other,
    };
    if dtype == T::DTYPE || carrier == T::DTYPE {
        return Ok(());
    }
    Err(Error::invalid(format!("element type {dtype} where {} was expected", T::DTYPE)).at(index))
}

fn check_size<T: Element>(dtype: u16, index: usize) -> Result<()> {
    if bytes_of(dtype, &[8]) == Some(8 * size_of::<T>() as u64) {
        return Ok(());
    }
    Err(Error::invalid(format!("element type {dtype} where one of {} bytes was expected", size_of::<T>())).at(index))
}
