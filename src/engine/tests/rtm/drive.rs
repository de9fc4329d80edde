// SPDX-License-Identifier: GPL-2.0
//! Runs editor and helper on a bench, in turn.

use super::bench::{end, pte, start, Bench};
use crate::rtm::{Either, Helper};
use crate::*;
use std::vec::Vec;

/// The engines, and what came of them.
pub(super) struct Moved {
    pub(super) pages: Vec<PageMove>,
    pub(super) aborts: AbortCounts,
    pub(super) last: Either,
}

impl Moved {
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        self.pages.iter().map(PageMove::outcome).collect()
    }
}

/// Pages, one for each entry.
pub(super) fn pages(bench: &Bench, format: Format) -> Vec<PageMove> {
    let page = |n| {
        let iova = Iova(0x40_0000 + 0x1000 * n as u64);
        PageMove::new(iova, pte(n), format, start(n), end(n))
    };
    (0..bench.entries.len()).map(page).collect()
}

/// A bench with one page, and that page.
pub(super) fn one() -> (Bench, Vec<PageMove>) {
    let bench = Bench::new(&[start(0).0 | 3]);
    let pages = pages(&bench, Format::X86_64);
    (bench, pages)
}

/// Moves them: the editor and the helper in turn, a tick each. `before` is called
/// before each step of the editor.
pub(super) fn drive(
    bench: &mut Bench,
    policy: &Policy,
    mut pages: Vec<PageMove>,
    mut before: impl FnMut(&mut Bench, Either),
) -> Moved {
    let mut run = Run::<Either>::new::<Bench>(policy, &pages);
    let mut helper = Helper::new();
    let mut aborts = AbortCounts::default();
    for _ in 0..10_000 {
        if run.stage() == Stage::Attempt {
            before(bench, *run.attempt());
        }
        let mut job = Job {
            policy,
            pages: &mut pages,
            aborts: &mut aborts,
        };
        if run.step(bench, &mut job) == Progress::Done {
            return Moved {
                pages,
                aborts,
                last: *run.attempt(),
            };
        }
        if !bench.helper_sleeps {
            helper.step(bench, policy.without);
        }
        bench.clock += 1;
    }
    panic!("it never ends: {:?}, {:?}", run.stage(), helper.duty());
}

/// Moves the pages and changes nothing meanwhile.
pub(super) fn move_all(bench: &mut Bench, policy: &Policy, pages: Vec<PageMove>) -> Moved {
    drive(bench, policy, pages, |_, _| ())
}

/// What an attempt of either engine does next after its commit.
pub(super) fn finish_of(attempt: Either) -> Option<Finish> {
    match attempt {
        Either::Rtm(editor) => match editor.phase() {
            crate::rtm::Phase::Finish(finish) => Some(finish),
            _ => None,
        },
        Either::AdBit(attempt) => match attempt.phase() {
            crate::Phase::Finish(finish) => Some(finish),
            _ => None,
        },
    }
}

/// What the editor of `rtm` does next.
pub(super) fn editor_of(attempt: Either) -> Option<crate::rtm::Phase> {
    match attempt {
        Either::Rtm(editor) => Some(editor.phase()),
        Either::AdBit(_) => None,
    }
}
