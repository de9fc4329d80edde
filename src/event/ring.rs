// SPDX-License-Identifier: GPL-2.0
//! The last events, in room that does not grow: a new one takes the place of the oldest.

use crate::abi::{Event, MAX_EVENTS};

/// See the file's head.
pub(crate) struct Ring {
    /// Events so far: the number of the last one.
    count: u64,
    events: [Event; MAX_EVENTS],
}

/// What a look at the ring has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Events that were written to the reader's room.
    pub(crate) filled: usize,
    /// Events that were asked for and are not there any more.
    pub(crate) lost: u64,
    /// The number of the event that follows.
    pub(crate) next: u64,
}

impl Ring {
    pub(crate) const fn new() -> Self {
        Self {
            count: 0,
            events: [Event::NONE; MAX_EVENTS],
        }
    }

    /// Returns the number that the next event will have.
    pub(crate) const fn end(&self) -> u64 {
        self.count.saturating_add(1)
    }

    /// Adds an event, which gets its number.
    pub(crate) fn add(&mut self, event: Event) {
        let number = self.end();
        if let Some(place) = self.events.get_mut(place_of(number)) {
            *place = Event { number, ..event };
            self.count = number;
        }
    }

    /// Reads events from this number on, as many as there is room for.
    pub(crate) fn read(&self, from: u64, room: &mut [Event]) -> Found {
        let oldest = self.end().saturating_sub(MAX_EVENTS as u64).max(1);
        let from = from.max(1);
        let first = from.max(oldest);
        let mut found = Found {
            filled: 0,
            lost: first.saturating_sub(from),
            next: first,
        };
        for to in room {
            match self.events.get(place_of(found.next)) {
                Some(event) if found.next < self.end() => *to = *event,
                _ => break,
            }
            found.filled = found.filled.saturating_add(1);
            found.next = found.next.saturating_add(1);
        }
        found
    }
}

const fn place_of(number: u64) -> usize {
    (number % MAX_EVENTS as u64) as usize
}
