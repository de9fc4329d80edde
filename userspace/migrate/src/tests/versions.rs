// SPDX-License-Identifier: GPL-2.0
//! Programs of different ages.

use super::rig::{Rig, PAGES};
use crate::message::Mode;
use crate::sim::World;
use crate::version::{Versions, SPOKEN};

const OLD: Versions = Versions {
    lowest: 1,
    highest: 1,
};
const FUTURE: Versions = Versions {
    lowest: 3,
    highest: 4,
};
const NEXT: Versions = Versions {
    lowest: 2,
    highest: 3,
};

fn rig(a_speaks: Versions, b_speaks: Versions, post_copy: bool) -> Rig {
    Rig {
        a_speaks,
        b_speaks,
        ..Rig::new(Mode::Out, post_copy)
    }
}

#[test]
fn one_and_two_work_together() {
    for (a, b) in [
        (OLD, SPOKEN),
        (SPOKEN, OLD),
        (OLD, OLD),
        (SPOKEN, NEXT),
        (NEXT, SPOKEN),
    ] {
        let world = World::new(PAGES, 3);
        let outcome = rig(a, b, false).run(&world);
        assert!(
            outcome.is_done(),
            "{a}, {b}: {} / {}",
            outcome.a_says(),
            outcome.b_says()
        );
        assert_eq!(world.check_out(), [""; 0]);
        let back = Rig {
            mode: Mode::Back,
            ..rig(a, b, false)
        };
        assert!(back.run(&world).is_done());
        assert_eq!(world.check_home(), [""; 0]);
    }
}

#[test]
fn post_copy_needs_two() {
    for (a, b) in [(OLD, SPOKEN), (SPOKEN, OLD)] {
        let world = World::new(PAGES, 3);
        let outcome = rig(a, b, true).run(&world);
        assert!(
            outcome.a_says().contains("post-copy needs version 2"),
            "{}",
            outcome.a_says()
        );
        assert!(
            outcome.b_says().contains("post-copy needs version 2"),
            "{}",
            outcome.b_says()
        );
        assert_eq!(world.check_home(), [""; 0]);
    }
}

#[test]
fn no_common_version_names_both_ranges() {
    for (a, b) in [(SPOKEN, FUTURE), (FUTURE, SPOKEN), (OLD, NEXT)] {
        let world = World::new(PAGES, 3);
        let outcome = rig(a, b, false).run(&world);
        for (text, ours, theirs) in [(outcome.a_says(), a, b), (outcome.b_says(), b, a)] {
            let words = format!("speaks {ours} of the protocol, the peer {theirs}");
            assert!(text.contains(&words), "{text}");
        }
        assert_eq!(world.check_home(), [""; 0]);
        assert_eq!(outcome.frames, 2);
    }
}
