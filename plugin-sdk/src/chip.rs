//! What a chip author implements, and the instance state behind the exported functions.

use crate::abi::{Info, Operation, OperatorSupport, Requirements};
use crate::bind::{Bindings, check_views};
use crate::bindings::chip::sunmao::kernel::log as wire_log;
use crate::memory::{Call, Reader, Writer};
use crate::{Error, Result};

/// A chip: what it is, which operators it runs, and how to make one ready.
pub trait Chip: 'static {
    /// Who the chip is. Always the same answer.
    fn describe() -> Info;
    /// The static table of what it runs. Every row is a promise that [`Chip::prepare`] keeps.
    fn operators() -> Vec<OperatorSupport>;
    /// Chooses the algorithm for one operation at concrete shapes.
    fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>>;
}

/// One operation made ready. It holds plain data: the host's native kernels are shared between threads.
pub trait Kernel: Send + Sync {
    /// What the kernel wants from the host. Always the same answer for one kernel.
    fn requirements(&self) -> Requirements {
        Requirements::simple()
    }

    /// Writes the kernel's own form of constant `input`. `source` holds the constant's bytes, `packed` starts as zeros.
    fn pack(&self, input: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let _ = (source, packed);
        Err(Error::invalid("this kernel packs nothing").at(input as usize))
    }

    /// Records a dispatch. Shapes, types, ranges and overlap were checked.
    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>>;
}

/// One dispatch, ready to run any number of times, on any slot. Allocates nothing.
pub trait Dispatch: Send + Sync {
    /// Does one shard of the work.
    fn run(&self, call: &Call) -> Result<()>;
}

impl<F: Fn(&Call) -> Result<()> + Send + Sync> Dispatch for F {
    fn run(&self, call: &Call) -> Result<()> {
        self(call)
    }
}

impl Requirements {
    /// No workspace, one shard, nothing packed.
    pub fn simple() -> Self {
        Self {
            workspace: 0,
            shards: 1,
            packed: Vec::new(),
            in_place: Vec::new(),
            layouts: Vec::new(),
            estimated_ns: 0,
            ext: Vec::new(),
        }
    }
}

/// Writes one line to the host's log. Does nothing natively.
pub fn log(level: wire_log::Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    wire_log::write(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, message);
}

/// Exports a [`Chip`] as the component's `device` interface.
#[macro_export]
macro_rules! export_chip {
    ($chip:ty) => {
        #[doc(hidden)]
        struct __SunmaoExport;
        type __SunmaoGuest = $crate::export::Exported<$chip>;
        $crate::__chip_bindings::export!(__SunmaoGuest with_types_in $crate::__chip_bindings);
    };
}

#[doc(hidden)]
pub mod export {
    //! The exported functions, generic over the chip. Not for direct use: see `export_chip!`.

    use super::*;
    use crate::abi::View;
    use crate::bindings::chip::exports::sunmao::kernel::device::{self as wire, Guest, GuestKernel};
    use std::cell::{Cell, RefCell};
    use std::marker::PhantomData;
    use std::rc::Rc;

    /// Carries the chip's type to the generated trait.
    pub struct Exported<C>(PhantomData<C>);

    struct Bound {
        dispatch: Box<dyn Dispatch>,
        workspace: u32,
        workspace_bytes: u32,
        workspace_stride: u32,
    }

    type Table = Rc<RefCell<Vec<Option<Bound>>>>;

    thread_local! {
        /// The dispatches of this instance, by number. A dropped kernel leaves holes, since numbers are never used again.
        static TABLE: Table = Table::default();
        /// Start and end of the arena; none before `reserve`.
        static ARENA: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
    }

    /// A kernel handle that the host holds.
    pub struct Handle<C> {
        operation: Operation,
        requirements: Requirements,
        kernel: Box<dyn Kernel>,
        dispatches: RefCell<Vec<u32>>,
        alignment: u32,
        chip: PhantomData<C>,
    }

    impl<C> Drop for Handle<C> {
        fn drop(&mut self) {
            TABLE.with(|table| {
                let mut table = table.borrow_mut();
                for &dispatch in self.dispatches.borrow().iter() {
                    table[dispatch as usize] = None;
                }
            });
        }
    }

    impl<C: Chip> Guest for Exported<C> {
        type Kernel = Handle<C>;

        fn describe() -> Info {
            C::describe()
        }

        fn operators() -> Vec<OperatorSupport> {
            C::operators()
        }

        fn reserve(bytes: u32, align: u32) -> Result<u32> {
            if ARENA.get().is_some() {
                return Err(Error::invalid("reserve was called before"));
            }
            let start = grow(u64::from(bytes), u64::from(align))?;
            ARENA.set(Some((start, start + u64::from(bytes))));
            Ok(start as u32)
        }

