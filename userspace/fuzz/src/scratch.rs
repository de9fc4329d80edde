// SPDX-License-Identifier: GPL-2.0
//! Memory for structures and arrays, with guards: what a call was not given has to stay as it
//! is, and beyond the end nothing is mapped.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use anyhow::{ensure, Result};

use crate::touch;
use crate::value::PAGE;

const GUARD: usize = 64;
const FILL: u8 = 0xa5;
/// Bytes of an area.
const AREA: usize = 64 * PAGE as usize;
/// Addresses that no process can use.
const KERNEL: u64 = 0xffff_8880_0000_0000;
const WRAP: u64 = u64::MAX - 15;

/// Memory that a call is given one structure or array in. It is mapped twice: the second time
/// it can only be read.
pub struct Area {
    base: u64,
    read_only: u64,
    _file: OwnedFd,
}

/// Where the call was told that its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub address: u64,
    /// Bytes of it that the kernel may write.
    writable: usize,
    /// Bytes that are ours, and whether guards are around them.
    length: usize,
    guarded: bool,
}

impl Spot {
    pub const NOWHERE: Spot = Spot {
        address: 0,
        writable: 0,
        length: 0,
        guarded: false,
    };
}

fn map(file: &OwnedFd, length: usize, protection: i32) -> Result<u64> {
    // One page more, which nothing is in.
    let room = length + PAGE as usize;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new mappings; the second is inside the first.
    unsafe {
        let base = libc::mmap(ptr::null_mut(), room, libc::PROT_NONE, flags, -1, 0);
        ensure!(base != libc::MAP_FAILED, "mmap of an area");
        let fixed = libc::MAP_SHARED | libc::MAP_FIXED;
        let there = libc::mmap(base, length, protection, fixed, file.as_raw_fd(), 0);
        ensure!(there == base, "mmap of an area's file");
        Ok(base as u64)
    }
}

impl Area {
    pub fn new() -> Result<Self> {
        // SAFETY: a new file.
        let fd = unsafe { libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC) };
        ensure!(fd >= 0, "memfd_create");
        // SAFETY: as above; the descriptor is ours.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a file of ours.
        let resized = unsafe { libc::ftruncate(fd, AREA as i64) };
        ensure!(resized == 0, "ftruncate");
        Ok(Self {
            base: map(&file, AREA, libc::PROT_READ | libc::PROT_WRITE)?,
            read_only: map(&file, AREA, libc::PROT_READ)?,
            _file: file,
        })
    }

    /// Puts `bytes` where `place` says; of these the kernel may write the first `writable`.
    /// `region`: memory of a region, where there is some.
    pub fn put(&mut self, place: &str, bytes: &[u8], writable: usize, region: u64) -> Spot {
        let length = bytes.len();
        let end = AREA - length.min(AREA);
        let (offset, address) = match place {
            "good" => (GUARD, self.base + GUARD as u64),
            "odd" => (GUARD + 1, self.base + GUARD as u64 + 1),
            "exact" => (end, self.base + end as u64),
            // All but the last bytes are there.
            "across" => (AREA, self.base + end as u64 + 8.min(length as u64)),
            "readonly" => (GUARD, self.read_only + GUARD as u64),
            "region" => (AREA, region),
            "null" => (AREA, 0),
            "kernel" => (AREA, KERNEL),
            "wrap" => (AREA, WRAP),
            // Between two mappings of ours.
            _ => (AREA, self.base + AREA as u64 + 8),
        };
        let writable = if place == "readonly" { 0 } else { writable };
        let inside = offset + length + GUARD <= AREA || (place == "exact" && offset >= GUARD);
        let spot = Spot {
            address,
            writable,
            length,
            guarded: inside && offset >= GUARD,
        };
        if spot.guarded {
            self.fill(offset, bytes);
        } else if place == "across" {
            self.write(
                AREA + 8.min(length) - length.min(AREA),
                &bytes[..length.saturating_sub(8).min(AREA - 8)],
            );
        } else if place == "region" && length <= PAGE as usize {
            write_words(region, bytes);
        }
        spot
    }

    /// Room for an array that the kernel writes.
    pub fn room(&mut self, place: &str, length: usize, region: u64) -> Spot {
        if length + 2 * GUARD > AREA {
            // Too long to be guarded; it ends in the page that is not there, or not at all.
            return Spot {
                address: self.base,
                ..Spot::NOWHERE
            };
        }
        match place {
            "region" | "null" | "kernel" | "wrap" | "hole" => self.put(place, &[], 0, region),
            "across" => Spot {
                address: self.base + (AREA - length) as u64 + 8,
                ..Spot::NOWHERE
            },
            _ => {
                let address = self.put(place, &[], 0, region).address;
                let address = if place == "exact" {
                    self.base + (AREA - length) as u64
                } else {
                    address
                };
                let readonly = place == "readonly";
                let offset = (address - if readonly { self.read_only } else { self.base }) as usize;
                self.set(offset - GUARD, GUARD);
                self.set(offset + length, GUARD.min(AREA - offset - length));
                Spot {
                    address,
                    writable: length,
                    length,
                    guarded: !readonly,
                }
            }
        }
    }

    fn set(&mut self, offset: usize, length: usize) {
        assert!(offset + length <= AREA);
        // SAFETY: in the area, which only this type has pointers to.
        unsafe { ptr::write_bytes((self.base as *mut u8).add(offset), FILL, length) };
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= AREA);
        // SAFETY: as above.
        unsafe {
            ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                (self.base as *mut u8).add(offset),
                bytes.len(),
            )
        };
    }

    fn fill(&mut self, offset: usize, bytes: &[u8]) {
        self.set(offset - GUARD, GUARD);
        self.write(offset, bytes);
        let end = offset + bytes.len();
        self.set(end, GUARD.min(AREA - end));
    }

    /// What is there now, if that is ours.
    pub fn read(&self, spot: Spot) -> Option<Vec<u8>> {
        spot.guarded.then(|| {
            // SAFETY: inside one of the area's mappings.
            unsafe { std::slice::from_raw_parts(spot.address as *const u8, spot.length) }.to_vec()
        })
    }

    /// What a call changed that it had no business with. `before` are the bytes that were put.
    pub fn damage(&self, spot: Spot, before: Option<&[u8]>) -> Option<String> {
        if !spot.guarded {
            return None;
        }
        let read_only = (self.read_only..self.read_only + AREA as u64).contains(&spot.address);
        let base = if read_only { self.read_only } else { self.base };
        let offset = (spot.address - base) as usize;
        let after = GUARD.min(AREA - offset - spot.length);
        // SAFETY: inside one of the area's mappings, as in `fill`.
        let all = unsafe {
            let first = (base as *const u8).add(offset - GUARD);
            std::slice::from_raw_parts(first, GUARD + spot.length + after)
        };
        let guards = all[..GUARD].iter().chain(&all[GUARD + spot.length..]);
        if guards.copied().any(|byte| byte != FILL) {
            return Some("memory beside what it was given was written".to_string());
        }
        let kept = before.is_some_and(|before| {
            before[spot.writable..] != all[GUARD + spot.writable..GUARD + spot.length]
        });
        kept.then(|| "more was written than the caller knows of".to_string())
    }
}

fn write_words(address: u64, bytes: &[u8]) {
    let _hurry = touch::Hurry::new();
    for (at, chunk) in bytes.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        // SAFETY: memory of a region, in which no Rust value lives.
        if unsafe { touch::store(address + 8 * at as u64, u64::from_ne_bytes(word)) }.is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[path = "scratch_tests.rs"]
mod tests;
