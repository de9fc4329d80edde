// SPDX-License-Identifier: GPL-2.0
//! The device that is driven, and the pages of this program that it reaches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_devices::device::{Direction, DmaDevice, Kind, Setup, Transfer, SINK_PAGES};
use pagemove_devices::memory::{Memory, Slice, Source, HUGE_PAGE};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::{Assigned, MAP_PIECE};
use pagemove_uapi::{
    Control, Device, Error, ExperimentReport, ExperimentRequest, MoveReport, MoveRequest,
    PageResult, PciAddress, DEVICE_OPEN, DRIVER, MOVE_EVEN_IF_THERE, MOVE_SCRATCH, PAGE_SIZE,
    REASON_LOST_WRITE,
};

use super::evidence::Trial;
use super::load::{lines, Load, DEPTH};

/// Pages that are moved: few, so that most moves meet a DMA.
pub const PAGES: usize = 8;
/// Where the memory is for the device; edu reaches 256 MiB.
const IOVA: u64 = 16 << 20;
/// Where the chunk is, which the IOMMU maps by one leaf.
const CHUNK_IOVA: u64 = 32 << 20;
/// Pages of the chunk between two that the device uses: nobody uses their neighbours, so that what goes astray
/// is missed.
const APART: usize = HUGE_PAGE / PAGE_SIZE / (PAGES + 1);
const NODES: &str = "/sys/devices/system/node/has_memory";

/// Fields are dropped in this order: the device, its VFIO container, the memory.
pub struct Subject {
    device: Box<dyn DmaDevice>,
    assigned: Assigned,
    pub address: PciAddress,
    /// What the module lists of it while it is open.
    pub listed: Device,
    memory: Arc<Memory>,
    /// Those that are moved.
    pages: Slice,
    sink: Slice,
    /// What the device writes to a page.
    content: Vec<u64>,
    pub nodes: Vec<i32>,
}

/// Returns what kind a device is, if it is bound and free: else the error says what to do.
/// None: there is no driver for it here.
pub fn check(control: &Control, address: PciAddress) -> Result<Option<Kind>> {
    let bus = PciBus::default();
    ensure!(
        bus.directory(address).exists(),
        "there is no PCI function {address}"
    );
    match listed(control, address)? {
        None => bail!(
            "{address} is not bound to {DRIVER}. Bind it with: \
             echo {DRIVER} > /sys/bus/pci/devices/{address}/driver_override; \
             echo {address} > /sys/bus/pci/devices/{address}/driver/unbind; \
             echo {address} > /sys/bus/pci/drivers_probe"
        ),
        Some(device) if device.flags & DEVICE_OPEN != 0 => bail!(
            "{address} is in use: end the program that has it open (`pagemove list` shows regions \
             and their processes)"
        ),
        Some(_) => {}
    }
    Kind::of(&bus, address)
}

/// Returns what to say of a device without our driver.
pub fn no_driver(address: PciAddress) -> String {
    format!(
        "{address} can not be driven by this program: it has drivers for NVMe controllers (PCI \
         class 010802) and QEMU's edu"
    )
}

fn listed(control: &Control, address: PciAddress) -> Result<Option<Device>> {
    let is_it = |device: &Device| {
        let PciAddress {
            segment,
            bus,
            devfn,
        } = address;
        (device.segment, device.bus, device.devfn) == (segment, bus, devfn)
    };
    Ok(control.device_list()?.into_iter().find(is_it))
}

