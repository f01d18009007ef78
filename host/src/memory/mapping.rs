//! Address space that the host reserves, and regions mapped into it.
//!
//! Raw memory: other threads and plugin instances write to the same pages at any time, so nothing here hands out a slice;
//! whoever computes on it does so by raw pointer and loads each index once.

use super::{MemoryError, Region};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Offsets and lengths of mappings are multiples of it. 64 KiB is a page of WebAssembly, and a multiple of the page of every system
/// that the host runs on.
pub(crate) const PAGE_BYTES: u64 = 64 * 1024;

/// Whether what is written through a mapping reaches the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All mappings of the region see each other's writes.
    Shared,
    /// A page that is written to becomes this mapping's own. For weights: a stray store cannot harm anyone else.
    CopyOnWrite,
}

/// Reserved address space, inaccessible until something is mapped into it; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: NonNull<u8>,
    bytes: u64,
}

// SAFETY: the reservation is a range of addresses that belongs to the value; all access goes through raw pointers.
unsafe impl Send for Reservation {}
// SAFETY: as above: the methods change the page table only, which the kernel locks.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves addresses. Takes no memory.
    pub(crate) fn new(bytes: u64) -> Result<Self, MemoryError> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let length = usize::try_from(bytes.max(1)).map_err(|_| MemoryError::OutOfRange {
            what: "reservation",
            at: 0,
            bytes,
            size: usize::MAX as u64,
        })?;
        // SAFETY: a new private mapping at an address of the kernel's choice harms nobody.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        match NonNull::new(at.cast::<u8>()) {
            Some(base) if at != libc::MAP_FAILED => Ok(Self { base, bytes: length as u64 }),
            _ => Err(MemoryError::last("reserving address space", bytes)),
        }
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Checks a range and gives its first address.
    pub(crate) fn range(&self, what: &'static str, at: u64, bytes: u64) -> Result<*mut u8, MemoryError> {
        match at.checked_add(bytes) {
            // The sum lies inside the reservation, which is not larger than the address space.
            Some(end) if end <= self.bytes => Ok(self.base.as_ptr().wrapping_add(at as usize)),
            _ => Err(MemoryError::OutOfRange { what, at, bytes, size: self.bytes }),
        }
    }

    /// Changes whether a range may be read and written.
    pub(crate) fn protect(&self, at: u64, bytes: u64, accessible: bool) -> Result<(), MemoryError> {
        let address = self.range("protecting memory", at, bytes)?;
        let protection = if accessible { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
        // SAFETY: the range lies inside this reservation; only raw pointers lead there, and a plugin that reads a protected page traps.
        if unsafe { libc::mprotect(address.cast(), bytes as usize, protection) } != 0 {
            return Err(MemoryError::last("protecting memory", bytes));
        }
        Ok(())
    }

    /// Puts part of a region at `at`, readable and writable.
    pub(crate) fn map(
        &self,
        at: u64,
        region: &Region,
        offset: u64,
        bytes: u64,
        sharing: Sharing,
    ) -> Result<(), MemoryError> {
        const WHAT: &str = "mapping a region";
        aligned(WHAT, at)?;
        aligned(WHAT, offset)?;
        if bytes == 0 {
            return Ok(());
        }
        // The last page of a region may be cut by its end; pages that lie wholly beyond it would be SIGBUS.
        region.check(WHAT, offset, bytes)?;
        let address = self.range(WHAT, at, bytes)?;
        let flags = match sharing {
            Sharing::Shared => libc::MAP_SHARED,
            Sharing::CopyOnWrite => libc::MAP_PRIVATE | libc::MAP_NORESERVE,
        };
        // Writable even where nobody should write: under a read-only mapping a stray store, or a bulk operation, of a plugin would be a
        // fault of the host. SAFETY: the range lies inside this reservation, which nothing but raw pointers leads to.
        let got = unsafe {
            libc::mmap(
                address.cast(),
                bytes as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | libc::MAP_FIXED,
                region.fd().as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if got == libc::MAP_FAILED {
            return Err(MemoryError::last(WHAT, bytes));
        }
        Ok(())
    }

    /// Replaces a range by fresh private pages: zeros where accessible, otherwise nothing at all.
    pub(crate) fn clear(&self, at: u64, bytes: u64, accessible: bool) -> Result<(), MemoryError> {
        const WHAT: &str = "unmapping";
        aligned(WHAT, at)?;
        if bytes == 0 {
            return Ok(());
        }
        let address = self.range(WHAT, at, bytes)?;
        let protection = if accessible { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: as in `map`.
        let got = unsafe { libc::mmap(address.cast(), bytes as usize, protection, flags, -1, 0) };
        if got == libc::MAP_FAILED {
            return Err(MemoryError::last(WHAT, bytes));
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range was reserved by `new` and belongs to this value alone.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.bytes as usize);
        }
    }
}

fn aligned(what: &'static str, value: u64) -> Result<(), MemoryError> {
    // Regions are mapped at 4 KiB pages inside the host; linear memories use 64 KiB.
    if value.is_multiple_of(system_page_bytes()) { Ok(()) } else { Err(MemoryError::Misaligned { what, value }) }
}

/// The page size of this system.
pub(crate) fn system_page_bytes() -> u64 {
    use std::sync::OnceLock;
    static PAGE: OnceLock<u64> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: sysconf reads a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(page).ok().filter(|page| page.is_power_of_two()).unwrap_or(4096)
    })
}

