// SPDX-License-Identifier: GPL-2.0
//! The connection ends before every frame, and either agent dies in every call to its
//! kernel, before and after its effect; then another agent goes on, or brings all home.

use super::rig::{Outcome, Rig, PAGES};
use crate::failure::Failure;
use crate::host::{SourceHost, TargetHost};
use crate::message::Mode;
use crate::sim::{Death, Side, World};
use crate::source::Order;

const NOTHING: [&str; 0] = [];

/// Where the first run is ended.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Cut { frame: u64, late: u32 },
    Death(Death),
}

/// Returns every fault that a run can have, found in one without.
pub fn faults(prepare: &dyn Fn() -> World, rig: Rig) -> Vec<Fault> {
    let world = prepare();
    world.revive();
    let whole = rig.run(&world);
    assert!(whole.is_done(), "{} / {}", whole.a_says(), whole.b_says());
    let calls = world.state().calls;
    let mut faults = Vec::new();
    for frame in 1..=whole.frames {
        faults.extend([0, 1, 3].map(|late| Fault::Cut { frame, late }));
    }
    for (side, calls) in [Side::A, Side::B].into_iter().zip(calls) {
        for call in 1..=calls {
            for after in [false, true] {
                faults.push(Fault::Death(Death { side, call, after }));
            }
        }
    }
    faults
}

pub fn run_faulty(world: &World, rig: Rig, fault: Fault) -> Outcome {
    run_faulty_with(world, rig, fault, &world.a(), &world.b())
}

pub fn run_faulty_with(
    world: &World,
    mut rig: Rig,
    fault: Fault,
    a: &dyn SourceHost,
    b: &dyn TargetHost,
) -> Outcome {
    world.revive();
    match fault {
        Fault::Cut { frame, late } => (rig.cut, rig.late) = (Some(frame), late),
        Fault::Death(death) => world.state().death = Some(death),
    }
    let outcome = rig.run_with(world, a, b);
    world.revive();
    outcome
}

/// Checks that the one that survives says so, and nobody takes it for done.
fn check_words(outcome: &Outcome, fault: Fault) {
    assert!(!outcome.is_done(), "{fault:?} was survived");
    for result in [&outcome.a, &outcome.b] {
        match result {
            None | Some(Ok(())) | Some(Err(Failure::Connection(_))) => {}
            Some(Err(other)) => panic!("{fault:?}: {other}"),
        }
    }
}

fn sweep(rig: Rig, prepare: &dyn Fn() -> World, then: Mode) -> usize {
    let faults = faults(prepare, rig);
    for fault in &faults {
        let world = prepare();
        let broken = run_faulty(&world, rig, *fault);
        check_words(&broken, *fault);
        assert_eq!(world.check_always(), NOTHING, "{fault:?}");
        let mut rest = Rig { mode: then, ..rig }.run(&world);
        if rig.mode == Mode::Back && rest.b_says().contains("without --post-copy") {
            // Pages that were on B and went home are offered still, and no CPU waits for them.
            assert_eq!(world.check_always(), NOTHING, "{fault:?}");
            let plain = Rig {
                mode: then,
                post_copy: false,
                ..rig
            };
            rest = plain.run(&world);
        }
        assert!(
            rest.is_done(),
            "{fault:?}: {} / {}",
            rest.a_says(),
            rest.b_says()
        );
        let wrong = match then {
            Mode::Back => world.check_home(),
            _ => world.check_out(),
        };
        assert_eq!(wrong, NOTHING, "{fault:?}, then {then:?}");
        let pages = rest.a_report.there + rest.a_report.moved;
        let holes: u32 = rig.holes.iter().map(|(_, count)| count).sum();
        assert_eq!(pages, PAGES - holes, "{fault:?}, then {then:?}");
    }
    faults.len()
}

fn fresh() -> World {
    let world = World::new(PAGES, 11);
    world.state().aborts_one_in = 9;
    world
}

fn moved_out(post_copy: bool) -> World {
    let world = fresh();
    assert!(Rig::new(Mode::Out, post_copy).run(&world).is_done());
    world
}

#[test]
fn out_then_resume() {
    for post_copy in [false, true] {
        let count = sweep(Rig::new(Mode::Out, post_copy), &fresh, Mode::Out);
        assert!(count > 80, "{count} faults");
        let hot = Rig {
            order: Order::HotFirst,
            ..Rig::new(Mode::Out, post_copy)
        };
        sweep(hot, &fresh, Mode::Out);
    }
}

#[test]
fn out_then_back() {
    for post_copy in [false, true] {
        sweep(Rig::new(Mode::Out, post_copy), &fresh, Mode::Back);
    }
}

#[test]
fn out_past_holes() {
    for post_copy in [false, true] {
        let rig = Rig {
            holes: &[(0, 2), (7, 3)],
            ..Rig::new(Mode::Out, post_copy)
        };
        let prepare = || {
            let world = rig.world(11);
            world.state().aborts_one_in = 9;
            world
        };
        for then in [Mode::Out, Mode::Back] {
            let count = sweep(rig, &prepare, then);
            assert!(count > 80, "{count} faults");
        }
    }
}

#[test]
fn back_then_back() {
    for post_copy in [false, true] {
        let prepare = || moved_out(post_copy);
        let count = sweep(Rig::new(Mode::Back, post_copy), &prepare, Mode::Back);
        assert!(count > 50, "{count} faults");
    }
}

#[test]
fn back_then_out_again() {
    for post_copy in [false, true] {
        let prepare = || moved_out(post_copy);
        sweep(Rig::new(Mode::Back, post_copy), &prepare, Mode::Out);
    }
}

#[test]
fn two_faults_one_after_the_other() {
    for post_copy in [false, true] {
        let rig = Rig::new(Mode::Out, post_copy);
        let faults = faults(&fresh, rig);
        for (n, first) in faults.iter().enumerate() {
            let world = fresh();
            run_faulty(&world, rig, *first);
            // Another place each time; one that does not come is no fault.
            let second = faults[(n * 7 + 3) % faults.len()];
            let outcome = run_faulty(&world, rig, second);
            assert_eq!(world.check_always(), NOTHING, "{first:?} {second:?}");
            if !outcome.is_done() {
                assert!(rig.run(&world).is_done(), "{first:?} {second:?}");
            }
            assert_eq!(world.check_out(), NOTHING, "{first:?} {second:?}");
        }
    }
}

#[test]
fn release_then_release() {
    let prepare = || {
        let world = moved_out(false);
        world.state().region_gone = true;
        world
    };
    let rig = Rig::new(Mode::Release, false);
    for fault in faults(&prepare, rig) {
        let world = prepare();
        check_words(&run_faulty(&world, rig, fault), fault);
        let rest = rig.run(&world);
        assert!(rest.is_done(), "{fault:?}: {}", rest.a_says());
        assert_eq!(world.check_always(), NOTHING, "{fault:?}");
    }
}