impl Subject {
    pub fn open(control: &Control, address: PciAddress, kind: Kind) -> Result<Self> {
        let rings = kind.control_pages(DEPTH);
        let length = (rings + PAGES + SINK_PAGES) * PAGE_SIZE;
        let memory = Memory::new(Source::Pagemove, length, IOVA, None)?;
        let mut assigned = Assigned::open(address)?;
        assigned.map(&memory, MAP_PIECE)?;
        let whole = Slice::whole(&memory);
        let part = |first: usize, count: usize| whole.part(first * PAGE_SIZE, count * PAGE_SIZE);
        let setup = Setup {
            depth: DEPTH,
            asynchronous: false,
            harmless: true,
        };
        let device = kind.start(&assigned, part(0, rings), setup)?;
        let mut subject = Self {
            device,
            assigned,
            address,
            listed: listed(control, address)?.context("the device is gone")?,
            pages: part(rings, PAGES),
            sink: part(rings + PAGES, SINK_PAGES),
            memory,
            content: vec![0; PAGE_SIZE / 8],
            nodes: nodes()?,
        };
        subject.learn_content()?;
        Ok(subject)
    }

    /// Reads what the device will write to every page, and that it does so twice.
    fn learn_content(&mut self) -> Result<()> {
        let mut again = self.content.clone();
        self.fetch(0)?;
        self.page(0).read_words(0, &mut self.content);
        self.page(0).fill(!0);
        self.fetch(0)?;
        self.page(0).read_words(0, &mut again);
        ensure!(
            again == self.content,
            "{}: two reads of the same block differ",
            self.address
        );
        Ok(())
    }

    /// Returns the name of the IOMMU that the device is behind.
    pub fn iommu(&self) -> String {
        let name = self.listed.iommu.split(|byte| *byte == 0).next();
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }

    fn page(&self, page: usize) -> Slice {
        self.pages.part(page * PAGE_SIZE, PAGE_SIZE)
    }

    /// Has the device write one page.
    pub fn fetch(&mut self, page: usize) -> Result<()> {
        let transfer = write_of(&self.pages, page);
        self.device.submit(&transfer)?;
        self.device.ring();
        self.complete()
    }

    /// Has the device write a page some time after the work has begun.
    pub fn fetch_during<T>(
        &mut self,
        page: usize,
        after: Duration,
        work: impl FnOnce(Scene<'_>) -> Result<T>,
    ) -> Result<T> {
        let transfer = write_of(&self.pages, page);
        let scene = Scene::new(&self.memory, &self.pages, self.address, &self.nodes);
        let (device, address) = (self.device.as_mut(), self.address);
        std::thread::scope(|scope| {
            let fetch = scope.spawn(move || {
                std::thread::sleep(after);
                device.submit(&transfer)?;
                device.ring();
                complete(device, address)
            });
            let result = work(scene);
            let fetched = fetch
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that makes DMA panicked")));
            fetched.and(result)
        })
    }

    /// Spoils what a page holds.
    pub fn spoil(&mut self, page: usize) {
        let pages = self.page(page);
        for (offset, word) in lines(&self.content) {
            pages.write_word(offset, !word);
        }
    }

    /// Returns how many cache lines of a page hold what the device writes, and how many there are.
    pub fn written(&self, page: usize) -> (usize, usize) {
        let pages = self.page(page);
        let all = lines(&self.content);
        let written = all.filter(|(offset, word)| pages.read_word(*offset) == *word);
        (written.count(), lines(&self.content).count())
    }

    /// Has the device read one page.
    pub fn look(&mut self, page: usize) -> Result<()> {
        let page = self.page(page);
        self.device.look(0, &page, &self.sink)?;
        self.complete()
    }

    fn complete(&mut self) -> Result<()> {
        complete(self.device.as_mut(), self.address)
    }

    /// Returns a device that writes one page as often as it goes.
    pub fn load_one(&mut self) -> (Load<'_>, Scene<'_>) {
        self.load(1, 1)
    }

    /// Returns a device that writes all pages all the time.
    pub fn load_all(&mut self) -> (Load<'_>, Scene<'_>) {
        self.load(PAGES, DEPTH)
    }

    /// Maps memory of one huge page for the device, if there is one to be had.
    pub fn map_chunk(&mut self) -> Result<Option<Chunk>> {
        let Some(memory) = Memory::huge(CHUNK_IOVA)? else {
            return Ok(None);
        };
        self.assigned.map(&memory, HUGE_PAGE)?;
        // Whoever does one thing at a time has no transfer for a read beside the others.
        let has_room = usize::from(self.device.limits().depth) > PAGES;
        let looked_at = match has_room {
            true => self.learn_look()?,
            false => Vec::new(),
        };
        Ok(Some(Chunk {
            whole: Slice::whole(&memory),
            looked_at,
        }))
    }

    /// Reads what the device writes behind the first page of the sink when it reads a page, and that it does so twice.
    fn learn_look(&mut self) -> Result<Vec<u64>> {
        let mut words = vec![0; (SINK_PAGES - 1) * PAGE_SIZE / 8];
        let mut again = words.clone();
        for (fill, words) in [(0, &mut words), (!0, &mut again)] {
            self.sink.fill(fill);
            self.look(0)?;
            self.sink.read_words(PAGE_SIZE, words);
        }
        ensure!(
            again == words,
            "{}: two reads of the same blocks differ",
            self.address
        );
        Ok(words)
    }

    /// Returns a device that writes pages of the chunk all the time, and reads one.
    pub fn load_chunk<'a>(&'a mut self, chunk: &'a Chunk) -> (Load<'a>, Scene<'a>) {
        let load = Load::new(
            self.device.as_mut(),
            (0..PAGES).map(|page| chunk.page(page)).collect(),
            self.sink.part(0, PAGE_SIZE),
            &self.content,
            DEPTH,
        );
        let load = load.reading(chunk.page(PAGES), self.sink.clone(), &chunk.looked_at);
        let scene = Scene::new(&self.memory, &chunk.whole, self.address, &self.nodes);
        (load, scene)
    }

