// SPDX-License-Identifier: GPL-2.0
//! What is compared, and one measurement of it.

use std::thread;
use std::time::Duration;

use anyhow::{ensure, Result};

use crate::figure::{Figure, Spread};
use crate::iommu::Iommu;
use crate::load::Load;
use crate::plain::Plain;
use crate::scene::{Engine, Memories, Scene, Way, KINDS};
use crate::swap::Swap;
use crate::watch::{Taken, Watch};

/// Where the memory of others is for the device; the second is mapped page by page.
const WHOLE: u64 = 0x4000_0000;
const PIECES: u64 = 0x6000_0000;
/// Where a page is unmapped that nobody uses.
const SPARE: u64 = 0x8000_0000;
/// How long it is watched while nothing moves.
const STILL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Pagemove {
        field: usize,
        way: Way,
    },
    /// Unmap, copy and map, of all pages at a time.
    VfioOnce,
    /// The same page by page.
    VfioEach,
    /// The same in the kernel.
    Iommu,
    /// move_pages(2), of memory that no device maps.
    Linux,
    /// A copy, and one flush.
    Floor,
    /// Nothing moves.
    Still,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Pagemove { way, .. } => way.engine.name(),
            Self::VfioOnce => "vfio-once",
            Self::VfioEach => "vfio-each",
            Self::Iommu => "iommu-each",
            Self::Linux => "move_pages",
            Self::Floor => "copy-flush",
            Self::Still => "still",
        }
    }

    /// Returns whether a device may work on the pages, or at least before and after.
    fn may_be_busy(self) -> bool {
        matches!(
            self,
            Self::Pagemove { .. } | Self::VfioOnce | Self::VfioEach | Self::Still
        )
    }

    /// Returns whether a second CPU takes part.
    fn has_helper(self) -> bool {
        matches!(self, Self::Pagemove { way, .. } if way.engine == Engine::Rtm)
    }
}

/// One line of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub method: Method,
    pub span: usize,
    pub pages: usize,
    pub busy: bool,
}

/// All measurements of a cell.
#[derive(Default)]
pub struct Samples {
    /// Of each page moved.
    pub ns: Vec<f64>,
    pub gap_ns: Vec<f64>,
    pub instructions: Vec<f64>,
    pub asked: u64,
    pub moved: u64,
    pub aborts: u64,
}

/// Everything there is to be measured on. Fields are dropped in this order: the device before all memory.
pub struct Bench {
    load: Load,
    pub scene: Scene,
    whole: Swap,
    pieces: Swap,
    plain: Vec<Plain>,
    iommu: Iommu,
}

/// Returns all cells for calls of these lengths.
pub fn all(lengths: &[usize]) -> Vec<Cell> {
    let ways = Engine::ALL.into_iter().flat_map(|engine| {
        [true, false]
            .into_iter()
            .map(move |verify| Way { engine, verify })
    });
    let mut methods: Vec<Method> = ways
        .flat_map(|way| (0..KINDS.len()).map(move |field| Method::Pagemove { field, way }))
        .collect();
    methods.extend([
        Method::VfioOnce,
        Method::VfioEach,
        Method::Iommu,
        Method::Linux,
        Method::Floor,
    ]);
    let mut cells = Vec::new();
    for busy in [false, true] {
        for method in methods
            .iter()
            .filter(|method| !busy || method.may_be_busy())
        {
            cells.extend(lengths.iter().enumerate().map(|(span, pages)| Cell {
                method: *method,
                span,
                pages: *pages,
                busy,
            }));
        }
    }
    let still = lengths.len() - 1;
    cells.push(Cell {
        method: Method::Still,
        span: still,
        pages: lengths[still],
        busy: true,
    });
    cells
}

impl Bench {
    pub fn open(lengths: &[usize]) -> Result<Self> {
        let mut scene = Scene::open(lengths)?;
        let whole = Swap::new(&scene.assigned, WHOLE, lengths, None)?;
        let pieces = Swap::new(&scene.assigned, PIECES, lengths, Some(1))?;
        let plain = lengths.iter().map(|pages| Plain::new(*pages));
        Ok(Self {
            plain: plain.collect::<Result<_>>()?,
            iommu: Iommu::load(scene.device)?,
            load: Load::start(&mut scene.assigned)?,
            scene,
            whole,
            pieces,
        })
    }

