// SPDX-License-Identifier: GPL-2.0
//! What the kernel tells user space of its devices.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{ensure, Result};

pub struct Uevents(File);

impl Uevents {
    /// From now on.
    pub fn listen() -> Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: plain numbers.
        let socket = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_KOBJECT_UEVENT) };
        ensure!(socket >= 0, "socket: {}", std::io::Error::last_os_error());
        // SAFETY: just made, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: all zeroes is a value of this structure.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        // The kernel's own group.
        address.nl_groups = 1;
        let length = size_of::<libc::sockaddr_nl>() as u32;
        let socket = File::from(socket);
        // SAFETY: an address of that length.
        let bound = unsafe {
            libc::bind(
                std::os::fd::AsRawFd::as_raw_fd(&socket),
                (&raw const address).cast(),
                length,
            )
        };
        ensure!(bound == 0, "bind: {}", std::io::Error::last_os_error());
        Ok(Self(socket))
    }

    /// How many there were, since the last call, that have this text in them.
    pub fn count(&mut self, text: &str) -> usize {
        let mut event = [0; 8192];
        let mut found = 0;
        while let Ok(length) = self.0.read(&mut event) {
            found += usize::from(String::from_utf8_lossy(&event[..length]).contains(text));
        }
        found
    }
}
