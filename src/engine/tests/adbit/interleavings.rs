// SPDX-License-Identifier: GPL-2.0
//! Every placement of two accesses between the steps of one attempt, and for each
//! step of the protocol the proof that leaving it out is noticed.

use super::sim::*;
use crate::*;
use std::collections::BTreeSet;
use std::vec::Vec;

/// What went wrong in one run, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The page holds what was written last, and no one read anything older.
    Kept,
    /// Bytes were lost, and the engine says so.
    LostAndReported,
    /// Bytes were lost, and the engine says that all is well.
    LostInSilence,
}

/// One attempt with `accesses[n].1` done before step `accesses[n].0`, to a piece.
fn attempt(
    mut sim: Sim,
    page: PageMove,
    policy: &Policy,
    accesses: &[(usize, (Access, usize))],
) -> (Verdict, Outcome) {
    let mut pages = [page];
    let mut aborts = AbortCounts::default();
    let hold = !policy.without.leaves_out(Steps::CPU_HOLD);
    if hold {
        sim.hold_cpus(&pages);
    }
    let mut run = Attempt::new();
    let mut step = 0;
    loop {
        for (_, (access, piece)) in accesses.iter().filter(|(at, _)| *at == step) {
            sim.access(*access, *piece);
        }
        step += 1;
        let mut job = Job {
            policy,
            pages: &mut pages,
            aborts: &mut aborts,
        };
        if run.step(&mut sim, &mut job) == Progress::Done {
            break;
        }
    }
    sim.release_cpus(&pages);
    for (_, (access, piece)) in accesses.iter().filter(|(at, _)| *at >= step) {
        sim.access(*access, *piece);
    }
    let outcome = pages[0].outcome();
    let newest = sim.newest;
    let kept = sim.settled() == newest && sim.cpu_sees() == newest && !sim.stale;
    let verdict = match (kept, outcome) {
        (_, Outcome::LostWrite) => Verdict::LostAndReported,
        (true, _) => Verdict::Kept,
        (false, _) => Verdict::LostInSilence,
    };
    (verdict, outcome)
}

const STEPS: usize = 12;
/// Those of a chunk: two more copies, each with a look before it.
const WHOLE_STEPS: usize = 15;

/// Every pair of accesses at every pair of places, from every state of A and D.
fn explore(policy: &Policy, spoil: bool) -> (BTreeSet<Verdict>, Vec<Outcome>) {
    explore_from(Sim::new, page(), STEPS, policy, spoil)
}

/// The same, of a chunk.
fn explore_whole(policy: &Policy, spoil: bool) -> (BTreeSet<Verdict>, Vec<Outcome>) {
    explore_from(Sim::whole, whole(), WHOLE_STEPS, policy, spoil)
}

fn explore_from(
    new: fn(PteFlags) -> Sim,
    page: PageMove,
    steps: usize,
    policy: &Policy,
    spoil: bool,
) -> (BTreeSet<Verdict>, Vec<Outcome>) {
    let mut verdicts = BTreeSet::new();
    let mut outcomes = Vec::new();
    let both = PteFlags::A | PteFlags::D;
    let places = (0..=steps).flat_map(|first| (first..=steps).map(move |second| (first, second)));
    for (first, second) in places {
        for a in accesses(page.size()) {
            for b in accesses(page.size()) {
                for flags in [PteFlags::empty(), PteFlags::A, both] {
                    let mut sim = new(flags);
                    sim.spoil = spoil;
                    let (verdict, outcome) = attempt(sim, page, policy, &[(first, a), (second, b)]);
                    verdicts.insert(verdict);
                    if !outcomes.contains(&outcome) {
                        outcomes.push(outcome);
                    }
                }
            }
        }
    }
    (verdicts, outcomes)
}

/// Every access to every piece.
fn accesses(size: LeafSize) -> impl Iterator<Item = (Access, usize)> {
    let pieces = 0..pieces_of(size);
    pieces.flat_map(|piece| ACCESSES.map(|access| (access, piece)))
}

fn without(step: Steps) -> Policy {
    Policy {
        without: step,
        ..policy()
    }
}

#[test]
fn nothing_is_lost_whatever_the_order() {
    let (verdicts, outcomes) = explore(&policy(), false);
    assert_eq!(verdicts, BTreeSet::from([Verdict::Kept]));
    // Not vacuous: moves, and aborts of either kind, were among them.
    assert!(outcomes.contains(&Outcome::Moved));
    assert!(outcomes.contains(&Outcome::Aborted(Abort::Accessed)));
    assert!(outcomes.contains(&Outcome::Aborted(Abort::Dirty)));
}

