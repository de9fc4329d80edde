// SPDX-License-Identifier: GPL-2.0
//! A machine for both engines: entries, pages of two words, a mailbox, slots, a
//! transaction that is run in single steps. It does nothing by chance; a test puts
//! in what shall go wrong. One tick is one nanosecond. `drive.rs` runs it.

use crate::rtm::*;
use crate::*;
use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

const STARTS: u64 = 0x20_0000;
const ENDS: u64 = 0x60_0000;
const ENTRIES: u64 = 0x9000;

pub(super) fn start(n: usize) -> PhysAddr {
    PhysAddr(STARTS + 0x1000 * n as u64)
}

pub(super) fn end(n: usize) -> PhysAddr {
    PhysAddr(ENDS + 0x1000 * n as u64)
}

pub(super) fn pte(n: usize) -> PteAddr {
    PteAddr(ENTRIES + 8 * n as u64)
}

fn entry_number(address: u64) -> usize {
    ((address - ENTRIES) / 8) as usize
}

pub(super) const TIMES: Times = Times {
    lead: 60,
    first_slot: 60,
    interval: 8,
    slots: 4,
};
pub(super) const SKEW: u64 = 2;
/// How long the editor waits for a helper that misses a meeting.
pub(super) const MEETING: u64 = 500;

/// What the editor's CPU has in a transaction.
#[derive(Default)]
struct Tx {
    steps: Transaction,
    stores: Vec<(u64, u64)>,
}

pub(super) struct Bench {
    pub(super) entries: Vec<u64>,
    pub(super) memory: BTreeMap<u64, [u64; 2]>,
    /// The TSC of both CPUs, and [`Machine::now`].
    pub(super) clock: u64,
    pub(super) times: Times,
    pub(super) stop: Option<Stop>,
    /// What is behind an aperture can't be reached.
    pub(super) unreachable: bool,
    /// What publishing says.
    pub(super) spoilt: Option<ApertureError>,
    /// How the next invalidations end, `None` never; all others well.
    pub(super) results: VecDeque<Option<InvalidateError>>,
    /// A write of a device to this page that lands with the next invalidation.
    pub(super) in_flight: Option<PhysAddr>,
    /// The transaction is aborted so when it comes to this.
    pub(super) aborts: Vec<(Instruction, Status)>,
    /// A walk sets these bits in an entry right before the next swap of it.
    pub(super) walk: Option<u64>,
    /// The transaction for a leaf of this size would have to last too long.
    pub(super) too_long: Option<LeafSize>,
    /// The helper's CPU is busy with something else.
    pub(super) helper_sleeps: bool,
    /// How many meetings the helper misses; each keeps the editor waiting for [`MEETING`].
    pub(super) missed: u32,

    // What was done.
    pub(super) spans: Vec<PageSpan>,
    pub(super) posts: Vec<Request>,
    pub(super) learned: Vec<(Result<(), Status>, Measured)>,
    pub(super) learned_of: Vec<LeafSize>,
    pub(super) watched: Vec<(u64, u8)>,
    pub(super) copies: Vec<(PhysAddr, u32)>,
    pub(super) set: Vec<u64>,
    pub(super) reports: Vec<Report>,
    pub(super) cancels: usize,
    pub(super) transactions: usize,
    pub(super) back_offs: Vec<u64>,
    /// When the late check was, and the helper's last look at the clock.
    pub(super) late_check: u64,
    pub(super) helper_clock: u64,

    // What the two threads share.
    edits: BTreeMap<u16, Edit>,
    pages: BTreeMap<u16, (PhysAddr, PhysAddr)>,
    sums: BTreeMap<u16, Checksum>,
    slots: [u64; MAX_SLOTS as usize],
    fresh: bool,
    ready: bool,
    cancelled: bool,
    answer: Option<Report>,
    tx: Option<Tx>,
}