    fn load(&mut self, pages: usize, most: u16) -> (Load<'_>, Scene<'_>) {
        let load = Load::new(
            self.device.as_mut(),
            (0..pages)
                .map(|page| self.pages.part(page * PAGE_SIZE, PAGE_SIZE))
                .collect(),
            self.sink.part(0, PAGE_SIZE),
            &self.content,
            most,
        );
        let scene = Scene::new(&self.memory, &self.pages, self.address, &self.nodes);
        (load, scene)
    }

    /// Returns what can be done while the device is left alone.
    pub fn scene(&self) -> Scene<'_> {
        Scene::new(&self.memory, &self.pages, self.address, &self.nodes)
    }
}

/// Memory that the IOMMU maps by one leaf.
pub struct Chunk {
    whole: Slice,
    /// What the device writes when it reads a page of it.
    looked_at: Vec<u64>,
}

impl Chunk {
    /// Returns one of those that the device uses.
    fn page(&self, page: usize) -> Slice {
        self.whole.part(page * APART * PAGE_SIZE, PAGE_SIZE)
    }
}

/// Returns a transfer that writes a page.
fn write_of(pages: &Slice, page: usize) -> Transfer {
    Transfer {
        tag: 0,
        direction: Direction::WritesMemory,
        iova: pages.iova(page * PAGE_SIZE),
        length: PAGE_SIZE,
        store: 0,
    }
}

/// Waits for the only transfer that is in flight.
fn complete(device: &mut dyn DmaDevice, address: PciAddress) -> Result<()> {
    let timeout = Duration::from_secs(device.limits().timeout_s);
    let begin = Instant::now();
    loop {
        if let Some(completion) = device.poll()? {
            return match completion.error {
                None => Ok(()),
                Some(error) => bail!("{address}: {error}"),
            };
        }
        ensure!(begin.elapsed() < timeout, "{address} does not answer");
        std::thread::yield_now();
    }
}

/// What the module is asked for, while the device does what it likes.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    memory: &'a Memory,
    pages: &'a Slice,
    address: PciAddress,
    pub nodes: &'a [i32],
}

impl<'a> Scene<'a> {
    /// Of parts, beside which the device may be driven.
    fn new(memory: &'a Memory, pages: &'a Slice, address: PciAddress, nodes: &'a [i32]) -> Self {
        Self {
            memory,
            pages,
            address,
            nodes,
        }
    }

