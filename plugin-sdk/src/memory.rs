//! Typed windows on the host's memory. All the `unsafe` that a scalar kernel needs is in this file.
//!
//! A window is a raw pointer and a length, never a slice: another instance on the same slot may write while this one reads
//! (a hostile one will), and a Rust slice would promise the compiler that nobody does. Every access is bounds-checked.

use std::marker::PhantomData;
use std::ops::Range;

/// An element type that may lie in an arena: any bit pattern is a value.
///
/// # Safety
/// Implementors have no padding and no invalid bit patterns, and `DTYPE` is the ABI's code for them.
pub unsafe trait Element: Copy + 'static {
    /// Code of the element type in the ABI (ONNX `TensorProto.DataType`).
    const DTYPE: u16;
}

macro_rules! elements {
    ($($t:ty = $code:literal),*) => { $(
        // SAFETY: a primitive number has no padding, and every bit pattern is a value.
        unsafe impl Element for $t { const DTYPE: u16 = $code; }
    )* };
}
elements!(f32 = 1, u8 = 2, i8 = 3, u16 = 4, i16 = 5, i32 = 6, i64 = 7, f64 = 11, u32 = 12, u64 = 13);
// Only moved: a complex128 as its bits.
elements!(u128 = 15);

/// An input tensor as bound: where it is, once a call says in which memory and for which slot.
#[derive(Clone, Copy, Debug)]
pub struct Input<T> {
    offset: u32,
    slotted: bool,
    len: usize,
    element: PhantomData<T>,
}

/// An output tensor as bound.
#[derive(Clone, Copy, Debug)]
pub struct Output<T> {
    offset: u32,
    slotted: bool,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Input<T> {
    pub(crate) fn new(offset: u32, slotted: bool, len: usize) -> Self {
        Self { offset, slotted, len, element: PhantomData }
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T: Element> Output<T> {
    pub(crate) fn new(offset: u32, slotted: bool, len: usize) -> Self {
        Self { offset, slotted, len, element: PhantomData }
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// One run of one shard of a dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    memory: *mut u8,
    base: u32,
    workspace: u32,
    workspace_bytes: u32,
    /// Which part of the work this call does.
    pub shard: u32,
    /// Into how many parts the work is split.
    pub shards: u32,
}

impl Call {
    /// A call on the memory that starts at `memory`: the start of linear memory inside a component (null), the start of the host's
    /// own mapping of the arena in native code.
    ///
    /// # Safety
    /// For every dispatch run with this call: `memory` plus each offset that its bindings were checked for (plus `base` where slotted) is
    /// mapped, readable and writable, for as long as the call lives; and so are the `workspace_bytes` bytes at `workspace` (which
    /// includes `base` already), which no other running call uses.
    pub unsafe fn new(
        memory: *mut u8,
        base: u32,
        workspace: u32,
        workspace_bytes: u32,
        shard: u32,
        shards: u32,
    ) -> Self {
        Self { memory, base, workspace, workspace_bytes, shard, shards }
    }

    fn address(&self, offset: u32, slotted: bool) -> *mut u8 {
        let offset = offset as usize + if slotted { self.base as usize } else { 0 };
        // Linear memory begins at address zero inside a component, so the pointer is made from an integer there.
        self.memory.wrapping_add(offset)
    }

    /// Opens an input for reading.
    pub fn read<'a, T: Element>(&'a self, input: &Input<T>) -> Reader<'a, T> {
        Reader { start: self.address(input.offset, input.slotted).cast(), len: input.len, life: PhantomData }
    }

    /// Opens an output for writing (and for reading back what was written).
    pub fn write<'a, T: Element>(&'a self, output: &Output<T>) -> Writer<'a, T> {
        Writer { start: self.address(output.offset, output.slotted).cast(), len: output.len, life: PhantomData }
    }

    /// This shard's scratch memory, as many whole elements as fit.
    pub fn workspace<T: Element>(&self) -> Writer<'_, T> {
        Writer {
            start: self.memory.wrapping_add(self.workspace as usize).cast(),
            len: self.workspace_bytes as usize / size_of::<T>(),
            life: PhantomData,
        }
    }

    /// The part of `0..total` that this shard does, cut at multiples of `granule`. The parts of all shards are disjoint and cover everything.
    pub fn share(&self, total: usize, granule: usize) -> Range<usize> {
        let blocks = total.div_ceil(granule.max(1)) as u64;
        let cut = |shard: u32| {
            let block = blocks * u64::from(shard) / u64::from(self.shards.max(1));
            (block as usize * granule.max(1)).min(total)
        };
        cut(self.shard)..cut(self.shard + 1)
    }
}

