// SPDX-License-Identifier: GPL-2.0
//! What the cache and the rest of the machine do to a transaction.

use crate::attempt::{Bench, Setup, BEFORE};
use crate::{Outcome, Test, Verdict};
use engine::rtm::{AbortBits, Status};
use engine::Abort;
use pagemove_rtm::pages::{Access, Pages, PAGE};

pub const TESTS: [Test; 3] = [
    (
        "more entries in one set of the cache than it has ways: capacity",
        capacity,
    ),
    (
        "a transaction that lasts for longer than a timer tick is interrupted",
        interrupt,
    ),
    (
        "a page that is not mapped aborts it, without a signal",
        not_mapped,
    ),
];

fn capacity(bench: &mut Bench) -> Outcome {
    // 64 lines at one offset of a page are in one set of any L1 cache whose ways are
    // of one page; none has so many ways.
    const WAYS: usize = 64;
    let pages = Pages::new(WAYS);
    let mut setup = Setup::new(bench);
    for n in 0..WAYS {
        let word = n * PAGE / 8;
        pages.store(word, BEFORE);
        let mut edit = setup.edits[0];
        edit.entry = pages.address(word);
        setup.edits.push(edit);
    }
    let edits = setup.edits.split_off(1);
    let full = Setup { edits, ..setup };
    let is_capacity = |status: Status| status.bits().contains(AbortBits::CAPACITY);
    let status = bench.abort(&full, false, is_capacity)?;
    if (0..WAYS).any(|n| pages.load(n * PAGE / 8) != BEFORE) {
        return Err("an entry is changed".into());
    }
    match status.cause() {
        // A conflict of the same moment may be in the status, too.
        Abort::Capacity | Abort::Conflict => Ok(Verdict::Pass),
        other => Err(format!("{status:x?} means {other:?}")),
    }
}

/// It ends, and not by an XABORT.
fn by_itself(bench: &mut Bench, setup: &Setup) -> Outcome {
    match bench.once(setup) {
        Err(status) if status.argument().is_none() => Ok(Verdict::Pass),
        other => Err(format!("{other:x?}")),
    }
}

fn interrupt(bench: &mut Bench) -> Outcome {
    let mut setup = Setup::new(bench);
    // Some seconds at any rate of the clock.
    setup.wait = 20_000_000_000;
    by_itself(bench, &setup)
}

fn not_mapped(bench: &mut Bench) -> Outcome {
    let pages = Pages::new(1);
    pages.allow(Access::None);
    let mut setup = Setup::new(bench);
    setup.edits[0].watch = pages.address(0);
    by_itself(bench, &setup)
}
