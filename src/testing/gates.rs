// SPDX-License-Identifier: GPL-2.0
//! Calls that builds for tests hold up until others are there, so that the two do meet.

use crate::host::task;
use crate::testing::bug::{has_bug, injects, Bug};
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::prelude::*;

/// How long somebody is waited for at most.
const LONGEST_NS: u64 = 60_000_000_000;
/// How long calls of VFIO's are held up.
#[cfg(pagemove_test)]
const HOLD_NS: u64 = 15_000_000_000;

/// Waits until something is so, or for so long.
fn wait_until(longest_ns: u64, is_so: impl Fn() -> bool) {
    const POLL_NS: u64 = 1_000_000;
    let until = task::now().saturating_add(longest_ns);
    while !is_so() && task::now() < until {
        task::sleep(POLL_NS);
    }
}

/// How many devices have been seen in a container since they were opened.
static JOINED: AtomicU64 = AtomicU64::new(0);

/// Holds the first batch up that knows how it will be moved, if asked to: until it is asked to end, as by a device that is
/// opened, and then for longer than that is ready to wait before it asks. A device that does not
/// ask lets it go on.
pub(crate) fn hold_batch_up(is_asked: impl Fn() -> bool) {
    const LATE_NS: u64 = 500_000_000;
    static BATCHES: AtomicU64 = AtomicU64::new(0);
    let is_unawaited = has_bug(Bug::JoinUnawaited);
    let asked = injects(49) || is_unawaited;
    if !asked || BATCHES.fetch_add(1, Ordering::Relaxed) != 0 {
        return;
    }
    let joined = JOINED.load(Ordering::Relaxed);
    let has_joined = || is_unawaited && JOINED.load(Ordering::Relaxed) != joined;
    pr_info!("a batch waits for a device to be opened\n");
    wait_until(LONGEST_NS, || is_asked() || has_joined());
    if is_asked() {
        task::sleep(LATE_NS);
    }
}

/// Holds those up that may pin pages, if asked to, the first two of them: the others have to wait for them.
pub(crate) fn hold_pinning_up() {
    let asked = || injects(53) || has_bug(Bug::PatientPin) || has_bug(Bug::PatientErrand);
    hold_first_up(2, asked, "a batch is about to pin its pages");
}

/// Holds the first call up that unpins pages, if asked to.
pub(crate) fn hold_unpin_up() {
    hold_first_up(1, || injects(91), "a batch is about to unpin its pages");
}

/// Holds so many calls up, the first ones of all that there are where this is asked for. (A counter would stay in what
/// is shipped: who calls this is generic.)
fn hold_first_up(most: u64, is_asked: impl FnOnce() -> bool, text: &str) {
    #[cfg(pagemove_test)]
    {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        if is_asked() && CALLS.fetch_add(1, Ordering::Relaxed) < most {
            pr_info!("{text}\n");
            task::sleep(HOLD_NS);
        }
    }
    #[cfg(not(pagemove_test))]
    let _ = (most, is_asked, text);
}

/// Holds a chunk up that has its table and is still known by its leaf, if asked to, until VFIO wants it back.
pub(crate) fn hold_split_up(is_cancelled: impl Fn() -> bool) {
    if injects(72) || has_bug(Bug::SplitUnawaited) {
        pr_info!("a chunk has its table\n");
        wait_until(LONGEST_NS, is_cancelled);
    }
}

/// Lets batches go that wait so, when a device is used.
pub(crate) fn let_batches_go() {
    if has_bug(Bug::JoinUnawaited) {
        JOINED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Holds calls up that have found a lost write, before it is held against anybody, if asked to: until three calls of
/// the domain have found theirs.
pub(crate) fn hold_blame_up() {
    const CALLS: u64 = 3;
    static FOUND: AtomicU64 = AtomicU64::new(0);
    if !injects(36) && !has_bug(Bug::BlameEach) {
        return;
    }
    FOUND.fetch_add(1, Ordering::SeqCst);
    wait_until(LONGEST_NS, || FOUND.load(Ordering::SeqCst) >= CALLS);
}

/// How many calls know how they unpin.
static ENDING: AtomicU64 = AtomicU64::new(0);
/// As many as may call VFIO at a time.
const MOST_ENDING: u64 = 3;

fn shall_crowd() -> bool {
    injects(62) || has_bug(Bug::PatientUnpin)
}

/// Holds the first batch up that has pinned its pages, if asked to: until so many others are about to unpin
/// that it has to wait for them. The last of those is the second, since none pins while two call VFIO.
pub(crate) fn await_ends() {
    static PINNED: AtomicU64 = AtomicU64::new(0);
    if !shall_crowd() {
        return;
    }
    let wanted = match PINNED.fetch_add(1, Ordering::Relaxed) {
        0 => MOST_ENDING,
        1 => MOST_ENDING - 1,
        _ => return,
    };
    pr_info!("a batch waits for others to end\n");
    wait_until(LONGEST_NS, || ENDING.load(Ordering::SeqCst) >= wanted);
}

/// Holds those up that may unpin pages, if asked to, the first of them: until another knows that it does not have
/// to wait for them.
pub(crate) fn hold_end_up() {
    const HELD_NS: u64 = 40_000_000_000;
    if !shall_crowd() || ENDING.fetch_add(1, Ordering::SeqCst) >= MOST_ENDING {
        return;
    }
    wait_until(HELD_NS, || ENDING.load(Ordering::SeqCst) > MOST_ENDING);
}

/// How far the last close of a container is, and a look at a slot of it: if they shall meet.
static MEETING: AtomicU64 = AtomicU64::new(0);
const WAITS: u64 = 1;
const CLOSED: u64 = 2;
const LOOKED: u64 = 3;
const APART: u64 = 4;

/// Waits until the two are so far, if asked to.
fn await_meeting(stage: u64) {
    wait_until(LONGEST_NS, || MEETING.load(Ordering::SeqCst) >= stage);
}

pub(super) fn shall_meet() -> bool {
    injects(60) || has_bug(Bug::LateHold)
}

/// Holds a look at a slot up that knows its container, until that is closed but for the last step.
pub(crate) fn hold_look_up() {
    if shall_meet() && MEETING.load(Ordering::SeqCst) < APART {
        MEETING.fetch_max(WAITS, Ordering::SeqCst);
        pr_info!("a look at a slot waits for a close\n");
        await_meeting(CLOSED);
    }
}

/// Keeps its hold, if it has one, until the close has gone on.
pub(crate) fn keep_look<T>(hold: T) -> T {
    if shall_meet() {
        MEETING.fetch_max(LOOKED, Ordering::SeqCst);
        await_meeting(APART);
    }
    hold
}

/// Lets such a look, if one waits, have its hold before a close goes on, that has waited for all: `has_one` tells of it.
pub(crate) fn meet_look(has_one: impl FnOnce() -> bool) {
    if shall_meet() && MEETING.load(Ordering::SeqCst) == WAITS {
        MEETING.fetch_max(CLOSED, Ordering::SeqCst);
        await_meeting(LOOKED);
        pr_info!("a look at a slot and a close have met\n");
        if has_one() {
            pr_err!("a hold outlives its device\n");
        }
        MEETING.fetch_max(APART, Ordering::SeqCst);
    }
}

/// Keeps a helper awake that could sleep, if asked to, until it is wanted: it wakes again and again, whether its CPU is
/// there or not. Returns whether it did.
pub(crate) fn be_restless(is_wanted: impl Fn() -> bool) -> bool {
    let asked = has_bug(Bug::Restless);
    if asked {
        wait_until(LONGEST_NS, is_wanted);
    }
    asked
}
