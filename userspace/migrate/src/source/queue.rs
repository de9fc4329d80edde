// SPDX-License-Identifier: GPL-2.0
//! In which order pages are moved: first those that a CPU waits for, then those that were
//! preferred, then those behind the last, then the rest. Pages that stayed in use come again
//! after a while.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use roaring::RoaringBitmap;

use crate::span::{next_run, Run};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Queue {
    /// Pages that may be tried now.
    ready: RoaringBitmap,
    /// Pages that wait for another attempt, by the time of it.
    resting: BTreeSet<(Duration, u32)>,
    /// When each of these comes again.
    times: HashMap<u32, Duration>,
    /// Failed attempts at a page.
    tries: HashMap<u32, u32>,
    urgent: VecDeque<u32>,
    /// The pages of `urgent`, so that one is found at once.
    is_urgent: RoaringBitmap,
    /// Tried before others.
    preferred: RoaringBitmap,
    cursor: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Pages(Run),
    /// All that is left rests for this long.
    Wait(Duration),
    Empty,
}

impl Queue {
    pub fn add(&mut self, pages: impl IntoIterator<Item = u32>) {
        self.ready.extend(pages);
    }

    /// Puts these before others that no CPU waits for.
    pub fn prefer(&mut self, pages: RoaringBitmap) {
        self.preferred = pages;
    }

    pub fn left(&self) -> u32 {
        (self.ready.len() as usize + self.resting.len()) as u32
    }

    /// How often it was tried in vain.
    pub fn tries(&self, page: u32) -> u32 {
        self.tries.get(&page).copied().unwrap_or(0)
    }

    pub fn contains(&self, page: u32) -> bool {
        self.ready.contains(page) || self.times.contains_key(&page)
    }

    /// Notes that a CPU waits for this page. Nothing changes if it has been moved.
    pub fn want(&mut self, page: u32) {
        self.wake(page);
        if self.ready.contains(page) && self.is_urgent.insert(page) {
            self.urgent.push_back(page);
        }
    }

    /// Returns the pages to try next, at most `most` of them. They stay in the queue until
    /// [`Queue::done`].
    pub fn next(&mut self, now: Duration, most: u32) -> Next {
        while let Some(&(_, page)) = self.resting.first().filter(|(at, _)| *at <= now) {
            self.wake(page);
        }
        if let Some(run) = self.next_urgent(most) {
            return Next::Pages(run);
        }
        self.preferred &= &self.ready;
        if let Some(run) = next_run(&self.preferred, 0, most) {
            // In use or not, another attempt is not before the others.
            self.preferred.remove_range(run.pages());
            return Next::Pages(run);
        }
        if let Some(run) = next_run(&self.ready, self.cursor, most) {
            self.cursor = run.end();
            return Next::Pages(run);
        }
        match self.resting.first() {
            Some((at, _)) => Next::Wait(at.saturating_sub(now)),
            None => Next::Empty,
        }
    }

    /// Returns the first page that a CPU waits for, and those behind it that CPUs wait for, too.
    fn next_urgent(&mut self, most: u32) -> Option<Run> {
        while let Some(page) = self.pop_urgent() {
            if !self.ready.contains(page) {
                continue;
            }
            let mut run = Run::new(page, 1);
            while run.count < most && self.urgent.front() == Some(&run.end()) {
                if !self.ready.contains(run.end()) {
                    break;
                }
                run.count += 1;
                self.pop_urgent();
            }
            self.cursor = run.end();
            return Some(run);
        }
        None
    }

    fn pop_urgent(&mut self) -> Option<u32> {
        let page = self.urgent.pop_front()?;
        self.is_urgent.remove(page);
        Some(page)
    }

    pub fn done(&mut self, page: u32) {
        self.wake(page);
        self.ready.remove(page);
        self.tries.remove(&page);
    }

    /// Lets a page that stayed in use rest for a while, longer from time to time.
    pub fn rest(&mut self, page: u32, now: Duration) {
        self.wake(page);
        self.ready.remove(page);
        let tries = self.tries.entry(page).or_default();
        let pause = FIRST_PAUSE * (1 << (*tries).min(10));
        *tries += 1;
        let at = now + pause.min(LONGEST_PAUSE);
        self.resting.insert((at, page));
        self.times.insert(page, at);
    }

    fn wake(&mut self, page: u32) {
        if let Some(at) = self.times.remove(&page) {
            self.resting.remove(&(at, page));
            self.ready.insert(page);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
