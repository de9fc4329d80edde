// SPDX-License-Identifier: GPL-2.0
//! A split virtqueue in one page of guest memory (Virtual I/O Device specification
//! 1.2, 2.7): descriptors, the ring of those that are available, the ring of those
//! that were used.
//!
//! Each request has descriptors of its own, by its tag, so that nothing has to be
//! kept of which are free.

use std::sync::atomic::{fence, Ordering};

use pagemove_uapi::PAGE_SIZE;
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};

use crate::memory::Slice;

/// Entries of each ring.
const SIZE: u16 = 128;
const DESCRIPTOR_BYTES: usize = 16;
/// Where the rings are in the page; each begins with flags and an index.
const AVAILABLE: usize = SIZE as usize * DESCRIPTOR_BYTES;
const USED: usize = AVAILABLE + 512;
const RING: usize = 4;
const USED_BYTES: usize = 8;

/// Descriptors of one request.
pub const CHAIN: u16 = 5;
/// Requests in flight at a time.
pub const REQUESTS: u16 = SIZE / CHAIN;

/// A piece of memory that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub iova: u64,
    pub length: u32,
    /// The device writes it; else it reads it.
    pub written: bool,
}

/// A request that the device has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    pub tag: u16,
    /// Bytes that the device says it wrote.
    pub length: u32,
}

pub struct Virtqueue {
    page: Slice,
    /// Both count on and on; the place in a ring is the rest by its size.
    offered: u16,
    taken: u16,
}

impl Virtqueue {
    pub fn new(page: Slice) -> Self {
        assert_eq!(page.length(), PAGE_SIZE);
        page.fill(0);
        Self {
            page,
            offered: 0,
            taken: 0,
        }
    }

    pub fn size(&self) -> u16 {
        SIZE
    }

    pub fn descriptors_iova(&self) -> u64 {
        self.page.iova(0)
    }

    pub fn available_iova(&self) -> u64 {
        self.page.iova(AVAILABLE)
    }

    pub fn used_iova(&self) -> u64 {
        self.page.iova(USED)
    }

    /// Makes a request available. The device has to be notified.
    pub fn offer(&mut self, tag: u16, pieces: &[Piece]) {
        assert!(tag < REQUESTS && !pieces.is_empty() && pieces.len() <= CHAIN.into());
        let first = tag * CHAIN;
        for (n, piece) in pieces.iter().enumerate() {
            let last = n + 1 == pieces.len();
            let next = first + n as u16 + 1;
            let mut flags = if last { 0 } else { VRING_DESC_F_NEXT };
            if piece.written {
                flags |= VRING_DESC_F_WRITE;
            }
            let at = (usize::from(first) + n) * DESCRIPTOR_BYTES;
            self.page.write_word(at, piece.iova);
            let high = u64::from(next) << 48 | u64::from(flags) << 32 | u64::from(piece.length);
            self.page.write_word(at + 8, high);
        }
        let place = usize::from(self.offered % SIZE);
        self.page.write_half(AVAILABLE + RING + place * 2, first);
        self.offered = self.offered.wrapping_add(1);
        // The device may read the request as soon as it reads the index.
        fence(Ordering::SeqCst);
        self.page.write_half(AVAILABLE + 2, self.offered);
        fence(Ordering::SeqCst);
    }

    /// The next request that the device has done, if there is one.
    pub fn take(&mut self) -> Option<Used> {
        if self.page.read_half(USED + 2) == self.taken {
            return None;
        }
        // The entry is read after the index that says it is there.
        fence(Ordering::Acquire);
        let place = usize::from(self.taken % SIZE);
        let entry = USED + RING + place * USED_BYTES;
        self.taken = self.taken.wrapping_add(1);
        let word = |offset: usize| {
            let half = |n: usize| u32::from(self.page.read_half(entry + offset + n));
            half(2) << 16 | half(0)
        };
        Some(Used {
            tag: (word(0) / u32::from(CHAIN)) as u16,
            length: word(4),
        })
    }
}

#[cfg(test)]
#[path = "virtqueue_tests.rs"]
mod tests;
