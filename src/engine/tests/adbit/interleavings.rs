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

/// One attempt with `accesses[n].1` done before step `accesses[n].0`.
fn attempt(mut sim: Sim, policy: &Policy, accesses: &[(usize, Access)]) -> (Verdict, Outcome) {
    let mut pages = [page()];
    let mut aborts = AbortCounts::default();
    let hold = !policy.without.leaves_out(Steps::CPU_HOLD);
    if hold {
        sim.hold_cpus(&pages);
    }
    let mut run = Attempt::new();
    let mut step = 0;
    loop {
        for (_, access) in accesses.iter().filter(|(at, _)| *at == step) {
            sim.access(*access);
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
    for (_, access) in accesses.iter().filter(|(at, _)| *at >= step) {
        sim.access(*access);
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

/// Every pair of accesses at every pair of places, from every state of A and D.
fn explore(policy: &Policy, spoil: bool) -> (BTreeSet<Verdict>, Vec<Outcome>) {
    let mut verdicts = BTreeSet::new();
    let mut outcomes = Vec::new();
    let both = PteFlags::A | PteFlags::D;
    for flags in [PteFlags::empty(), PteFlags::A, both] {
        for first in 0..=STEPS {
            for second in first..=STEPS {
                for a in ACCESSES {
                    for b in ACCESSES {
                        let mut sim = Sim::new(flags);
                        sim.spoil = spoil;
                        let (verdict, outcome) = attempt(sim, policy, &[(first, a), (second, b)]);
                        verdicts.insert(verdict);
                        if !outcomes.contains(&outcome) {
                            outcomes.push(outcome);
                        }
                    }
                }
            }
        }
    }
    (verdicts, outcomes)
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