impl Bench {
    /// One with these entries; START `n` has the words 10n + 1 and 10n + 2.
    pub(super) fn new(entries: &[u64]) -> Self {
        let page = |n: usize| (start(n).0, [10 * n as u64 + 1, 10 * n as u64 + 2]);
        Self {
            entries: entries.to_vec(),
            memory: (0..entries.len()).map(page).collect(),
            clock: 1000,
            times: TIMES,
            stop: None,
            unreachable: false,
            spoilt: None,
            results: VecDeque::new(),
            in_flight: None,
            aborts: Vec::new(),
            walk: None,
            too_long: None,
            helper_sleeps: false,
            missed: 0,
            spans: Vec::new(),
            posts: Vec::new(),
            learned: Vec::new(),
            learned_of: Vec::new(),
            watched: Vec::new(),
            copies: Vec::new(),
            set: Vec::new(),
            reports: Vec::new(),
            cancels: 0,
            transactions: 0,
            back_offs: Vec::new(),
            late_check: 0,
            helper_clock: 0,
            edits: BTreeMap::new(),
            pages: BTreeMap::new(),
            sums: BTreeMap::new(),
            slots: [0; MAX_SLOTS as usize],
            fresh: false,
            ready: false,
            cancelled: false,
            answer: None,
            tx: None,
        }
    }

    pub(super) fn words(&mut self, page: PhysAddr) -> &mut [u64; 2] {
        self.memory.entry(page.0).or_default()
    }

    /// Posts this as the editor would, for page 0.
    pub(super) fn request_of(&mut self, request: Request) {
        for n in 0..usize::from(request.pages) {
            self.put_page(n as u16, start(n), end(n));
        }
        self.post(request);
    }

    pub(super) fn cancel_now(&mut self) {
        self.cancelled = true;
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        self.tx.is_some()
    }
}

impl Transfer for Bench {
    const PARTS: u32 = 2;
    const PIECES: u16 = 3;

    fn invalidate(&mut self, span: PageSpan) {
        self.spans.push(span);
        if let Some(page) = self.in_flight.take() {
            self.words(page)[1] += 100;
        }
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        match self.results.front() {
            None => Some(Ok(())),
            Some(None) => None,
            Some(Some(error)) => {
                let error = *error;
                self.results.pop_front();
                Some(Err(error))
            }
        }
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, part: u32, sum: Checksum) -> Checksum {
        self.copies.push((to, part));
        let word = self.words(from)[part as usize];
        self.words(to)[part as usize] = word;
        sum.add(word)
    }

    fn publish(&mut self, _: PhysAddr, _: PhysAddr, _: LeafSize) -> Result<(), ApertureError> {
        self.spoilt.map_or(Ok(()), Err)
    }
}

impl Machine for Bench {
    fn now(&mut self) -> u64 {
        self.clock
    }

    fn stop(&mut self) -> Option<Stop> {
        self.stop
    }

    fn hold_cpus(&mut self, _: &[PageMove]) {}

    fn release_cpus(&mut self, _: &[PageMove]) {}

    fn load(&mut self, pte: PteAddr) -> u64 {
        self.entries[entry_number(pte.0)]
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        let entry = &mut self.entries[entry_number(pte.0)];
        *entry |= self.walk.take().unwrap_or(0);
        if *entry != old {
            return Err(*entry);
        }
        *entry = new;
        Ok(())
    }

    fn store(&mut self, pte: PteAddr, new: u64) {
        self.entries[entry_number(pte.0)] = new;
    }

    fn sum(&mut self, memory: PhysAddr, size: LeafSize) -> Checksum {
        let pieces = match size {
            LeafSize::Page => 1,
            LeafSize::Chunk => u64::from(Self::PIECES),
        };
        let words = (0..pieces).flat_map(|n| *self.words(PhysAddr(memory.0 + n * PAGE_SIZE)));
        words.fold(Checksum::new(), |sum, word| sum.add(word))
    }

    fn is_unreachable(&mut self, _: PhysAddr, _: LeafSize, _: Checksum) -> bool {
        self.unreachable
    }

    fn back_off(&mut self, ns: u64) {
        self.back_offs.push(ns);
        self.clock += ns;
    }
}

impl Editing for Bench {
    fn ticks(&mut self) -> u64 {
        self.clock
    }

    fn ticks_at(&mut self, ns: u64) -> u64 {
        ns
    }

    fn meet(&mut self) -> bool {
        let met = self.missed == 0;
        if !met {
            self.missed -= 1;
            self.clock += MEETING;
        }
        met
    }

    fn times(&mut self, _: LeafSize) -> Times {
        self.times
    }

    fn is_too_long(&mut self, size: LeafSize) -> bool {
        self.too_long == Some(size)
    }

    fn skew(&mut self) -> u64 {
        SKEW
    }

