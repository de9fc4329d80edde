// SPDX-License-Identifier: GPL-2.0
//! The schedule of an attempt: its bounds, and which slot is due.

use crate::rtm::{Schedule, Times, MAX_SLOTS};

const TIMES: Times = Times {
    lead: 100,
    first_slot: 50,
    interval: 10,
    slots: 8,
};
const SKEW: u64 = 3;

const NEVER: u64 = u64::MAX;

fn plan(times: Times) -> Option<Schedule> {
    Schedule::plan(1000, times, SKEW, NEVER)
}

#[test]
fn a_schedule_follows_from_the_post() {
    let schedule = plan(TIMES).unwrap();
    let wanted = Schedule {
        late: 1100,
        signal1: 1104,
        start: 1154,
        interval: 10,
        slots: 8,
        deadline: NEVER,
    };
    assert_eq!(schedule, wanted);
}

/// An editor in time on its clock is done before the helper begins on its own.
#[test]
fn signal_1_is_later_than_late_by_more_than_clocks_may_differ() {
    for skew in [0, 1, 1000] {
        let schedule = Schedule::plan(1000, TIMES, skew, NEVER).unwrap();
        assert!(schedule.signal1 - schedule.late > skew);
    }
}

#[test]
fn bounds_are_kept() {
    let most = plan(Times {
        slots: u32::MAX,
        ..TIMES
    });
    assert_eq!(most.unwrap().slots, u64::from(MAX_SLOTS));
    assert_eq!(plan(Times { slots: 0, ..TIMES }), None);
    assert_eq!(plan(Times { slots: 1, ..TIMES }).unwrap().slots, 1);
    let narrow = plan(Times {
        interval: 0,
        ..TIMES
    });
    assert_eq!(narrow.unwrap().interval, 1);
}

#[test]
fn nothing_wraps() {
    let huge = u64::MAX - 10;
    let times = [
        Times {
            lead: huge,
            ..TIMES
        },
        Times {
            first_slot: huge,
            ..TIMES
        },
        Times {
            interval: huge,
            ..TIMES
        },
        Times {
            interval: u64::MAX / 8,
            ..TIMES
        },
    ];
    for times in times {
        assert_eq!(plan(times), None, "{times:?}");
    }
    assert_eq!(Schedule::plan(1000, TIMES, huge, NEVER), None);
    assert_eq!(Schedule::plan(huge, TIMES, SKEW, NEVER), None);
    // The clock itself may be anywhere below that.
    let most = NEVER - (1154 - 1000) - 80;
    assert!(Schedule::plan(most, TIMES, SKEW, NEVER).is_some());
    assert_eq!(Schedule::plan(most + 1, TIMES, SKEW, NEVER), None);
}

#[test]
fn the_deadline_cuts_slots() {
    let slots = |deadline| Schedule::plan(1000, TIMES, SKEW, deadline).map(|it| it.slots);
    assert_eq!(slots(0), None);
    assert_eq!(slots(1000), None);
    assert_eq!(slots(1153), None);
    assert_eq!(slots(1154), Some(1));
    assert_eq!(slots(1163), Some(1));
    assert_eq!(slots(1164), Some(2));
    assert_eq!(slots(1154 + 69), Some(7));
    assert_eq!(slots(1154 + 70), Some(8));
    assert_eq!(slots(NEVER), Some(8));
}

/// Whatever the numbers are: every slot is read by the deadline, and no sum of a
/// transaction wraps.
#[test]
fn no_slot_is_due_after_the_deadline() {
    let (mut planned, mut refused) = (0, 0);
    let values = [
        0,
        1,
        7,
        1000,
        u64::MAX / 64,
        u64::MAX / 2,
        u64::MAX - 1,
        u64::MAX,
    ];
    for now in values {
        for lead in values {
            for interval in values {
                for deadline in values {
                    let times = Times {
                        lead,
                        interval,
                        ..TIMES
                    };
                    let Some(schedule) = Schedule::plan(now, times, SKEW, deadline) else {
                        refused += 1;
                        continue;
                    };
                    planned += 1;
                    let due = |n: u64| {
                        u128::from(schedule.start) + u128::from(n) * u128::from(schedule.interval)
                    };
                    assert!(due(schedule.slots - 1) <= u128::from(deadline));
                    assert!(due(schedule.slots) <= u128::from(u64::MAX));
                    assert!(now <= schedule.late && schedule.late < schedule.signal1);
                    assert!(schedule.signal1 <= schedule.start);
                    assert!((1..=u64::from(MAX_SLOTS)).contains(&schedule.slots));
                }
            }
        }
    }
    assert!(planned > 100 && refused > 100, "{planned} {refused}");
}

#[test]
fn a_slot_is_due_for_one_interval() {
    let schedule = plan(TIMES).unwrap();
    let table = [
        (0, None),
        (1153, None),
        (1154, Some(0)),
        (1163, Some(0)),
        (1164, Some(1)),
        (1154 + 79, Some(7)),
        // Past the last.
        (1154 + 80, Some(8)),
        (NEVER, Some((NEVER - 1154) / 10)),
    ];
    for (now, due) in table {
        assert_eq!(schedule.slot_at(now), due, "at {now}");
        // The helper leaves that one to the editor.
        assert_eq!(
            schedule.next_slot(now),
            due.map_or(0, |n| n + 1),
            "at {now}"
        );
    }
}

/// A schedule that nobody has planned does not divide by zero.
#[test]
fn an_interval_of_zero_has_no_slots() {
    let schedule = Schedule {
        interval: 0,
        ..plan(TIMES).unwrap()
    };
    assert_eq!(
        (schedule.slot_at(NEVER), schedule.next_slot(NEVER)),
        (None, 0)
    );
}
