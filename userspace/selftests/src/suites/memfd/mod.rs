// SPDX-License-Identifier: GPL-2.0
//! Memory that any VMM has: pages of a memfd, without a region, move from node to node. What holds for
//! the pages of a region as well is asked of them, too.

mod ats;
mod cost;
mod dirty;
mod isolated;
mod moves;
mod race;
mod reached;
mod refusals;
mod users;

use std::ffi::CStr;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::FromRawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{nodes, pci};
use pagemove_uapi::{
    Control, MoveReport, PageResult, PciAddress, ABORT_IN_USE, PAGE_ABORTED, PAGE_MOVED, PAGE_SIZE,
};

use crate::bench::{self, describe, Nodes};
use crate::complaints::COMPLAINTS;
use crate::memory;
use crate::region::{Mapping, Region};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::vfio::{Assigned, Container, READ_WRITE};

/// Where the memory is for the device.
const IOVA: u64 = 0x1000_0000;

const LEFT_ALONE: Duration = Duration::from_secs(20);

/// A device, and what every case may use.
struct Desk {
    kind: Kind,
    assigned: Assigned,
    control: Control,
    device: PciAddress,
    nodes: Nodes,
    log: KernelLog,
}

/// Whose pages they are.
#[derive(Clone, Copy)]
enum Kind {
    Memfd,
    Region,
}

/// Memory of a kind at the node `here`, with the pattern of seed 0.
enum Memory {
    Memfd(Memfd),
    Region(Region),
}

impl Memory {
    fn file(&self) -> &File {
        match self {
            Self::Memfd(memfd) => &memfd.file,
            Self::Region(region) => region.control.file(),
        }
    }
}

impl Deref for Memory {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        match self {
            Self::Memfd(memfd) => &memfd.map,
            Self::Region(region) => &region.map,
        }
    }
}

/// A file without a name, mapped here.
pub(crate) struct Memfd {
    pub(crate) map: Mapping,
    pub(crate) file: File,
}

