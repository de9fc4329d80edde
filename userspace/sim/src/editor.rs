// SPDX-License-Identifier: GPL-2.0
//! The world as the editor's CPU sees it.

use crate::config::{Glue, Home, BASE_TICKS};
use crate::cpu::{Tx, Why};
use crate::mail::{Flight, Mail};
use crate::memory::{address, entry_of, locate, page_of_entry, page_of_iova, Place, Words};
use crate::{World, PAGES, WORDS};
use engine::rtm::{
    Committed, Edit, Editing, Ending, Measured, Plan, Report, Request, Schedule, Status, Times,
};
use engine::{
    ApertureError, Checksum, InvalidateError, LeafSize, Machine, PageMove, PageSpan, PageState,
    PhysAddr, PteAddr, Stop, Transfer,
};
use std::ops::Range;

impl Transfer for World {
    const PARTS: u32 = WORDS as u32;
    const PIECES: u16 = PAGES as u16;

    fn invalidate(&mut self, span: PageSpan) {
        self.queue_invalidation(span);
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        self.poll_invalidation()
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, part: u32, sum: Checksum) -> Checksum {
        let ((place, page), word) = (locate(from), part as usize);
        if part == 0 {
            self.copied_at[page] = self.links;
        }
        if self.config.hardware.home != Home::Memory {
            self.pushes_dmas(page);
        }
        let mut words = *self.memory.page(place, page);
        if self.config.hardware.home != Home::Memory && !self.link_up {
            words = DOWN;
        }
        let value = words[word];
        self.engine_writes(to);
        if !self.config.hardware.aperture {
            self.memory.end[page][word] = value;
        } else if self.link_up {
            self.memory.posted[page][word] = Some(value);
        }
        if self.config.without.contains(Glue::SUM_ONCE) {
            return sum_of(Checksum::new(), &words[..=word]);
        }
        sum.add(u64::from(value))
    }

    fn publish(&mut self, _: PhysAddr, end: PhysAddr, size: LeafSize) -> Result<(), ApertureError> {
        let without = self.config.without;
        let pages = pages_at(end, size);
        let cut = |page: usize| self.copied_at[page] != self.links;
        let cut = pages.clone().any(cut) && !without.contains(Glue::STEADY_LINK);
        let is_home = self.config.hardware.home != Home::Memory;
        let other = is_home && self.peer_is_other && !without.contains(Glue::IDENTITY);
        if !self.link_up || cut || other {
            return Err(ApertureError::Silent);
        }
        if pages.clone().any(|page| self.has_changed(page)) {
            return Err(ApertureError::Late);
        }
        pages.for_each(|page| self.memory.land_all(page));
        Ok(())
    }
}

impl Machine for World {
    fn now(&mut self) -> u64 {
        match self.config.policy.deadline {
            Some(_) => self.read_clock(),
            None => 0,
        }
    }

    fn stop(&mut self) -> Option<Stop> {
        self.told |= self.stopped;
        if self.stuck {
            return Some(Stop::Unmapping);
        }
        self.stopped.then_some(Stop::Signal)
    }

    fn is_held(&mut self, n: usize) -> bool {
        !self.used[n]
    }

    fn hold_cpus(&mut self, _: &[PageMove]) {
        self.cpu_held = true;
    }

    fn release_cpus(&mut self, pages: &[PageMove]) {
        self.cpu_held = false;
        for page in pages {
            self.cpu_maps[page_of_iova(page.iova)] = match page.maps_end() {
                true => Place::End,
                false => Place::Start,
            };
        }
    }

    fn load(&mut self, pte: PteAddr) -> u64 {
        self.entries[page_of_entry(pte.0)]
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        let page = page_of_entry(pte.0);
        if self.entries[page] != old {
            return Err(self.entries[page]);
        }
        self.entries[page] = new;
        self.entry_changed(page, old);
        Ok(())
    }

    fn sum(&mut self, memory: PhysAddr, size: LeafSize) -> Checksum {
        let (place, _) = locate(memory);
        let pages = pages_at(memory, size);
        pages.fold(Checksum::new(), |sum, page| {
            sum_of(sum, &self.read_page(place, page))
        })
    }

    fn is_unreachable(&mut self, memory: PhysAddr, size: LeafSize, _: Checksum) -> bool {
        let (place, _) = locate(memory);
        let is_behind = place == Place::Start && self.config.hardware.home != Home::Memory;
        let cut = |page: usize| self.copied_at[page] != self.links;
        let cut = !self.link_up || pages_at(memory, size).any(cut);
        is_behind && cut && !self.config.without.contains(Glue::UNREACHABLE)
    }

    fn back_off(&mut self, _: u64) {}
}

/// Lists the pages of what begins there.
fn pages_at(memory: PhysAddr, size: LeafSize) -> Range<usize> {
    let (_, first) = locate(memory);
    match size {
        LeafSize::Page => first..first + 1,
        LeafSize::Chunk => first..first + PAGES,
    }
}