    fn learn(&mut self, size: LeafSize, result: Result<(), Status>, measured: Measured) {
        self.learned_of.push(size);
        self.learned.push((result, measured));
    }

    fn entry_address(&mut self, pte: PteAddr) -> u64 {
        pte.0
    }

    fn watch_address(&mut self, page: PhysAddr) -> u64 {
        page.0
    }

    fn put_edit(&mut self, n: u16, edit: Edit) {
        self.edits.insert(n, edit);
    }

    fn put_page(&mut self, n: u16, start: PhysAddr, end: PhysAddr) {
        self.pages.insert(n, (start, end));
    }

    fn post(&mut self, request: Request) {
        self.posts.push(request);
        self.fresh = true;
        self.ready = false;
        self.cancelled = false;
        self.answer = None;
    }

    fn is_ready(&mut self) -> bool {
        self.ready
    }

    fn cancel(&mut self) {
        self.cancels += 1;
        self.cancelled = true;
    }

    fn report(&mut self) -> Option<Report> {
        self.answer.take()
    }

    fn sum_of(&mut self, n: u16) -> Checksum {
        self.sums[&n]
    }

    fn transact(&mut self, edits: u16, schedule: &Schedule) -> Option<Result<Committed, Status>> {
        let mut steps = self.tx.get_or_insert_with(Tx::default).steps;
        let plan: Vec<Edit> = (0..edits).map(|n| self.edits[&n]).collect();
        let plan = Plan {
            edits: &plan,
            schedule,
            generation: self.posts.len() as u64,
            without: Steps::empty(),
        };
        let aborts = self.aborts.iter().position(|(at, _)| *at == steps.next());
        let result = match aborts {
            Some(n) => Some(Err(self.aborts.remove(n).1)),
            None => steps.step(&plan, self),
        };
        match (&result, &mut self.tx) {
            (None, Some(tx)) => tx.steps = steps,
            _ => self.tx = None,
        }
        result
    }
}

impl TransactionCpu for Bench {
    const LINES: u8 = 2;

    fn begin(&mut self) -> Result<(), Status> {
        self.transactions += 1;
        self.watched.clear();
        Ok(())
    }

    fn watch(&mut self, page: u64, line: u8) -> Result<(), Status> {
        self.watched.push((page, line));
        Ok(())
    }

    fn load(&mut self, entry: u64) -> Result<u64, Status> {
        Ok(self.entries[entry_number(entry)])
    }

    fn store(&mut self, entry: u64, new: u64) -> Result<(), Status> {
        if let Some(tx) = &mut self.tx {
            tx.stores.push((entry, new));
        }
        Ok(())
    }

    fn fence(&mut self) -> Result<(), Status> {
        Ok(())
    }

    fn ticks(&mut self) -> Result<u64, Status> {
        let checks = self
            .tx
            .as_ref()
            .is_some_and(|tx| tx.steps.next() == Instruction::LateCheck);
        if checks {
            self.late_check = self.clock;
        }
        Ok(self.clock)
    }

    fn slot(&mut self, n: u64) -> Result<u64, Status> {
        Ok(self.slots[n as usize])
    }

    fn commit(&mut self) -> Result<(), Status> {
        let stores = self.tx.take().map_or(Vec::new(), |tx| tx.stores);
        for (entry, new) in stores {
            self.entries[entry_number(entry)] = new;
        }
        Ok(())
    }

    fn abort(&mut self, code: Code) -> Status {
        Status::explicit(code)
    }
}

impl Helping for Bench {
    fn ticks(&mut self) -> u64 {
        self.helper_clock = self.clock;
        self.clock
    }

    fn request(&mut self) -> Option<Request> {
        let fresh = std::mem::take(&mut self.fresh);
        self.posts.last().copied().filter(|_| fresh)
    }

    fn ready(&mut self) {
        self.ready = true;
    }

    fn is_cancelled(&mut self) -> bool {
        self.cancelled
    }

    fn page(&mut self, n: u16) -> (PhysAddr, PhysAddr) {
        self.pages[&n]
    }

    fn put_sum(&mut self, n: u16, sum: Checksum) {
        self.sums.insert(n, sum);
    }

    fn set_slot(&mut self, n: u64) {
        self.set.push(n);
        self.slots[n as usize] = self.posts.len() as u64;
    }

    fn report(&mut self, report: Report) {
        self.reports.push(report);
        self.answer = Some(report);
    }
}