/// What holds for both kinds of memory.
fn of_both() -> Vec<Case<Desk>> {
    [
        users::cases(),
        reached::cases(),
        dirty::cases(),
        cost::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What holds for both kinds, asked of a region's; `is_long`: of much memory.
pub fn of_regions(is_long: bool) -> ExitCode {
    let cases = match is_long {
        true => cost::long_cases(),
        false => of_both(),
    };
    run(Kind::Region, cases)
}

pub fn main(arguments: &[String]) -> ExitCode {
    let cases = match arguments.first().map(String::as_str) {
        None => [moves::cases(), refusals::cases(), of_both()]
            .into_iter()
            .flatten()
            .collect(),
        Some("cost") => cost::long_cases(),
        Some("race") => race::cases(),
        Some("ats") => ats::cases(),
        Some("isolated") => isolated::cases(),
        Some("users") => users::cases(),
        Some(other) => return tap::fail_all(&anyhow::anyhow!("there is no part {other}")),
    };
    run(Kind::Memfd, cases)
}

fn run(kind: Kind, cases: Vec<Case<Desk>>) -> ExitCode {
    match Desk::open(kind) {
        Ok(mut desk) => tap::run(&mut desk, cases),
        Err(error) => tap::fail_all(&error),
    }
}

/// Maps memory in a container.
fn map(container: &Container, iova: u64, memory: &Mapping, flags: u32) -> Result<()> {
    container
        .map(iova, memory.address(), memory.length(), flags)
        .map_err(std::io::Error::from_raw_os_error)
        .context("MAP_DMA")
}

/// A case after which nothing is pinned that was not before, and the log is clean.
fn case(name: &'static str, check: fn(&Desk) -> Result<()>) -> Case<Desk> {
    Case::new(name, move |desk: &mut Desk| {
        let before = memory::pins()?;
        check(desk)?;
        let after = memory::pins()?;
        ensure!(
            before == after,
            "{after} pages are pinned, {before} were before"
        );
        desk.log.check()?;
        Ok(Pass)
    })
}

impl Desk {
    fn open(kind: Kind) -> Result<Self> {
        let device = *[pci::find(pci::VIRTIO_NET)?, bench::devices()?]
            .concat()
            .first()
            .context("the VM has no device for tests")?;
        pci::bind(device, pci::PAGEMOVE)?;
        Ok(Self {
            kind,
            assigned: Assigned::open(device)?,
            control: Control::open()?,
            device,
            nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
            log: KernelLog::from_now(COMPLAINTS)?,
        })
    }

    fn memory(&self, pages: usize) -> Result<Memory> {
        match self.kind {
            Kind::Memfd => Ok(Memory::Memfd(Memfd::new(pages, self.nodes.here)?)),
            Kind::Region => {
                let region = Region::on_node(pages, self.nodes.here)?;
                region.map.fill(0);
                Ok(Memory::Region(region))
            }
        }
    }

    /// Another device, bound to our driver and not open.
    fn other(&self) -> Result<PciAddress> {
        let other = bench::devices()?
            .into_iter()
            .find(|device| *device != self.device)
            .context("the VM has one device only")?;
        pci::bind(other, pci::PAGEMOVE)?;
        Ok(other)
    }

    /// Maps memory for the device while `check` runs.
    fn with<T>(&self, memory: &Mapping, check: impl FnOnce() -> Result<T>) -> Result<T> {
        self.with_at(IOVA, memory, check)
    }

    fn with_at<T>(
        &self,
        iova: u64,
        memory: &Mapping,
        check: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.with_as(iova, memory, READ_WRITE, check)
    }

    fn with_as<T>(
        &self,
        iova: u64,
        memory: &Mapping,
        flags: u32,
        check: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let container = &self.assigned.container;
        map(container, iova, memory, flags)?;
        let result = check();
        let unmapped = container.unmap(iova, memory.length());
        let result = result?;
        ensure!(
            unmapped == Ok(memory.length() as u64),
            "UNMAP_DMA: {unmapped:x?}"
        );
        Ok(result)
    }

    /// Moves some pages of what is mapped at [`IOVA`].
    fn move_pages(&self, first: usize, pages: usize, node: i32) -> (MoveReport, Vec<PageResult>) {
        let iova = IOVA + (first * PAGE_SIZE) as u64;
        let request = bench::request(self.device, iova, pages, node);
        let mut results = Vec::new();
        let report = self.control.move_pages(&request, Some(&mut results));
        (report, results)
    }

    /// The same, when an unmap is over by which a span is left alone.
    fn move_later(&self, first: usize, pages: usize, node: i32) -> (MoveReport, Vec<PageResult>) {
        let end = Instant::now() + LEFT_ALONE;
        loop {
            let (report, results) = self.move_pages(first, pages, node);
            if bench::errno_of(&report) != libc::EAGAIN || Instant::now() > end {
                return (report, results);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Moves pages that nobody else uses.
    fn moves(&self, first: usize, pages: usize, node: i32) -> Result<()> {
        let (report, results) = self.move_later(first, pages, node);
        ensure!(report.error.is_none(), "{}", describe(&report));
        let others: Vec<_> = results
            .iter()
            .enumerate()
            .filter(|(_, result)| result.outcome != PAGE_MOVED)
            .collect();
        ensure!(others.is_empty(), "not moved: {others:?}");
        Ok(())
    }

    /// Asks for one page, which somebody else uses.
    fn is_in_use(&self, page: usize) -> Result<()> {
        for node in [self.nodes.there, self.nodes.here] {
            let (report, results) = self.move_later(page, 1, node);
            ensure!(report.error.is_none(), "{}", describe(&report));
            let result = results[0];
            if result.outcome == pagemove_uapi::PAGE_ALREADY_THERE {
                continue;
            }
            ensure!(
                (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_IN_USE),
                "{result:?}"
            );
            ensure!(result.attempts > 1, "it was tried once only");
        }
        Ok(())
    }
}

impl Memfd {
    /// Makes one on a node, with the pattern of seed 0.
    fn new(pages: usize, node: i32) -> Result<Self> {
        let memfd = Self::empty(c"pagemove-selftest", pages)?;
        bind(&memfd.map, node)?;
        memfd.map.fill(0);
        ensure!(memfd.is_at(node)?, "mbind did not put it at node {node}");
        Ok(memfd)
    }

    /// One that nobody has touched.
    pub(crate) fn empty(name: &CStr, pages: usize) -> Result<Self> {
        // SAFETY: a C string; the result is checked.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        ensure!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
        // SAFETY: a descriptor that was just made for us.
        Self::of(unsafe { File::from_raw_fd(fd) }, pages)
    }

    fn of(file: File, pages: usize) -> Result<Self> {
        let length = pages * PAGE_SIZE;
        file.set_len(length as u64)?;
        let map = Mapping::shared(&file, 0, length).map_err(std::io::Error::from_raw_os_error)?;
        Ok(Self { map, file })
    }

    /// Tells whether every page is at the node, as the kernel says.
    fn is_at(&self, node: i32) -> Result<bool> {
        are_at(&self.map, node)
    }
}

/// Tells whether every page of a mapping is at the node. Moves have taken them out of the tables of
/// this process, so they are touched first.
fn are_at(map: &Mapping, node: i32) -> Result<bool> {
    (0..map.pages()).for_each(|page| {
        map.read(page, 0);
    });
    let found = nodes::of_pages(map.address(), map.pages())?;
    Ok(found.iter().all(|at| *at == node))
}

/// New pages of the mapping come from this node.
pub(crate) fn bind(map: &Mapping, node: i32) -> Result<()> {
    nodes::bind(map.address() as usize, map.length(), node)
}
