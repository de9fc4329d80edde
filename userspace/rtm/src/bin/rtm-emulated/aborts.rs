// SPDX-License-Identifier: GPL-2.0
//! An abort before every instruction of a transaction, with every kind of status:
//! nothing of it has happened, and whoever asked learns the status.

use crate::compare::{draw, emulated, repeat, stepped, Seen};
use crate::{Bench, Outcome, Test};
use engine::rtm::{AbortBits, Status};
use engine::Steps;
use pagemove_rtm::case::Case;
use pagemove_rtm::emulator::Conditions;
use pagemove_rtm::event::Event;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap;

/// What hardware may say: also nothing at all.
fn statuses() -> Vec<Status> {
    let bits = |bits: AbortBits| Status(bits.bits());
    vec![
        Status(0),
        bits(AbortBits::RETRY),
        bits(AbortBits::CONFLICT),
        bits(AbortBits::CONFLICT | AbortBits::RETRY),
        bits(AbortBits::CAPACITY),
        bits(AbortBits::DEBUG),
        bits(AbortBits::NESTED),
        Status(AbortBits::EXPLICIT.bits() | 0xff << 24),
    ]
}

pub fn tests() -> Vec<Test> {
    vec![
        (
            "an abort before any instruction leaves the entries as they were".into(),
            Box::new(|bench: &mut Bench| everywhere(bench, false)),
        ),
        (
            "a CPU whose aborts leave stores behind is found".into(),
            Box::new(|bench: &mut Bench| match everywhere(bench, true) {
                Err(why) if why.contains("entries") => Ok(()),
                other => Err(format!("not found: {other:?}")),
            }),
        ),
        (
            "random plans, each aborted at a random instruction".into(),
            Box::new(anywhere),
        ),
    ]
}

/// A plan that watches, stores, waits, reads slots and commits, in few steps.
fn thorough(bench: &mut Bench) -> Result<Case, String> {
    for number in 0..bench.cases {
        let case = draw(bench, number);
        let seen = stepped(bench, &case, Steps::empty());
        let count =
            |wanted: fn(&Event) -> bool| seen.events.iter().filter(|event| wanted(event)).count();
        let is_thorough = seen.end.is_ok()
            && case.edits.len() > 1
            && count(|event| matches!(event, Event::Watch(_))) == 64
            && count(|event| matches!(event, Event::Slot(..))) > 1
            && seen.events.len() < 150;
        if is_thorough {
            return Ok(case);
        }
    }
    Err("no plan does it all".into())
}

fn everywhere(bench: &mut Bench, keeps_stores: bool) -> Outcome {
    let case = thorough(bench)?;
    let (whole, instructions) = aborted(bench, &case, None, keeps_stores);
    whole
        .end
        .map_err(|status| format!("it aborts by itself: {status:x?}"))?;
    let statuses = statuses();
    for at in 0..instructions {
        // The status that says nothing, and each of the others in turn: stepping is slow.
        for status in [statuses[0], statuses[at as usize % statuses.len()]] {
            let (seen, _) = aborted(bench, &case, Some((at, status)), keeps_stores);
            check(&case, &seen, &whole, status)
                .map_err(|why| format!("instruction {at}, {status:x?}: {why}"))?;
        }
    }
    tap::note(&format!("{instructions} instructions"));
    Ok(())
}

/// Also aborts of transactions that would abort by themselves.
fn anywhere(bench: &mut Bench) -> Outcome {
    let mut random = Random::new(bench.seed);
    for number in 0..bench.cases / 5 {
        let case = draw(bench, number);
        let (whole, instructions) = aborted(bench, &case, None, false);
        let at = random.draw() % instructions;
        let statuses = statuses();
        let status = statuses[random.below(statuses.len())];
        let (seen, _) = aborted(bench, &case, Some((at, status)), false);
        check(&case, &seen, &whole, status).map_err(|why| {
            repeat(
                bench,
                number,
                &format!("instruction {at}, {status:x?}: {why}"),
            )
        })?;
    }
    Ok(())
}

fn aborted(
    bench: &mut Bench,
    case: &Case,
    abort: Option<(u64, Status)>,
    keeps_stores: bool,
) -> (Seen, u64) {
    let conditions = Conditions {
        clock: Some(case.clock.clone()),
        abort,
        keeps_stores,
    };
    let (seen, trace) = emulated(bench, case, &conditions);
    assert!(trace.faults.is_empty(), "{:x?}", trace.faults);
    (seen, trace.instructions)
}

fn check(case: &Case, seen: &Seen, whole: &Seen, status: Status) -> Outcome {
    if seen.end != Err(status) {
        return Err(format!("ended with {:x?}", seen.end));
    }
    let mut before = vec![0; seen.entries.len()];
    for (n, value) in &case.entries {
        before[*n] = *value;
    }
    if seen.entries != before {
        return Err("the entries are not as before".into());
    }
    // Up to there it was the same transaction.
    if !whole.events.starts_with(&seen.events) {
        return Err("it did something else before".into());
    }
    Ok(())
}