/// A tensor that a kernel reads.
#[derive(Clone, Copy)]
pub struct Reader<'a, T> {
    start: *const T,
    len: usize,
    life: PhantomData<&'a Call>,
}

/// A tensor that a kernel writes.
#[derive(Clone, Copy)]
pub struct Writer<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a Call>,
}

impl<'a> Reader<'a, u8> {
    /// Reads bytes that the caller holds, for `pack` in native code.
    pub fn of(bytes: &'a [u8]) -> Self {
        Reader { start: bytes.as_ptr(), len: bytes.len(), life: PhantomData }
    }
}

impl<'a> Writer<'a, u8> {
    /// Writes bytes that the caller holds, for `pack` in native code.
    pub fn of(bytes: &'a mut [u8]) -> Self {
        Writer { start: bytes.as_mut_ptr(), len: bytes.len(), life: PhantomData }
    }
}

impl<'a, T: Element> Reader<'a, T> {
    /// Number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Element `index`. Panics (a trap, inside a component) beyond the end.
    #[inline(always)]
    pub fn get(&self, index: usize) -> T {
        assert!(index < self.len, "kernel read beyond its tensor");
        // SAFETY: `Call::new`'s caller promised `len` readable elements at `start`; `index` is below `len`.
        unsafe { self.start.add(index).read_unaligned() }
    }

    /// The first element's address, for kernels that do their own vector loads within `len`.
    pub fn as_ptr(&self) -> *const T {
        self.start
    }

    /// The elements of a range. Panics where it leaves the tensor.
    #[inline(always)]
    pub fn part(&self, range: Range<usize>) -> Reader<'a, T> {
        assert!(range.start <= range.end && range.end <= self.len, "kernel read beyond its tensor");
        Reader { start: self.start.wrapping_add(range.start), len: range.end - range.start, life: PhantomData }
    }

    /// All elements in order.
    pub fn iter(self) -> impl Iterator<Item = T> + 'a {
        // SAFETY: as in `get`: `i` runs over 0..len.
        (0..self.len).map(move |i| unsafe { self.start.add(i).read_unaligned() })
    }
}

impl<'a, T: Element> Writer<'a, T> {
    /// Number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Element `index` as last written.
    #[inline(always)]
    pub fn get(&self, index: usize) -> T {
        assert!(index < self.len, "kernel read beyond its tensor");
        // SAFETY: as in `Reader::get`.
        unsafe { self.start.add(index).read_unaligned() }
    }

    /// Writes element `index`. Panics (a trap, inside a component) beyond the end.
    #[inline(always)]
    pub fn set(&self, index: usize, value: T) {
        assert!(index < self.len, "kernel wrote beyond its tensor");
        // SAFETY: `Call::new`'s caller promised `len` writable elements at `start`; `index` is below `len`.
        unsafe { self.start.add(index).write_unaligned(value) }
    }

    /// The first element's address, for kernels that do their own vector stores within `len`.
    pub fn as_mut_ptr(&self) -> *mut T {
        self.start
    }

    /// The elements of a range. Panics where it leaves the tensor.
    #[inline(always)]
    pub fn part(&self, range: Range<usize>) -> Writer<'a, T> {
        assert!(range.start <= range.end && range.end <= self.len, "kernel wrote beyond its tensor");
        Writer { start: self.start.wrapping_add(range.start), len: range.end - range.start, life: PhantomData }
    }

    /// Sets every element.
    pub fn fill(&self, value: T) {
        for i in 0..self.len {
            self.set(i, value);
        }
    }

    /// Copies elements of equal count from `source`. Overlap is allowed.
    #[inline(always)]
    pub fn copy_from(&self, source: Reader<'_, T>) {
        assert_eq!(self.len, source.len, "kernel copied between tensors of different length");
        // SAFETY: both windows hold `len` elements (as in `get` and `set`); `copy` allows overlap and needs no alignment beyond u8's.
        unsafe {
            std::ptr::copy(source.start.cast::<u8>(), self.start.cast::<u8>(), self.len * size_of::<T>());
        }
    }
}