    /// Measures once.
    pub fn measure(&mut self, cell: &Cell, watch: &Watch, samples: &mut Samples) -> Result<()> {
        let taken = match cell.method {
            Method::Pagemove { field, way } => {
                return self.pagemove(cell, (field, way), watch, samples)
            }
            Method::Still => return self.still(cell, samples),
            Method::VfioOnce | Method::VfioEach if cell.busy => self.stopped(cell, samples)?,
            Method::VfioOnce => self
                .whole
                .exchange(&self.scene.assigned, cell.span, watch)?,
            Method::VfioEach => self
                .pieces
                .exchange(&self.scene.assigned, cell.span, watch)?,
            Method::Iommu => self.iommu.exchange(self.pieces.target(cell.span), watch)?,
            Method::Linux => self.plain[cell.span].exchange(watch)?,
            Method::Floor => self
                .whole
                .floor(&self.scene.assigned, cell.span, SPARE, watch)?,
        };
        samples.add(cell, &taken, cell.pages as u64);
        Ok(())
    }

    fn pagemove(
        &mut self,
        cell: &Cell,
        (field, way): (usize, Way),
        watch: &Watch,
        samples: &mut Samples,
    ) -> Result<()> {
        let at = (field, cell.span);
        if cell.busy {
            self.load.work(self.scene.fields[field].target(cell.span))?;
            self.load.begin_gap();
        }
        let done = self.scene.move_span(at, way, watch);
        if cell.busy {
            samples.gap_ns.push(self.load.end_gap()? as f64);
            self.load.rest()?;
        }
        samples.add(cell, &done.taken, done.report.pages_moved);
        samples.aborts += done.report.aborts.iter().sum::<u64>();
        if done.report.pages_moved < cell.pages as u64 {
            ensure!(
                cell.busy || cell.method.has_helper(),
                "{cell:?}: {:?}",
                done.report
            );
            self.scene.finish(at, way)?;
        }
        self.scene.fields[field].check_places(cell.span)
    }

    /// The device has to rest while VFIO does it, as nobody could tell it which pages it must not touch.
    fn stopped(&mut self, cell: &Cell, samples: &mut Samples) -> Result<Taken> {
        let swap = match cell.method {
            Method::VfioOnce => &mut self.whole,
            _ => &mut self.pieces,
        };
        let target = swap.target(cell.span);
        self.load.work(target)?;
        self.load.begin_gap();
        self.load.rest()?;
        let taken = swap.exchange(&self.scene.assigned, cell.span, &Watch::default())?;
        self.load.work(target)?;
        samples.gap_ns.push(self.load.end_gap()? as f64);
        self.load.rest()?;
        Ok(taken)
    }

    fn still(&mut self, cell: &Cell, samples: &mut Samples) -> Result<()> {
        self.load.work(self.scene.fields[0].target(cell.span))?;
        self.load.begin_gap();
        thread::sleep(STILL);
        samples.gap_ns.push(self.load.end_gap()? as f64);
        self.load.rest()
    }

    /// Checks every word of all memory.
    pub fn check(&self) -> Result<()> {
        for field in &self.scene.fields {
            field.check()?;
        }
        self.whole.check()?;
        self.pieces.check()?;
        self.plain.iter().try_for_each(Plain::check)
    }
}

impl Samples {
    fn add(&mut self, cell: &Cell, taken: &Taken, moved: u64) {
        self.asked += cell.pages as u64;
        self.moved += moved;
        match &taken.count {
            Some(count) => {
                let kernel = count.of_kernel(cell.method.has_helper());
                let each = (kernel + count.user) as f64 / cell.pages as f64;
                self.instructions.push(each);
            }
            // What moved nothing has no time for a page.
            None if moved > 0 => self.ns.push(taken.ns as f64 / moved as f64),
            None => {}
        }
    }

    pub fn figure(&self, cell: &Cell) -> Figure {
        let share = |n: u64| n as f64 / (self.asked.max(1)) as f64;
        let (memory, verify) = match cell.method {
            Method::Pagemove { field, way } => (Some(KINDS[field].0), Some(way.verify)),
            _ => (None, None),
        };
        Figure {
            method: cell.method.name(),
            memory: memory.map(Memories::name),
            verify,
            pages: cell.pages,
            busy: cell.busy,
            ns: Spread::of(self.ns.iter().copied()),
            instructions: Spread::of(self.instructions.iter().copied()),
            gap_ns: Spread::of(self.gap_ns.iter().copied()),
            moved: share(self.moved),
            aborts: share(self.aborts),
        }
    }
}
