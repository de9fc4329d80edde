// SPDX-License-Identifier: GPL-2.0
//! What the kernel ran for a call: KCOV, where the kernel has it.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const PATH: &str = "/sys/kernel/debug/kcov";
const INIT_TRACE: u64 = 0x8008_6301;
const ENABLE: u64 = 0x6364;
const DISABLE: u64 = 0x6365;
const TRACE_PC: u64 = 0;
/// Addresses that one call can leave.
const WORDS: usize = 64 << 10;

/// The addresses that this thread's calls ran through.
pub struct Cover {
    file: File,
    words: *const AtomicU64,
}

pub fn is_there() -> bool {
    std::path::Path::new(PATH).exists()
}

impl Cover {
    /// Nothing where the kernel does not have it.
    pub fn open() -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(PATH).ok()?;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: as the interface asks for; a new mapping of its buffer.
        unsafe {
            if libc::ioctl(file.as_raw_fd(), INIT_TRACE, WORDS) != 0 {
                return None;
            }
            let base = libc::mmap(
                ptr::null_mut(),
                WORDS * 8,
                protection,
                flags,
                file.as_raw_fd(),
                0,
            );
            if base == libc::MAP_FAILED || libc::ioctl(file.as_raw_fd(), ENABLE, TRACE_PC) != 0 {
                return None;
            }
            Some(Self {
                file,
                words: base.cast(),
            })
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: in the mapping, which stays; the kernel and we access it atomically.
        unsafe { &*self.words.add(at.min(WORDS - 1)) }
    }

    pub fn begin(&self) {
        self.word(0).store(0, Relaxed);
    }

    /// Hands out each edge since `begin`, as a number.
    pub fn edges(&self, mut each: impl FnMut(u64)) {
        let count = (self.word(0).load(Relaxed) as usize).min(WORDS - 1);
        let mut before = 0u64;
        for at in 1..=count {
            let here = self.word(at).load(Relaxed);
            each(here ^ before.rotate_left(17));
            before = here;
        }
    }
}

impl Drop for Cover {
    fn drop(&mut self) {
        // SAFETY: numbers only; the mapping goes with the process.
        unsafe { libc::ioctl(self.file.as_raw_fd(), DISABLE, 0) };
    }
}
