// SPDX-License-Identifier: GPL-2.0
//! NUMA nodes.

use std::fs;

use anyhow::{ensure, Context, Result};

use crate::list::numbers;

/// Lists the nodes that have memory.
pub fn with_memory() -> Result<Vec<i32>> {
    let list =
        fs::read_to_string("/sys/devices/system/node/has_memory").context("no NUMA in sysfs")?;
    Ok(numbers(&list).into_iter().map(|node| node as i32).collect())
}

/// Returns MemFree of a node, in bytes.
pub fn free_memory(node: i32) -> Result<u64> {
    let path = format!("/sys/devices/system/node/node{node}/meminfo");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text
        .lines()
        .find(|line| line.contains("MemFree:"))
        .with_context(|| path.clone())?;
    let kib: u64 = line
        .split_whitespace()
        .nth_back(1)
        .with_context(|| path.clone())?
        .parse()?;
    Ok(kib << 10)
}

/// New pages of the mapping at this address come from this node.
pub fn bind(address: usize, length: usize, node: i32) -> Result<()> {
    const BIND: usize = 2;
    let mask = u64::try_from(node)
        .ok()
        .and_then(|node| 1u64.checked_shl(node as u32))
        .context("a node below 64")?;
    // SAFETY: the call changes a policy, not memory, and the mask has 64 nodes.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            address,
            length,
            BIND,
            &raw const mask,
            64,
            0,
        )
    };
    ensure!(done == 0, "mbind: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Returns the node of each of so many pages of this process from `address` on; -1: there is none.
/// A page that this process has not touched has none.
pub fn of_pages(address: *const u8, pages: usize) -> Result<Vec<i32>> {
    const PAGE: usize = 4096;
    let addresses: Vec<_> = (0..pages)
        .map(|page| address.wrapping_add(page * PAGE).cast::<libc::c_void>())
        .collect();
    let mut nodes = vec![-1; pages];
    // SAFETY: without nodes to move to the call writes to the last array only, which is as long as
    // the first.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages,
            addresses.as_ptr(),
            std::ptr::null::<i32>(),
            nodes.as_mut_ptr(),
            0,
        )
    };
    ensure!(done == 0, "move_pages: {}", std::io::Error::last_os_error());
    Ok(nodes.into_iter().map(|node| node.max(-1)).collect())
}
