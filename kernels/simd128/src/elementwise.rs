//! Unary and binary f32 operators over whole tensors, with NumPy's broadcasting.

use crate::activation::Activation;
use crate::arguments::{Op, count, dims, shards_for};
use crate::vector::{LANES, add, div, load, load_part, mul, splat, store, store_part, sub, v128};
use core::arch::wasm32::{f32x4_max, f32x4_min};
use sunmao_plugin_sdk::abi::{Alias, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Result};

/// The fast kernel for an elementwise operation, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    if let Some(operation) = Arithmetic::named(op.name()) {
        return Some(Box::new(Binary::new(op, operation)?));
    }
    let activation = Activation::of_operator(op)?;
    let shape = op.f32_shape(0)?;
    if op.f32_output()? != shape || !op.0.epilogue.is_empty() {
        return None;
    }
    Some(Box::new(Unary { activation, len: count(&shape), constant: op.input(0)?.constant }))
}

/// A function of one float on every element.
struct Unary {
    activation: Activation,
    len: usize,
    constant: bool,
}

impl Kernel for Unary {
    fn requirements(&self) -> Requirements {
        let nanoseconds = (self.len as f32 / 4.0 * self.activation.cost()) as u64 + 50;
        Requirements {
            shards: shards_for(nanoseconds),
            in_place: if self.constant { Vec::new() } else { vec![Alias { output: 0, input: 0 }] },
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let activation = self.activation;
        let (x, y) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let part = call.share(x.len(), 64);
            let (from, to) = (call.read(&x).part(part.clone()), call.write(&y).part(part));
            // SAFETY: both windows hold the same number of floats, and are one place or apart (`bind` checked the overlap).
            unsafe { activation.run(from.as_ptr(), to.as_mut_ptr(), from.len()) };
            Ok(())
        }))
    }
}

/// An operator on two floats.
#[derive(Clone, Copy, PartialEq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

impl Arithmetic {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Add" | "Sum" => Self::Add,
            "Sub" => Self::Sub,
            "Mul" => Self::Mul,
            "Div" => Self::Div,
            "Max" => Self::Max,
            "Min" => Self::Min,
            _ => return None,
        })
    }
}

/// An axis of the output: its length, and the steps of both operands along it (0 where one repeats).
#[derive(Clone, Copy, Debug)]
struct Axis {
    len: usize,
    steps: [usize; 2],
}

/// Two tensors, one of which may repeat along some axes.
struct Binary {
    operation: Arithmetic,
    /// Outermost first; neighbours that run on in both operands are one axis.
    axes: Vec<Axis>,
    len: usize,
    in_place: Vec<Alias>,
    after: Vec<Activation>,
}

/// Axes beyond the innermost one that are counted without allocating.
const OUTER_MAX: usize = 8;

impl Binary {
    fn new(op: Op<'_>, operation: Arithmetic) -> Option<Self> {
        let own = (0..op.0.inputs.len()).filter(|&i| op.own(i).is_some()).count();
        if own != 2 {
            return None;
        }
        let (a, b, y) = (op.f32_shape(0)?, op.f32_shape(1)?, op.f32_output()?);
        let mut after = Vec::new();
        for step in &op.0.epilogue {
            if step.input.is_some() {
                return None;
            }
            after.push(Activation::named(&step.op, sunmao_plugin_sdk::Attributes(&step.attributes))?);
        }
        let mut axes: Vec<Axis> = Vec::new();
        let mut strides = [1, 1];
        for (i, &len) in y.iter().enumerate().rev() {
            let mut steps = [0, 0];
            for (which, shape) in [&a, &b].into_iter().enumerate() {
                let own = (i + shape.len()).checked_sub(y.len()).map_or(1, |axis| shape[axis]);
                if own == len && len != 1 {
                    steps[which] = strides[which];
                }
                strides[which] *= own;
            }
            if len == 1 {
                continue;
            }
            match axes.last_mut() {
                Some(inner) if (0..2).all(|w| steps[w] == inner.steps[w] * inner.len) => inner.len *= len,
                _ => axes.push(Axis { len, steps }),
            }
        }
        axes.reverse();
        if axes.is_empty() {
            axes.push(Axis { len: 1, steps: [1, 1] });
        }
        if axes.len() > OUTER_MAX {
            return None;
        }
        let alias = |input: usize, shape: &[usize]| {
            let free = op.input(input).is_some_and(|operand| !operand.constant && dims(operand) == y);
            (free && shape == y).then_some(Alias { output: 0, input: input as u32 })
        };
        let in_place = [alias(0, &a), alias(1, &b)].into_iter().flatten().collect();
        Some(Self { operation, axes, len: count(&y), in_place, after })
    }
}

