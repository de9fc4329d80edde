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
mod tests {
    use super::*;

    fn queue(pages: std::ops::Range<u32>) -> Queue {
        let mut queue = Queue::default();
        queue.add(pages);
        queue
    }

    /// Moves all, `most` at a time, and says in which order.
    fn drain(queue: &mut Queue, most: u32) -> Vec<Run> {
        let mut order = Vec::new();
        while let Next::Pages(run) = queue.next(Duration::ZERO, most) {
            run.pages().for_each(|page| queue.done(page));
            order.push(run);
        }
        order
    }

    #[test]
    fn wanted_pages_come_first_and_their_neighbours_next() {
        let mut queue = queue(0..20);
        assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(0, 4)));
        (0..4).for_each(|page| queue.done(page));
        queue.want(11);
        queue.want(12);
        queue.want(2);
        queue.want(6);
        assert_eq!(
            drain(&mut queue, 4),
            [
                Run::new(11, 2),
                Run::new(6, 1),
                Run::new(7, 4),
                Run::new(13, 4),
                Run::new(17, 3),
                Run::new(4, 2)
            ]
        );
        assert_eq!(
            (queue.left(), queue.next(Duration::ZERO, 4)),
            (0, Next::Empty)
        );
    }

    #[test]
    fn preferred_pages_come_before_the_rest_once() {
        let mut queue = queue(0..6);
        queue.prefer(RoaringBitmap::from_iter([3, 4, 9]));
        assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(3, 2)));
        queue.want(5);
        assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(5, 1)));
        (3..6).for_each(|page| queue.done(page));
        assert_eq!(drain(&mut queue, 9), [Run::new(0, 3)]);
    }

    #[test]
    fn pages_in_use_come_again_after_longer_and_longer() {
        let mut queue = queue(5..7);
        let mut now = Duration::ZERO;
        queue.rest(5, now);
        assert_eq!(queue.next(now, 4), Next::Pages(Run::new(6, 1)));
        queue.done(6);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let Next::Wait(pause) = queue.next(now, 4) else {
                panic!("it rests")
            };
            pauses.push(pause.as_millis());
            now += pause;
            assert_eq!(queue.next(now, 4), Next::Pages(Run::new(5, 1)));
            queue.rest(5, now);
        }
        assert_eq!(pauses[..4], [10, 20, 40, 80]);
        assert_eq!(pauses[11], 1000);
        assert_eq!(queue.left(), 1);
    }

    #[test]
    fn a_wanted_page_does_not_rest() {
        let mut queue = queue(5..7);
        queue.rest(6, Duration::ZERO);
        queue.want(6);
        assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(6, 1)));
        assert_eq!(queue.left(), 2);
    }
}
