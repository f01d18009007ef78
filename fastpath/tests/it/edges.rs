//! Runs an operation where every tensor, packed constant and workspace ends at the end of readable memory, as far as its alignment lets it: a kernel that reads
//! or writes behind one is killed by the system, and the test with it.

use std::ffi::{c_int, c_long, c_void};
use sunmao_plugin_sdk::abi::{Operation, View};
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer, check_views};

unsafe extern "C" {
    fn mmap(
        address: *mut c_void,
        bytes: usize,
        access: c_int,
        flags: c_int,
        file: c_int,
        offset: c_long,
    ) -> *mut c_void;
    fn mprotect(address: *mut c_void, bytes: usize, access: c_int) -> c_int;
    fn munmap(address: *mut c_void, bytes: usize) -> c_int;
}

const NO_ACCESS: c_int = 0;
const READ_AND_WRITE: c_int = 3;
const PRIVATE_AND_ANONYMOUS: c_int = 0x22;

/// The largest page of any Linux.
const PAGE: usize = 1 << 16;
/// What packed forms and workspaces are aligned to.
const ALIGNMENT: usize = 64;

/// Memory nobody may touch, but for what is opened.
struct Memory {
    start: *mut u8,
    bytes: usize,
}

impl Memory {
    fn new(bytes: usize) -> Self {
        // SAFETY: a new mapping, which touches no other.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, NO_ACCESS, PRIVATE_AND_ANONYMOUS, -1, 0) };
        assert!(start as isize != -1, "{bytes} bytes of addresses");
        Self { start: start.cast(), bytes }
    }

    fn open(&self, page: usize, bytes: usize) {
        assert!(page + bytes <= self.bytes);
        // SAFETY: the pages are this mapping's.
        let failed = unsafe { mprotect(self.start.add(page).cast(), bytes, READ_AND_WRITE) };
        assert_eq!(failed, 0, "{bytes} bytes of memory");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and no kernel runs any more.
        unsafe { munmap(self.start.cast(), self.bytes) };
    }
}

/// Where things lie: each on pages of its own, with one behind that nobody may touch.
struct Places {
    end: usize,
    /// First page and bytes of the pages.
    open: Vec<(usize, usize)>,
}

impl Places {
    fn place(&mut self, bytes: usize, alignment: usize) -> usize {
        let pages = bytes.next_multiple_of(PAGE);
        let at = (self.end + pages - bytes) / alignment * alignment;
        self.open.push((self.end, pages));
        self.end += pages + PAGE;
        at
    }
}

/// The outputs, one behind the other. `data` has the bytes of each input, `outputs` says how many each output has.
#[track_caller]
pub(crate) fn run(
    operation: &Operation,
    data: &[Vec<u8>],
    outputs: &[usize],
    kernel: &dyn Kernel,
    shards: u32,
) -> Vec<u8> {
    let needs = kernel.requirements();
    let mut places = Places { end: PAGE, open: Vec::new() };
    let (mut views, mut blocks) = (Vec::new(), Vec::new());
    for (index, operand) in operation.inputs.iter().enumerate() {
        let Some(operand) = operand else { continue };
        let data = &data[index];
        let (at, dtype, shape, bytes) = match needs.packed.iter().find(|packed| packed.input as usize == index) {
            Some(constant) => {
                let mut packed = vec![0u8; constant.bytes as usize];
                kernel.pack(index as u32, Reader::of(data), Writer::of(&mut packed)).expect("packs");
                (places.place(packed.len(), ALIGNMENT), 2, vec![constant.bytes], packed)
            }
            None => (places.place(data.len(), 1), operand.dtype, operand.shape.clone(), data.clone()),
        };
        views.push(view(at, dtype, shape));
        blocks.push((at, bytes));
    }
    let mut results = Vec::new();
    for (output, &bytes) in operation.outputs.iter().flatten().zip(outputs) {
        let at = places.place(bytes, 1);
        views.push(view(at, output.dtype, output.shape.clone()));
        results.push((at, bytes));
    }
    let workspaces: Vec<usize> = (0..shards).map(|_| places.place(needs.workspace as usize, ALIGNMENT)).collect();
    let memory = Memory::new(places.end);
    // An emulator refuses to open no bytes.
    places.open.iter().filter(|(_, bytes)| *bytes > 0).for_each(|&(page, bytes)| memory.open(page, bytes));
    for (at, bytes) in &blocks {
        // SAFETY: `place` made room for the block on pages that are open.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.start.add(*at), bytes.len()) };
    }
    let bindings = check_views(operation, &needs.packed, &needs.in_place, &views, 0..places.end as u64, 1);
    let dispatch = kernel.bind(&bindings.expect("the views are good")).expect("binds");
    for (shard, &space) in workspaces.iter().enumerate() {
        // SAFETY: the views were checked against the memory, which outlives the call; workspaces lie apart.
        let call = unsafe { Call::new(memory.start, 0, space as u32, needs.workspace, shard as u32, shards) };
        dispatch.run(&call).expect("runs");
    }
    let read = |&(at, bytes): &(usize, usize)| {
        // SAFETY: the output's pages are open.
        unsafe { std::slice::from_raw_parts(memory.start.add(at), bytes) }.to_vec()
    };
    results.iter().flat_map(read).collect()
}

fn view(at: usize, dtype: u16, shape: Vec<u32>) -> View {
    View { offset: at as u32, slotted: true, dtype, shape, strides: Vec::new(), layout: 0 }
}
