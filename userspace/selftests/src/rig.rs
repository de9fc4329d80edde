// SPDX-License-Identifier: GPL-2.0
//! A device that makes one DMA when it is told to, and a region as its memory: for
//! tests that want to know what it reaches between two moves.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_devices::device::{Direction, DmaDevice, Kind, Setup, Transfer};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::{Assigned, MAP_PIECE};
use pagemove_testkit::{nodes, pci};
use pagemove_uapi::{
    raw_ioctl, Control, Move, MoveReport, MoveRequest, PageResult, PciAddress, Place, DETAIL_LOST,
    ENGINE_AUTO, IOC_MOVE, MOVE_EVEN_IF_THERE, PAGE_SIZE, PLACE_NODE,
};

use crate::bench::{self, Nodes};
use crate::loan::Loan;
use crate::patience;
use crate::region::Mapping;
use crate::sigbus::{self, Sigbus};

/// Where the rings of the device are for it. They are not moved.
const RINGS: u64 = 0x2000_0000;
const DEPTH: u16 = 4;

const SETUP: Setup = Setup {
    depth: DEPTH,
    asynchronous: false,
    harmless: false,
};

/// Fields are dropped in this order.
pub struct Rig {
    dma: Box<dyn DmaDevice>,
    assigned: Assigned,
    memory: Arc<Memory>,
    rings: Slice,
    pub control: Control,
    pub device: PciAddress,
    pub nodes: Nodes,
    /// Pages that tests use; one more is the device's to write back to.
    pages: usize,
}

impl Rig {
    /// Opens the first NVMe device with a region of this many pages on the first node.
    pub fn open(pages: usize) -> Result<Self> {
        Self::open_with(Source::Pagemove, pages)
    }

    /// The same with other memory.
    pub fn open_with(source: Source, pages: usize) -> Result<Self> {
        let kind = Kind::Nvme;
        let found = PciBus::default().find(kind.pci_id())?;
        let device = *found.first().context("the VM has no NVMe device")?;
        let nodes = Nodes::any()?;
        pci::bind(device, pci::PAGEMOVE)?;
        let length = (pages + 1) * PAGE_SIZE;
        let memory = Memory::new(source, length, bench::IOVA, Some(nodes.here))?;
        let rings = kind.control_pages(DEPTH) * PAGE_SIZE;
        let rings = Memory::new(Source::Memfd, rings, RINGS, None)?;
        let mut assigned = Assigned::open(device)?;
        Slice::whole(&memory).fill(0);
        assigned.map(&memory, MAP_PIECE)?;
        assigned.map(&rings, MAP_PIECE)?;
        let rings = Slice::whole(&rings);
        let dma = kind.start(&assigned, rings.clone(), SETUP)?;
        let rig = Self {
            dma,
            assigned,
            memory,
            rings,
            control: Control::open()?,
            device,
            nodes,
            pages,
        };
        (0..pages).for_each(|page| rig.fill(page, 0));
        Ok(rig)
    }

    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The CPU writes a page.
    pub fn fill(&self, page: usize, seed: u64) {
        for word in 0..PAGE_SIZE / 8 {
            let offset = page * PAGE_SIZE + word * 8;
            self.memory.write_word(offset, content(page, word, seed));
        }
    }

    /// What the CPU reads, and what the device reads, is what was written.
    pub fn check(&mut self, page: usize, seed: u64) -> Result<()> {
        self.check_by_cpu(page, page, seed)
            .with_context(|| format!("page {page}, read by a CPU"))?;
        self.check_by_device(page, seed)
    }

    /// What the device reads is what was written. No CPU touches the page.
    pub fn check_by_device(&mut self, page: usize, seed: u64) -> Result<()> {
        self.transfer(Direction::ReadsMemory, page)?;
        self.transfer(Direction::WritesMemory, self.pages)?;
        self.check_by_cpu(self.pages, page, seed)
            .with_context(|| format!("page {page}, read by the device"))
    }

    /// The device writes a page; CPUs see that.
    pub fn write_by_device(&mut self, page: usize, seed: u64) -> Result<()> {
        self.write_unseen(page, seed)?;
        self.check_by_cpu(page, page, seed)
            .with_context(|| format!("page {page}, written by the device"))
    }

    /// The device writes a page, which no CPU touches.
    pub fn write_unseen(&mut self, page: usize, seed: u64) -> Result<()> {
        self.load(page, seed)?;
        self.transfer(Direction::WritesMemory, page)
    }

