//! The portable chip with a fault on demand. The suite asks it drawn cases to see whether it notices: a fault that no case catches is a
//! gap in the cases.
//!
//! An operation names the fault in its `ext`, under the key `mutant`; without it the chip is the portable one, bit for bit. So one
//! compiled component serves for all faults. The words are those of `sunmao_conformance::property::mutants`:
//!
//! | words | fault |
//! |---|---|
//! | `negate`, `shift`, `relative`, `half`, `truncate` | a wrong result (`results`) |
//! | `nan-to-zero`, `finite`, `zero-sign`, `f64-detour` | a special number lost (`results`) |
//! | `stale-first`, `stale-last` | an element is left as it was (`results`) |
//! | `shards-idle`, `shards-short` | a wrong split: all but the first do nothing; some elements are nobody's |
//! | `swap:A:B` | operands A and B change places |
//! | `drop:N`, `steps:none`, `steps:last`, `steps:NAME` | operand N, all steps, the last one, those of a name are forgotten |
//! | `attribute:KEY:HOW[:BY]`, `literal:N:HOW[:BY]`, `window:dilate` | an attribute or a small constant is misread (`misread`) |

#![forbid(unsafe_code)]

mod misread;
mod results;

use results::Fault;
use sunmao_plugin_sdk::abi::{Attribute, Info, Operation, OperatorSupport, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Chip, Dispatch, Error, Kernel, Result};
use sunmao_portable::Portable;

/// The chip.
pub struct Mutants;

impl Chip for Mutants {
    fn describe() -> Info {
        Info { id: "mutants".into(), name: "Portable kernels with a fault on demand".into(), ..Portable::describe() }
    }

    fn operators() -> Vec<OperatorSupport> {
        sunmao_portable::operators()
    }

    fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
        let named = operation.ext.iter().find(|kv| kv.key == "mutant").map(|kv| &kv.val);
        let Some(Attribute::Text(words)) = named else { return sunmao_portable::prepare(operation) };
        let parts: Vec<&str> = words.split(':').collect();
        match parts[..] {
            ["shards-idle"] => split(operation, |call| (call.shard == 0).then_some(*call)),
            ["shards-short"] => split(operation, |call| {
                let mut short = *call;
                short.shards += u32::from(call.shards > 1);
                Some(short)
            }),
            ["swap", a, b] => swapped(operation, number(a)?, number(b)?),
            [word] => results::wrong(operation, Fault::named(word).ok_or_else(|| unknown(words))?),
            _ => {
                let mut misread = operation.clone();
                misread::misread(&mut misread, &parts).ok_or_else(|| unknown(words))?;
                // What the misread operation says does not fit together: this operation has no such fault.
                sunmao_portable::prepare(&misread).or_else(|_| sunmao_portable::prepare(operation))
            }
        }
    }
}

fn unknown(words: &str) -> Error {
    Error::invalid(format!("no mutant is called `{words}`"))
}

fn number(text: &str) -> Result<usize> {
    text.parse().map_err(|_| unknown(text))
}

/// A kernel made of closures over another one.
struct Wrapped<F> {
    inner: Box<dyn Kernel>,
    bind: F,
}

impl<F> Kernel for Wrapped<F>
where
    F: Fn(&dyn Kernel, &Bindings<'_>) -> Result<Box<dyn Dispatch>> + Send + Sync,
{
    fn requirements(&self) -> Requirements {
        self.inner.requirements()
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        (self.bind)(&*self.inner, bindings)
    }
}

/// Each call becomes another one, or none.
fn split(operation: &Operation, change: fn(&Call) -> Option<Call>) -> Result<Box<dyn Kernel>> {
    let inner = sunmao_portable::prepare(operation)?;
    let bind = move |inner: &dyn Kernel, bindings: &Bindings<'_>| -> Result<Box<dyn Dispatch>> {
        let dispatch = inner.bind(bindings)?;
        Ok(Box::new(move |call: &Call| change(call).map_or(Ok(()), |call| dispatch.run(&call))))
    };
    Ok(Box::new(Wrapped { inner, bind }))
}

fn swapped(operation: &Operation, a: usize, b: usize) -> Result<Box<dyn Kernel>> {
    let mut other = operation.clone();
    if a.max(b) >= other.inputs.len() {
        return sunmao_portable::prepare(operation);
    }
    other.inputs.swap(a, b);
    let Ok(inner) = sunmao_portable::prepare(&other) else { return sunmao_portable::prepare(operation) };
    let mut order: Vec<usize> = (0..operation.inputs.len()).collect();
    order.swap(a, b);
    let bind = move |inner: &dyn Kernel, bindings: &Bindings<'_>| inner.bind(&bindings.reordered(&order));
    Ok(Box::new(Wrapped { inner, bind }))
}

#[cfg(target_arch = "wasm32")]
sunmao_plugin_sdk::export_chip!(Mutants);
