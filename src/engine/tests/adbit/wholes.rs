// SPDX-License-Identifier: GPL-2.0
//! A chunk that is moved whole: when its copy is given up, and what is in its batch.

use super::sim::*;
use crate::*;

const USED: PteFlags = PteFlags::A.union(PteFlags::D);

/// One attempt, with `before` called before each step.
fn attempt(
    sim: &mut Sim,
    policy: &Policy,
    mut before: impl FnMut(&mut Sim, Phase),
) -> (PageMove, AbortCounts) {
    let mut pages = [whole()];
    let mut aborts = AbortCounts::default();
    let mut run = Attempt::new();
    loop {
        before(sim, run.phase());
        let mut job = Job {
            policy,
            pages: &mut pages,
            aborts: &mut aborts,
        };
        if run.step(sim, &mut job) == Progress::Done {
            return (pages[0], aborts);
        }
    }
}

/// Whether the next step is the look before the copy of a piece.
fn looks(phase: Phase, at: u16) -> bool {
    matches!(phase, Phase::Look { part, .. } if part.piece == at)
}

#[test]
fn a_quiet_chunk_moves_whole_and_keeps_every_bit() {
    let mut sim = Sim::whole(USED);
    let before = sim.pte;
    let (page, aborts) = attempt(&mut sim, &policy(), |_, _| ());
    assert_eq!(page.outcome(), Outcome::Moved);
    assert_eq!(sim.pte, before - START.0 + END.0);
    assert_ne!(sim.pte & PAT, 0);
    assert_eq!((sim.copies, aborts.total()), (PIECES, 0));
    assert_eq!(page.moved_by, Some(Method::AdBit));
    assert!(page.exposure_ns > 0 && page.maps_end() && page.is_settled());
}

#[test]
fn an_access_ends_the_copy_before_its_next_part() {
    let causes = [
        (Access::DeviceRead, Abort::Accessed),
        (Access::DeviceWrite, Abort::Dirty),
    ];
    for (access, cause) in causes {
        for piece in 0..PIECES {
            let mut sim = Sim::whole(USED);
            let before = sim.pte;
            let (page, aborts) = attempt(&mut sim, &policy(), |sim, phase| {
                if looks(phase, piece as u16) {
                    sim.access(access, PIECES - 1);
                }
            });
            assert_eq!(page.outcome(), Outcome::Aborted(cause));
            assert_eq!((sim.copies, aborts.total()), (piece, 1));
            assert_eq!((page.attempts, page.exposure_ns), (1, 0));
            // With A and D, which it had before.
            assert_eq!(sim.pte, before);
            assert_eq!(sim.settled(), sim.newest);
        }
    }
}

/// The twin: without the looks the whole chunk is copied, in vain.
#[test]
fn twin_without_the_looks_the_copy_goes_on() {
    let mut sim = Sim::whole(USED);
    let blind = Policy {
        without: Steps::PART_LOOK,
        ..policy()
    };
    let mut done = false;
    let (page, _) = attempt(&mut sim, &blind, |sim, phase| {
        if matches!(phase, Phase::Copy { .. }) && !done {
            done = true;
            sim.access(Access::DeviceWrite, 0);
        }
    });
    assert_eq!(page.outcome(), Outcome::Aborted(Abort::Dirty));
    assert_eq!(sim.copies, PIECES);
    assert_eq!(sim.settled(), sim.newest);
}

#[test]
fn readers_do_not_end_it_where_they_are_tolerated() {
    let tolerant = Policy {
        reads_allowed: true,
        ..policy()
    };
    let wanted = [
        (Access::DeviceRead, Outcome::Moved, PIECES),
        (Access::DeviceWrite, Outcome::Aborted(Abort::Dirty), 1),
    ];
    for (access, outcome, copies) in wanted {
        let mut sim = Sim::whole(PteFlags::empty());
        let (page, _) = attempt(&mut sim, &tolerant, |sim, phase| {
            if looks(phase, 1) {
                sim.access(access, 0);
            }
        });
        assert_eq!((page.outcome(), sim.copies), (outcome, copies));
    }
}

#[test]
fn an_order_to_stop_ends_it_between_two_parts() {
    for piece in 0..PIECES {
        let mut sim = Sim::whole(USED);
        let before = sim.pte;
        let (page, _) = attempt(&mut sim, &policy(), |sim, phase| {
            if looks(phase, piece as u16) {
                sim.stop = Some(Stop::Unmapping);
            }
        });
        assert_eq!(page.outcome(), Outcome::Aborted(Abort::Cancelled));
        assert_eq!((sim.copies, sim.pte), (piece, before));
    }
}

#[test]
fn the_deadline_ends_it_between_two_parts() {
    let late = Policy {
        deadline: Some(1000),
        ..policy()
    };
    for piece in 0..PIECES {
        let mut sim = Sim::whole(USED);
        let before = sim.pte;
        let (page, _) = attempt(&mut sim, &late, |sim, phase| {
            if looks(phase, piece as u16) {
                sim.clock = 1001;
            }
        });
        assert_eq!(page.outcome(), Outcome::Aborted(Abort::Deadline));
        assert_eq!((sim.copies, sim.pte), (piece, before));
    }
}

#[test]
fn an_entry_that_maps_something_else_is_left_alone() {
    let others = [
        0x80_0000,
        // Not a chunk's address.
        START.0 + 0x2000,
    ];
    for other in others {
        let mut sim = Sim::whole(USED);
        sim.pte = sim.pte - START.0 + other;
        let before = sim.pte;
        let (page, _) = attempt(&mut sim, &policy(), |_, _| ());
        assert_eq!(page.outcome(), Outcome::Aborted(Abort::PteChanged));
        assert_eq!((sim.pte, sim.copies), (before, 0));
    }
}

fn page_at(entry: u64) -> PageMove {
    PageMove {
        pte: PteAddr(entry),
        ..page()
    }
}

#[test]
fn a_chunk_is_alone_in_its_batch() {
    let (page, chunk) = (page_at(0x7000), whole());
    let batches: [(&[PageMove], usize); 6] = [
        (&[], 0),
        (&[page, page], 2),
        (&[page, chunk, page], 1),
        (&[page, page, chunk], 2),
        (&[chunk, page], 1),
        (&[chunk, chunk], 1),
    ];
    for (pages, n) in batches {
        assert_eq!(together(pages), n);
        assert_eq!(sharing_table(pages), n);
    }
}

#[test]
fn what_is_with_a_chunk_is_not_tried() {
    let mut sim = Sim::whole(USED);
    let mut pages = [whole(), page_at(0x7000)];
    let mut aborts = AbortCounts::default();
    let mut job = Job {
        policy: &policy(),
        pages: &mut pages,
        aborts: &mut aborts,
    };
    run(&mut sim, &mut job);
    let outcomes = pages.map(|page| page.outcome());
    assert_eq!(outcomes, [Outcome::Moved, Outcome::NotTried]);
}

#[test]
fn a_chunk_says_nothing_about_batches_of_pages() {
    let mut sizer = BatchSizer::with(8, 64);
    sizer.learn(LeafSize::Chunk, 1, 1);
    assert_eq!(sizer.size(), 8);
    sizer.learn(LeafSize::Chunk, 1, 0);
    assert_eq!(sizer.size(), 8);
    sizer.learn(LeafSize::Page, 8, 8);
    assert_eq!(sizer.size(), 4);
}
