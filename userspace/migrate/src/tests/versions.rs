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
    lowest: 4,
    highest: 5,
};
const NEXT: Versions = Versions {
    lowest: 3,
    highest: 4,
};
/// Without holes.
const SECOND: Versions = Versions {
    lowest: 1,
    highest: 2,
};

fn rig(a_speaks: Versions, b_speaks: Versions, post_copy: bool) -> Rig {
    Rig {
        a_speaks,
        b_speaks,
        ..Rig::new(Mode::Out, post_copy)
    }
}

#[test]
fn all_of_them_work_together() {
    for (a, b) in [
        (OLD, SPOKEN),
        (SPOKEN, OLD),
        (OLD, OLD),
        (SECOND, SPOKEN),
        (SPOKEN, SECOND),
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
fn holes_need_three() {
    let rig = Rig {
        holes: &[(5, 3)],
        ..rig(SPOKEN, SECOND, false)
    };
    for mode in [Mode::Out, Mode::Back, Mode::Plan] {
        let world = rig.world(3);
        let outcome = Rig { mode, ..rig }.run(&world);
        let said = outcome.a_says();
        assert!(said.contains("needs version 3"), "{said}");
        assert_eq!(world.check_home(), [""; 0]);
    }
    // Nothing is said of them, so nothing is needed.
    let whole = Rig { holes: &[], ..rig };
    assert!(whole.run(&whole.world(3)).is_done());
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
