// SPDX-License-Identifier: GPL-2.0
//! Mailbox and slots between two threads of this machine: a stress, which shows less than
//! loom does, on real caches and with the real layout.

#![cfg(not(feature = "loom"))]

use engine::rtm::Shipped;
use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;
use pagemove_loom::{help, spawn, Arc, Desk, Editor, Ending, Kind, Weakened};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

const ATTEMPTS: u32 = 200_000;
/// Where others have the CPUs, too, each time that one of the two waits for the other costs a slice
/// of the scheduler's: after so long fewer attempts will do.
const LONG: Duration = Duration::from_secs(20);
const FEWEST: u32 = 2_000;

/// Leaves nothing out; has pauses, so that what goes wrong without a step does so on any machine.
const WHOLE: Weakened = Weakened {
    no_wait: None,
    stale: false,
    early: false,
    pause: Some(16),
};

/// Binds this thread to the `n`-th CPU that it may use, if there are so many: the scheduler
/// would rather let two that wait for each other take turns on one.
fn bind(n: usize) {
    let here = Pid::from_raw(0);
    let allowed = sched_getaffinity(here).unwrap();
    if let Some(cpu) = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu) == Ok(true))
        .nth(n)
    {
        let mut one = CpuSet::new();
        one.set(cpu).unwrap();
        sched_setaffinity(here, &one).unwrap();
    }
}

/// How many attempts were committed, timed out and given up; each seventh is given up.
/// `Err`: how one went wrong.
fn attempts(weakened: Weakened) -> Result<[u32; 3], String> {
    let desk = Arc::new(Desk::<Shipped>::new());
    let theirs = desk.clone();
    let helper = spawn(move || {
        bind(1);
        help(&theirs, weakened)
    });
    bind(0);
    let mut editor = Editor {
        desk: &desk,
        weakened,
        slots: 64,
        last: None,
    };
    let mut counts = [0; 3];
    let result = catch_unwind(AssertUnwindSafe(|| {
        let started = Instant::now();
        for n in 0..ATTEMPTS {
            if n >= FEWEST && started.elapsed() > LONG {
                return;
            }
            let kind = if n % 7 == 0 { Kind::GiveUp } else { Kind::Poll };
            counts[editor.attempt(kind) as usize] += 1;
        }
    }));
    editor.stop();
    helper.join().expect("the helper panicked");
    match result {
        Ok(()) => Ok(counts),
        Err(panic) => Err(panic.downcast_ref::<String>().cloned().unwrap_or_default()),
    }
}

#[test]
fn every_attempt_finds_what_was_written_for_it() {
    let started = Instant::now();
    let counts = attempts(WHOLE).unwrap();
    let made = counts.iter().sum::<u32>();
    println!(
        "committed, timed out, gave up: {counts:?} of {made} in {:?}",
        started.elapsed()
    );
    assert!(counts[Ending::Committed as usize] > 0);
    assert_eq!(counts[Ending::GaveUp as usize], made.div_ceil(7));
    assert!((FEWEST..=ATTEMPTS).contains(&made), "{made} attempts");
}

/// Twins of the test above.
fn is_noticed(weakened: Weakened) {
    let wrong = attempts(weakened).expect_err("nobody noticed");
    assert!(wrong.contains("END is not the copy"), "{wrong}");
}

#[test]
fn slots_that_are_set_before_the_copy_are_noticed() {
    is_noticed(Weakened {
        early: true,
        ..WHOLE
    });
}

#[test]
fn slots_of_an_earlier_attempt_are_noticed() {
    is_noticed(Weakened {
        stale: true,
        ..WHOLE
    });
}
