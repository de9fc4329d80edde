// SPDX-License-Identifier: GPL-2.0
//! A batch on a machine that costs nothing: what is left is what the engine does to
//! plan a batch, and to account for it.

use engine::rtm::{
    Code, Committed, Edit, Editing, Editor, Ending, Measured, Phase, Report, Request, Schedule,
    Status, Times,
};
use engine::{
    AbortCounts, ApertureError, Checksum, Engine, Format, InvalidateError, Iova, Job, LeafSize,
    Machine, PageMove, PageSpan, PhysAddr, Policy, PteAddr, Stop, Transfer,
};

/// Pages of the largest batch.
pub const PAGES: usize = 512;

const START: u64 = 0x1_0000_0000;
const END: u64 = 0x2_0000_0000;
const TABLE: u64 = 0x9000;
/// Present, writable, accessed, dirty.
const FLAGS: u64 = 0x63;

/// Memory of a machine, and nothing around it.
pub struct Memory {
    entries: Box<[u64; PAGES]>,
    edits: Box<[Edit; PAGES]>,
    pages: Box<[(PhysAddr, PhysAddr); PAGES]>,
    sums: Box<[Checksum; PAGES]>,
    clock: u64,
    request: Option<Request>,
    /// How the transaction ends.
    pub commits: bool,
}

impl Memory {
    pub fn new() -> Self {
        Self {
            entries: Box::new(std::array::from_fn(|n| (START + n as u64 * 4096) | FLAGS)),
            edits: Box::new([Edit::NONE; PAGES]),
            pages: Box::new([(PhysAddr(0), PhysAddr(0)); PAGES]),
            sums: Box::new(std::array::from_fn(|n| Checksum::new().add(n as u64))),
            clock: 0,
            request: None,
            commits: true,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The pages of a batch of which nothing was tried.
pub fn pages() -> Vec<PageMove> {
    let page = |n: u64| {
        let at = n * 4096;
        PageMove::new(
            Iova(0x40_0000 + at),
            PteAddr(TABLE + n * 8),
            Format::X86_64,
            PhysAddr(START + at),
            PhysAddr(END + at),
        )
    };
    (0..PAGES as u64).map(page).collect()
}

/// An attempt from its first step to where its outcome is in every page. The steps
/// that would wait for the hardware are done at once by [`Memory`].
pub fn plan_and_settle(
    memory: &mut Memory,
    policy: &Policy,
    pages: &mut [PageMove],
) -> AbortCounts {
    let mut aborts = AbortCounts::default();
    let mut job = Job {
        policy,
        pages,
        aborts: &mut aborts,
    };
    let mut editor = Editor::new();
    while !matches!(editor.phase(), Phase::Finish(_) | Phase::Done) {
        editor.step(memory, &mut job);
    }
    aborts
}

impl Transfer for Memory {
    fn invalidate(&mut self, _: PageSpan) {}

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        Some(Ok(()))
    }

    fn copy(&mut self, _: PhysAddr, _: PhysAddr, _: u32, sum: Checksum) -> Checksum {
        sum
    }

    fn publish(&mut self, _: PhysAddr, _: PhysAddr, _: LeafSize) -> Result<(), ApertureError> {
        Ok(())
    }
}

fn number(pte: PteAddr) -> usize {
    (pte.0 - TABLE) as usize / 8
}

impl Machine for Memory {
    fn now(&mut self) -> u64 {
        self.clock
    }

    fn stop(&mut self) -> Option<Stop> {
        None
    }

    fn hold_cpus(&mut self, _: &[PageMove]) {}

    fn release_cpus(&mut self, _: &[PageMove]) {}

    fn load(&mut self, pte: PteAddr) -> u64 {
        self.entries[number(pte)]
    }

    fn swap(&mut self, pte: PteAddr, _: u64, new: u64) -> Result<(), u64> {
        self.entries[number(pte)] = new;
        Ok(())
    }

    #[cfg(feature = "mutants")]
    fn store(&mut self, pte: PteAddr, new: u64) {
        self.entries[number(pte)] = new;
    }

    fn sum(&mut self, _: PhysAddr, _: LeafSize) -> Checksum {
        Checksum::new()
    }

    fn back_off(&mut self, _: u64) {}
}

impl Editing for Memory {
    fn ticks(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn ticks_at(&mut self, ns: u64) -> u64 {
        ns
    }

    fn times(&mut self, _: LeafSize) -> Times {
        Times {
            lead: 1000,
            first_slot: 1000,
            interval: 100,
            slots: 64,
        }
    }

    fn skew(&mut self) -> u64 {
        10
    }

    fn learn(&mut self, _: LeafSize, _: Result<(), Status>, _: Measured) {}

    fn entry_address(&mut self, pte: PteAddr) -> u64 {
        pte.0
    }

    fn watch_address(&mut self, page: PhysAddr) -> u64 {
        page.0
    }

    fn put_edit(&mut self, n: u16, edit: Edit) {
        self.edits[usize::from(n)] = edit;
    }

    fn put_page(&mut self, n: u16, start: PhysAddr, end: PhysAddr) {
        self.pages[usize::from(n)] = (start, end);
    }

    fn post(&mut self, request: Request) {
        self.request = Some(request);
    }

    fn is_ready(&mut self) -> bool {
        self.request.is_some()
    }

    fn cancel(&mut self) {}

    fn report(&mut self) -> Option<Report> {
        Some(Report {
            ending: Ending::Signalled,
            phase2: 100,
        })
    }

    fn sum_of(&mut self, n: u16) -> Checksum {
        self.sums[usize::from(n)]
    }

    fn transact(&mut self, _: u16, schedule: &Schedule) -> Option<Result<Committed, Status>> {
        Some(match self.commits {
            true => Ok(Committed {
                phase1: schedule.late,
            }),
            false => Err(Status::explicit(Code::Timeout)),
        })
    }
}
