// SPDX-License-Identifier: GPL-2.0
//! Regions as a VMM has them, and the mappings of them.

use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{Control, Place, PAGE_SIZE, PLACE_NODE};

/// Memory mapped into this process.
///
/// # Invariants
///
/// `length` bytes from `address` are mapped for reading and writing, by nobody
/// but this value, until it is dropped.
pub struct Mapping {
    address: *mut u8,
    length: usize,
}

// SAFETY: plain memory; every access is volatile, and the tests that race on
// purpose do not depend on the order.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// mmap(2), with the errno as it is.
fn mmap(
    at: *mut u8,
    length: usize,
    prot: i32,
    flags: i32,
    fd: i32,
    offset: u64,
) -> Result<*mut u8, i32> {
    // SAFETY: without MAP_FIXED nothing that exists is replaced; the only caller
    // with it replaces its own mapping.
    let address = unsafe { libc::mmap(at.cast(), length, prot, flags, fd, offset as libc::off_t) };
    if address == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO));
    }
    Ok(address.cast())
}

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Mapping {
    /// Maps part of a file, shared.
    pub fn shared(file: &File, offset: u64, length: usize) -> Result<Self, i32> {
        Self::new(file.as_raw_fd(), libc::MAP_SHARED, offset, length)
    }

    /// Maps part of a file, private: what a region refuses.
    pub fn private(file: &File, offset: u64, length: usize) -> Result<Self, i32> {
        Self::new(file.as_raw_fd(), libc::MAP_PRIVATE, offset, length)
    }

    /// Maps the beginning of a file at an address that is a multiple of `align`.
    pub fn shared_aligned(file: &File, length: usize, align: usize) -> Result<Self> {
        let reserved = Self::anonymous(length + align)?;
        let skip = (reserved.address as usize).next_multiple_of(align) - reserved.address as usize;
        let address = reserved.address.wrapping_add(skip);
        // The rest of the reservation stays, so that nothing else comes near.
        std::mem::forget(reserved);
        let (flags, fd) = (libc::MAP_SHARED | libc::MAP_FIXED, file.as_raw_fd());
        // INVARIANT: just mapped, inside memory that was ours.
        mmap(address, length, READ_WRITE, flags, fd, 0)
            .map(|address| Self { address, length })
            .map_err(std::io::Error::from_raw_os_error)
            .context("mmap at an aligned address")
    }

    /// Ordinary memory.
    pub fn anonymous(length: usize) -> Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::new(-1, flags, 0, length)
            .map_err(std::io::Error::from_raw_os_error)
            .context("anonymous memory")
    }

    /// Ordinary memory that children share.
    pub fn shared_anonymous(length: usize) -> Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        Self::new(-1, flags, 0, length)
            .map_err(std::io::Error::from_raw_os_error)
            .context("shared anonymous memory")
    }

    /// Memory of huge pages; None if none are to be had.
    pub fn huge(length: usize) -> Result<Option<Self>> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
        match Self::new(-1, flags, 0, length) {
            Ok(map) => Ok(Some(map)),
            Err(libc::ENOMEM) => Ok(None),
            Err(errno) => {
                Err(std::io::Error::from_raw_os_error(errno)).context("memory of huge pages")
            }
        }
    }

    fn new(fd: i32, flags: i32, offset: u64, length: usize) -> Result<Self, i32> {
        // INVARIANT: just mapped.
        mmap(std::ptr::null_mut(), length, READ_WRITE, flags, fd, offset)
            .map(|address| Self { address, length })
    }

    pub fn address(&self) -> *mut u8 {
        self.address
    }

    pub fn length(&self) -> usize {
        self.length
    }

    pub fn pages(&self) -> usize {
        self.length / PAGE_SIZE
    }

    /// The address of a page.
    pub fn page(&self, page: usize) -> *mut u8 {
        assert!(page < self.pages());
        self.address.wrapping_add(page * PAGE_SIZE)
    }

    fn word(&self, page: usize, word: usize) -> *mut u64 {
        assert!(word < PAGE_SIZE / 8);
        self.page(page).wrapping_add(word * 8).cast()
    }

    pub fn read(&self, page: usize, word: usize) -> u64 {
        // SAFETY: inside the mapping, aligned.
        unsafe { self.word(page, word).read_volatile() }
    }

    pub fn write(&self, page: usize, word: usize, value: u64) {
        // SAFETY: inside the mapping, aligned.
        unsafe { self.word(page, word).write_volatile(value) }
    }

    /// What [`Mapping::fill`] writes there.
    pub fn pattern(seed: u64, page: usize, word: usize) -> u64 {
        (seed ^ (page as u64) << 16 ^ word as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// Writes a pattern that is different in each word.
    pub fn fill(&self, seed: u64) {
        for page in 0..self.pages() {
            for word in 0..PAGE_SIZE / 8 {
                self.write(page, word, Self::pattern(seed, page, word));
            }
        }
    }

    /// Returns whether the pattern is still there, in one page.
    pub fn check_page(&self, seed: u64, page: usize) -> Result<()> {
        for word in 0..PAGE_SIZE / 8 {
            let (found, expected) = (self.read(page, word), Self::pattern(seed, page, word));
            ensure!(
                found == expected,
                "page {page} word {word}: {found:#x} instead of {expected:#x}"
            );
        }
        Ok(())
    }

    pub fn check(&self, seed: u64) -> Result<()> {
        (0..self.pages()).try_for_each(|page| self.check_page(seed, page))
    }

    /// Unmaps some pages, and leaves a hole that nothing else is mapped into.
    pub fn punch(&self, first: usize, pages: usize) -> Result<(), i32> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        assert!(first + pages <= self.pages());
        mmap(
            self.page(first),
            pages * PAGE_SIZE,
            libc::PROT_NONE,
            flags,
            -1,
            0,
        )
        .map(drop)
    }

    /// Maps these pages of a file again.
    pub fn mend(&self, file: &File, first: usize, pages: usize) -> Result<(), i32> {
        assert!(first + pages <= self.pages());
        let (flags, offset) = (
            libc::MAP_SHARED | libc::MAP_FIXED,
            (first * PAGE_SIZE) as u64,
        );
        mmap(
            self.page(first),
            pages * PAGE_SIZE,
            READ_WRITE,
            flags,
            file.as_raw_fd(),
            offset,
        )
        .map(drop)
    }

    /// Maps the beginning of a file over a page, private.
    pub fn cover(&self, file: &File, page: usize) -> Result<(), i32> {
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
        let (at, fd) = (self.page(page), file.as_raw_fd());
        mmap(at, PAGE_SIZE, READ_WRITE, flags, fd, 0).map(drop)
    }

    /// Changes what may be done with it.
    pub fn protect(&self, prot: i32) -> Result<()> {
        // SAFETY: our mapping.
        let result = unsafe { libc::mprotect(self.address.cast(), self.length, prot) };
        ensure!(result == 0, "mprotect: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: by the invariant it is ours.
        unsafe { libc::munmap(self.address.cast(), self.length) };
    }
}

/// A region with its whole length mapped. Fields are dropped in this order.
pub struct Region {
    pub map: Mapping,
    pub control: Control,
    pub id: u32,
}

impl Region {
    /// A region of a fixed size with pages of one node.
    pub fn on_node(pages: usize, node: i32) -> Result<Self> {
        Self::with(pages, Some(node))
    }

    /// The same, or with pages from wherever there are some.
    pub fn with(pages: usize, node: Option<i32>) -> Result<Self> {
        let control = Control::open()?;
        let length = pages * PAGE_SIZE;
        let id = control.region_setup(length as u64, node)?;
        let map = Mapping::shared(control.file(), 0, length)
            .map_err(std::io::Error::from_raw_os_error)
            .context("mmap of a region")?;
        Ok(Self { map, control, id })
    }

    /// Where each page is.
    pub fn places(&self) -> Result<Vec<Place>> {
        Ok(self
            .control
            .region_query(self.id, 0, self.map.length() as u64)?)
    }

    /// How many pages are on a node.
    pub fn pages_on(&self, node: i32) -> Result<usize> {
        let there = Place {
            kind: PLACE_NODE,
            number: node,
        };
        Ok(self
            .places()?
            .iter()
            .filter(|place| **place == there)
            .count())
    }
}
