// SPDX-License-Identifier: GPL-2.0
//! The traffic: DMAs in both directions all the time, of one device or of several that
//! share the pages. Each lane goes round and round:
//!
//! | state | what happens |
//! | --- | --- |
//! | idle | the CPU writes a new version of some blocks into source pages |
//! | out | the device reads them into its store |
//! | ready | other pages are checked once more and then poisoned |
//! | back | the device writes blocks of the store into these pages |
//! | idle | they are compared with what the blocks hold, byte by byte |
//!
//! A lane has a place of its own in the store, unless the traffic roams: then each
//! transfer goes to blocks anywhere, and half of those that come back are others than
//! the lane has written itself.
//!
//! Pages keep what they hold, and are checked at random and before they are
//! used again: a loss that shows late is found too.
//!
//! *Hands off*: no CPU touches a page. The device reads pages as they are and writes blocks over
//! others; what each has to hold is known all the same, and compared by somebody else.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::guest::port::Port;
use crate::ledger::account::Account;
use crate::ledger::medium::Medium;
use crate::ledger::payload::Content;
use crate::ledger::Ledger;
use pagemove_devices::device::{Completion, Direction, DmaDevice, Transfer};
use pagemove_testkit::random::Random;

/// Out of so many transfers one is longer than a page.
const LONG_ONE_IN: usize = 8;

#[derive(Clone, Copy, Debug)]
pub enum State {
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

pub struct Lane {
    pub port: usize,
    /// Names its transfers to the device.
    pub tag: u16,
    pub state: State,
    pub since: Instant,
    pub pages: usize,
    /// The first block that it works on.
    pub block: usize,
    pub version: u64,
    /// What the source pages hold, and held before that.
    pub sent: Vec<Content>,
    pub source_before: Vec<Content>,
}

/// Tells how traffic goes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    /// Blocks of each store that transfers roam over; 0: they do not.
    pub roam: usize,
    /// Out of so many transfers one is longer than a page.
    pub long_one_in: usize,
    /// So many transfers are prepared before the device is told of them.
    pub burst: usize,
}

impl Settings {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            roam: 0,
            long_one_in: LONG_ONE_IN,
            burst: 1,
        }
    }
}

pub struct Traffic<'a> {
    ports: Vec<Port>,
    ledger: Ledger,
    account: &'a Account,
    random: Random,
    lanes: Vec<Lane>,
    long_one_in: usize,
    burst: usize,
    version: u64,
    stopping: bool,
    hands_off: bool,
}

impl<'a> Traffic<'a> {
    pub fn new(
        devices: Vec<Box<dyn DmaDevice>>,
        ledger: Ledger,
        account: &'a Account,
        settings: Settings,
    ) -> Result<Self> {
        ensure!(ledger.pages() >= 2, "traffic needs two pages");
        let mut lanes = Vec::new();
        let mut ports = Vec::new();
        for (number, device) in devices.into_iter().enumerate() {
            ports.push(Port::new(
                number,
                device,
                &mut lanes,
                ledger.pages(),
                settings,
            )?);
        }
        if ports.iter().any(|port| port.device.limits().in_order) {
            let longest = ports.iter().map(|port| port.longest).max().unwrap_or(1);
            check_pages(ledger.pages(), lanes.len(), longest)?;
        }
        Ok(Self {
            ports,
            ledger,
            account,
            random: Random::new(settings.seed),
            lanes,
            long_one_in: settings.long_one_in.max(1),
            burst: settings.burst,
            version: 0,
            stopping: false,
            hands_off: false,
        })
    }

