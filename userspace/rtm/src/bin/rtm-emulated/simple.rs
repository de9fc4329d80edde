// SPDX-License-Identifier: GPL-2.0
//! What does not need a plan made by chance: the probe, the clock, a commit on the
//! real clock, and that the emulator sees what is wrong.

use crate::{Bench, Outcome, Test};
use engine::rtm::{ticks, transact, trial, Edit, Schedule, Status, Times};
use engine::Steps;
use pagemove_rtm::bad::{self, Bad};
use pagemove_rtm::emulator::Conditions;
use pagemove_rtm::event::Event;

pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = vec![
        (
            "the probe commits, or says why it did not".into(),
            Box::new(probe),
        ),
        ("the clock goes forward".into(), Box::new(clock)),
        (
            "a commit on the real clock, when the slot is due".into(),
            Box::new(real_clock),
        ),
    ];
    for bad in &bad::ALL {
        let name = format!("the emulator finds {}", bad.what);
        tests.push((name, Box::new(|bench: &mut Bench| found(bench, bad))));
    }
    tests
}

fn check(holds: bool, text: impl Into<String>) -> Outcome {
    holds.then_some(()).ok_or_else(|| text.into())
}

fn probe(bench: &mut Bench) -> Outcome {
    let mut conditions = Conditions::default();
    // SAFETY: the emulator does what RTM would.
    let run = || unsafe { trial() };
    let (result, trace) = bench.emulator.run(&bench.scene, &conditions, run);
    check(
        result == Ok(()) && trace.faults.is_empty(),
        format!("{result:?} {trace:?}"),
    )?;
    check(
        trace.events == [Event::Begin, Event::Commit],
        format!("{trace:?}"),
    )?;
    for status in [0, 2, 0xff00_0001] {
        conditions.abort = Some((0, Status(status)));
        let (result, _) = bench.emulator.run(&bench.scene, &conditions, run);
        check(
            result == Err(Status(status)),
            format!("{status:#x}: {result:?}"),
        )?;
    }
    Ok(())
}

fn clock(_: &mut Bench) -> Outcome {
    let mut last = ticks();
    for _ in 0..10_000 {
        let now = ticks();
        check(now >= last, format!("{now} after {last}"))?;
        last = now;
    }
    Ok(())
}

fn real_clock(bench: &mut Bench) -> Outcome {
    const SLOT: usize = 5;
    let scene = &mut bench.scene;
    scene.entries.store(7, 0x1067);
    let edit = Edit {
        entry: scene.entries.address(7),
        expected: 0x1067,
        new: 0x2067,
        watch: 0,
    };
    scene.put_edits(&[edit]);
    for n in 0..64 {
        scene.put_slot(n, if n < SLOT { 8 } else { 9 });
    }
    let before = ticks();
    let times = Times {
        lead: 1_000_000_000,
        first_slot: 1_000_000,
        // Stepping through a slot takes much time.
        interval: 10_000_000,
        slots: 64,
    };
    let mut schedule = Schedule::plan(before, times, 100, u64::MAX).ok_or("no schedule")?;
    // Not to wait for so long as phase 1 may take.
    schedule.start = before + 30_000_000;
    let plan = scene.plan(1, &schedule, 9, Steps::empty());
    let block = scene.block(&plan);
    let run = || {
        // SAFETY: as in `compare::emulated`.
        unsafe { transact(&block) }
    };
    let (end, trace) = bench.emulator.run(scene, &Conditions::default(), run);
    let after = ticks();
    let committed = end.map_err(|status| format!("{status:x?}"))?;
    check(trace.faults.is_empty(), format!("{:?}", trace.faults))?;
    check(
        (before..after).contains(&committed.phase1),
        format!("{before} {committed:?} {after}"),
    )?;
    check(after >= schedule.start, "it did not wait")?;
    check(scene.entries.load(7) == 0x2067, "the entry is not stored")?;
    let slots: Vec<u64> = trace.events.iter().filter_map(slot).collect();
    let ascend = slots.windows(2).all(|pair| pair[0] < pair[1]);
    check(
        ascend && slots.last() >= Some(&(SLOT as u64)),
        format!("{slots:?}"),
    )
}

fn slot(event: &Event) -> Option<u64> {
    match event {
        Event::Slot(n, _) => Some(*n),
        _ => None,
    }
}

fn found(bench: &mut Bench, bad: &Bad) -> Outcome {
    let scene = &bench.scene;
    let ((), trace) = bench
        .emulator
        .run(scene, &Conditions::default(), || (bad.run)(scene));
    let found = trace.faults.iter().any(bad.is_found_by);
    check(found, format!("found {:x?}", trace.faults))
}