impl Kernel for Binary {
    fn requirements(&self) -> Requirements {
        let each = 1.0 + self.after.iter().map(|activation| activation.cost()).sum::<f32>();
        let nanoseconds = (self.len as f32 / 4.0 * each) as u64 + 50;
        Requirements {
            shards: shards_for(nanoseconds),
            in_place: self.in_place.clone(),
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (operation, axes, after) = (self.operation, self.axes.clone(), self.after.clone());
        let (a, b, y) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (a, b, to) = (call.read(&a).as_ptr(), call.read(&b).as_ptr(), call.write(&y).as_mut_ptr());
            let (outer, inner) = (&axes[..axes.len() - 1], axes[axes.len() - 1]);
            let part = call.share(y.len(), 64);
            let mut at = part.start;
            while at < part.end {
                let (mut rest, column) = (at / inner.len, at % inner.len);
                let len = (inner.len - column).min(part.end - at);
                let mut starts = [column * inner.steps[0], column * inner.steps[1]];
                for axis in outer.iter().rev() {
                    let coordinate = rest % axis.len;
                    rest /= axis.len;
                    starts[0] += coordinate * axis.steps[0];
                    starts[1] += coordinate * axis.steps[1];
                }
                // SAFETY: the starts and the steps stay inside the operands, whose shapes broadcast to the output's (the portable kernel
                // checked it); outputs are `at .. at + len`.
                unsafe {
                    let (a, b, to) = (a.add(starts[0]), b.add(starts[1]), to.add(at));
                    run(operation, a, b, inner.steps, to, len);
                    for activation in &after {
                        activation.run(to, to, len);
                    }
                }
                at += len;
            }
            Ok(())
        }))
    }
}

/// # Safety
/// Both operands hold `len` floats at their steps, `to` holds `len`.
unsafe fn run(operation: Arithmetic, a: *const f32, b: *const f32, steps: [usize; 2], to: *mut f32, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match operation {
            Arithmetic::Add => zip(a, b, steps, to, len, add),
            Arithmetic::Sub => zip(a, b, steps, to, len, sub),
            Arithmetic::Mul => zip(a, b, steps, to, len, mul),
            Arithmetic::Div => zip(a, b, steps, to, len, div),
            Arithmetic::Max => zip(a, b, steps, to, len, |a, b| f32x4_max(a, b)),
            Arithmetic::Min => zip(a, b, steps, to, len, |a, b| f32x4_min(a, b)),
        }
    }
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn zip(
    a: *const f32,
    b: *const f32,
    steps: [usize; 2],
    to: *mut f32,
    len: usize,
    f: impl Fn(v128, v128) -> v128 + Copy,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match steps {
            [0, 0] => {
                let v = f(splat(a.read()), splat(b.read()));
                both(|_| v, |_, _| v, to, len);
            }
            [0, 1] => {
                let v = splat(a.read());
                both(|i| f(v, load(b.add(i))), |i, n| f(v, load_part(b.add(i), n)), to, len);
            }
            [1, 0] => {
                let v = splat(b.read());
                both(|i| f(load(a.add(i)), v), |i, n| f(load_part(a.add(i), n), v), to, len);
            }
            [1, 1] => both(
                |i| f(load(a.add(i)), load(b.add(i))),
                |i, n| f(load_part(a.add(i), n), load_part(b.add(i), n)),
                to,
                len,
            ),
            [x, y] => {
                for i in 0..len {
                    store_part(to.add(i), f(splat(a.add(i * x).read()), splat(b.add(i * y).read())), 1);
                }
            }
        }
    }
}

/// # Safety
/// `to` holds `len` floats.
#[inline(never)]
unsafe fn both(whole: impl Fn(usize) -> v128, part: impl Fn(usize, usize) -> v128, to: *mut f32, len: usize) {
    let mut i = 0;
    // SAFETY: the stores stay below `len`.
    unsafe {
        while i + LANES <= len {
            store(to.add(i), whole(i));
            i += LANES;
        }
        if i < len {
            store_part(to.add(i), part(i, len - i), len - i);
        }
    }
}
