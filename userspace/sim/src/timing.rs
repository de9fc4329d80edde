// SPDX-License-Identifier: GPL-2.0
//! One attempt of the engine `rtm` in time: editor, helper, slots, cancel flag.
//!
//! It follows the protocol, not the controller's forecast. All times are TSC
//! ticks, counted from the post of the request unless said otherwise.

use engine::rtm::{Sample, Times};

/// The times that an attempt meets, in TSC ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Before the post: making warm what the transaction will touch.
    pub setup: u64,
    /// From the post until the helper has answered and the transaction begins.
    pub handshake: u64,
    /// From there to the end of phase 1, stores drained.
    pub phase1: u64,
    /// From signal 1 until the invalidation is complete.
    pub invalidate: u64,
    /// From there until END is a copy and was read back.
    pub copy: u64,
    /// A cache line from one CPU to the other.
    pub line: u64,
    /// From the begin of the transaction to an interrupt or a DMA.
    pub hazard: u64,
}

/// How an attempt ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What the two CPUs measured.
    pub sample: Sample,
    /// From the begin of the set-up until both CPUs are free for the next attempt.
    pub ticks: u64,
}

/// Plays an attempt.
pub fn attempt(times: &Times, draw: &Draw) -> Ending {
    let helper = Helper::new(times, draw);
    let (sample, at) = edit(times, draw, &helper);
    let free = match sample {
        // The helper is told to stop, and is found free when it says so.
        Sample::Late { .. } | Sample::Other => helper.stopped(at),
        // It finishes: what it measures is wanted.
        Sample::Committed { .. } | Sample::Timeout { .. } | Sample::Raced { .. } => helper.end,
    };
    Ending {
        sample,
        ticks: draw.setup + at.max(free + draw.line),
    }
}

/// The editor: what it finds, and when the transaction ends.
fn edit(times: &Times, draw: &Draw, helper: &Helper) -> (Sample, u64) {
    let phase1 = draw.handshake + draw.phase1;
    let phase2 = draw.invalidate + draw.copy;
    let hit = draw.handshake + draw.hazard;
    if hit < phase1 {
        return (Sample::Other, hit);
    }
    if phase1 > times.lead {
        return (Sample::Late { phase1 }, phase1);
    }
    // When the helper writes into a slot that has been read.
    let mut conflict: Option<u64> = None;
    let mut now = phase1;
    for slot in 0..times.slots {
        now = helper.start + u64::from(slot) * times.interval;
        if conflict.is_some_and(|at| at <= now.min(hit)) {
            return (Sample::Raced { phase2 }, conflict.unwrap_or(now));
        }
        if hit <= now {
            return (Sample::Other, hit);
        }
        match helper.writes(slot) {
            Some(written) if written <= now => {
                let commit = now + draw.line;
                if hit <= commit {
                    return (Sample::Other, hit);
                }
                return (
                    Sample::Committed {
                        phase1: Some(phase1),
                        phase2,
                    },
                    commit,
                );
            }
            Some(written) => conflict = conflict.or(Some(written)),
            None => {}
        }
    }
    (Sample::Timeout { phase2 }, now)
}

/// The helper's part, which goes by the clock alone unless it is stopped.
struct Helper {
    signal1: u64,
    invalidated: u64,
    copied: u64,
    /// After the last slot, if nobody stops it.
    end: u64,
    /// Slot 0.
    start: u64,
    /// The first slot that it sets, as it knows it when it has copied.
    first: u64,
    slots: u64,
    line: u64,
}

impl Helper {
    fn new(times: &Times, draw: &Draw) -> Self {
        let signal1 = times.lead;
        let invalidated = signal1 + draw.invalidate;
        let copied = invalidated + draw.copy;
        let start = signal1 + times.first_slot;
        // The slot of this moment may have been read: the next one.
        let first = copied
            .checked_sub(start)
            .map_or(0, |t| t / times.interval + 1);
        let slots = u64::from(times.slots);
        let end = copied + slots.saturating_sub(first) * draw.line;
        Self {
            signal1,
            invalidated,
            copied,
            end,
            start,
            first,
            slots,
            line: draw.line,
        }
    }

    /// When a slot changes, if it does.
    fn writes(&self, slot: u32) -> Option<u64> {
        let slot = u64::from(slot);
        let writes = slot >= self.first && slot < self.slots;
        writes.then(|| self.copied + (slot - self.first + 1) * self.line)
    }

    /// When it stops if the editor sets the cancel flag at `at`: it looks at it
    /// while it waits for signal 1, and after each of its parts.
    fn stopped(&self, at: u64) -> u64 {
        let seen = at + self.line;
        if seen <= self.signal1 {
            seen
        } else if seen <= self.invalidated {
            self.invalidated
        } else if seen <= self.copied {
            self.copied
        } else {
            self.end
        }
    }
}
