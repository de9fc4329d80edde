// SPDX-License-Identifier: GPL-2.0
//! Migrations in which nobody dies.

use super::rig::{Rig, PAGES};
use crate::message::Mode;
use crate::sim::{Guest, Side, World};
use crate::source::Order;

fn world() -> World {
    World::new(PAGES, 7)
}

#[test]
fn out_and_back() {
    for post_copy in [false, true] {
        let world = world();
        let out = Rig::new(Mode::Out, post_copy).run(&world);
        assert!(out.is_done(), "{} / {}", out.a_says(), out.b_says());
        assert_eq!((out.a_report.moved, out.b_report.arrived), (PAGES, PAGES));
        assert_eq!(world.check_out(), [""; 0]);
        let back = Rig::new(Mode::Back, post_copy).run(&world);
        assert!(back.is_done(), "{} / {}", back.a_says(), back.b_says());
        // Some have come home by themselves.
        let home = back.a_report.moved + back.a_report.there;
        assert_eq!((home, back.b_report.retracted), (PAGES, PAGES));
        assert_eq!(world.check_home(), [""; 0]);
        // And the whole way again.
        assert!(Rig::new(Mode::Out, post_copy).run(&world).is_done());
        assert_eq!(world.check_out(), [""; 0]);
    }
}

/// A guest that has pages below a hole, between two, and behind them.
const HOLES: &[(u32, u32)] = &[(0, 1), (5, 3), (9, 2), (PAGES - 1, 1)];
const HOLE_PAGES: u32 = 7;

#[test]
fn holes_stay_where_they_are() {
    for (post_copy, order) in [
        (false, Order::Sequential),
        (true, Order::Sequential),
        (false, Order::HotFirst),
    ] {
        let out = Rig {
            holes: HOLES,
            order,
            ..Rig::new(Mode::Out, post_copy)
        };
        let world = out.world(7);
        world.state().aborts_one_in = 3;
        let outcome = out.run(&world);
        assert!(
            outcome.is_done(),
            "{} / {}",
            outcome.a_says(),
            outcome.b_says()
        );
        let due = PAGES - HOLE_PAGES;
        assert_eq!((outcome.a_report.pages, outcome.a_report.moved), (due, due));
        assert_eq!(
            (outcome.b_report.pages, outcome.b_report.arrived),
            (due, due)
        );
        assert_eq!(world.check_out(), [""; 0]);
        let back = Rig {
            mode: Mode::Back,
            ..out
        };
        let outcome = back.run(&world);
        assert!(
            outcome.is_done(),
            "{} / {}",
            outcome.a_says(),
            outcome.b_says()
        );
        let home = outcome.a_report.moved + outcome.a_report.there;
        assert_eq!((home, outcome.b_report.retracted), (due, due));
        assert_eq!(world.check_home(), [""; 0]);
        // A plan and a release have nothing to say about them.
        let plan = Rig {
            mode: Mode::Plan,
            ..out
        };
        assert!(plan.run(&world).is_done());
    }
}

/// The twin: what nobody is told is a hole is asked for, and found.
#[test]
fn a_hole_that_is_not_named_is_found() {
    let named = Rig {
        holes: HOLES,
        ..Rig::new(Mode::Out, false)
    };
    let world = named.world(7);
    Rig {
        holes: &[],
        ..named
    }
    .run(&world);
    let wrong = world.check_always();
    assert!(
        wrong.iter().any(|text| text.contains("in a hole")),
        "{wrong:?}"
    );
}