impl World {
    /// Whether a second read of START through the window, after a pause, is not the copy.
    fn has_changed(&mut self, page: usize) -> bool {
        let without = self.config.without;
        if self.config.hardware.home != Home::Paused || without.contains(Glue::SECOND_READ) {
            return false;
        }
        if !without.contains(Glue::PAUSE) {
            (0..WORDS).for_each(|word| self.land_dma(page, word));
        }
        self.memory.start[page] != self.memory.end[page]
    }

    /// What a CPU reads. Reading through the window pushes what was posted before.
    fn read_page(&mut self, place: Place, page: usize) -> Words {
        if place == Place::End && self.link_up {
            self.memory.land_all(page);
        }
        if place == Place::Start && self.link_up {
            self.pushes_dmas(page);
        }
        if place == Place::Start && self.config.hardware.home != Home::Memory && !self.link_up {
            return DOWN;
        }
        *self.memory.page(place, page)
    }

    /// The editor's clock; a reading past the deadline is remembered.
    pub(crate) fn read_clock(&mut self) -> u64 {
        self.late |= self
            .config
            .policy
            .deadline
            .is_some_and(|at| self.clock > at);
        self.clock
    }
}

impl Editing for World {
    fn ticks(&mut self) -> u64 {
        self.read_clock()
    }

    fn ticks_at(&mut self, ns: u64) -> u64 {
        ns
    }

    /// The origin of the clock is arbitrary: it begins anew with each attempt, so
    /// that attempts which differ only in when they begin are one.
    fn times(&mut self, _: LeafSize) -> Times {
        if self.config.policy.deadline.is_none() {
            self.clock = BASE_TICKS;
        }
        self.clock_runs = true;
        self.config.times
    }

    fn skew(&mut self) -> u64 {
        self.config.margin
    }

    fn learn(&mut self, _: LeafSize, _: Result<(), Status>, _: Measured) {
        self.clock_runs = self.config.policy.deadline.is_some();
        self.edits = [Edit::NONE; PAGES];
    }

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
        let (_, page) = locate(start);
        assert_eq!(end, address(Place::End, page));
        assert_eq!(entry_of(page), PteAddr(self.edits[usize::from(n)].entry));
        self.mail.pages[usize::from(n)] = page;
    }

    fn post(&mut self, request: Request) {
        self.why = Why::Nothing;
        self.mail = Mail {
            generation: self.mail.generation + 1,
            request: Some(request),
            fresh: true,
            pages: self.mail.pages,
            ..Mail::default()
        };
    }

    fn is_ready(&mut self) -> bool {
        self.mail.ready
    }

    fn cancel(&mut self) {
        self.mail.cancelled = true;
    }

    /// A helper that does not come back is given up, unless it is past its invalidation.
    fn report(&mut self) -> Option<Report> {
        let Some(report) = self.mail.report else {
            let flying =
                self.mail.flight == Flight::Flying || self.config.without.contains(Glue::ABANDON);
            if !self.impatient || !flying {
                return None;
            }
            self.mail.flight = Flight::Abandoned;
            self.stuck = true;
            return Some(Report {
                ending: Ending::Invalidation(InvalidateError::Failed),
                phase2: 0,
            });
        };
        self.mail = Mail {
            generation: self.mail.generation,
            pages: self.mail.pages,
            sums: self.mail.sums,
            ..Mail::default()
        };
        Some(report)
    }

    fn sum_of(&mut self, n: u16) -> Checksum {
        self.mail.sums[usize::from(n)]
    }

    fn transact(&mut self, edits: u16, schedule: &Schedule) -> Option<Result<Committed, Status>> {
        let mut steps = self.tx.get_or_insert_with(Tx::new).steps;
        let all = self.edits;
        let config = self.config.clone();
        let plan = Plan {
            edits: &all[..usize::from(edits)],
            schedule,
            generation: u64::from(self.mail.generation),
            without: config.policy.without,
        };
        let end = steps.step(&plan, self);
        match (&end, &mut self.tx) {
            (None, Some(tx)) => tx.steps = steps,
            _ => self.tx = None,
        }
        end
    }
}

/// What a link that is down gives: all ones.
const DOWN: [u8; WORDS] = [u8::MAX; WORDS];

fn sum_of(before: Checksum, words: &[u8]) -> Checksum {
    words
        .iter()
        .fold(before, |sum, word| sum.add(u64::from(*word)))
}

/// Whether every page is in a final state.
pub fn is_final(pages: &[PageMove]) -> bool {
    let open = |page: &PageMove| {
        matches!(
            page.state(),
            PageState::Planned { .. }
                | PageState::Cleared { .. }
                | PageState::Copied { .. }
                | PageState::Committed { .. }
                | PageState::Reverted { .. }
        )
    };
    !pages.iter().any(open)
}
