// SPDX-License-Identifier: GPL-2.0
//! A page that something else uses: a pipe, by `vmsplice`.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};

use anyhow::{ensure, Result};
use pagemove_uapi::PAGE_SIZE;

/// The pipe that has the page, until it is read there.
pub struct Loan {
    reader: File,
    /// Or the pipe would have an end.
    _writer: File,
}

impl Loan {
    /// Lends a page.
    ///
    /// # Safety
    ///
    /// There is a page at the address, as long as this, that may be read.
    pub unsafe fn of(page: *mut u8) -> Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: an array of two descriptors.
        ensure!(unsafe { libc::pipe(ends.as_mut_ptr()) } == 0, "pipe");
        // SAFETY: descriptors that were just made for us.
        let [reader, writer] = ends.map(|fd| unsafe { File::from_raw_fd(fd) });
        let part = libc::iovec {
            iov_base: page.cast(),
            iov_len: PAGE_SIZE,
        };
        // SAFETY: the caller's contract.
        let given = unsafe { libc::vmsplice(writer.as_raw_fd(), &part, 1, 0) };
        let error = std::io::Error::last_os_error();
        ensure!(given == PAGE_SIZE as isize, "vmsplice: {error}");
        Ok(Self {
            reader,
            _writer: writer,
        })
    }

    /// Reads the page there, which the pipe has no more.
    pub fn end(mut self) -> Result<()> {
        Ok(self.reader.read_exact(&mut [0; PAGE_SIZE])?)
    }
}
