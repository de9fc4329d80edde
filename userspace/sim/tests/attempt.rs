// SPDX-License-Identifier: GPL-2.0
//! The simulated attempt itself, against times counted by hand.

use engine::rtm::{Sample, Times};
use sim::timing::{attempt, Draw};

/// Phase 1 takes 300 ticks, phase 2 takes 1200.
const DRAW: Draw = Draw {
    setup: 50,
    handshake: 100,
    phase1: 200,
    invalidate: 1000,
    copy: 200,
    line: 10,
    hazard: 1_000_000,
};

/// Signal 1 at 400; slots at 1500, 1600 and so on, the last at 1900.
const TIMES: Times = Times {
    lead: 400,
    first_slot: 1100,
    interval: 100,
    slots: 5,
};

/// Done at 1600 after signal 1 at 400.
const COMMITTED: Sample = Sample::Committed {
    phase1: Some(300),
    phase2: 1200,
};

#[test]
fn the_editor_commits_at_the_first_slot_that_it_finds_set() {
    // The helper is done at 1600, which is in slot 1: it sets 2, 3 and 4 until 1630.
    let ending = attempt(&TIMES, &DRAW);
    assert_eq!(ending.sample, COMMITTED);
    assert_eq!(ending.ticks, 50 + 1700 + 10);
}

#[test]
fn a_helper_that_is_early_sets_all_slots() {
    let ending = attempt(
        &Times {
            first_slot: 1210,
            ..TIMES
        },
        &DRAW,
    );
    assert_eq!(ending.sample, COMMITTED);
    // It sets five slots until 1650 and says so until 1660.
    assert_eq!(ending.ticks, 50 + 1660);
    let ending = attempt(
        &Times {
            first_slot: 1300,
            ..TIMES
        },
        &DRAW,
    );
    assert_eq!(ending.ticks, 50 + 1710);
}

#[test]
fn a_slot_written_after_it_was_read_aborts() {
    // Done at 1695, slot 2 is read at 1700 and written at 1705.
    let draw = Draw {
        invalidate: 1095,
        ..DRAW
    };
    let ending = attempt(&TIMES, &draw);
    assert_eq!(ending.sample, Sample::Raced { phase2: 1295 });
    // The helper sets 2, 3 and 4 until 1725, and is heard until 1735.
    assert_eq!(ending.ticks, 50 + 1735);
    // The twin: five ticks earlier it is written in time.
    let ending = attempt(
        &TIMES,
        &Draw {
            invalidate: 1090,
            ..DRAW
        },
    );
    assert_eq!(
        ending.sample,
        Sample::Committed {
            phase1: Some(300),
            phase2: 1290
        }
    );
}

#[test]
fn no_slot_set_is_a_timeout_and_waits_for_the_helper() {
    let draw = Draw {
        invalidate: 2000,
        ..DRAW
    };
    let ending = attempt(&TIMES, &draw);
    assert_eq!(ending.sample, Sample::Timeout { phase2: 2200 });
    assert_eq!(ending.ticks, 50 + 2600 + 10);
}

#[test]
fn a_late_editor_stops_the_helper_between_its_parts() {
    let late = |phase1: u64| attempt(&TIMES, &Draw { phase1, ..DRAW });
    // Late at 500: the invalidation that began at 400 ends at 1400, then it stops.
    assert_eq!(late(400).sample, Sample::Late { phase1: 500 });
    assert_eq!(late(400).ticks, 50 + 1410);
    // Late at 1500, while it copies; the copy ends at 1600.
    assert_eq!(late(1400).ticks, 50 + 1610);
    // Late after everything: it has set its slots at 1630 long ago.
    assert_eq!(late(4900).ticks, 50 + 5000);
    // The twin: in time by a tick.
    assert_eq!(
        late(300).sample,
        Sample::Committed {
            phase1: Some(400),
            phase2: 1200
        }
    );
}

#[test]
fn an_interrupt_ends_any_phase() {
    let hit = |hazard: u64| attempt(&TIMES, &Draw { hazard, ..DRAW });
    // At 150, in phase 1: the helper sees it at 160 and is heard at 170.
    assert_eq!((hit(50).sample, hit(50).ticks), (Sample::Other, 50 + 170));
    // At 600, in the invalidation.
    assert_eq!(
        (hit(500).sample, hit(500).ticks),
        (Sample::Other, 50 + 1410)
    );
    // At 1705, between the slot that was found set and the commit.
    assert_eq!(
        (hit(1605).sample, hit(1605).ticks),
        (Sample::Other, 50 + 1705)
    );
    // After the commit it is no matter.
    assert_eq!(hit(1620).sample, COMMITTED);
}
