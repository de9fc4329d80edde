// SPDX-License-Identifier: GPL-2.0
//! What most suites need: a device bound to pagemove_vfio and open, with a
//! region as its memory.

use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::{nodes, pci, wait};
use pagemove_uapi::{
    errno, text, Control, MoveReport, MoveRequest, PageResult, PciAddress, ENGINE_AUTO, PAGE_SIZE,
    REASON_NONE,
};

use crate::region::Region;
use pagemove_testkit::vfio::{Assigned, Container, READ_WRITE};

/// Where the region is for the device.
pub const IOVA: u64 = 0x1000_0000;

/// Two nodes to move between.
#[derive(Clone, Copy, Debug)]
pub struct Nodes {
    pub here: i32,
    pub there: i32,
}

impl Nodes {
    /// The first, twice if there is only one.
    pub fn any() -> Result<Self> {
        let first = *nodes::with_memory()?
            .first()
            .context("the VM has no NUMA node")?;
        Ok(Self::find()?.unwrap_or(Self {
            here: first,
            there: first,
        }))
    }

    /// None if there is only one.
    pub fn find() -> Result<Option<Self>> {
        match nodes::with_memory()?[..] {
            [here, there, ..] => Ok(Some(Self { here, there })),
            _ => Ok(None),
        }
    }
}

/// The devices that tests may use, NVMe before edu.
pub fn devices() -> Result<Vec<PciAddress>> {
    let mut found = pci::find(pci::NVME)?;
    found.extend(pci::find(pci::EDU)?);
    Ok(found)
}

/// Fields are dropped in this order.
pub struct Bench {
    pub assigned: Assigned,
    pub region: Region,
    /// Where moves are asked for, apart from the region's own file.
    pub control: Control,
    pub device: PciAddress,
    pub nodes: Nodes,
}

impl Bench {
    /// Opens the first test device with a region of this many pages, on the
    /// first node, filled with the pattern of seed 0.
    pub fn open(pages: usize) -> Result<Self> {
        let device = *devices()?
            .first()
            .context("the VM has neither an NVMe nor an edu device")?;
        Self::of(device, pages)
    }

    /// Opens a device with such a region.
    pub fn of(device: PciAddress, pages: usize) -> Result<Self> {
        let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
        pci::bind(device, pci::PAGEMOVE)?;
        let region = Region::on_node(pages, nodes.here)?;
        region.map.fill(0);
        let assigned = Assigned::open(device)?;
        map(&assigned, IOVA, &region)?;
        Ok(Self {
            assigned,
            region,
            control: Control::open()?,
            device,
            nodes,
        })
    }

    /// A request for some pages of the region.
    pub fn request(&self, first: usize, pages: usize, node: i32) -> MoveRequest {
        request(self.device, IOVA + (first * PAGE_SIZE) as u64, pages, node)
    }

    /// Unmaps the whole region.
    pub fn unmap(&self) -> Result<()> {
        unmap(&self.assigned.container, &self.region)
    }

    pub fn move_pages(&self, request: &MoveRequest) -> (MoveReport, Vec<PageResult>) {
        let mut results = Vec::new();
        let report = self.control.move_pages(request, Some(&mut results));
        (report, results)
    }
}

pub fn request(device: PciAddress, iova: u64, pages: usize, node: i32) -> MoveRequest {
    MoveRequest {
        device,
        iova,
        length: (pages * PAGE_SIZE) as u64,
        node,
        engine: ENGINE_AUTO,
        flags: 0,
        retries: 20,
        deadline_ns: 0,
        editor_cpu: None,
        helper_cpu: None,
    }
}

/// Maps a whole region for DMA.
pub fn map(assigned: &Assigned, iova: u64, region: &Region) -> Result<()> {
    assigned
        .container
        .map(iova, region.map.address(), region.map.length(), READ_WRITE)
        .map_err(std::io::Error::from_raw_os_error)
        .context("VFIO_IOMMU_MAP_DMA of a region")
}

/// Unmaps a whole region from [`IOVA`] on.
pub fn unmap(container: &Container, region: &Region) -> Result<()> {
    let length = region.map.length();
    let unmapped = container.unmap(IOVA, length);
    let bytes = unmapped
        .map_err(std::io::Error::from_raw_os_error)
        .context("VFIO_IOMMU_UNMAP_DMA")?;
    ensure!(bytes == length as u64, "{bytes:#x} bytes were unmapped");
    Ok(())
}

/// The errno of a move, 0 if there was none.
pub fn errno_of(report: &MoveReport) -> i32 {
    report.error.map_or(0, |error| error.errno)
}

/// The errno and the reason of a move, both of nothing if there was no error.
pub fn answer_of(report: &MoveReport) -> (i32, u32) {
    let error = report.error;
    error.map_or((0, REASON_NONE), |error| (error.errno, error.reason))
}

/// `EBUSY (busy)`.
pub fn describe(report: &MoveReport) -> String {
    match report.error {
        None => "success".to_string(),
        Some(error) => {
            format!(
                "{} ({})",
                errno::name(error.errno),
                text::name_or_number(text::REASONS, error.reason)
            )
        }
    }
}

/// Waits until no region has a page: nothing leaked. Nobody else may use one.
pub fn wait_for_no_pages(most: Duration) -> Result<Duration> {
    let control = Control::open()?;
    wait::until("no region has a page", most, || {
        let stats = control.stats()?;
        Ok(stats.region_pages == 0)
    })
    .with_context(|| match control.stats() {
        Ok(stats) => format!(
            "{} regions with {} pages, {} of them closed",
            stats.regions, stats.region_pages, stats.closed_pages
        ),
        Err(error) => error.to_string(),
    })
}

/// Checks an errno, with names in the message.
pub fn expect_errno(what: &str, result: Result<(), i32>, expected: i32) -> Result<()> {
    let found = result.err().unwrap_or(0);
    if found != expected {
        let name = |number| {
            if number == 0 {
                "success".to_string()
            } else {
                errno::name(number)
            }
        };
        bail!("{what}: {} instead of {}", name(found), name(expected));
    }
    Ok(())
}