    /// The device takes up what it is to write to a page.
    pub fn load(&mut self, page: usize, seed: u64) -> Result<()> {
        for word in 0..PAGE_SIZE / 8 {
            let offset = self.pages * PAGE_SIZE + word * 8;
            self.memory.write_word(offset, content(page, word, seed));
        }
        self.transfer(Direction::ReadsMemory, self.pages)
    }

    /// The kernel writes zeroes to a page.
    pub fn read_zeroes(&self, page: usize) -> Result<()> {
        self.access(page, PAGE_SIZE)
            .map_err(std::io::Error::from_raw_os_error)
            .context("read() of /dev/zero")
    }

    /// The kernel touches a page, and writes 8 bytes of zeroes to it.
    pub fn touch(&self, page: usize) -> Result<(), i32> {
        self.access(page, 8)
    }

    /// The kernel touches a page, and reads its first 8 bytes.
    pub fn touch_to_read(&self, page: usize) -> Result<(), i32> {
        let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
        let (to, _other) = UnixStream::pair().map_err(errno)?;
        // SAFETY: a page of the mapping, which is only accessed by volatile loads and stores.
        let written = unsafe {
            let address = self.memory.address().add(page * PAGE_SIZE);
            libc::write(to.as_raw_fd(), address.cast(), 8)
        };
        match written {
            8 => Ok(()),
            _ => Err(errno(std::io::Error::last_os_error())),
        }
    }

    /// Has a pipe use a page.
    pub fn lend_to_pipe(&self, page: usize) -> Result<Loan> {
        // SAFETY: a page of the mapping, which lives longer than what is in the pipe: nobody reads it later.
        unsafe { Loan::of(self.memory.address().add(page * PAGE_SIZE)) }
    }

    /// A CPU reads, and then writes, a word in the middle of a page that is lost, or out of reach: each time the process is
    /// told so as of any memory that can't be had, with the address that was touched.
    pub fn gives_sigbus(&self, page: usize) -> Result<()> {
        // SAFETY: inside the mapping of the memory, which is only accessed with volatile loads and stores.
        let word = unsafe { self.memory.address().add(page * PAGE_SIZE + 0x7b8) };
        let expected = Sigbus {
            address: word as u64,
            code: libc::BUS_ADRERR,
        };
        for writes in [false, true] {
            // SAFETY: as above, and no other thread of the test has it.
            let found = unsafe { sigbus::touch(word, writes) }?;
            ensure!(
                found == Some(expected),
                "page {page} (write: {writes}): {found:x?} instead of {expected:x?}"
            );
        }
        Ok(())
    }

    /// What was in a page is lost, and whoever wants it is told so.
    pub fn is_lost(&self, page: usize) -> Result<()> {
        let flags = self.flags_of(page)?;
        ensure!(flags & DETAIL_LOST != 0, "page {page} has flags {flags:#x}");
        let place = self.place_of(page)?;
        ensure!(
            (place.kind, place.number) == (PLACE_NODE, self.nodes.here),
            "page {page} is at {place:?}"
        );
        self.gives_sigbus(page)?;
        let touched = self.touch(page);
        ensure!(touched == Err(libc::EFAULT), "the kernel: {touched:?}");
        Ok(())
    }

    fn access(&self, page: usize, bytes: usize) -> Result<(), i32> {
        let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
        let zeroes = std::fs::File::open("/dev/zero").map_err(errno)?;
        // SAFETY: a page of the mapping, which is only accessed by volatile loads and stores.
        let read = unsafe {
            let address = self.memory.address().add(page * PAGE_SIZE);
            libc::read(zeroes.as_raw_fd(), address.cast(), bytes)
        };
        match read == bytes as isize {
            true => Ok(()),
            false => Err(errno(std::io::Error::last_os_error())),
        }
    }

    pub fn word(&self, page: usize, word: usize) -> u64 {
        self.memory.read_word(page * PAGE_SIZE + word * 8)
    }

    /// Maps a page at a second address for the device.
    pub fn map_page_again(&self, page: usize, iova: u64) -> Result<()> {
        // SAFETY: inside the mapping of the memory, which is only accessed with volatile loads and
        // stores and is kept until the container closes.
        unsafe {
            let address = self.memory.address().add(page * PAGE_SIZE);
            self.assigned.map_at(iova, address, PAGE_SIZE)
        }
    }

