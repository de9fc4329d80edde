// SPDX-License-Identifier: GPL-2.0
//! The storm: DMAs in both directions all the time. Each lane has a place in
//! the device's store and goes round and round:
//!
//! | state | what happens |
//! | --- | --- |
//! | idle | the CPU writes a payload with a new sequence number into source pages |
//! | out | the device reads them into the lane's store |
//! | ready | other pages are checked once more and then poisoned |
//! | back | the device writes the store into these pages |
//! | idle | they are compared with the payload, byte by byte |
//!
//! Pages keep what they hold, and are checked at random and before they are
//! used again: a loss that shows late is found too.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::account::Account;
use crate::device::{Completion, Direction, DmaDevice, Transfer};
use crate::ledger::Ledger;
use crate::payload::Content;
use crate::random::Random;

/// Out of so many transfers one is longer than a page.
const LONG_ONE_IN: usize = 8;

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Out {
        source: usize,
    },
    Ready,
    Back {
        target: usize,
    },
    /// Its transfer failed or never came back: its pages stay taken.
    Dead,
}

struct Lane {
    state: State,
    since: Instant,
    sequence: u64,
    pages: usize,
    /// What the source pages held before the payload.
    source_before: Vec<Content>,
}

pub struct Storm<'a> {
    device: Box<dyn DmaDevice>,
    timeout: Duration,
    ledger: Ledger,
    account: &'a Account,
    random: Random,
    lanes: Vec<Lane>,
    /// Bytes of the store that each lane has.
    lane_store: usize,
    sequence: u64,
    stopping: bool,
}

impl<'a> Storm<'a> {
    pub fn new(
        device: Box<dyn DmaDevice>,
        ledger: Ledger,
        account: &'a Account,
        seed: u64,
    ) -> Result<Self> {
        let limits = device.limits();
        let lanes = usize::from(limits.depth).min((limits.store / PAGE_SIZE as u64) as usize);
        ensure!(lanes > 0, "the device has no store");
        ensure!(ledger.pages() >= 2, "a storm needs two pages");
        let share = limits.store / lanes as u64 / PAGE_SIZE as u64 * PAGE_SIZE as u64;
        let lane_store = share.min(limits.max_length as u64) as usize;
        if limits.in_order {
            check_pages(ledger.pages(), lanes, lane_store / PAGE_SIZE)?;
        }
        let lane = || Lane {
            state: State::Idle,
            since: Instant::now(),
            sequence: 0,
            pages: 0,
            source_before: Vec::new(),
        };
        Ok(Self {
            device,
            timeout: Duration::from_secs(limits.timeout_s),
            ledger,
            account,
            random: Random::new(seed),
            lanes: (0..lanes).map(|_| lane()).collect(),
            lane_store,
            sequence: 0,
            stopping: false,
        })
    }

    /// A transfer that takes longer is lost.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Does what can be done now; false if there was nothing.
    pub fn step(&mut self) -> Result<bool> {
        let mut busy = false;
        while let Some(completion) = self.device.poll()? {
            self.complete(completion);
            busy = true;
        }
        for number in 0..self.lanes.len() {
            busy |= match self.lanes[number].state {
                State::Idle if !self.stopping => self.send_out(number)?,
                State::Ready => self.bring_back(number)?,
                _ => false,
            };
        }
        if !busy {
            self.check_timeouts()?;
        }
        Ok(busy)
    }

    /// Checks a random page.
    pub fn scrub(&mut self) {
        self.ledger.scrub(&mut self.random, self.account);
    }

    /// Lets what is in flight come back, stops the device and checks every
    /// page.
    pub fn finish(&mut self) -> Result<()> {
        self.rest()?;
        let stopped = self.device.stop();
        self.ledger.check_all(self.account);
        stopped
    }

    /// Lets what is in flight come back and checks every page; says what they have to hold.
    /// [`Storm::go_on`] ends the rest.
    pub fn pause(&mut self) -> Result<Vec<Option<u64>>> {
        self.rest()?;
        self.ledger.check_all(self.account);
        Ok(self.ledger.digests())
    }

    pub fn go_on(&mut self) {
        self.stopping = false;
    }

