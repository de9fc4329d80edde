// SPDX-License-Identifier: GPL-2.0
//! Which of the runs that devices map are meant.

use pagemove_uapi::{
    Mapping, PciAddress, MEMORY_ANONYMOUS, MEMORY_DEVICE, MEMORY_REGION, PAGE_SIZE,
};

/// Bytes of the leaves that the module can split.
const CHUNK: u64 = 2 << 20;

/// Addresses of a device that are moved one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub device: PciAddress,
    pub iova: u64,
    /// Bytes.
    pub length: u64,
    /// MEMORY_*.
    pub memory: u32,
    /// With MEMORY_REGION: its id, and where in it the range begins.
    pub region: u32,
    pub offset: u64,
}

/// Addresses that can't be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub range: Range,
    pub why: String,
}

/// What is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub ranges: Vec<Range>,
    pub left_out: Vec<LeftOut>,
}

/// What one device maps.
pub type Maps = (PciAddress, Vec<Mapping>);

/// Returns what is mapped, of one region or of all memory, in the order of devices and addresses.
/// Devices that map the same, as those of one guest do, count once.
pub fn select(maps: &[Maps], region: Option<u32>) -> Selection {
    let mut selection = Selection::default();
    let mut seen: Vec<Vec<Range>> = Vec::new();
    for (device, runs) in maps {
        let runs = joined(*device, runs);
        let ranges: Vec<Range> = runs.iter().map(|(range, _)| of_no_device(range)).collect();
        if seen.contains(&ranges) {
            continue;
        }
        seen.push(ranges);
        for (range, leaf) in runs {
            let is_meant =
                region.is_none_or(|id| (range.memory, range.region) == (MEMORY_REGION, id));
            match obstacle(&range, leaf) {
                _ if !is_meant => {}
                None => selection.ranges.push(range),
                Some(why) => selection.left_out.push(LeftOut { range, why }),
            }
        }
    }
    selection
}

/// Returns why the kernel would refuse all of it. Of memory that is in no region it is asked.
fn obstacle(range: &Range, leaf: u64) -> Option<String> {
    match range.memory {
        MEMORY_DEVICE => return Some("it is no memory of this host".to_string()),
        MEMORY_ANONYMOUS => return Some("anonymous memory can not be moved".to_string()),
        _ => {}
    }
    // Leaves of 2 MiB may be split: it is asked of them as well.
    let is_odd = leaf > PAGE_SIZE as u64 && leaf != CHUNK;
    is_odd.then(|| {
        format!(
            "the IOMMU maps it in pieces of {}: load vfio_iommu_type1 with disable_hugepages=1",
            crate::quantity::bytes(leaf)
        )
    })
}

/// Returns the runs as ranges, with those in one that differ in nothing but where they are now, and
/// the bytes of their leaves.
fn joined(device: PciAddress, runs: &[Mapping]) -> Vec<(Range, u64)> {
    let mut all: Vec<(Range, u64)> = Vec::new();
    for run in runs {
        match all.last_mut() {
            Some((last, leaf)) if *leaf == run.leaf && goes_on(last, run) => {
                last.length += run.length;
            }
            _ => all.push((
                Range {
                    device,
                    iova: run.iova,
                    length: run.length,
                    memory: run.memory,
                    region: run.region,
                    offset: run.offset,
                },
                run.leaf,
            )),
        }
    }
    all
}

fn goes_on(last: &Range, run: &Mapping) -> bool {
    let follows =
        run.memory != MEMORY_REGION || last.offset.checked_add(last.length) == Some(run.offset);
    last.iova.checked_add(last.length) == Some(run.iova)
        && (last.memory, last.region) == (run.memory, run.region)
        && follows
}

fn of_no_device(range: &Range) -> Range {
    Range {
        device: PciAddress::new(0, 0, 0, 0),
        ..range.clone()
    }
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