    /// A transfer that takes longer is lost.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.ports
            .iter_mut()
            .for_each(|port| port.timeout = timeout);
    }

    /// Does what can be done now; false if there was nothing.
    pub fn step(&mut self) -> Result<bool> {
        let mut busy = false;
        for port in 0..self.ports.len() {
            while let Some(completion) = self.ports[port].device.poll()? {
                self.complete(port, completion);
                busy = true;
            }
        }
        for number in 0..self.lanes.len() {
            busy |= match self.lanes[number].state {
                State::Idle if !self.stopping => self.send_out(number)?,
                State::Ready => self.bring_back(number)?,
                _ => false,
            };
            self.ring(true);
        }
        self.ring(busy);
        if !busy {
            self.check_timeouts()?;
        }
        self.note_depths();
        Ok(busy)
    }

    /// Tells devices of what was submitted, once a burst is there or nothing else can be done.
    fn ring(&mut self, busy: bool) {
        for port in &mut self.ports {
            if port.unrung > 0 && (!busy || port.unrung >= self.burst) {
                port.device.ring();
                port.unrung = 0;
            }
        }
    }

    /// From now on no CPU touches a page, or does again.
    pub fn set_hands_off(&mut self, hands_off: bool) {
        self.hands_off = hands_off;
    }

    /// Checks a random page.
    pub fn scrub(&mut self) {
        if self.hands_off {
            return;
        }
        self.ledger.scrub(&mut self.random, self.account);
    }

    /// Lets what is in flight come back, stops the devices and checks every
    /// page. Returns what has to be in their stores.
    pub fn finish(mut self) -> Result<Vec<Medium>> {
        self.rest()?;
        let stopped: Vec<Result<()>> = self
            .ports
            .iter_mut()
            .map(|port| port.device.stop())
            .collect();
        self.ledger.check_all(self.account);
        stopped.into_iter().collect::<Result<()>>()?;
        Ok(self.ports.into_iter().map(|port| port.medium).collect())
    }

    /// Lets what is in flight come back and checks every page; says what they have to hold.
    /// [`Traffic::go_on`] ends the rest.
    pub fn pause(&mut self) -> Result<Vec<Option<u64>>> {
        self.rest()?;
        if !self.hands_off {
            self.ledger.check_all(self.account);
        }
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

    fn length(&mut self, number: usize) -> usize {
        let longest = self.ports[self.lanes[number].port].longest;
        if longest > 1 && self.random.below(self.long_one_in) == 0 {
            return 1 + self.random.below(longest);
        }
        1
    }

    fn transfer(&mut self, number: usize, direction: Direction, first_page: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        lane.since = Instant::now();
        let port = &mut self.ports[lane.port];
        port.unrung += 1;
        port.device.submit(&Transfer {
            tag: lane.tag,
            direction,
            iova: self.ledger.iova(first_page),
            length: lane.pages * PAGE_SIZE,
            store: Medium::offset(lane.block),
        })
    }

    fn send_out(&mut self, number: usize) -> Result<bool> {
        let pages = self.length(number);
        let Some(source) = self.ledger.take(pages, &mut self.random) else {
            return Ok(false);
        };
        let port = &mut self.ports[self.lanes[number].port];
        if port.roams {
            let Some(block) = port.medium.take(pages, false, &mut self.random) else {
                self.ledger.release(source, pages);
                return Ok(false);
            };
            self.lanes[number].block = block;
        }
        self.version += 1;
        let lane = &mut self.lanes[number];
        lane.version = self.version;
        lane.pages = pages;
        lane.sent.clear();
        lane.source_before.clear();
        for index in 0..pages {
            let (content, before) = match self.hands_off {
                true => self.ledger.history(source + index),
                false => self.write_source(number, source, index),
            };
            let lane = &mut self.lanes[number];
            lane.sent.push(content);
            lane.source_before.push(before);
        }
        self.lanes[number].state = State::Out { source };
        self.transfer(number, Direction::ReadsMemory, source)?;
        Ok(true)
    }

    /// The CPU writes a new version of a block into a source page. Returns what that holds now, and
    /// what it held.
    fn write_source(&mut self, number: usize, source: usize, index: usize) -> (Content, Content) {
        self.ledger.check(
            source + index,
            &[],
            "before it is written again",
            self.account,
        );
        let lane = &self.lanes[number];
        let medium = &self.ports[lane.port].medium;
        let content = medium.next(lane.block + index, lane.version);
        (content, self.ledger.write(source + index, content))
    }

    fn bring_back(&mut self, number: usize) -> Result<bool> {
        let pages = self.lanes[number].pages;
        let Some(target) = self.ledger.take(pages, &mut self.random) else {
            return Ok(false);
        };
        self.choose_blocks(number);
        for page in (target..target + pages).filter(|_| !self.hands_off) {
            self.ledger
                .check(page, &[], "before it is poisoned", self.account);
            self.ledger.write(
                page,
                Content::Poison {
                    page: page as u32,
                    sequence: self.lanes[number].version,
                },
            );
        }
        self.lanes[number].state = State::Back { target };
        self.transfer(number, Direction::WritesMemory, target)?;
        Ok(true)
    }

    /// In traffic that roams half of the transfers bring back other blocks than went out.
    fn choose_blocks(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        let port = &mut self.ports[lane.port];
        if !port.roams || self.random.below(2) == 0 {
            return;
        }
        if let Some(block) = port.medium.take(lane.pages, true, &mut self.random) {
            port.medium.release(lane.block, lane.pages);
            lane.block = block;
        }
    }

    fn complete(&mut self, port: usize, completion: Completion) {
        let number = self.ports[port].first_lane + usize::from(completion.tag);
        let (state, pages) = (self.lanes[number].state, self.lanes[number].pages);
        if let Some(error) = completion.error {
            self.kill(number);
            self.account
                .event(format!("lane {number}, {state:?}: {error}"));
            return;
        }
        match state {
            State::Out { source } => {
                self.account.dmas_read.add(1);
                self.account.bytes_read.add(pages * PAGE_SIZE);
                self.wrote_blocks(number, source);
                self.lanes[number].state = State::Ready;
            }
            State::Back { target } => {
                self.account.dmas_written.add(1);
                self.account.bytes_written.add(pages * PAGE_SIZE);
                self.check_target(number, target);
                self.ledger.release(target, pages);
                if self.ports[port].roams {
                    self.ports[port]
                        .medium
                        .release(self.lanes[number].block, pages);
                }
                self.lanes[number].state = State::Idle;
            }
            _ => {
                self.account.unfinished.add(1);
                self.account.event(format!(
                    "lane {number}, {state:?}: a completion that nobody waits for"
                ));
                return;
            }
        }
        if let Some(counts) = self.account.devices.get(port) {
            counts.dmas.add(1);
            counts.blocks.add(pages);
        }
    }

    /// The device has read the source pages, so the blocks are what they hold.
    fn wrote_blocks(&mut self, number: usize, source: usize) {
        let lane = &self.lanes[number];
        let medium = &mut self.ports[lane.port].medium;
        let contents = lane.sent.iter().zip(&lane.source_before);
        for (index, (content, before)) in contents.enumerate() {
            if !self.hands_off {
                self.ledger.check(
                    source + index,
                    &[],
                    "after the device read it",
                    self.account,
                );
            }
            medium.wrote(lane.block + index, *content, *before);
        }
        self.ledger.release(source, lane.pages);
    }

    fn check_target(&mut self, number: usize, target: usize) {
        let lane = &self.lanes[number];
        for index in 0..lane.pages {
            let (content, older) = self.ports[lane.port].medium.expected(lane.block + index);
            self.ledger.expect(target + index, content);
            if self.hands_off {
                continue;
            }
            self.ledger.check(
                target + index,
                &older,
                "after the device wrote it",
                self.account,
            );
        }
    }

    /// A lane of which nothing comes any more. What it wrote may be there or not.
    fn kill(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        if let State::Out { .. } = lane.state {
            let medium = &mut self.ports[lane.port].medium;
            (lane.block..lane.block + lane.pages).for_each(|block| medium.forget(block));
        }
        lane.state = State::Dead;
        self.account.unfinished.add(1);
    }

    fn check_timeouts(&mut self) -> Result<()> {
        for number in 0..self.lanes.len() {
            let lane = &self.lanes[number];
            let timeout = self.ports[lane.port].timeout;
            let waits = matches!(lane.state, State::Out { .. } | State::Back { .. });
            if waits && lane.since.elapsed() > timeout {
                self.account.event(format!(
                    "lane {number}, {:?}: no completion in {timeout:?}",
                    lane.state
                ));
                self.kill(number);
            }
        }
        for port in &self.ports {
            let lanes = &self.lanes[port.first_lane..port.first_lane + port.lanes];
            let dead = lanes.iter().all(|lane| matches!(lane.state, State::Dead));
            ensure!(!dead, "no transfer comes back any more");
        }
        Ok(())
    }

    /// How many transfers the devices have had at a time.
    fn note_depths(&self) {
        for (port, counts) in self.ports.iter().zip(&self.account.devices) {
            let depth = port.device.depth_seen();
            counts.deepest.set(depth.most.into());
            counts.depth_sum.set(depth.sum);
            counts.depth_samples.set(depth.samples);
        }
    }
}

/// The lane that is next must find pages in one piece while each of the others has
/// taken some: else nobody would ever go on.
fn check_pages(pages: usize, lanes: usize, longest: usize) -> Result<()> {
    let needed = (lanes - 1) * longest + lanes * (longest - 1) + 1;
    ensure!(
        pages >= needed,
        "{lanes} transfers of {longest} pages that come back in order need {needed} pages"
    );
    Ok(())
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
