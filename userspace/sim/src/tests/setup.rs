// SPDX-License-Identifier: GPL-2.0
//! Worlds for the tests, and things to do to them.

use crate::iommu::Cached;
use crate::memory::{address, entry_of, iova};
use crate::monitor::{place_of, FORMAT};
use crate::*;
use engine::rtm::{Request, Schedule, Times};
use engine::{Format, InvalidateError, LeafSize, Machine, PageSpan, Policy, PAGE_SIZE};
use std::sync::Arc;

pub const A: u64 = Format::X86_64.accessed();
pub const D: u64 = Format::X86_64.dirty();

/// One page, a device without a TLB and one with, sound hardware, TLBs warm.
pub const BASE: Config = Config {
    hardware: Hardware::SOUND,
    workload: Workload {
        devices: [DeviceKind::plain(4), DeviceKind::ats(4, 4)],
        ..Workload::ONE
    },
    policy: Policy::new(0),
    times: TIMES,
    margin: 0,
    without: Glue::empty(),
};

pub const TIMES: Times = Times {
    lead: 1,
    first_slot: 1,
    interval: 1,
    slots: 2,
};

/// The device without a TLB.
pub const PLAIN: usize = 0;
/// The device with one.
pub const ATS: usize = 1;

/// [`BASE`] with a change.
pub fn world(change: impl FnOnce(&mut Config)) -> World {
    state(change).world
}

/// [`BASE`] with a change, and the engine that runs in it.
pub fn state(change: impl FnOnce(&mut Config)) -> State {
    let mut config = BASE;
    change(&mut config);
    State::new(&Arc::new(config))
}

/// Begins with nothing cached, A and D clear.
pub fn cold(config: &mut Config) {
    config.workload.warm = false;
    config.workload.accessed = false;
    config.workload.dirty = false;
}

/// What may happen now.
pub fn possible(state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    state.actions(&mut actions);
    actions
}

/// Returns a request of the editor for tests that ask the mailbox.
pub fn request(now: u64) -> Request {
    Request {
        schedule: Schedule::plan(now, TIMES, 0, u64::MAX).expect("the times fit"),
        span: span(0),
        pages: 1,
        size: LeafSize::Page,
    }
}

pub fn span(page: usize) -> PageSpan {
    PageSpan::new(iova(page), PAGE_SIZE).expect("a page")
}

impl World {
    /// Someone makes the entry map END, in one atomic step; END is a copy.
    pub fn commit_page(&mut self, page: usize) {
        self.memory.end[page] = self.memory.start[page];
        let old = self.entries[page];
        let new = FORMAT.redirected(old, address(Place::End, page), LeafSize::Page);
        assert_eq!(self.swap(entry_of(page), old, new), Ok(()));
    }

    /// A device begins an access to page 0.
    pub fn reads(&mut self, device: usize) {
        self.begin(device, 0, false, false);
    }

    /// A device begins a write to page 0.
    pub fn writes(&mut self, device: usize) {
        self.begin(device, 0, true, false);
    }

    /// What the device is at goes on until it is idle.
    pub fn lands(&mut self, device: usize) {
        while self.devices[device].op != Op::Idle {
            self.proceed(device);
        }
    }

    /// What a device will reach that has translated.
    pub fn flies_to(&self, device: usize) -> Option<Place> {
        match self.devices[device].op {
            Op::Flying { place, .. } => Some(place),
            _ => None,
        }
    }

    /// An invalidation of page 0 that the IOMMU takes at once.
    pub fn invalidates(&mut self) {
        self.queue_invalidation(span(0));
        self.evict();
    }

    /// Whether it is complete.
    pub fn is_complete(&mut self) -> bool {
        match self.poll_invalidation() {
            Some(result) => result == Ok(()),
            None => false,
        }
    }

    /// Why it failed, if it did.
    pub fn failure(&mut self) -> Option<InvalidateError> {
        self.poll_invalidation()?.err()
    }

    pub fn maps(&self, page: usize) -> Option<Place> {
        place_of(self.entries[page], page)
    }

    /// A and D of the entry of page 0.
    pub fn used(&self) -> u64 {
        self.entries[0] & (A | D)
    }

    /// Takes A and D from the entry of page 0.
    pub fn clears(&mut self) {
        self.entries[0] &= !(A | D);
    }
}

/// A cached translation.
pub fn cached(place: Place, dirty: bool) -> Option<Cached> {
    Some(Cached { place, dirty })
}
