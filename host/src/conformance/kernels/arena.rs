//! Where the operands of one operation lie: every one between guards, outputs and scratch full of poison.

use crate::device::NotCovered;
use std::ops::Range;
use sunmao_conformance::oracle::{Answer, Question};
use sunmao_plugin_sdk::abi;

/// Bytes of the arena of one operation.
pub(super) const ARENA_BYTES: u64 = 64 << 20;
/// Between placements. Nobody may write there.
const GUARD: u8 = 0xC3;
/// Bytes of each guard, at least.
const GUARD_BYTES: u64 = 192;

/// Where everything lies at base 0.
pub(super) struct Placement {
    /// One view for each operand that is there.
    pub(super) views: Vec<abi::View>,
    /// For each view, its bytes.
    spans: Vec<Range<u64>>,
    /// Number of views of inputs.
    inputs: usize,
    /// Start of shard 0's scratch.
    pub(super) workspace: u64,
    workspace_bytes: u64,
    /// End of everything.
    end: u64,
}

impl Placement {
    /// Lays out the operands of an operation. `alias` is an output that takes the bytes of an input; `packed` are the forms that
    /// constants have for the kernel.
    pub(super) fn new(
        question: &Question,
        answers: &[Answer],
        needs: &abi::Requirements,
        packed: &[(u32, Vec<u8>)],
        alias: Option<abi::Alias>,
        shards: u32,
        alignment: u32,
    ) -> Self {
        let align = u64::from(alignment.max(1));
        let mut placement =
            Self { views: Vec::new(), spans: Vec::new(), inputs: 0, workspace: 0, workspace_bytes: 0, end: 0 };
        let mut number_of = Vec::new();
        for (index, operand) in question.inputs.iter().enumerate() {
            let Some(operand) = operand else {
                number_of.push(None);
                continue;
            };
            number_of.push(Some(placement.views.len()));
            let form = packed.iter().find(|(input, _)| *input as usize == index);
            let (dtype, shape, bytes, step) = match form {
                Some((input, bytes)) => {
                    let wanted = needs.packed.iter().find(|form| form.input == *input).map_or(1, |form| form.align);
                    (2, vec![bytes.len() as u32], bytes.len(), align.max(wanted.into()))
                }
                None => {
                    let tensor = &operand.tensor;
                    (tensor.dtype, dims(&tensor.shape), tensor.bytes.len(), align)
                }
            };
            placement.push(dtype, shape, bytes as u64, !operand.constant, step);
        }
        placement.inputs = placement.views.len();
        for (number, answer) in answers.iter().enumerate() {
            let shared = alias.filter(|alias| alias.output as usize == number);
            let over = shared.and_then(|alias| number_of.get(alias.input as usize).copied().flatten());
            match over {
                Some(input) => {
                    let view =
                        abi::View { dtype: answer.dtype, shape: dims(&answer.shape), ..placement.views[input].clone() };
                    placement.spans.push(placement.spans[input].clone());
                    placement.views.push(view);
                }
                None => placement.push(answer.dtype, dims(&answer.shape), answer.bytes() as u64, true, align),
            }
        }
        if needs.workspace > 0 {
            placement.workspace = (placement.end + GUARD_BYTES).next_multiple_of(align);
            placement.workspace_bytes = u64::from(needs.workspace).next_multiple_of(align) * u64::from(shards);
            placement.end = placement.workspace + placement.workspace_bytes;
        }
        placement.end += GUARD_BYTES;
        placement
    }

    fn push(&mut self, dtype: u16, shape: Vec<u32>, bytes: u64, slotted: bool, align: u64) {
        let start = (self.end + GUARD_BYTES).next_multiple_of(align);
        self.views.push(abi::View { offset: start as u32, slotted, dtype, shape, strides: Vec::new(), layout: 0 });
        self.spans.push(start..start + bytes);
        self.end = start + bytes;
    }

    /// Bytes of the arena that are used at a base.
    pub(super) fn end(&self, base: u64) -> u64 {
        self.end + base
    }

    fn span(&self, number: usize, base: u64) -> Range<usize> {
        let shift = if self.views[number].slotted { base } else { 0 };
        (self.spans[number].start + shift) as usize..(self.spans[number].end + shift) as usize
    }

    /// Spans of the outputs.
    fn outputs(&self, base: u64) -> impl Iterator<Item = Range<usize>> {
        (self.inputs..self.views.len()).map(move |number| self.span(number, base))
    }

    /// The arena before a run.
    pub(super) fn image(&self, question: &Question, packed: &[(u32, Vec<u8>)], base: u64, poison: u8) -> Vec<u8> {
        let mut image = vec![GUARD; self.end(base) as usize];
        for span in self.outputs(base) {
            image[span].fill(poison);
        }
        image[self.scratch(base)].fill(poison);
        let present = question.inputs.iter().enumerate().filter_map(|(i, operand)| operand.as_ref().map(|o| (i, o)));
        for (number, (index, operand)) in present.enumerate() {
            let form = packed.iter().find(|(input, _)| *input as usize == index);
            image[self.span(number, base)].copy_from_slice(form.map_or(&operand.tensor.bytes, |(_, bytes)| bytes));
        }
        image
    }

    fn scratch(&self, base: u64) -> Range<usize> {
        let start = self.workspace + if self.workspace_bytes > 0 { base } else { 0 };
        start as usize..(start + self.workspace_bytes) as usize
    }

    /// The outputs after a run; an error if anything else was written to.
    pub(super) fn results(&self, before: &[u8], after: &[u8], base: u64) -> Result<Vec<Vec<u8>>, String> {
        let mut allowed: Vec<Range<usize>> = self.outputs(base).collect();
        allowed.push(self.scratch(base));
        let mut at = 0;
        while let Some(beyond) = before[at..].iter().zip(&after[at..]).position(|(a, b)| a != b) {
            at += beyond;
            match allowed.iter().find(|range| range.contains(&at)) {
                Some(range) => at = range.end,
                None => return Err(self.blame(at, base)),
            }
        }
        Ok(self.outputs(base).map(|span| after[span].to_vec()).collect())
    }

    /// Where a byte lies that nobody should have written.
    fn blame(&self, at: usize, base: u64) -> String {
        let place = |number: usize| {
            if number < self.inputs { format!("operand {number}") } else { format!("output {}", number - self.inputs) }
        };
        let spans = || (0..self.views.len()).map(|number| (number, self.span(number, base)));
        if let Some((number, span)) = spans().find(|(_, span)| span.contains(&at)) {
            return format!("it wrote to byte {} of {}, which it may only read", at - span.start, place(number));
        }
        let before = spans().filter(|(_, span)| span.end <= at).max_by_key(|(_, span)| span.end);
        match before {
            Some((number, span)) => format!("it wrote {} bytes behind the end of {}", at - span.end, place(number)),
            None => "it wrote in front of its operands".into(),
        }
    }
}

fn dims(shape: &[usize]) -> Vec<u32> {
    shape.iter().map(|&dim| dim as u32).collect()
}

/// Whether a table covers an operation.
pub(super) fn covered(table: &[abi::OperatorSupport], operation: &abi::Operation) -> Result<(), NotCovered> {
    crate::device::covers(table, operation)
}
