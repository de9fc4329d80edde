// SPDX-License-Identifier: GPL-2.0
//! A process that takes all memory of a NUMA node, through a region, and keeps
//! it until it is killed.

use std::time::Duration;

use anyhow::{bail, ensure, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::region::Region;
use crate::system;

/// Killed when dropped; its pages come back a little later.
pub struct MemoryEater {
    pid: libc::pid_t,
}

/// What the kernel answers to a page that can not be had.
extern "C" fn full(_: libc::c_int) {
    loop {
        // SAFETY: stops this process; the parent kills it.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
}

impl MemoryEater {
    /// Returns when the node has nothing left to give: the child has got SIGBUS.
    pub fn start(node: i32) -> Result<Self> {
        let free = system::free_memory_of(node)? as usize;
        // SAFETY: the child makes system calls, touches memory and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            eat(free / PAGE_SIZE + 16384, node);
        }
        ensure!(pid > 0, "fork: {}", std::io::Error::last_os_error());
        // INVARIANT: our child, until it is dropped.
        let eater = Self { pid };
        eater.wait_until_stopped()?;
        Ok(eater)
    }

    fn wait_until_stopped(&self) -> Result<()> {
        let mut status = 0;
        for _ in 0..6000 * system::slowness() {
            // SAFETY: our child, and a place for its status.
            match unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG | libc::WUNTRACED) } {
                0 => std::thread::sleep(Duration::from_millis(10)),
                _ if libc::WIFSTOPPED(status) => return Ok(()),
                _ => bail!("the child ended with status {status:#x} and without SIGBUS"),
            }
        }
        bail!("the child takes memory for ever and gets no SIGBUS")
    }
}

fn eat(pages: usize, node: i32) -> ! {
    // SAFETY: a handler that only stops the process.
    unsafe { libc::signal(libc::SIGBUS, full as *const () as libc::sighandler_t) };
    if let Ok(region) = Region::on_node(pages, node) {
        (0..region.map.pages()).for_each(|page| region.map.write(page, 0, 1));
    }
    // SAFETY: ends the child.
    unsafe { libc::_exit(1) }
}

impl Drop for MemoryEater {
    fn drop(&mut self) {
        // SAFETY: our child, which is not waited for until here.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}
