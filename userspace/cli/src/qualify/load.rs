// SPDX-License-Identifier: GPL-2.0
//! DMA all the time: every page has a transfer in flight that the device writes it with,
//! and is looked at when that is done. A write that is missing was lost.
//!
//! While pages are moved the CPU can not touch them, and soon each has had its transfer. So
//! the device also writes a page that is never moved, the ballast: behind its transfers the
//! others have to wait, and come while the move is under way.
//!
//! Where it is asked to, the device reads a page as well, by what the drivers call a look: it finds
//! there where to write something else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_devices::device::{Direction, DmaDevice, Transfer};
use pagemove_devices::memory::Slice;
use pagemove_uapi::PAGE_SIZE;

/// Transfers in flight at most; those that no page has are the ballast's.
pub const DEPTH: u16 = 24;
/// Bytes between two words that are looked at: a cache line.
const STRIDE: usize = 64;

/// Between two moves, however slow the device is.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What was seen so far.
#[derive(Debug)]
pub struct Counts {
    begin: Instant,
    stop: AtomicBool,
    dmas: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
    reads: AtomicU64,
    /// DMAs up to this time count as those that met something: ns after the beginning.
    meeting: AtomicU64,
    met: AtomicU64,
}

impl Counts {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            stop: AtomicBool::new(false),
            dmas: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            meeting: AtomicU64::new(0),
            met: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    pub fn dmas(&self) -> u64 {
        self.dmas.load(Ordering::Relaxed)
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Of the DMAs, those by which the device read a page.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Of the DMAs, those that were completed in a time of [`Counts::meet`].
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    /// Says that DMAs meet something for so long from now on.
    pub fn meet(&self, ns: u64) {
        self.meeting.store(self.now() + ns, Ordering::Relaxed);
    }

    /// Says that they don't any more, if that has not passed yet.
    pub fn part(&self) {
        self.meeting.store(0, Ordering::Relaxed);
    }

    /// Counts a transfer that the device calls complete.
    fn count(&self, arrived: bool) {
        self.lost.fetch_add(u64::from(!arrived), Ordering::Relaxed);
        let meets = self.now() < self.meeting.load(Ordering::Relaxed);
        self.met.fetch_add(u64::from(meets), Ordering::Relaxed);
        self.dmas.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the device come to full load again: a move holds back the CPU's accesses to
    /// its pages, and with them the next transfers.
    pub fn let_it_work(&self, transfers: usize) {
        let wanted = self.dmas() + transfers as u64;
        let end = Instant::now() + LONGEST_PAUSE;
        while self.dmas() < wanted && Instant::now() < end {
            std::thread::yield_now();
        }
    }
}

pub struct Load<'a> {
    device: &'a mut dyn DmaDevice,
    /// Each by itself.
    pages: Vec<Slice>,
    /// What the device writes.
    content: &'a [u64],
    timeout: Duration,
    /// Of each page: since when a transfer is in flight.
    since: Vec<Option<Instant>>,
    /// Whose turn it is.
    next: usize,
    /// Of the pages, at a time.
    most: usize,
    ballast: Ballast,
    look: Option<Look<'a>>,
}

/// A page that the device reads.
struct Look<'a> {
    page: Slice,
    /// Where it then writes.
    sink: Slice,
    /// What it writes there, to all but the first page, which may be the ballast's.
    content: &'a [u64],
    tag: u16,
    /// A transfer is in flight.
    since: Option<Instant>,
}

/// Transfers to a page that is not looked at, with the tags behind those of the pages.
struct Ballast {
    page: Slice,
    free_tags: Vec<u16>,
    /// Of them all.
    tags: usize,
    /// The last that was begun.
    since: Instant,
}

impl Look<'_> {
    /// Returns one word of each cache line of the sink that is looked at.
    fn lines(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        lines(self.content).map(|(offset, word)| (PAGE_SIZE + offset, word))
    }

    fn has_arrived(&self) -> bool {
        self.lines()
            .all(|(offset, word)| self.sink.read_word(offset) == word)
    }
}

impl Ballast {
    fn is_in_flight(&self) -> bool {
        self.free_tags.len() < self.tags
    }
}

/// Ends the load whatever happens to who asked for it.
struct Stopper<'a>(&'a Counts);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl<'a> Load<'a> {
    /// Prepares `most` transfers at a time, if the device takes as many.
    pub fn new(
        device: &'a mut dyn DmaDevice,
        pages: Vec<Slice>,
        ballast: Slice,
        content: &'a [u64],
        most: u16,
    ) -> Self {
        let limits = device.limits();
        let tags = limits.depth.min(most);
        let depth = usize::from(tags);
        Self {
            device,
            since: vec![None; pages.len()],
            ballast: Ballast {
                page: ballast,
                free_tags: (pages.len() as u16..tags).collect(),
                tags: depth.saturating_sub(pages.len()),
                since: Instant::now(),
            },
            most: depth.min(pages.len()),
            pages,
            content,
            timeout: Duration::from_secs(limits.timeout_s),
            next: 0,
            look: None,
        }
    }

    /// Has the device read a page, too, if it does one thing beside the others: what it finds there it writes to the
    /// sink, `content` from the second page on.
    pub fn reading(mut self, page: Slice, sink: Slice, content: &'a [u64]) -> Self {
        self.look = self.ballast.free_tags.pop().map(|tag| Look {
            page,
            sink,
            content,
            tag,
            since: None,
        });
        self.ballast.tags = self.ballast.free_tags.len();
        self
    }

