// SPDX-License-Identifier: GPL-2.0
//! A process that takes all memory of a NUMA node, through a region, and keeps
//! it until it is killed.

use std::time::Duration;

use anyhow::{bail, Context, Result};
use pagemove_testkit::child::{self, Pid};
use pagemove_testkit::{nodes, slowness};
use pagemove_uapi::PAGE_SIZE;

use crate::region::Region;

/// Killed when dropped; its pages come back a little later.
pub struct MemoryEater {
    pid: Pid,
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
        let free = nodes::free_memory(node)? as usize;
        // INVARIANT: our child, until it is dropped.
        let eater = Self {
            pid: child::fork(|| eat(free / PAGE_SIZE + 16384, node))?,
        };
        eater.wait_until_stopped()?;
        Ok(eater)
    }

    fn wait_until_stopped(&self) -> Result<()> {
        for _ in 0..6000 * slowness::slowness() {
            if child::is_stopped(self.pid).context("it got no SIGBUS")? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the child takes memory for ever and gets no SIGBUS")
    }
}

fn eat(pages: usize, node: i32) -> i32 {
    // SAFETY: a handler that only stops the process.
    unsafe { libc::signal(libc::SIGBUS, full as *const () as libc::sighandler_t) };
    if let Ok(region) = Region::on_node(pages, node) {
        (0..region.map.pages()).for_each(|page| region.map.write(page, 0, 1));
    }
    1
}

impl Drop for MemoryEater {
    fn drop(&mut self) {
        child::kill(self.pid);
    }
}