    fn rest(&mut self) -> Result<()> {
        self.stopping = true;
        while self
            .lanes
            .iter()
            .any(|lane| !matches!(lane.state, State::Idle | State::Dead))
        {
            if !self.step()? {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// The device is gone: gives back what is known of the pages. Those that it wrote
    /// to at that time may hold either; those that it read are as they were.
    pub fn abandon(mut self) -> Ledger {
        for lane in &self.lanes {
            if let State::Out { source } = lane.state {
                self.ledger.release(source, lane.pages);
            }
        }
        self.ledger
    }

    fn length(&mut self) -> usize {
        let longest = longest(self.ledger.pages(), self.lane_store / PAGE_SIZE);
        if longest > 1 && self.random.below(LONG_ONE_IN) == 0 {
            return 1 + self.random.below(longest);
        }
        1
    }

    fn transfer(&mut self, number: usize, direction: Direction, first_page: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        lane.since = Instant::now();
        self.device.submit(&Transfer {
            tag: number as u16,
            direction,
            iova: self.ledger.iova(first_page),
            length: lane.pages * PAGE_SIZE,
            store: (number * self.lane_store) as u64,
        })
    }

    fn send_out(&mut self, number: usize) -> Result<bool> {
        let pages = self.length();
        let Some(source) = self.ledger.take(pages, &mut self.random) else {
            return Ok(false);
        };
        self.sequence += 1;
        let lane = &mut self.lanes[number];
        lane.sequence = self.sequence;
        lane.pages = pages;
        lane.source_before.clear();
        for block in 0..pages {
            self.ledger.check(
                source + block,
                Content::Unknown,
                "before it is written again",
                self.account,
            );
            let content = payload(number, block, self.sequence);
            lane.source_before
                .push(self.ledger.write(source + block, content));
        }
        lane.state = State::Out { source };
        self.transfer(number, Direction::ReadsMemory, source)?;
        Ok(true)
    }

    fn bring_back(&mut self, number: usize) -> Result<bool> {
        let pages = self.lanes[number].pages;
        let Some(target) = self.ledger.take(pages, &mut self.random) else {
            return Ok(false);
        };
        for page in target..target + pages {
            self.ledger.check(
                page,
                Content::Unknown,
                "before it is poisoned",
                self.account,
            );
            self.ledger.write(
                page,
                Content::Poison {
                    page: page as u32,
                    sequence: self.lanes[number].sequence,
                },
            );
        }
        self.lanes[number].state = State::Back { target };
        self.transfer(number, Direction::WritesMemory, target)?;
        Ok(true)
    }

    fn complete(&mut self, completion: Completion) {
        let number = usize::from(completion.tag);
        let (state, pages) = (self.lanes[number].state, self.lanes[number].pages);
        if let Some(error) = completion.error {
            self.lanes[number].state = State::Dead;
            self.account.unfinished.add(1);
            self.account
                .event(format!("lane {number}, {state:?}: {error}"));
            return;
        }
        match state {
            State::Out { source } => {
                self.account.dmas_read.add(1);
                self.account.bytes_read.add(pages * PAGE_SIZE);
                for page in source..source + pages {
                    self.ledger.check(
                        page,
                        Content::Unknown,
                        "after the device read it",
                        self.account,
                    );
                }
                self.ledger.release(source, pages);
                self.lanes[number].state = State::Ready;
            }
            State::Back { target } => {
                self.account.dmas_written.add(1);
                self.account.bytes_written.add(pages * PAGE_SIZE);
                self.check_target(number, target);
                self.ledger.release(target, pages);
                self.lanes[number].state = State::Idle;
            }
            _ => {
                self.account.unfinished.add(1);
                self.account.event(format!(
                    "lane {number}, {state:?}: a completion that nobody waits for"
                ));
            }
        }
    }

    fn check_target(&mut self, number: usize, target: usize) {
        for block in 0..self.lanes[number].pages {
            let lane = &self.lanes[number];
            let source_before = lane.source_before[block];
            self.ledger
                .expect(target + block, payload(number, block, lane.sequence));
            self.ledger.check(
                target + block,
                source_before,
                "after the device wrote it",
                self.account,
            );
        }
    }

    fn check_timeouts(&mut self) -> Result<()> {
        let timeout = self.timeout;
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let waits = matches!(lane.state, State::Out { .. } | State::Back { .. });
            if waits && lane.since.elapsed() > timeout {
                self.account.unfinished.add(1);
                self.account.event(format!(
                    "lane {number}, {:?}: no completion in {timeout:?}",
                    lane.state
                ));
                lane.state = State::Dead;
            }
        }
        let dead = self
            .lanes
            .iter()
            .all(|lane| matches!(lane.state, State::Dead));
        ensure!(!dead, "no transfer comes back any more");
        Ok(())
    }
}

/// Pages of the longest transfer.
fn longest(pages: usize, store: usize) -> usize {
    store.min(pages / 4).max(1)
}

/// The lane that is next must find pages in one piece while each of the others has
/// taken some: else nobody would ever go on.
fn check_pages(pages: usize, lanes: usize, store: usize) -> Result<()> {
    let longest = longest(pages, store);
    let needed = (lanes - 1) * longest + lanes * (longest - 1) + 1;
    ensure!(
        pages >= needed,
        "{lanes} transfers of {longest} pages that come back in order need {needed} pages"
    );
    Ok(())
}

fn payload(lane: usize, block: usize, sequence: u64) -> Content {
    Content::Payload {
        buffer: lane as u32,
        block: block as u32,
        sequence,
    }
}

#[cfg(test)]
#[path = "storm_tests.rs"]
mod tests;
