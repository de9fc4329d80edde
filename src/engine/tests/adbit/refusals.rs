// SPDX-License-Identifier: GPL-2.0
//! Attempts that must not commit, and what they leave behind.

use super::sim::*;
use crate::*;

fn run_one(sim: &mut Sim, policy: &Policy) -> (PageMove, AbortCounts) {
    let mut pages = [page()];
    let mut aborts = AbortCounts::default();
    let mut job = Job {
        policy,
        pages: &mut pages,
        aborts: &mut aborts,
    };
    run(sim, &mut job);
    (pages[0], aborts)
}

const USED: PteFlags = PteFlags::A.union(PteFlags::D);

#[test]
fn a_quiet_page_moves_and_keeps_accessed_dirty_and_unknown_bits() {
    let mut sim = Sim::new(USED);
    let before = sim.pte;
    let (page, aborts) = run_one(&mut sim, &policy());
    assert_eq!(page.outcome(), Outcome::Moved);
    assert_eq!(sim.pte, before - START.0 + END.0);
    assert_ne!(sim.pte & UNKNOWN, 0);
    assert_eq!((page.attempts, aborts.total()), (1, 0));
    assert!(page.exposure_ns > 0);
}

#[test]
fn a_late_move_never_commits_and_restores_the_entry() {
    let mut sim = Sim::new(USED);
    let before = sim.pte;
    let late = Policy {
        deadline: Some(0),
        retries: 5,
        ..policy()
    };
    let (page, aborts) = run_one(&mut sim, &late);
    assert_eq!(page.outcome(), Outcome::Aborted(Abort::Deadline));
    assert_eq!(sim.pte, before);
    assert_eq!(aborts.total(), 1);
}

#[test]
fn a_stop_at_any_action_leaves_start_or_end_and_says_which() {
    for at in 0..12 {
        let mut sim = Sim::new(USED);
        sim.stop_at = Some(at);
        let before = sim.pte;
        let (page, _) = run_one(&mut sim, &policy());
        match page.outcome() {
            Outcome::Moved => assert_eq!(sim.pte, before - START.0 + END.0),
            Outcome::Aborted(Abort::Cancelled) => assert_eq!(sim.pte, before),
            other => panic!("stopped at {at}: {other:?}"),
        }
        assert_eq!(sim.settled(), sim.newest);
    }
}

#[test]
fn a_failed_invalidation_aborts_before_anything_is_copied() {
    let mut sim = Sim::new(USED);
    sim.invalidation_fails = true;
    let before = sim.pte;
    let (page, _) = run_one(&mut sim, &policy());
    assert_eq!(page.outcome(), Outcome::Aborted(Abort::Invalidate));
    assert_eq!(sim.pte, before);
}

#[test]
fn an_entry_that_maps_another_page_is_left_alone() {
    let mut sim = Sim::new(USED);
    sim.pte = (sim.pte - START.0) + 0x77_0000;
    let before = sim.pte;
    let (page, _) = run_one(&mut sim, &policy());
    assert_eq!(page.outcome(), Outcome::Aborted(Abort::PteChanged));
    assert_eq!(sim.pte, before);
}

#[test]
fn retries_are_bounded() {
    let mut sim = Sim::new(USED);
    // Every commit is overwritten, so that no attempt ever succeeds.
    sim.spoil = true;
    let stubborn = Policy {
        retries: 7,
        ..policy()
    };
    let (page, aborts) = run_one(&mut sim, &stubborn);
    assert_eq!(page.outcome(), Outcome::Aborted(Abort::Overwritten));
    assert_eq!((page.attempts, aborts.total()), (8, 8));
}

/// A copy through an aperture that does not answer is the end; one that a write came behind is made again.
#[test]
fn a_copy_that_is_not_what_was_to_be_copied_is_not_committed() {
    for (error, outcome, attempts) in [
        (ApertureError::Silent, Outcome::Aborted(Abort::Aperture), 1),
        (ApertureError::Late, Outcome::Moved, 2),
    ] {
        let mut sim = Sim::new(USED);
        sim.aperture_fails.push_back(error);
        let before = sim.pte;
        let retrying = Policy {
            retries: 5,
            ..policy()
        };
        let (page, aborts) = run_one(&mut sim, &retrying);
        assert_eq!((page.outcome(), page.attempts), (outcome, attempts));
        assert_eq!(page.last_abort, Some(Abort::of_copy(error)));
        assert_eq!(aborts.total(), 1);
        let entry = match page.maps_end() {
            true => before - START.0 + END.0,
            false => before,
        };
        assert_eq!(sim.pte, entry);
    }
}

#[test]
fn twin_left_out_it_is() {
    let mut sim = Sim::new(USED);
    sim.aperture_fails.push_back(ApertureError::Late);
    let blind = Policy {
        without: Steps::FAILED_APERTURE,
        ..policy()
    };
    let (page, aborts) = run_one(&mut sim, &blind);
    assert_eq!((page.outcome(), aborts.total()), (Outcome::Moved, 0));
}
