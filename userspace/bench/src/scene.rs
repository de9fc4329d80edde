// SPDX-License-Identifier: GPL-2.0
//! What is measured on: a device, and memory of both kinds that it maps.

use std::sync::Arc;

use anyhow::{bail, ensure, Context, Result};
use pagemove_devices::device::Kind;
use pagemove_devices::memory::{Memory, Source};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::Assigned;
use pagemove_testkit::nodes;
use pagemove_uapi::{
    Control, MoveReport, MoveRequest, PciAddress, DRIVER, ENGINE_ADBIT, ENGINE_RTM, MOVE_NO_VERIFY,
    PAGE_SIZE,
};
use serde::Serialize;

use crate::load::Target;
use crate::watch::{Taken, Watch};

/// The kinds of memory, and where each is for the device.
pub const KINDS: [(Memories, u64); 2] = [
    (Memories::Memfd, 0x1000_0000),
    (Memories::Region, 0x2000_0000),
];

/// Bytes of one mapping: leaves of 2 MiB have room.
const PIECE: usize = 16 << 20;

/// Attempts that are made again, as the tool does it.
const RETRIES: u32 = 20;
/// Calls until a quiet span is where it shall be: editor and helper of rtm may be late.
const TRIES: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Memories {
    /// Of any VMM.
    Memfd,
    /// Of /dev/pagemove.
    Region,
}

impl Memories {
    fn source(self) -> Source {
        match self {
            Self::Memfd => Source::Memfd,
            Self::Region => Source::Pagemove,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Memfd => "memfd",
            Self::Region => "region",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Adbit,
    Rtm,
}

impl Engine {
    pub const ALL: [Self; 2] = [Self::Adbit, Self::Rtm];

    fn number(self) -> u32 {
        match self {
            Self::Adbit => ENGINE_ADBIT,
            Self::Rtm => ENGINE_RTM,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Adbit => "adbit",
            Self::Rtm => "rtm",
        }
    }
}

/// How pages are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub engine: Engine,
    pub verify: bool,
}

/// Memory of one kind, in spans: each is as long as a call, and is where it is as a whole.
pub struct Field {
    pub kind: Memories,
    pub memory: Arc<Memory>,
    iova: u64,
    spans: Vec<Span>,
}

struct Span {
    first: usize,
    pages: usize,
    node: i32,
}

/// Fields are dropped in this order: the device before its memory.
pub struct Scene {
    pub assigned: Assigned,
    pub fields: Vec<Field>,
    pub device: PciAddress,
    control: Control,
}

/// What one call did, and what it took.
#[derive(Clone, Debug)]
pub struct Done {
    pub taken: Taken,
    pub report: MoveReport,
}

impl Scene {
    /// Opens the first NVMe with memory for calls of these lengths, on node 0.
    pub fn open(lengths: &[usize]) -> Result<Self> {
        let nodes = nodes::with_memory()?;
        ensure!(nodes.len() > 1, "it takes two NUMA nodes");
        let bus = PciBus::default();
        let found = bus.find(Kind::Nvme.pci_id())?;
        let device = *found.first().context("there is no NVMe")?;
        bus.bind(device, DRIVER)?;
        let mut assigned = Assigned::open(device)?;
        let mut fields = Vec::new();
        for (kind, iova) in KINDS {
            let field = Field::new(kind, iova, lengths)?;
            assigned.map(&field.memory, PIECE)?;
            fill_pattern(&field.memory);
            fields.push(field);
        }
        Ok(Self {
            assigned,
            fields,
            device,
            control: Control::open()?,
        })
    }

    /// Moves a span of a field to the other node.
    pub fn move_span(&mut self, (field, span): (usize, usize), way: Way, watch: &Watch) -> Done {
        let target = &mut self.fields[field].spans[span];
        target.node = 1 - target.node;
        self.again((field, span), way, watch)
    }

    /// Moves what is not yet where the span shall be.
    fn again(&self, (field, span): (usize, usize), way: Way, watch: &Watch) -> Done {
        let field = &self.fields[field];
        let target = &field.spans[span];
        let request = MoveRequest {
            device: self.device,
            iova: field.iova + (target.first * PAGE_SIZE) as u64,
            length: (target.pages * PAGE_SIZE) as u64,
            node: target.node,
            engine: way.engine.number(),
            flags: if way.verify { 0 } else { MOVE_NO_VERIFY },
            retries: RETRIES,
            deadline_ns: 0,
            editor_cpu: None,
            helper_cpu: None,
        };
        let (report, taken) = watch.time(|| self.control.move_pages(&request, None));
        Done { taken, report }
    }

    /// Moves what the device has kept in its place, while it rests.
    pub fn finish(&self, at: (usize, usize), way: Way) -> Result<()> {
        let pages = self.fields[at.0].spans[at.1].pages as u64;
        for _ in 0..TRIES {
            let report = self.again(at, way, &Watch::default()).report;
            if report.error.is_none() && report.pages_moved + report.pages_there == pages {
                return Ok(());
            }
        }
        bail!("{pages} pages do not move, although the device rests")
    }
}

impl Field {
    fn new(kind: Memories, iova: u64, lengths: &[usize]) -> Result<Self> {
        let mut spans = Vec::new();
        let mut first = 0;
        for pages in lengths {
            spans.push(Span {
                first,
                pages: *pages,
                node: 0,
            });
            first += pages;
        }
        let memory = Memory::new(kind.source(), first * PAGE_SIZE, iova, Some(0))?;
        if memory.descriptor().is_some() {
            nodes::bind(memory.address() as usize, memory.length(), 0)?;
        }
        Ok(Self {
            kind,
            memory,
            iova,
            spans,
        })
    }

    /// Checks that each word is as it was written.
    pub fn check(&self) -> Result<()> {
        check_pattern(&self.memory, self.kind.name())
    }

    /// Checks that each page of a span is where it was moved to. CPUs map no page that was just moved, so
    /// that each is touched first.
    pub fn check_places(&self, span: usize) -> Result<()> {
        let span = &self.spans[span];
        for page in span.first..span.first + span.pages {
            self.memory.read_word(page * PAGE_SIZE);
        }
        let address = self.memory.address().wrapping_add(span.first * PAGE_SIZE);
        let places = nodes::of_pages(address, span.pages)?;
        let elsewhere = places.iter().filter(|node| **node != span.node).count();
        ensure!(
            elsewhere == 0,
            "{}: {elsewhere} of {} pages are not on node {}",
            self.kind.name(),
            span.pages,
            span.node
        );
        Ok(())
    }

    /// Where the device finds a span.
    pub fn target(&self, span: usize) -> Target {
        let span = &self.spans[span];
        Target {
            iova: self.iova,
            first: span.first,
            pages: span.pages,
        }
    }
}

/// What is written to a word: the same at one place of any memory, so that a device may bring back what it
/// took from there.
fn pattern(offset: usize) -> u64 {
    (offset as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub fn fill_pattern(memory: &Memory) {
    for offset in (0..memory.length()).step_by(8) {
        memory.write_word(offset, pattern(offset));
    }
}

pub fn check_pattern(memory: &Memory, name: &str) -> Result<()> {
    for offset in (0..memory.length()).step_by(8) {
        let (found, expected) = (memory.read_word(offset), pattern(offset));
        ensure!(
            found == expected,
            "{name}: {found:#x} at {offset:#x} instead of {expected:#x}"
        );
    }
    Ok(())
}
