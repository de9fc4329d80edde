// SPDX-License-Identifier: GPL-2.0
//! Pages of memory of which accesses can be forbidden.

use std::io::Error;
use std::ptr;
use std::slice;

pub const PAGE: usize = 4096;

/// The accesses that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    None,
    Read,
    Write,
}

impl Access {
    const fn flags(self) -> i32 {
        match self {
            Self::None => libc::PROT_NONE,
            Self::Read => libc::PROT_READ,
            Self::Write => libc::PROT_READ | libc::PROT_WRITE,
        }
    }
}

/// Whole pages of this process, zero at first.
///
/// # Invariants
///
/// `base` is the start of a private mapping of `length` bytes that nothing else
/// unmaps. The words in it are accessed with volatile loads and stores only, for the
/// transaction and signal handlers access them, too.
pub struct Pages {
    base: *mut u8,
    length: usize,
}

impl Pages {
    pub fn new(pages: usize) -> Self {
        let length = pages * PAGE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                Access::Write.flags(),
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
        // INVARIANT: as mmap returned it.
        Self {
            base: base.cast(),
            length,
        }
    }

    pub fn base(&self) -> usize {
        self.base as usize
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// How many words of eight bytes.
    pub fn words(&self) -> usize {
        self.length / 8
    }

    pub fn contains(&self, address: usize) -> bool {
        (self.base()..self.base() + self.length).contains(&address)
    }

    /// The address of a word.
    pub fn address(&self, word: usize) -> u64 {
        assert!(word < self.words());
        (self.base() + word * 8) as u64
    }

    fn word(&self, at: usize) -> *mut u64 {
        assert!(at < self.words());
        // SAFETY: within the mapping, by the assertion.
        unsafe { self.base.cast::<u64>().add(at) }
    }

    pub fn load(&self, at: usize) -> u64 {
        // SAFETY: `word` gives an address in the mapping; whoever forbade reads of
        // it allows them again before it calls this.
        unsafe { self.word(at).read_volatile() }
    }

    pub fn store(&self, at: usize, value: u64) {
        // SAFETY: as in `load`.
        unsafe { self.word(at).write_volatile(value) }
    }

    pub fn allow(&self, access: Access) {
        allow(self.base(), self.length, access);
    }

    /// The pages as values of a type that has no invalid ones.
    ///
    /// # Safety
    ///
    /// Every pattern of bits is a `T`, and nobody writes to the pages for as long as
    /// the result is used.
    pub unsafe fn as_slice<T>(&self, offset: usize, count: usize) -> &[T] {
        assert!(offset + count * size_of::<T>() <= self.length);
        assert!(offset % align_of::<T>() == 0);
        // SAFETY: within the mapping and aligned, by the assertions; the rest is
        // promised by the caller.
        unsafe { slice::from_raw_parts(self.base.add(offset).cast(), count) }
    }
}

/// Allows or forbids accesses to pages. Signal handlers may call it.
pub fn allow(base: usize, length: usize, access: Access) {
    // SAFETY: mprotect takes no memory away; an access that is forbidden afterwards
    // ends in a signal.
    let result = unsafe { libc::mprotect(base as *mut _, length, access.flags()) };
    if result != 0 {
        // SAFETY: ends the process. In a handler nothing else can be done.
        unsafe { libc::abort() }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is the mapping, and nobody uses it any more.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }
}