#[test]
fn hooks_come_in_order() {
    let world = world();
    assert!(Rig::new(Mode::Out, false).run(&world).is_done());
    assert!(Rig::new(Mode::Back, false).run(&world).is_done());
    let (a, b) = (Side::A, Side::B);
    assert_eq!(
        world.state().hooks,
        [
            (a, "leave"),
            (b, "enter"),
            (b, "complete"),
            (a, "complete"),
            (b, "leave"),
            (a, "enter"),
            (b, "complete"),
            (a, "complete")
        ]
    );
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    let world = world();
    assert!(Rig::new(Mode::Out, false).run(&world).is_done());
    let again = Rig::new(Mode::Out, false).run(&world);
    assert!(again.is_done());
    assert_eq!((again.a_report.there, again.a_report.moved), (PAGES, 0));
    assert_eq!(world.check_out(), [""; 0]);
}

#[test]
fn pages_in_use_are_tried_again() {
    let world = world();
    world.state().aborts_one_in = 3;
    world.state().hot.insert(5, 9);
    let out = Rig::new(Mode::Out, false).run(&world);
    assert!(out.is_done(), "{}", out.a_says());
    assert!(out.a_report.aborts["dirty"] >= 9);
    assert_eq!(world.state().order.last(), Some(&5));
    assert_eq!(world.check_out(), [""; 0]);
    assert_eq!(
        out.progress.last().map(|last| (last.done, last.left)),
        Some((PAGES, 0))
    );
}

#[test]
fn pages_that_the_guest_touches_go_when_it_has_left() {
    let world = world();
    let out = Rig::new(Mode::Out, false).run(&world);
    assert!(out.is_done(), "{} / {}", out.a_says(), out.b_says());
    let report = &out.a_report;
    assert!(world.state().came_home > 0 && report.came_home > 0);
    assert!(report.early > 0 && report.early + report.came_home <= report.moved);
    assert_eq!((report.moved, out.b_report.arrived), (PAGES, PAGES));
    assert_eq!(world.check_out(), [""; 0]);
}

#[test]
fn a_page_that_never_rests_ends_it() {
    let world = world();
    world.state().hot.insert(5, u32::MAX);
    let out = Rig::new(Mode::Out, false).run(&world);
    assert!(out.a_says().contains("using 1 pages"), "{}", out.a_says());
    assert!(
        out.b_says()
            .contains("the peer gave up: devices kept using"),
        "{}",
        out.b_says()
    );
    assert_eq!(world.check_always(), [""; 0]);
    assert_eq!(
        (out.a_report.moved, world.state().guest),
        (PAGES - 1, Guest::A)
    );
    world.state().hot.clear();
    assert!(Rig::new(Mode::Out, false).run(&world).is_done());
    assert_eq!(world.check_out(), [""; 0]);
}

#[test]
fn a_helper_without_a_cpu_is_waited_for() {
    let world = world();
    world.state().absent_calls = 9;
    let out = Rig::new(Mode::Out, false).run(&world);
    assert!(out.is_done(), "{}", out.a_says());
    assert_eq!(out.a_report.aborts["late"], 9 * 20);
    assert_eq!(world.check_out(), [""; 0]);
    // Home, too.
    world.state().absent_calls = 9;
    assert!(Rig::new(Mode::Back, false).run(&world).is_done());
    assert_eq!(world.check_home(), [""; 0]);
}

#[test]
fn a_helper_that_never_gets_a_cpu_ends_it() {
    let world = world();
    world.state().absent_calls = u32::MAX;
    let out = Rig::new(Mode::Out, false).run(&world);
    let said = out.a_says();
    assert!(said.contains("24 pages could not be moved"), "{said}");
    assert!(said.contains("did not get its CPU"), "{said}");
    assert_eq!(world.check_always(), [""; 0]);
    world.state().absent_calls = 0;
    assert!(Rig::new(Mode::Out, false).run(&world).is_done());
    assert_eq!(world.check_out(), [""; 0]);
}

