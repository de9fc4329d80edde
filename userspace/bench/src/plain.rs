// SPDX-License-Identifier: GPL-2.0
//! Memory that no device maps, which Linux moves by itself: move_pages(2).

use anyhow::{ensure, Result};
use pagemove_testkit::nodes;
use pagemove_uapi::PAGE_SIZE;

use crate::watch::{Taken, Watch};

/// Anonymous memory of small pages.
///
/// # Invariants
///
/// `length` bytes from `address` are mapped for as long as this value lives.
pub struct Plain {
    address: *mut u8,
    length: usize,
    node: i32,
}

const MOVE: usize = 2;

impl Plain {
    pub fn new(pages: usize) -> Result<Self> {
        let length = pages * PAGE_SIZE;
        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping at an address that the kernel chooses.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, prot, flags, -1, 0) };
        ensure!(
            address != libc::MAP_FAILED,
            "mmap: {}",
            std::io::Error::last_os_error()
        );
        // INVARIANT: just mapped; only drop unmaps it.
        let plain = Self {
            address: address.cast(),
            length,
            node: 0,
        };
        // SAFETY: our mapping, and only a hint.
        unsafe { libc::madvise(address, length, libc::MADV_NOHUGEPAGE) };
        nodes::bind(address as usize, length, 0)?;
        for page in 0..pages {
            plain.word(page, |word| {
                // SAFETY: `word` is in the mapping and aligned.
                unsafe { word.write_volatile(page as u64) }
            });
        }
        Ok(plain)
    }

    fn word<T>(&self, page: usize, then: impl FnOnce(*mut u64) -> T) -> T {
        assert!(page < self.length / PAGE_SIZE);
        then(self.address.wrapping_add(page * PAGE_SIZE).cast())
    }

    /// Moves all of it to the other node.
    pub fn exchange(&mut self, watch: &Watch) -> Result<Taken> {
        let pages = self.length / PAGE_SIZE;
        let to = 1 - self.node;
        let addresses: Vec<_> = (0..pages)
            .map(|page| self.address.wrapping_add(page * PAGE_SIZE))
            .collect();
        let targets = vec![to; pages];
        let mut status = vec![-1; pages];
        // SAFETY: the arrays have an element for each page. Pages are moved to other frames, which
        // nobody sees who uses their addresses.
        let (left, taken) = watch.time(|| unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                pages,
                addresses.as_ptr(),
                targets.as_ptr(),
                status.as_mut_ptr(),
                MOVE,
            )
        });
        ensure!(
            left == 0 && status.iter().all(|node| *node == to),
            "move_pages: {left}, {}",
            std::io::Error::last_os_error()
        );
        self.node = to;
        Ok(taken)
    }

    pub fn check(&self) -> Result<()> {
        for page in 0..self.length / PAGE_SIZE {
            // SAFETY: `word` is in the mapping and aligned.
            let found = self.word(page, |word| unsafe { word.read_volatile() });
            ensure!(
                found == page as u64,
                "move_pages: page {page} holds {found}"
            );
        }
        Ok(())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: by the invariant it is ours.
        unsafe { libc::munmap(self.address.cast(), self.length) };
    }
}