#[test]
fn nothing_is_lost_without_verification_on_hardware_that_keeps_its_word() {
    let quick = Policy {
        verify: false,
        ..policy()
    };
    let (verdicts, outcomes) = explore(&quick, false);
    assert_eq!(verdicts, BTreeSet::from([Verdict::Kept]));
    assert!(outcomes.contains(&Outcome::Moved));
}

#[test]
fn an_overwritten_entry_is_an_abort_or_a_reported_loss() {
    let (verdicts, outcomes) = explore(&policy(), true);
    assert!(!verdicts.contains(&Verdict::LostInSilence), "{verdicts:?}");
    assert!(outcomes.contains(&Outcome::Aborted(Abort::Overwritten)));
}

#[test]
fn twin_without_verification_an_overwritten_entry_is_a_silent_loss() {
    let (verdicts, _) = explore(&without(Steps::VERIFICATION), true);
    assert!(verdicts.contains(&Verdict::LostInSilence));
}

#[test]
fn twin_without_the_first_invalidation() {
    let (verdicts, _) = explore(&without(Steps::FIRST_INVALIDATION), false);
    assert!(verdicts.contains(&Verdict::LostAndReported));
    let blind = without(Steps::FIRST_INVALIDATION | Steps::VERIFICATION);
    assert!(explore(&blind, false).0.contains(&Verdict::LostInSilence));
}

#[test]
fn twin_without_clearing_accessed_and_dirty() {
    let (verdicts, _) = explore(&without(Steps::AD_CLEAR), false);
    assert!(verdicts.contains(&Verdict::LostAndReported));
    let blind = without(Steps::AD_CLEAR | Steps::VERIFICATION);
    assert!(explore(&blind, false).0.contains(&Verdict::LostInSilence));
}

#[test]
fn twin_without_the_compare() {
    let (verdicts, _) = explore(&without(Steps::COMPARE), false);
    assert!(verdicts.contains(&Verdict::LostAndReported));
    let blind = without(Steps::COMPARE | Steps::VERIFICATION);
    assert!(explore(&blind, false).0.contains(&Verdict::LostInSilence));
}

#[test]
fn twin_without_holding_cpus_back() {
    let (verdicts, _) = explore(&without(Steps::CPU_HOLD), false);
    assert!(verdicts.iter().any(|v| *v != Verdict::Kept));
    let blind = without(Steps::CPU_HOLD | Steps::VERIFICATION);
    assert!(explore(&blind, false).0.contains(&Verdict::LostInSilence));
}

#[test]
fn nothing_of_a_chunk_is_lost_whatever_the_order() {
    let quick = Policy {
        verify: false,
        ..policy()
    };
    for policy in [policy(), quick] {
        let (verdicts, outcomes) = explore_whole(&policy, false);
        assert_eq!(verdicts, BTreeSet::from([Verdict::Kept]));
        assert!(outcomes.contains(&Outcome::Moved));
        assert!(outcomes.contains(&Outcome::Aborted(Abort::Accessed)));
        assert!(outcomes.contains(&Outcome::Aborted(Abort::Dirty)));
    }
    let (verdicts, outcomes) = explore_whole(&policy(), true);
    assert!(!verdicts.contains(&Verdict::LostInSilence), "{verdicts:?}");
    assert!(outcomes.contains(&Outcome::Aborted(Abort::Overwritten)));
}

/// The look before a part saves work: what a commit goes by is the compare.
#[test]
fn nothing_of_a_chunk_is_lost_without_the_looks() {
    let blind = without(Steps::PART_LOOK | Steps::VERIFICATION);
    let (verdicts, outcomes) = explore_whole(&blind, false);
    assert_eq!(verdicts, BTreeSet::from([Verdict::Kept]));
    assert!(outcomes.contains(&Outcome::Moved));
}

#[test]
fn twins_that_lose_a_chunk() {
    let steps = [
        Steps::AD_COMPARE,
        Steps::AD_CLEAR,
        Steps::COMPARE,
        Steps::FIRST_INVALIDATION,
        Steps::CPU_HOLD,
        // Of the chunk the first page alone is invalidated.
        Steps::WHOLE_SPAN,
        Steps::LAST_PART,
    ];
    for step in steps {
        let (verdicts, _) = explore_whole(&without(step | Steps::VERIFICATION), false);
        assert!(verdicts.contains(&Verdict::LostInSilence), "{step:?}");
    }
}
