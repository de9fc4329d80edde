// SPDX-License-Identifier: GPL-2.0
//! A page of memory whose first access waits until it is let go on: userfaultfd(2).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::region::Mapping;

/// linux/userfaultfd.h: numbers of the ioctls, and the structures below.
const UFFDIO_API: u64 = 0xC018_AA3F;
const UFFDIO_REGISTER: u64 = 0xC020_AA00;
const UFFDIO_COPY: u64 = 0xC028_AA03;
const API: u64 = 0xAA;
const MODE_MISSING: u64 = 1;

#[repr(C)]
struct ApiArgument {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct RegisterArgument {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct CopyArgument {
    to: u64,
    from: u64,
    length: u64,
    mode: u64,
    copied: i64,
}

pub struct SlowPage {
    map: Mapping,
    fd: OwnedFd,
}

impl SlowPage {
    pub fn new() -> Result<Self> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: a system call without pointers.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) } as i32;
        ensure!(fd >= 0, "userfaultfd: {}", std::io::Error::last_os_error());
        // SAFETY: a descriptor that was just made.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let page = Self {
            map: Mapping::anonymous(PAGE_SIZE)?,
            fd,
        };
        page.call(
            UFFDIO_API,
            &mut ApiArgument {
                api: API,
                features: 0,
                ioctls: 0,
            },
        )?;
        let (start, length) = (page.address() as u64, PAGE_SIZE as u64);
        page.call(
            UFFDIO_REGISTER,
            &mut RegisterArgument {
                start,
                length,
                mode: MODE_MISSING,
                ioctls: 0,
            },
        )?;
        Ok(page)
    }

    pub fn address(&self) -> usize {
        self.map.address() as usize
    }

    /// Waits until somebody waits for the page.
    pub fn wait_for_access(&self, most: Duration) -> Result<()> {
        let mut poll = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure that is ours.
        let ready = unsafe { libc::poll(&mut poll, 1, most.as_millis() as i32) };
        ensure!(ready == 1, "nobody accessed the slow page within {most:?}");
        Ok(())
    }

    /// Lets the accesses go on, to this content.
    pub fn let_go(&self, content: &[u8; PAGE_SIZE]) -> Result<()> {
        let (to, from) = (self.address() as u64, content.as_ptr() as u64);
        self.call(
            UFFDIO_COPY,
            &mut CopyArgument {
                to,
                from,
                length: PAGE_SIZE as u64,
                mode: 0,
                copied: 0,
            },
        )
    }

    fn call<T>(&self, request: u64, argument: &mut T) -> Result<()> {
        // SAFETY: the structure that the request wants, which names memory of ours.
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                request as libc::Ioctl,
                &raw mut *argument,
            )
        };
        let error = std::io::Error::last_os_error();
        ensure!(result == 0, "userfaultfd request {request:#x}: {error}");
        Ok(())
    }

    /// Fills a page as the kernel's memory for a structure.
    pub fn content(bytes: &[u8]) -> Result<Box<[u8; PAGE_SIZE]>> {
        let mut page = Box::new([0; PAGE_SIZE]);
        page.get_mut(..bytes.len())
            .context("more than a page")?
            .copy_from_slice(bytes);
        Ok(page)
    }
}
