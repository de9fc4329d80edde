// SPDX-License-Identifier: GPL-2.0
//! Calls with structures that no library would make: too short, too long, with
//! unknown flags, in memory that can not be written.

use std::os::fd::AsFd;

use pagemove_uapi::{raw_ioctl, Control, Plain, PAGE_SIZE};

use crate::region::Mapping;

/// An ioctl with its structure as bytes.
#[derive(Clone)]
pub struct Call {
    pub name: &'static str,
    pub request: u32,
    /// The structure; its size member says its length.
    pub bytes: Vec<u8>,
    /// The first published size.
    pub v0: usize,
    /// Whether there is a flags member, at byte 4.
    pub has_flags: bool,
}

impl Call {
    pub fn new<T: Plain>(name: &'static str, request: u32, argument: T, v0: usize) -> Self {
        // SAFETY: Plain structures have no padding, so every byte is set.
        let bytes = unsafe {
            std::slice::from_raw_parts((&raw const argument).cast::<u8>(), size_of::<T>())
        };
        let mut call = Self {
            name,
            request,
            bytes: bytes.to_vec(),
            v0,
            has_flags: name != "info",
        };
        call.set_size(size_of::<T>() as u32);
        call
    }

    /// Makes a call of zeroes, but for its size.
    pub fn zeroes(name: &'static str, request: u32, length: usize) -> Self {
        let mut call = Self {
            name,
            request,
            bytes: vec![0; length],
            v0: length,
            has_flags: true,
        };
        call.set_size(length as u32);
        call
    }

    pub fn set_size(&mut self, size: u32) {
        self.bytes[..4].copy_from_slice(&size.to_ne_bytes());
    }

    pub fn with_size(mut self, size: u32) -> Self {
        self.set_size(size);
        self
    }

    pub fn with_flag(mut self, flag: u32) -> Self {
        self.bytes[4..8].copy_from_slice(&flag.to_ne_bytes());
        self
    }

    /// Makes it a newer program's, with members that this module does not know.
    pub fn with_tail(mut self, tail: &[u8]) -> Self {
        self.bytes.extend_from_slice(tail);
        self.set_size(self.bytes.len() as u32);
        self
    }

    /// Makes the call with the bytes in memory of their own.
    pub fn issue(&mut self, control: &Control) -> Result<(), i32> {
        // Aligned as the structure would be, and followed by room, should the
        // kernel write more than it may.
        let mut room = vec![0u64; self.bytes.len() / 8 + 64];
        // SAFETY: the room is longer than the bytes.
        let copy = unsafe {
            std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), self.bytes.len())
        };
        copy.copy_from_slice(&self.bytes);
        // SAFETY: the structure is in memory of ours.
        let result = unsafe {
            raw_ioctl(
                control.file().as_fd(),
                self.request,
                copy.as_mut_ptr().cast(),
            )
        };
        self.bytes.copy_from_slice(copy);
        assert!(
            room[self.bytes.len().div_ceil(8)..]
                .iter()
                .all(|word| *word == 0),
            "{}: wrote too much",
            self.name
        );
        result
    }

    /// Makes the call with a pointer of the caller's choice.
    pub fn issue_at(&self, control: &Control, pointer: usize) -> Result<(), i32> {
        // SAFETY: the kernel has to refuse the pointer, or it is the address of a
        // mapping that holds the structure.
        unsafe {
            raw_ioctl(
                control.file().as_fd(),
                self.request,
                pointer as *mut libc::c_void,
            )
        }
    }

    /// Makes the call with the structure in memory that can not be written.
    pub fn issue_read_only(&self, control: &Control) -> anyhow::Result<Result<(), i32>> {
        let map = Mapping::anonymous(self.bytes.len().next_multiple_of(PAGE_SIZE))?;
        for (word, bytes) in self.bytes.chunks(8).enumerate() {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            map.write(0, word, u64::from_ne_bytes(padded));
        }
        map.protect(libc::PROT_READ)?;
        Ok(self.issue_at(control, map.address() as usize))
    }
}