/// The host's own view of regions: reserves address space, maps regions into it, gives everything back on drop.
#[derive(Debug)]
pub struct Mapping {
    space: Reservation,
    /// What is mapped, sorted, neighbours joined. Held for reading while bytes are copied, so that nothing is unmapped under the copy.
    mapped: RwLock<Vec<Range<u64>>>,
}

impl Mapping {
    /// Reserves `bytes` of address space; nothing of it is accessible yet.
    pub fn reserve(bytes: u64) -> Result<Self, MemoryError> {
        Ok(Self { space: Reservation::new(bytes)?, mapped: RwLock::default() })
    }

    /// Maps `bytes` of `region` from `offset` on at `at`, readable and writable. `at` and `offset` are multiples of the page size.
    pub fn map(&self, at: u64, region: &Region, offset: u64, bytes: u64, sharing: Sharing) -> Result<(), MemoryError> {
        let mut mapped = self.ranges_mut();
        self.space.map(at, region, offset, bytes, sharing)?;
        add(&mut mapped, at..at + bytes);
        Ok(())
    }

    /// Puts fresh zeros at `at` that no other mapping sees.
    pub fn map_own(&self, at: u64, bytes: u64) -> Result<(), MemoryError> {
        let mut mapped = self.ranges_mut();
        self.space.clear(at, bytes, true)?;
        add(&mut mapped, at..at + bytes);
        Ok(())
    }

    /// Asks for huge pages in a range of the mapping's own: what the first touch of a page costs beside clearing it is then paid once for 512 of them.
    pub fn prefer_huge_pages(&self, at: u64, bytes: u64) -> Result<(), MemoryError> {
        let held = self.ranges();
        let address = self.mapped(&held, "asking for huge pages", at, bytes)?;
        // A hint: a system without huge pages refuses it, and small ones do as well. SAFETY: the range lies inside this reservation, and its content
        // stays what it is.
        unsafe { libc::madvise(address.cast(), bytes as usize, libc::MADV_HUGEPAGE) };
        Ok(())
    }

    /// Enters the pages of a mapped range into the page table at once, rather than one by one when they are first read.
    pub fn populate(&self, at: u64, bytes: u64) -> Result<(), MemoryError> {
        let held = self.ranges();
        let address = self.mapped(&held, "populating a mapping", at, bytes)?;
        // A hint, from Linux 5.14 on. SAFETY: the range lies inside this reservation, is mapped while `held` lives, and its content stays what it is.
        unsafe { libc::madvise(address.cast(), bytes as usize, libc::MADV_POPULATE_READ) };
        Ok(())
    }

    /// Takes a range out again: nothing is accessible there.
    pub fn unmap(&self, at: u64, bytes: u64) -> Result<(), MemoryError> {
        let mut mapped = self.ranges_mut();
        // Whole pages go, so what is left of a page that the range ends in is not accessible either.
        let end = at.saturating_add(bytes).checked_next_multiple_of(system_page_bytes()).unwrap_or(u64::MAX);
        self.space.clear(at, bytes, false)?;
        remove(&mut mapped, at..end);
        Ok(())
    }

    /// First address. Accessible are the ranges that were mapped and not unmapped again.
    pub fn base(&self) -> *mut u8 {
        self.space.base()
    }

    /// Bytes reserved.
    pub fn bytes(&self) -> u64 {
        self.space.bytes()
    }

    /// Copies bytes out of a mapped range.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        let held = self.ranges();
        let from = self.mapped(&held, "reading a mapping", at, into.len() as u64)?;
        // SAFETY: the range lies inside the reservation, is mapped and stays so while `held` lives; `into` is no part of it, since
        // no reference into a mapping is ever made. Who writes there meanwhile changes bytes, which are values whatever they are.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies bytes into a mapped range.
    pub fn write(&self, at: u64, from: &[u8]) -> Result<(), MemoryError> {
        let held = self.ranges();
        let to = self.mapped(&held, "writing to a mapping", at, from.len() as u64)?;
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        Ok(())
    }

    /// Gives the pages of a range back: copy-on-write pages become the region's again. A shared range keeps its content.
    pub fn discard(&self, at: u64, bytes: u64) -> Result<(), MemoryError> {
        aligned("discarding pages", at)?;
        let address = self.space.range("discarding pages", at, bytes)?;
        // SAFETY: the range lies inside this reservation; the call changes content, which raw readers must expect anyway.
        if bytes > 0 && unsafe { libc::madvise(address.cast(), bytes as usize, libc::MADV_DONTNEED) } != 0 {
            return Err(MemoryError::last("discarding pages", bytes));
        }
        Ok(())
    }

