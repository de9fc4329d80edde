// SPDX-License-Identifier: GPL-2.0
//! Two simulated hosts: kernels, memory, a device that writes all the time, a guest that is
//! on one of them, and a judge that sees everything.
//!
//! A judge's complaint is a violation: something that no order of deaths may lead to.

pub mod chaos;
mod kernels;
mod operator;
pub mod pipe;

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use kernels::{KernelA, KernelB};
pub use operator::Operator;

use crate::span::PAGE;

/// Where the guest's CPUs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    A,
    B,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

/// The agent of a side dies in its n-th call to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    pub side: Side,
    pub call: u64,
    /// The call did what it was for.
    pub after: bool,
}

#[derive(Clone, Debug, Default)]
struct FrameB {
    bytes: u64,
    page: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct PageB {
    frame: Option<usize>,
    offered: bool,
    awaited: bool,
}

#[derive(Debug)]
pub struct State {
    /// Where A's page is: the offset in the aperture, or at home.
    out: Vec<Option<u64>>,
    home: Vec<u64>,
    frames: Vec<FrameB>,
    pages: Vec<PageB>,
    /// What was written last to each page.
    ledger: Vec<u64>,
    writes: u64,
    random: u64,
    pub guest: Guest,
    pub region_gone: bool,
    /// One attempt of this many at a page is aborted; 0: none is.
    pub aborts_one_in: u64,
    /// Attempts that are still to be aborted, by page.
    pub hot: BTreeMap<u32, u32>,
    /// Calls that move nothing yet, for the helper of A's kernel does not get its CPU.
    pub absent_calls: u32,
    /// Pages that the device is known to use most.
    pub busy_pages: Vec<u32>,
    /// Pages that the device does not map, and that the guest does not see.
    pub holes: BTreeSet<u32>,
    pub calls: [u64; 2],
    pub death: Option<Death>,
    pub dead: bool,
    /// Pages in the order in which they went out.
    pub order: Vec<u32>,
    /// Pages that came home when a CPU on A touched them.
    pub came_home: u32,
    waiting: BTreeMap<u32, u64>,
    wants: u64,
    clock_ns: u64,
    pub hooks: Vec<(Side, &'static str)>,
    pub failing_hook: Option<(Side, &'static str)>,
    pub violations: Vec<String>,
}

/// Both hosts. Each kernel has a handle of its own.
#[derive(Debug)]
pub struct World {
    state: Mutex<State>,
}

impl World {
    /// Makes `pages` of A, and frames of B in an order that is not theirs.
    pub fn new(pages: u32, seed: u64) -> Self {
        let count = pages as usize;
        let mut state = State {
            out: vec![None; count],
            home: (0..count as u64).map(|page| page << 32).collect(),
            frames: vec![FrameB::default(); count + 8],
            pages: vec![PageB::default(); count],
            ledger: (0..count as u64).map(|page| page << 32).collect(),
            writes: 0,
            random: seed | 1,
            guest: Guest::A,
            region_gone: false,
            aborts_one_in: 0,
            hot: BTreeMap::new(),
            absent_calls: 0,
            busy_pages: Vec::new(),
            holes: BTreeSet::new(),
            calls: [0; 2],
            death: None,
            dead: false,
            order: Vec::new(),
            came_home: 0,
            waiting: BTreeMap::new(),
            wants: 0,
            clock_ns: 1,
            hooks: Vec::new(),
            failing_hook: None,
            violations: Vec::new(),
        };
        state.work();
        Self {
            state: Mutex::new(state),
        }
    }

    pub fn a(&self) -> KernelA<'_> {
        KernelA(self)
    }

    pub fn b(&self) -> KernelB<'_> {
        KernelB(self)
    }

    pub fn operator(&self, side: Side) -> Operator<'_> {
        Operator { world: self, side }
    }

