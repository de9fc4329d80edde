// SPDX-License-Identifier: GPL-2.0
//! Configurations that take minutes.

use crate::cases::{breaks, case, voids, without, Case, Scripts};
use crate::cases::{BOTH, CROSS, NO_NET, ONE, TALK};
use crate::world::{Config, Op::*};

/// From each to the next, of three.
const RING: Scripts = &[
    &[Send(1), Recv(2)],
    &[Send(2), Recv(0)],
    &[Send(0), Recv(1)],
];
/// Two to one.
const FUNNEL: Scripts = &[&[Send(2)], &[Send(2)], &[Recv(0), Recv(1)]];

pub fn deep() -> Vec<Case> {
    let new = Config::new;
    vec![
        case(
            "talk-2+1",
            new(TALK, &[2, 1]),
            &["met", "redirected", "early"],
            149_347,
        ),
        case(
            "one-break-void-1+0",
            breaks(1, voids(1, new(ONE, &[1, 0]))),
            &["early"],
            132_155,
        ),
        case(
            "both-2+2-no-net",
            without(NO_NET, new(BOTH, &[2, 2])),
            &["crossed", "met", "older", "early"],
            3_062_493,
        ),
        case(
            "cross-2+2-no-net",
            without(NO_NET, new(CROSS, &[2, 2])),
            &["crossed", "met", "older", "early"],
            1_882_164,
        ),
        case(
            "one-2+2",
            new(ONE, &[2, 2]),
            &["crossed", "met", "older", "early"],
            2_332_466,
        ),
        case(
            "one-2+2-no-net",
            without(NO_NET, new(ONE, &[2, 2])),
            &["crossed", "met", "older", "early"],
            724_383,
        ),
        case(
            "funnel-1+1+1",
            new(FUNNEL, &[1, 1, 1]),
            &["met", "redirected"],
            427_312,
        ),
        case(
            "ring-1+1+0",
            new(RING, &[1, 1, 0]),
            &["met", "redirected"],
            446_697,
        ),
        case(
            "one-break-1+1",
            breaks(1, new(ONE, &[1, 1])),
            &["unseen"],
            1_317_806,
        ),
        case(
            "one-breaks-1+0",
            breaks(2, new(ONE, &[1, 0])),
            &["unseen"],
            1_454_242,
        ),
    ]
}