#[test]
fn the_guest_stays_where_the_other_host_can_not_take_it() {
    for post_copy in [false, true] {
        let world = world();
        world.state().failing_hook = Some((Side::B, "enter"));
        let out = Rig::new(Mode::Out, post_copy).run(&world);
        assert!(out.b_says().contains("the hook failed"), "{}", out.b_says());
        assert!(
            out.a_says().contains("the peer gave up: the hook failed"),
            "{}",
            out.a_says()
        );
        assert_eq!(world.state().guest, Guest::A);
        assert_eq!(world.state().hooks.last(), Some(&(Side::A, "return")));
        world.state().failing_hook = None;
        assert!(Rig::new(Mode::Back, post_copy).run(&world).is_done());
        assert_eq!(world.check_home(), [""; 0]);
    }
}

#[test]
fn a_plan_changes_nothing() {
    let world = world();
    let plan = Rig::new(Mode::Plan, false).run(&world);
    assert!(plan.is_done(), "{} / {}", plan.a_says(), plan.b_says());
    let welcome = plan.a_report.welcome.unwrap();
    assert_eq!((welcome.region_pages, welcome.offered), (PAGES, 0));
    assert_eq!(world.check_home(), [""; 0]);
    assert!(world.state().hooks.is_empty());
}

#[test]
fn release_needs_a_region_that_is_gone() {
    let world = world();
    assert!(Rig::new(Mode::Out, false).run(&world).is_done());
    let early = Rig::new(Mode::Release, false).run(&world);
    assert!(
        early.a_says().contains("only when the region is closed"),
        "{}",
        early.a_says()
    );
    assert_eq!((early.frames, world.check_out()), (0, vec![]));
    world.state().region_gone = true;
    let release = Rig::new(Mode::Release, false).run(&world);
    assert!(
        release.is_done(),
        "{} / {}",
        release.a_says(),
        release.b_says()
    );
    assert_eq!(release.b_report.retracted, PAGES);
    assert_eq!(world.check_always(), [""; 0]);
}

#[test]
fn pages_offered_without_waiting_do_not_go_on_as_post_copy() {
    let world = world();
    let cut = Rig {
        cut: Some(6),
        ..Rig::new(Mode::Out, false)
    };
    assert!(!cut.run(&world).is_done());
    let post = Rig::new(Mode::Out, true).run(&world);
    assert!(
        post.b_says().contains("without --post-copy"),
        "{}",
        post.b_says()
    );
    assert_eq!(
        (world.check_always(), world.state().guest),
        (vec![], Guest::A)
    );
    assert!(Rig::new(Mode::Out, false).run(&world).is_done());
    assert_eq!(world.check_out(), [""; 0]);
}

#[test]
fn a_wanted_page_goes_before_its_neighbours() {
    for page in [3, 11, 23] {
        let world = world();
        let rig = Rig {
            touch: Some(page),
            batch: 2,
            ..Rig::new(Mode::Out, true)
        };
        // The guest's own looks at other pages would come between.
        let out = rig.run(&world);
        assert!(out.is_done(), "{} / {}", out.a_says(), out.b_says());
        assert_eq!(world.check_out(), [""; 0]);
        let served = &out.b_report.served;
        assert!(
            served.iter().any(|served| served.page == page),
            "{served:?}"
        );
        let order = world.state().order.clone();
        let at = |page: u32| order.iter().position(|other| *other == page).unwrap();
        // One batch may be under way when it is wanted, and others may be wanted, too; but
        // it does not wait for its turn.
        assert!(at(page) <= 6, "{page} in {order:?}");
        assert!(served.iter().all(|served| served.latency_ns > 0));
    }
}

#[test]
fn hot_pages_go_first() {
    for post_copy in [false, true] {
        let world = world();
        world.state().busy_pages = vec![9, 10, 20];
        let rig = Rig {
            order: Order::HotFirst,
            ..Rig::new(Mode::Out, post_copy)
        };
        let out = rig.run(&world);
        assert!(out.is_done(), "{} / {}", out.a_says(), out.b_says());
        if !post_copy {
            assert_eq!(world.state().order[..4], [9, 10, 20, 0]);
        }
        assert_eq!(world.check_out(), [""; 0]);
    }
}
