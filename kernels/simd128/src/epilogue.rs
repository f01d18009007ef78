//! The steps behind a convolution or a matrix product.
//!
//! What a tile can do for nothing it does itself: start from the bias, start from the tensor to add, cut the result to a range. The rest
//! runs over each stretch of the output while it is still in the cache.

use crate::activation::Activation;
use crate::arguments::Op;
use crate::vector::{LANES, add, load, store};
use sunmao_plugin_sdk::{Attributes, Bindings, Call, Input, Result};

/// One step behind the tile.
#[derive(Clone, Copy)]
enum Step {
    /// Adds a tensor of the output's shape: input of that index.
    Add(usize),
    Apply(Activation),
}

/// The steps of one operation, as `prepare` sorts them.
#[derive(Clone)]
pub(crate) struct Epilogue {
    /// Input that holds the bias.
    pub(crate) bias: Option<usize>,
    /// Input that the tiles start from.
    first: Option<usize>,
    /// The range that the tiles cut to.
    range: Option<(f32, f32)>,
    rest: Vec<Step>,
}

impl Epilogue {
    /// Sorts the operation's steps. `bias`: the operator's own bias input. `tiles_add`: whether the tiles can start from a tensor.
    /// None when a step is not known.
    pub(crate) fn new(op: Op<'_>, bias: Option<usize>, tiles_add: bool) -> Option<Self> {
        let mut epilogue = Self { bias, first: None, range: None, rest: Vec::new() };
        for step in &op.0.epilogue {
            let input = step.input.map(|input| input as usize);
            let untouched = epilogue.rest.is_empty() && epilogue.range.is_none();
            match (step.op.as_str(), input) {
                ("bias", Some(input)) if untouched && epilogue.first.is_none() && epilogue.bias.is_none() => {
                    epilogue.bias = Some(input);
                }
                ("bias", _) => return None,
                ("add", Some(input)) if tiles_add && untouched && epilogue.first.is_none() => {
                    epilogue.first = Some(input)
                }
                ("add", Some(input)) => epilogue.rest.push(Step::Add(input)),
                (name, None) => match Activation::named(name, Attributes(&step.attributes))? {
                    Activation::Clip { min, max } if untouched => epilogue.range = Some((min, max)),
                    other => epilogue.rest.push(Step::Apply(other)),
                },
                _ => return None,
            }
        }
        Some(epilogue)
    }

    /// Settles where the operands are. `rows`: whether the bias belongs to rows of the output (or to its columns).
    pub(crate) fn bind(&self, bindings: &Bindings<'_>) -> Result<BoundEpilogue> {
        let input = |index: usize| bindings.input::<f32>(index);
        let rest = self.rest.iter().map(|step| {
            Ok(match *step {
                Step::Add(index) => BoundStep::Add(input(index)?),
                Step::Apply(activation) => BoundStep::Apply(activation),
            })
        });
        Ok(BoundEpilogue {
            bias: self.bias.map(input).transpose()?,
            first: self.first.map(input).transpose()?,
            range: self.range,
            rest: rest.collect::<Result<_>>()?,
        })
    }
}

enum BoundStep {
    Add(Input<f32>),
    Apply(Activation),
}

/// The steps with their operands.
pub(crate) struct BoundEpilogue {
    bias: Option<Input<f32>>,
    first: Option<Input<f32>>,
    range: Option<(f32, f32)>,
    rest: Vec<BoundStep>,
}

impl BoundEpilogue {
    /// No steps.
    pub(crate) fn none() -> Self {
        Self { bias: None, first: None, range: None, rest: Vec::new() }
    }

    /// Start of the bias, or null.
    pub(crate) fn bias(&self, call: &Call) -> *const f32 {
        self.bias.as_ref().map_or(core::ptr::null(), |input| call.read(input).as_ptr())
    }

    /// Start of the tensor that the tiles start from, or null.
    pub(crate) fn first(&self, call: &Call) -> *const f32 {
        self.first.as_ref().map_or(core::ptr::null(), |input| call.read(input).as_ptr())
    }

    /// The range that the tiles cut to.
    pub(crate) fn range(&self) -> Option<(f32, f32)> {
        self.range
    }

    /// Whether anything is left to do behind the tiles.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Runs the remaining steps on `len` output elements at `to`, which are elements `at..` of the output.
    ///
    /// # Safety
    /// `to` holds `len` writable floats, and the output has at least `at + len` elements.
    pub(crate) unsafe fn finish(&self, call: &Call, to: *mut f32, at: usize, len: usize) {
        for step in &self.rest {
            // SAFETY: the caller's promise; a tensor to add has the output's shape, checked in `prepare` and `bind`.
            unsafe {
                match step {
                    BoundStep::Apply(activation) => activation.run(to, to, len),
                    BoundStep::Add(input) => accumulate(call.read(input).as_ptr().add(at), to, len),
                }
            }
        }
    }
}

/// `to += from`.
///
/// # Safety
/// Both hold `len` floats.
unsafe fn accumulate(from: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    // SAFETY: `i` stays below `len`.
    unsafe {
        while i + LANES <= len {
            store(to.add(i), add(load(to.add(i)), load(from.add(i))));
            i += LANES;
        }
        while i < len {
            to.add(i).write(to.add(i).read() + from.add(i).read());
            i += 1;
        }
    }
}
