// SPDX-License-Identifier: GPL-2.0
//! NUMA nodes.

use std::fs;

use anyhow::{Context, Result};

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
