// SPDX-License-Identifier: GPL-2.0
//! What happened.

use super::Control;
use crate::abi::*;
use crate::{Call, Error};

/// Events that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub events: Vec<Event>,
    /// The number to go on with.
    pub next: u64,
    /// Events before or among these that are not remembered any more.
    pub lost: u64,
    /// The number that the next event will have.
    pub end: u64,
}

impl Control {
    /// Returns events from this number on, `capacity` at most; 0 is the oldest that is remembered. From
    /// then on poll() of [`Control::file`] waits for those that follow.
    pub fn events(&self, next: u64, capacity: usize) -> Result<Heard, Error> {
        let mut entries = vec![Event::NONE; capacity.min(MAX_EVENTS)];
        let mut events = Events {
            size: size_of::<Events>() as u32,
            entries: entries.as_mut_ptr() as u64,
            capacity: entries.len() as u32,
            next,
            ..Default::default()
        };
        // SAFETY: entries has room for capacity elements and outlives the call.
        unsafe { self.call(Call::Events, IOC_EVENTS, &mut events) }?;
        entries.truncate(events.filled as usize);
        Ok(Heard {
            events: entries,
            next: events.next,
            lost: events.lost,
            end: events.end,
        })
    }

    /// Passes over all events that there are. Returns the number of the one that comes next.
    pub fn events_from_now(&self) -> Result<u64, Error> {
        let end = self.events(0, 0)?.end;
        // One that came meanwhile is there to be read.
        Ok(self.events(end, 0)?.next)
    }
}
