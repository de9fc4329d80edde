// SPDX-License-Identifier: GPL-2.0
//! Where the pages of a guest are, asked of somebody else than the tool that moves them.

use std::fs::File;
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use nix::sys::mman::{madvise, mmap, munmap, MapFlags, MmapAdvise, ProtFlags};
use pagemove_uapi::{Control, PAGE_SIZE, PLACE_APERTURE, PLACE_NODE};

use crate::campaign::tool::{Range, Tool};
use crate::guest::Layout;
use pagemove_testkit::nodes;

/// The node of every page of a range; pages that are nowhere are at -1.
pub fn places(control: &Control, layout: &Layout, range: &Range, tool: &Tool) -> Result<Vec<i32>> {
    match layout.memfd {
        Some(descriptor) => places_in_file(layout.pid, descriptor, range),
        None => places_in_region(control, layout, range, tool),
    }
}

fn places_in_region(
    control: &Control,
    layout: &Layout,
    range: &Range,
    tool: &Tool,
) -> Result<Vec<i32>> {
    let region = layout.region.context("the guest's memory is no region")?;
    let places = control.region_query(region, range.offset, range.length)?;
    Ok(places
        .iter()
        .map(|place| match (place.kind, tool.window) {
            (PLACE_NODE, _) => place.number,
            // It stands for node 1.
            (PLACE_APERTURE, Some(id)) if place.number == id as i32 => 1,
            _ => -1,
        })
        .collect())
}

/// Maps the memfd here, too, and asks the kernel where its pages are.
fn places_in_file(pid: u32, descriptor: i32, range: &Range) -> Result<Vec<i32>> {
    let path = format!("/proc/{pid}/fd/{descriptor}");
    let file = File::options().read(true).open(&path).context(path)?;
    let length = NonZeroUsize::new(range.length as usize).context("an empty range")?;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let map = unsafe {
        mmap(
            None,
            length,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
            &file,
            range.offset as i64,
        )
    }
    .context("mmap of the guest's memfd")?;
    // SAFETY: the mapping is ours, and nothing is lost by looking.
    let touched = unsafe { madvise(map, length.get(), MmapAdvise::MADV_POPULATE_READ) };
    let found = nodes::of_pages(map.as_ptr().cast(), length.get() / PAGE_SIZE);
    // SAFETY: it was made above, and nobody else knows it.
    unsafe { munmap(map, length.get()) }.context("munmap")?;
    touched.context("MADV_POPULATE_READ")?;
    found
}