    /// Calls `work` while DMA goes on. The counts are complete afterwards.
    pub fn during<T>(self, work: impl FnOnce(&Counts) -> Result<T>) -> Result<(T, Counts)> {
        let counts = Counts::new();
        let result = std::thread::scope(|scope| {
            let loader = scope.spawn(|| self.run(&counts));
            let result = {
                let _stopper = Stopper(&counts);
                wait_for_first(&counts, || loader.is_finished());
                work(&counts)
            };
            let loaded = loader
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that makes DMA panicked")));
            loaded.context("while the device was busy").and(result)
        })?;
        Ok((result, counts))
    }

    fn run(mut self, counts: &Counts) -> Result<()> {
        loop {
            let stopping = counts.stop.load(Ordering::Relaxed);
            let began = !stopping && self.begin()?;
            let ended = self.end_one(counts)?;
            if stopping && self.oldest().is_none() {
                return Ok(());
            }
            if !began && !ended {
                self.check_time()?;
                std::thread::yield_now();
            }
        }
    }

    /// Begins what there is room for: a read does not wait until every page has its transfer.
    fn begin(&mut self) -> Result<bool> {
        let looks = self.begin_look()?;
        Ok(self.begin_one()? || self.load_ballast()? || looks)
    }

    fn begin_one(&mut self) -> Result<bool> {
        let in_flight = self.since.iter().flatten().count();
        let pages = self.since.len();
        let free = (self.next..self.next + pages)
            .map(|page| page % pages)
            .find(|page| self.since[*page].is_none());
        let Some(page) = free.filter(|_| in_flight < self.most) else {
            return Ok(false);
        };
        self.next = (page + 1) % pages;
        // Nothing that the device writes is left.
        for (offset, word) in self.lines() {
            self.pages[page].write_word(offset, !word);
        }
        let iova = self.pages[page].iova(0);
        self.device.submit(&transfer(page as u16, iova))?;
        self.device.ring();
        self.since[page] = Some(Instant::now());
        Ok(true)
    }

    fn begin_look(&mut self) -> Result<bool> {
        let Some(look) = self.look.as_mut().filter(|look| look.since.is_none()) else {
            return Ok(false);
        };
        for (offset, word) in look.lines() {
            look.sink.write_word(offset, !word);
        }
        self.device.look(look.tag, &look.page, &look.sink)?;
        self.device.ring();
        look.since = Some(Instant::now());
        Ok(true)
    }

    fn load_ballast(&mut self) -> Result<bool> {
        let Some(tag) = self.ballast.free_tags.pop() else {
            return Ok(false);
        };
        self.device
            .submit(&transfer(tag, self.ballast.page.iova(0)))?;
        self.device.ring();
        self.ballast.since = Instant::now();
        Ok(true)
    }

    fn end_one(&mut self, counts: &Counts) -> Result<bool> {
        let Some(completion) = self.device.poll()? else {
            return Ok(false);
        };
        let page = usize::from(completion.tag);
        if completion.error.is_some() {
            counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(look) = self.look.as_mut().filter(|look| look.tag == completion.tag) {
            ensure!(
                look.since.take().is_some(),
                "the device completed a read that was not in flight"
            );
            if completion.error.is_none() {
                counts.count(look.has_arrived());
                counts.reads.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(true);
        }
        let Some(since) = self.since.get_mut(page) else {
            self.ballast.free_tags.push(completion.tag);
            return Ok(true);
        };
        ensure!(
            since.take().is_some(),
            "the device completed a transfer that was not in flight"
        );
        if completion.error.is_none() {
            let arrived = self
                .lines()
                .all(|(offset, word)| self.pages[page].read_word(offset) == word);
            counts.count(arrived);
        }
        Ok(true)
    }

    /// Returns one word of each cache line of a page, as the device writes it.
    fn lines(&self) -> impl Iterator<Item = (usize, u64)> + 'a {
        lines(self.content)
    }

    /// Returns since when the oldest transfer is in flight.
    fn oldest(&self) -> Option<Instant> {
        let ballast = self.ballast.is_in_flight().then_some(self.ballast.since);
        let look = self.look.as_ref().and_then(|look| look.since);
        self.since
            .iter()
            .copied()
            .chain([ballast, look])
            .flatten()
            .min()
    }

    fn check_time(&self) -> Result<()> {
        ensure!(
            self.oldest()
                .is_none_or(|since| since.elapsed() < self.timeout),
            "no transfer comes back any more"
        );
        Ok(())
    }
}

/// Returns one word of each cache line of a page that holds `content`.
pub fn lines(content: &[u64]) -> impl Iterator<Item = (usize, u64)> + '_ {
    let words = content.iter().copied().enumerate();
    words
        .step_by(STRIDE / 8)
        .map(|(word, value)| (word * 8, value))
}

/// Returns a transfer of one page, from the beginning of the device's store.
fn transfer(tag: u16, iova: u64) -> Transfer {
    Transfer {
        tag,
        direction: Direction::WritesMemory,
        iova,
        length: PAGE_SIZE,
        store: 0,
    }
}

/// Waits until DMA is under way, or will never be.
fn wait_for_first(counts: &Counts, over: impl Fn() -> bool) {
    while counts.dmas() == 0 && counts.errors() == 0 && !over() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