    fn file(&self) -> Result<&Control> {
        self.memory.file().context("the memory is no region")
    }

    /// Tries something with one page. The outer error is one that nobody expects.
    pub fn experiment(&self, kind: u32, page: usize, ns: u64) -> Result<Trial<ExperimentReport>> {
        match self.ask(kind, page, ns)? {
            Ok(report) => Ok(Trial::Seen(report)),
            Err(error) => refused(error),
        }
    }

    /// The same, for who knows what its errors mean.
    pub fn ask(&self, kind: u32, page: usize, ns: u64) -> Result<Result<ExperimentReport, Error>> {
        let request = ExperimentRequest {
            kind,
            device: self.address,
            iova: self.pages.iova(page * PAGE_SIZE),
            ns,
        };
        Ok(self.file()?.experiment(&request))
    }

    /// Moves all pages to a node, or to other pages of it.
    pub fn move_pages(&self, how: How, results: &mut Vec<PageResult>) -> Result<MoveReport> {
        let request = MoveRequest {
            device: self.address,
            iova: self.pages.iova(0),
            length: self.pages.length() as u64,
            node: how.node,
            engine: how.engine,
            flags: MOVE_SCRATCH | MOVE_EVEN_IF_THERE | how.flags,
            retries: how.retries,
            deadline_ns: 0,
            editor_cpu: None,
            helper_cpu: None,
        };
        Ok(self.file()?.move_pages(&request, Some(results)))
    }
}

/// How pages are moved.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub engine: u32,
    pub flags: u32,
    pub retries: u32,
    pub node: i32,
}

/// Takes a refusal that is about the machine for an answer.
pub fn refused<T>(error: Error) -> Result<Trial<T>> {
    if error.is_unsupported() {
        Ok(Trial::Refused(error.reason))
    } else {
        Err(error.into())
    }
}

/// Returns whether a call of MOVE failed for no known reason: a lost write ends it, which its
/// results say, and somebody else may have the page or the helper's CPU. Whoever goes on does so
/// by a [`super::clock::Clock`].
pub fn is_unexpected(error: &Error) -> bool {
    error.reason != REASON_LOST_WRITE && !error.is_transient()
}

fn nodes() -> Result<Vec<i32>> {
    let text = std::fs::read_to_string(NODES).context(NODES)?;
    let nodes = list_of(&text);
    ensure!(!nodes.is_empty(), "{NODES} names no node");
    Ok(nodes)
}

/// Reads `0-2,5` as numbers.
fn list_of(text: &str) -> Vec<i32> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<i32>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_uapi::{Call, REASON_BUSY, REASON_CPUS, REASON_NO_RTM, REASON_STUCK};

    #[test]
    fn lists_of_nodes() {
        assert_eq!(list_of("0-1,4\n"), [0, 1, 4]);
        assert!(list_of("\n").is_empty());
    }

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        let of = |errno, reason| Error::with_reason(Call::Move, errno, reason);
        for expected in [
            of(libc::EBUSY, REASON_CPUS),
            of(libc::EBUSY, REASON_BUSY),
            of(libc::EIO, REASON_LOST_WRITE),
        ] {
            assert!(!is_unexpected(&expected), "{expected}");
        }
        // CPUs that are offline come back by nobody's patience.
        for unexpected in [
            of(libc::EINVAL, REASON_CPUS),
            of(libc::EOPNOTSUPP, REASON_NO_RTM),
            of(libc::EBUSY, REASON_STUCK),
        ] {
            assert!(is_unexpected(&unexpected), "{unexpected}");
        }
    }

    #[test]
    fn only_what_the_machine_can_not_do_is_an_answer() {
        let no_rtm = Error::with_reason(Call::Experiment, libc::EOPNOTSUPP, REASON_NO_RTM);
        assert_eq!(
            refused::<()>(no_rtm).unwrap(),
            Trial::Refused(REASON_NO_RTM)
        );
        assert!(refused::<()>(Error::new(Call::Experiment, libc::EPERM)).is_err());
    }
}
