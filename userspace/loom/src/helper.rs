// SPDX-License-Identifier: GPL-2.0
//! The helper.

use crate::desk::{value, Desk, Weakened, CANCELLED, SIGNALLED};
use crate::world::{pause, yield_now};
use engine::rtm::{Command, Generation, Orderings};

/// Does what is posted until it is told to stop. Returns how many attempts it found
/// cancelled.
pub fn help<O: Orderings>(desk: &Desk<O>, weakened: Weakened) -> u64 {
    let mut cancelled = 0;
    loop {
        match desk.mailbox.posted() {
            None => pause(),
            Some(Command::Stop) => return cancelled,
            Some(Command::Attempt(generation)) => {
                let report = attempt(desk, weakened, generation);
                cancelled += u64::from(report == CANCELLED);
                desk.report.set(report);
                desk.mailbox.report(generation);
            }
        }
    }
}

/// Makes one attempt, and returns how it ended.
fn attempt<O: Orderings>(desk: &Desk<O>, weakened: Weakened, generation: Generation) -> u64 {
    let count = desk.count.get();
    desk.watching.set(generation.get());
    desk.mailbox.ready(generation);
    if desk.mailbox.is_cancelled(generation) {
        return CANCELLED;
    }
    if weakened.early {
        signal(desk, generation, count);
    }
    if weakened
        .pause
        .is_some_and(|every| generation.get() % every == 0)
    {
        yield_now();
    }
    let mut sum = 0u64;
    for (n, (start, end)) in (0..).zip(desk.start.iter().zip(&desk.end)) {
        let word = start.get();
        assert_eq!(word, value(generation, n), "START is not what was posted");
        end.set(word);
        sum = sum.wrapping_add(word);
    }
    desk.sum.set(sum);
    signal(desk, generation, count);
    SIGNALLED
}

/// It takes the editor to have come to slot 0.
fn signal<O: Orderings>(desk: &Desk<O>, generation: Generation, count: u64) {
    for n in 1..count {
        desk.slots.set(n, generation);
    }
}