    /// Puts another agent in the place of the one that died.
    pub fn revive(&self) {
        let mut state = self.state();
        state.death = None;
        state.dead = false;
        state.calls = [0; 2];
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that every page is in its frame on B, and nobody waits.
    pub fn check_out(&self) -> Vec<String> {
        let state = self.state();
        let mut wrong = state.accounts();
        for (page, out) in state.out.iter().enumerate() {
            if out.is_none() != state.holes.contains(&(page as u32)) {
                wrong.push(format!("page {page} is at home, or out of a hole"));
            }
            if state.pages[page].awaited {
                wrong.push(format!("page {page} is awaited"));
            }
        }
        if state.guest != Guest::B {
            wrong.push(format!("the guest is at {:?}", state.guest));
        }
        wrong
    }

    /// Checks that every page is home, and nothing is offered.
    pub fn check_home(&self) -> Vec<String> {
        let state = self.state();
        let mut wrong = state.accounts();
        for (page, out) in state.out.iter().enumerate() {
            if out.is_some() {
                wrong.push(format!("page {page} is out"));
            }
            if state.pages[page].offered {
                wrong.push(format!("page {page} is offered"));
            }
        }
        if state.guest != Guest::A {
            wrong.push(format!("the guest is at {:?}", state.guest));
        }
        wrong
    }

    /// Checks that each page is in exactly one place and holds what was written last, whatever
    /// happened.
    pub fn check_always(&self) -> Vec<String> {
        self.state().accounts()
    }
}

impl State {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below.max(1)
    }

    fn frame_at(offset: u64) -> usize {
        (offset / PAGE) as usize
    }

    /// Returns what A's map shows of a page: the truth for its device.
    fn read_a(&self, page: usize) -> u64 {
        match self.out[page] {
            Some(offset) => self.frames[Self::frame_at(offset)].bytes,
            None => self.home[page],
        }
    }

    fn write_a(&mut self, page: usize, bytes: u64) {
        match self.out[page] {
            Some(offset) => self.frames[Self::frame_at(offset)].bytes = bytes,
            None => self.home[page] = bytes,
        }
        self.ledger[page] = bytes;
    }

    /// Lets time pass: the device writes some pages, and the guest on B looks at one.
    fn work(&mut self) {
        self.clock_ns += 1000;
        for _ in 0..3 {
            let page = self.random(self.out.len() as u64) as usize;
            if self.holes.contains(&(page as u32)) {
                continue;
            }
            self.writes += 1;
            let bytes = (page as u64) << 32 | self.writes;
            self.write_a(page, bytes);
        }
        let page = self.random(self.out.len() as u64) as u32;
        match self.guest {
            _ if self.holes.contains(&page) => {}
            Guest::A => self.touch_on_a(page),
            Guest::B => self.touch(page),
            Guest::Stopped => {}
        }
    }

    /// Notes that a kernel was asked to do something with a page, which none does with one in a hole.
    fn asked(&mut self, page: u32) {
        if self.holes.contains(&page) {
            self.violation(format!(
                "a kernel was asked for page {page}, which is in a hole"
            ));
        }
    }

    /// Lets a CPU on A look at a page: it comes home first.
    fn touch_on_a(&mut self, page: u32) {
        let index = page as usize;
        if self.out[index].is_some() {
            self.home[index] = self.read_a(index);
            self.out[index] = None;
            self.came_home += 1;
        }
    }

    /// Lets a CPU on B look at a page: it waits, or it has to see the truth.
    pub fn touch(&mut self, page: u32) {
        let index = page as usize;
        let it = &self.pages[index];
        if it.awaited {
            if let Entry::Vacant(first) = self.waiting.entry(page) {
                first.insert(self.clock_ns);
                self.wants += 1;
            }
            return;
        }
        let seen = it.frame.map(|frame| self.frames[frame].bytes);
        if seen != Some(self.ledger[index]) {
            self.violation(format!("a CPU on B saw page {page} before it had come"));
        }
    }

    fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    /// Counts a call of a side; true: the agent dies now, `after` or before it took effect.
    fn dies(&mut self, side: Side, after: bool) -> bool {
        let index = side as usize;
        if !after {
            self.calls[index] += 1;
            self.work();
        }
        let now = Death {
            side,
            call: self.calls[index],
            after,
        };
        self.dead |= self.death == Some(now);
        self.dead && self.death.is_some_and(|death| death.side == side)
    }

    fn accounts(&self) -> Vec<String> {
        let mut wrong = self.violations.clone();
        let mut holders = BTreeMap::new();
        for (page, out) in self.out.iter().enumerate() {
            if self.read_a(page) != self.ledger[page] {
                wrong.push(format!("page {page} has lost a write"));
            }
            let Some(offset) = out else { continue };
            let frame = Self::frame_at(*offset);
            if let Some(other) = holders.insert(frame, page) {
                wrong.push(format!("pages {other} and {page} are in one frame"));
            }
            if self.pages[page].frame != Some(frame) {
                wrong.push(format!("page {page} is in a frame that is not its own"));
            }
            if !self.pages[page].offered && !self.region_gone {
                wrong.push(format!("page {page} is in a frame that is not offered"));
            }
        }
        wrong
    }
}