    fn ranges(&self) -> RwLockReadGuard<'_, Vec<Range<u64>>> {
        self.mapped.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ranges_mut(&self) -> RwLockWriteGuard<'_, Vec<Range<u64>>> {
        self.mapped.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn mapped(&self, held: &[Range<u64>], what: &'static str, at: u64, bytes: u64) -> Result<*mut u8, MemoryError> {
        let address = self.space.range(what, at, bytes)?;
        let inside = bytes == 0 || held.iter().any(|range| range.start <= at && at + bytes <= range.end);
        if inside { Ok(address) } else { Err(MemoryError::OutOfRange { what, at, bytes, size: 0 }) }
    }
}

/// Adds a range to a sorted list of disjoint ones and joins neighbours.
fn add(ranges: &mut Vec<Range<u64>>, new: Range<u64>) {
    if new.is_empty() {
        return;
    }
    ranges.push(new);
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, before| {
        let joins = next.start <= before.end;
        if joins {
            before.end = before.end.max(next.end);
        }
        joins
    });
}

/// Takes a range out of a sorted list of disjoint ones.
fn remove(ranges: &mut Vec<Range<u64>>, gone: Range<u64>) {
    let split = ranges.drain(..).flat_map(|range| {
        let below = range.start..range.end.min(gone.start);
        let above = range.start.max(gone.end)..range.end;
        [below, above]
    });
    *ranges = split.filter(|range| !range.is_empty()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_BYTES;

    #[test]
    fn shared_mappings_see_each_other_and_copy_on_write_ones_do_not() {
        let region = Region::anonymous("test", 2 * PAGE).unwrap();
        let (a, b) = (Mapping::reserve(4 * PAGE).unwrap(), Mapping::reserve(4 * PAGE).unwrap());
        a.map(0, &region, 0, 2 * PAGE, Sharing::Shared).unwrap();
        b.map(PAGE, &region, PAGE, PAGE, Sharing::Shared).unwrap();
        b.map(2 * PAGE, &region, 0, PAGE, Sharing::CopyOnWrite).unwrap();
        a.write(PAGE + 5, b"seen").unwrap();
        let mut back = [0; 4];
        b.read(PAGE + 5, &mut back).unwrap();
        assert_eq!(&back, b"seen");
        b.write(2 * PAGE, b"mine").unwrap();
        a.read(0, &mut back).unwrap();
        assert_eq!(back, [0; 4]);
        b.discard(2 * PAGE, PAGE).unwrap();
        b.read(2 * PAGE, &mut back).unwrap();
        assert_eq!(back, [0; 4], "the region's own bytes are back");
    }

    #[test]
    fn what_is_not_mapped_is_an_error_and_not_a_fault() {
        let region = Region::anonymous("test", PAGE).unwrap();
        let mapping = Mapping::reserve(4 * PAGE).unwrap();
        let mut byte = [0];
        assert!(mapping.read(0, &mut byte).is_err());
        mapping.map(PAGE, &region, 0, PAGE, Sharing::Shared).unwrap();
        mapping.read(2 * PAGE - 1, &mut byte).unwrap();
        assert!(mapping.read(2 * PAGE, &mut byte).is_err());
        assert!(mapping.read(PAGE - 1, &mut [0; 2]).is_err());
        mapping.unmap(PAGE, PAGE).unwrap();
        assert!(mapping.read(PAGE, &mut byte).is_err());
        assert!(mapping.write(u64::MAX, &byte).is_err());
    }

    #[test]
    fn nothing_is_mapped_beyond_the_region_or_the_reservation() {
        let region = Region::anonymous("test", PAGE).unwrap();
        let mapping = Mapping::reserve(PAGE).unwrap();
        assert!(mapping.map(0, &region, 0, 2 * PAGE, Sharing::Shared).is_err());
        assert!(mapping.map(PAGE, &region, 0, PAGE, Sharing::Shared).is_err());
        assert!(mapping.map(1, &region, 0, PAGE - 1, Sharing::Shared).is_err());
        assert!(mapping.map(0, &region, 0, 0, Sharing::Shared).is_ok());
    }

    #[test]
    fn sealing_waits_for_the_last_shared_mapping() {
        let region = Region::anonymous("test", PAGE).unwrap();
        let mapping = Mapping::reserve(PAGE).unwrap();
        mapping.map(0, &region, 0, PAGE, Sharing::Shared).unwrap();
        assert!(region.seal().is_err());
        drop(mapping);
        region.seal().unwrap();
        let mapping = Mapping::reserve(PAGE).unwrap();
        assert!(mapping.map(0, &region, 0, PAGE, Sharing::Shared).is_err());
        mapping.map(0, &region, 0, PAGE, Sharing::CopyOnWrite).unwrap();
        mapping.write(0, b"harmless").unwrap();
    }

    #[test]
    fn range_lists_join_and_split() {
        let mut ranges = Vec::new();
        add(&mut ranges, 10..20);
        add(&mut ranges, 30..40);
        add(&mut ranges, 20..30);
        assert_eq!((ranges.len(), &ranges[0]), (1, &(10..40)));
        remove(&mut ranges, 15..35);
        assert_eq!(ranges, [10..15, 35..40]);
        add(&mut ranges, 12..13);
        assert_eq!(ranges, [10..15, 35..40]);
    }
}