        fn run(first: u32, count: u32, shard: u32, shards: u32, base: u32) -> Result<()> {
            if shard >= shards {
                return Err(Error::invalid(format!("shard {shard} of {shards}")));
            }
            TABLE.with(|table| {
                let table = table.borrow();
                let range = first as usize..first as usize + count as usize;
                let bound = table.get(range).ok_or_else(|| Error::invalid("no such dispatch").at(first as usize))?;
                for (number, bound) in (first..).zip(bound) {
                    let Some(bound) = bound else {
                        return Err(Error::invalid("dispatch of a dropped kernel").at(number as usize));
                    };
                    let workspace = base + bound.workspace + shard * bound.workspace_stride;
                    // SAFETY: linear memory starts at address 0, `bind` checked every view against the arena, and the host, which knows the
                    // arena's size, checked `base`; a wrong one could only reach this instance's own memory.
                    let call = unsafe {
                        Call::new(std::ptr::null_mut(), base, workspace, bound.workspace_bytes, shard, shards)
                    };
                    if let Err(error) = bound.dispatch.run(&call) {
                        return Err(error.at(number as usize));
                    }
                }
                Ok(())
            })
        }
    }

    /// Grows linear memory by `bytes` and answers where the new range starts.
    fn grow(bytes: u64, align: u64) -> Result<u64> {
        const PAGE: u64 = 65536;
        #[cfg(target_arch = "wasm32")]
        {
            let size = core::arch::wasm32::memory_size(0) as u64 * PAGE;
            let start = size.next_multiple_of(align.max(PAGE));
            let pages = (start - size + bytes).div_ceil(PAGE);
            if core::arch::wasm32::memory_grow(0, pages as usize) == usize::MAX {
                return Err(Error::new(
                    crate::ErrorCode::OutOfMemory,
                    format!("the host denied an arena of {bytes} bytes: raise the plugin's memory limit"),
                ));
            }
            Ok(start)
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            let _ = (bytes, align, PAGE);
            Err(Error::unsupported("linear memory exists inside a component only"))
        }
    }

    impl<C: Chip> GuestKernel for Handle<C> {
        fn prepare(operation: Operation) -> Result<wire::Kernel> {
            let kernel = C::prepare(&operation)?;
            let requirements = kernel.requirements();
            let alignment = C::describe().alignment;
            Ok(wire::Kernel::new(Handle::<C> {
                operation,
                requirements,
                kernel,
                dispatches: RefCell::default(),
                alignment,
                chip: PhantomData,
            }))
        }

        fn requirements(&self) -> Requirements {
            self.requirements.clone()
        }

        fn pack(&self, input: u32, src: View, dst: u32) -> Result<()> {
            let Some(constant) = self.requirements.packed.iter().find(|constant| constant.input == input) else {
                return Err(Error::invalid("this constant is not packed").at(input as usize));
            };
            let (start, end) = ARENA.get().ok_or_else(|| Error::invalid("pack before reserve"))?;
            let source = self.operation.inputs.get(input as usize).and_then(Option::as_ref);
            let Some(bytes) = source.and_then(crate::bind::dense_bytes) else {
                return Err(Error::invalid("no such constant").at(input as usize));
            };
            let inside = |offset: u32, bytes: u64| u64::from(offset) >= start && u64::from(offset) + bytes <= end;
            if !inside(src.offset, bytes) || !inside(dst, u64::from(constant.bytes)) {
                return Err(Error::invalid("pack outside the arena").at(input as usize));
            }
            let source = crate::memory::Input::<u8>::new(src.offset, false, bytes as usize);
            let packed = crate::memory::Output::<u8>::new(dst, false, constant.bytes as usize);
            // SAFETY: linear memory starts at address 0, and both ranges were checked against the arena just now.
            let call = unsafe { Call::new(std::ptr::null_mut(), 0, 0, 0, 0, 1) };
            self.kernel.pack(input, call.read(&source), call.write(&packed))
        }

        fn bind(&self, args: Vec<View>, workspace: u32) -> Result<u32> {
            let (start, end) = ARENA.get().ok_or_else(|| Error::invalid("bind before reserve"))?;
            let needs = &self.requirements;
            let bindings =
                check_views(&self.operation, &needs.packed, &needs.in_place, &args, start..end, self.alignment)?;
            let stride = needs.workspace.next_multiple_of(self.alignment.max(1));
            if needs.workspace > 0 && (u64::from(workspace) < start || u64::from(workspace) + u64::from(stride) > end) {
                return Err(Error::invalid("workspace outside the arena"));
            }
            let dispatch = self.kernel.bind(&bindings)?;
            let bound = Bound { dispatch, workspace, workspace_bytes: needs.workspace, workspace_stride: stride };
            TABLE.with(|table| {
                let mut table = table.borrow_mut();
                let number = table.len() as u32;
                table.push(Some(bound));
                self.dispatches.borrow_mut().push(number);
                Ok(number)
            })
        }
    }
}
