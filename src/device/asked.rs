// SPDX-License-Identifier: GPL-2.0
//! Spans that VFIO is about to unmap: how often it has called for each, and that no hold begins there.
//!
//! VFIO counts for itself, in the thread that unmaps and for one mapping after another, and says nothing. So
//! these counts are kept by thread. They begin with a thread's first call, begin anew with each other span, and end when the
//! thread returns to its program (`shim/vfio.c`). VFIO calls each device
//! of the container in turn. One that was opened meanwhile comes first and does not know of calls
//! before, so that the count that it is told may be one less than VFIO's.

use crate::device::vdev::Vdev;
use crate::host::task;
use engine::PageSpan;
use kernel::prelude::*;

/// The call from which on one does not return before all pins are given up. VFIO calls 11 times for a mapping that
/// has pins, and then stops the host (facts.md F17); the count may be one less than VFIO's.
pub(super) const LAST_CALL: u32 = 10;
/// Threads that there is room for from the beginning.
const USUAL: usize = 16;
/// Devices that are told apart.
const MOST_DEVICES: usize = 8;

/// The threads that unmap in a container.
pub(super) struct Asked(KVec<Calls>);

/// VFIO's calls for a span by a thread.
struct Calls {
    task: usize,
    span: PageSpan,
    /// How many have begun.
    count: u32,
    /// Which devices were called, and in which call last.
    devices: [Option<(Vdev, u32)>; MOST_DEVICES],
    /// One is under way.
    is_in: bool,
}

impl Calls {
    fn new(task: usize, span: PageSpan, device: Vdev) -> Self {
        let mut devices = [None; MOST_DEVICES];
        if let Some(first) = devices.first_mut() {
            *first = Some((device, 1));
        }
        Self {
            task,
            span,
            count: 1,
            devices,
            is_in: true,
        }
    }

    /// Counts a call of a device: one that was called before in this call of VFIO's begins the next. So may
    /// one that was not there at the first: a call too many does less harm than one too few.
    fn count(&mut self, device: Vdev) -> u32 {
        let is_first = self.count == 1;
        let known = self.devices.iter_mut().flatten();
        let mut of_it = known.filter(|(other, _)| *other == device);
        if let Some((_, at)) = of_it.next() {
            self.count = self.count.saturating_add(u32::from(*at == self.count));
            *at = self.count;
            return self.count;
        }
        self.count = self.count.saturating_add(u32::from(!is_first));
        if let Some(free) = self.devices.iter_mut().find(|known| known.is_none()) {
            *free = Some((device, self.count));
        }
        self.count
    }
}

impl Asked {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(KVec::with_capacity(USUAL, GFP_KERNEL)?))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether the caller is unmapping in the container already.
    pub(super) fn knows_caller(&mut self) -> bool {
        self.of_caller().is_some()
    }

    fn of_caller(&mut self) -> Option<&mut Calls> {
        let task = task::id();
        self.0.iter_mut().find(|calls| calls.task == task)
    }

    /// Makes room for a caller.
    pub(super) fn make_room(&mut self) -> Result {
        Ok(self.0.reserve(1, GFP_KERNEL)?)
    }

    /// Notes that VFIO calls a device for a span. Returns how often it has.
    pub(super) fn begin(&mut self, span: PageSpan, device: Vdev) -> u32 {
        match self.of_caller() {
            Some(calls) if calls.span == span => {
                calls.is_in = true;
                return calls.count(device);
            }
            Some(calls) => *calls = Calls::new(calls.task, span, device),
            None => {
                let calls = Calls::new(task::id(), span, device);
                // There is room.
                let _ = self.0.push_within_capacity(calls);
            }
        }
        1
    }

    /// Notes that the caller's call is over.
    pub(super) fn end(&mut self) {
        if let Some(calls) = self.of_caller() {
            calls.is_in = false;
        }
    }

    /// Notes that the caller unmaps no more.
    pub(super) fn forget(&mut self) {
        let task = task::id();
        self.0.retain(|calls| calls.task != task);
    }

    /// Tells whether a hold may begin in a span.
    pub(super) fn admits(&self, span: PageSpan) -> bool {
        !self.0.iter().any(|calls| calls.span.overlaps(span))
    }

    /// Tells whether a call is under way that does not return before all pins are given up.
    pub(super) fn has_last(&self) -> bool {
        let is_last = |calls: &Calls| calls.is_in && calls.count >= LAST_CALL;
        self.0.iter().any(is_last)
    }

    /// Notes that a device is being closed.
    pub(super) fn part(&mut self, device: Vdev) {
        for calls in &mut self.0 {
            for known in &mut calls.devices {
                *known = known.filter(|(other, _)| *other != device);
            }
        }
    }

    /// Returns the spans, those first for which a call is under way.
    pub(super) fn spans(&self) -> impl Iterator<Item = PageSpan> + '_ {
        let of = |is_in| self.0.iter().filter(move |calls| calls.is_in == is_in);
        Iterator::chain(of(true), of(false)).map(|calls| calls.span)
    }
}
