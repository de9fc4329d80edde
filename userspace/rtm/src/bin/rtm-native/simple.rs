// SPDX-License-Identifier: GPL-2.0
//! One thread: commits, and every XABORT.

use crate::attempt::{Bench, Setup};
use crate::{Outcome, Test, Verdict};
use engine::rtm::{ticks, Code, Status};
use pagemove_rtm::scene::Scene;

pub const TESTS: [Test; 7] = [
    (
        "a transaction commits, and says when phase 1 was over",
        commit,
    ),
    ("a transaction that watches START commits", watched),
    ("XABORT: an entry is not as expected", changed),
    ("XABORT: phase 1 is late", late),
    ("XABORT: no slot is set", timeout),
    ("XABORT: the deadline passes", deadline),
    ("slots before the first that is set do not commit", waits),
];

fn commit(bench: &mut Bench) -> Outcome {
    let mut setup = Setup::new(bench);
    setup.edits = (0..16).map(|n| bench.edit(n)).collect();
    let before = ticks();
    let phase1 = bench.commit(&setup)?.phase1;
    match (before..ticks()).contains(&phase1) {
        true => Ok(Verdict::Pass),
        false => Err(format!(
            "phase 1 was over at {phase1}, begun after {before}"
        )),
    }
}

fn watched(bench: &mut Bench) -> Outcome {
    let mut setup = Setup::new(bench);
    setup.edits[0].watch = bench.scene.watched_page(0);
    bench.commit(&setup)?;
    Ok(Verdict::Pass)
}

/// It never commits, and if nothing comes between it says why.
fn explicit(bench: &mut Bench, setup: &Setup, code: Code) -> Outcome {
    bench.abort(setup, false, |status| status == Status::explicit(code))?;
    Ok(Verdict::Pass)
}

fn changed(bench: &mut Bench) -> Outcome {
    let mut setup = Setup::new(bench);
    // The last of several, when others are already stored.
    setup.edits = (0..8).map(|n| bench.edit(n)).collect();
    setup.edits[7].expected ^= 1 << 5;
    explicit(bench, &setup, Code::PteChanged)
}

fn late(bench: &mut Bench) -> Outcome {
    let mut setup = Setup::new(bench);
    setup.late = true;
    explicit(bench, &setup, Code::Late)
}

fn timeout(bench: &mut Bench) -> Outcome {
    let mut setup = Setup::new(bench);
    setup.set_from = Scene::EDITS;
    explicit(bench, &setup, Code::Timeout)
}

fn deadline(bench: &mut Bench) -> Outcome {
    let mut setup = Setup::new(bench);
    setup.wait = bench.scaled(1_000_000);
    setup.deadline = Some(bench.scaled(20_000));
    explicit(bench, &setup, Code::Deadline)
}

fn waits(bench: &mut Bench) -> Outcome {
    const SLOT: u64 = 5;
    let mut setup = Setup::new(bench);
    setup.set_from = SLOT as usize;
    let mut shortest = u64::MAX;
    for _ in 0..10 {
        let before = ticks();
        bench.commit(&setup)?;
        shortest = shortest.min(ticks() - before);
    }
    match shortest >= SLOT * setup.times.interval {
        true => Ok(Verdict::Pass),
        false => Err(format!("a commit after {shortest} ticks")),
    }
}