    /// Each word of a page is that of one content or of another: of a page and a seed.
    pub fn either(&self, at: usize, one: (usize, u64), other: (usize, u64)) -> Result<()> {
        for word in 0..PAGE_SIZE / 8 {
            let found = self.memory.read_word(at * PAGE_SIZE + word * 8);
            let is = |(page, seed): (usize, u64)| found == content(page, word, seed);
            ensure!(is(one) || is(other), "page {at}, word {word} is {found:#x}");
        }
        Ok(())
    }

    pub fn check_by_cpu(&self, at: usize, page: usize, seed: u64) -> Result<()> {
        for word in 0..PAGE_SIZE / 8 {
            let found = self.memory.read_word(at * PAGE_SIZE + word * 8);
            let expected = content(page, word, seed);
            ensure!(
                found == expected,
                "word {word} is {found:#x} instead of {expected:#x}"
            );
        }
        Ok(())
    }

    fn transfer(&mut self, direction: Direction, page: usize) -> Result<()> {
        self.dma.submit(&Transfer {
            tag: 0,
            direction,
            iova: bench::IOVA + (page * PAGE_SIZE) as u64,
            length: PAGE_SIZE,
            store: 0,
        })?;
        self.dma.ring();
        self.wait()
    }

    /// Waits for a transfer that was begun.
    pub fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(self.dma.limits().timeout_s);
        while Instant::now() < end {
            match self.dma.poll()? {
                Some(completion) => match completion.error {
                    None => return Ok(()),
                    Some(error) => bail!("the device says: {error}"),
                },
                None => std::thread::yield_now(),
            }
        }
        bail!("the device does not answer")
    }

    /// Lets the device write a page, and does not wait for it.
    pub fn begin_write(&mut self, page: usize) -> Result<()> {
        self.dma.submit(&Transfer {
            tag: 1,
            direction: Direction::WritesMemory,
            iova: bench::IOVA + (page * PAGE_SIZE) as u64,
            length: PAGE_SIZE,
            store: 0,
        })?;
        self.dma.ring();
        Ok(())
    }

    /// Resets the device through VFIO.
    pub fn reset(&self) {
        self.assigned.reset();
    }

    /// Sets the device up anew, after a reset: nothing of before comes back.
    pub fn restart(&mut self) -> Result<()> {
        self.dma = Kind::Nvme.start(&self.assigned, self.rings.clone(), SETUP)?;
        Ok(())
    }

    /// The file of its region.
    pub fn file(&self) -> Result<&Control> {
        self.memory.file().context("the memory is no region")
    }

    /// Maps its memory for DMA by another mapping of the same region, which stays as long as
    /// the device.
    pub fn map_by(&self, map: &Mapping) -> Result<()> {
        // SAFETY: all of that mapping, whose accesses are volatile.
        unsafe {
            self.assigned
                .map_at(bench::IOVA, map.address(), map.length())
        }
    }

    /// Maps its memory for DMA anew, all but one page in the middle.
    pub fn leave_out(&self, page: usize) -> Result<()> {
        let length = self.memory.length();
        self.assigned.unmap(bench::IOVA, length)?;
        let hole = page * PAGE_SIZE;
        for (first, end) in [(0, hole), (hole + PAGE_SIZE, length)] {
            // SAFETY: inside the mapping of the memory, which is only accessed with volatile loads and
            // stores and is kept until the container closes.
            unsafe {
                let address = self.memory.address().add(first);
                self.assigned
                    .map_at(bench::IOVA + first as u64, address, end - first)
            }?;
        }
        Ok(())
    }

    /// The device reads a page, and writes it to the last of all.
    pub fn copy_to_last(&mut self, page: usize) -> Result<()> {
        self.transfer(Direction::ReadsMemory, page)?;
        self.transfer(Direction::WritesMemory, self.pages)
    }

    /// A request for pages, without retries.
    pub fn request(&self, first: usize, pages: usize, engine: u32, node: i32) -> MoveRequest {
        let iova = bench::IOVA + (first * PAGE_SIZE) as u64;
        MoveRequest {
            engine,
            retries: 0,
            ..bench::request(self.device, iova, pages, node)
        }
    }

    pub fn move_pages(&self, request: &MoveRequest) -> (MoveReport, Vec<PageResult>) {
        let mut results = Vec::new();
        let report = self.control.move_pages(request, Some(&mut results));
        (report, results)
    }

    /// Moves pages, and goes on while a helper of `rtm` does not get its CPU.
    pub fn move_patiently(&self, request: &MoveRequest) -> (MoveReport, Vec<PageResult>) {
        patience::patiently(|| self.move_pages(request))
    }

    /// Moves pages to an aperture, with retries.
    pub fn move_out(
        &self,
        first: usize,
        aperture: u32,
        targets: &[u64],
    ) -> (MoveReport, Vec<PageResult>) {
        self.out(first, aperture, targets, 0)
    }

    /// Moves pages that are in the aperture already to other places there.
    pub fn move_out_again(
        &self,
        first: usize,
        aperture: u32,
        targets: &[u64],
    ) -> (MoveReport, Vec<PageResult>) {
        self.out(first, aperture, targets, MOVE_EVEN_IF_THERE)
    }

    fn out(
        &self,
        first: usize,
        aperture: u32,
        targets: &[u64],
        flags: u32,
    ) -> (MoveReport, Vec<PageResult>) {
        let request = MoveRequest {
            retries: 1000,
            flags,
            ..self.request(first, targets.len(), ENGINE_AUTO, 0)
        };
        let mut results = Vec::new();
        let report = self
            .control
            .move_pages_out(&request, aperture, targets, Some(&mut results));
        (report, results)
    }

    /// A move of the first page with members of the caller's choice.
    pub fn move_raw(&self, change: impl FnOnce(&mut Move)) -> Result<(), i32> {
        let mut call = Move {
            size: size_of::<Move>() as u32,
            segment: self.device.segment,
            bus: self.device.bus,
            devfn: self.device.devfn,
            iova: bench::IOVA,
            length: PAGE_SIZE as u64,
            node: self.nodes.here,
            ..Default::default()
        };
        change(&mut call);
        // SAFETY: there are no results, and the kernel has to refuse a bad pointer.
        unsafe {
            raw_ioctl(
                self.control.file().as_fd(),
                IOC_MOVE,
                (&raw mut call).cast(),
            )
        }
    }

    /// Takes all of the region out of the IOMMU.
    pub fn unmap(&mut self) -> Result<()> {
        let length = self.memory.length();
        self.assigned.unmap(bench::IOVA, length)
    }

    /// Maps it again.
    pub fn map(&mut self) -> Result<()> {
        self.assigned.map(&self.memory, MAP_PIECE)
    }

    /// Maps it again, each page by itself.
    pub fn map_pages(&mut self) -> Result<()> {
        self.map_in_pieces(PAGE_SIZE)
    }

    /// The same with a mapping for each `piece` bytes.
    pub fn map_in_pieces(&mut self, piece: usize) -> Result<()> {
        self.assigned.map(&self.memory, piece)
    }

    /// Its device as VFIO has it.
    pub fn assigned(&self) -> &Assigned {
        &self.assigned
    }

    /// The file of its region.
    pub fn region_file(&self) -> Option<&Control> {
        self.memory.file()
    }

    /// The number of its region.
    pub fn region(&self) -> Result<u32> {
        self.memory.region_id().context("the memory is no region")
    }

    /// PAGEMOVE_DETAIL_* of a page.
    pub fn flags_of(&self, page: usize) -> Result<u32> {
        let offset = (page * PAGE_SIZE) as u64;
        let details = self
            .control
            .region_details(self.region()?, offset, PAGE_SIZE as u64)?;
        let (_, detail) = details.first().context("no page")?;
        Ok(detail.flags)
    }

    pub fn place_of(&self, page: usize) -> Result<Place> {
        let id = self.region()?;
        let offset = (page * PAGE_SIZE) as u64;
        let places = self.control.region_query(id, offset, PAGE_SIZE as u64)?;
        places.first().copied().context("no place")
    }

    /// The node where a CPU finds a page, whatever memory it is.
    pub fn found_on(&self, page: usize) -> Result<i32> {
        // SAFETY: a page of the mapping, which is only looked at.
        let address = unsafe { self.memory.address().add(page * PAGE_SIZE) };
        let found = nodes::of_pages(address, 1)?;
        found.first().copied().context("no node")
    }

    /// The node of a page.
    pub fn node_of(&self, page: usize) -> Result<i32> {
        Ok(self.place_of(page)?.number)
    }

    /// The other of the two nodes.
    pub fn other(&self, node: i32) -> i32 {
        if node == self.nodes.here {
            self.nodes.there
        } else {
            self.nodes.here
        }
    }
}

/// What a word of a page is.
pub fn content(page: usize, word: usize, seed: u64) -> u64 {
    let number = (seed << 32) ^ ((page as u64) << 16) ^ word as u64;
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number
}
