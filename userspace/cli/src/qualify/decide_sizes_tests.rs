// SPDX-License-Identifier: GPL-2.0
//! Evidence and answers on leaves that change their size.

use super::*;

const DEMAND: Demand = Demand {
    met: 30,
    rounds: 1000,
};

const GOOD: Sizes = Sizes {
    splits: 1001,
    merges: 1000,
    reverted: 0,
    astray: 0,
    busy: 0,
    met: 1002,
    dmas: 5000,
    reads: 400,
    dmas_lost: 0,
    device_errors: 0,
    faults: 0,
};

fn answers(change: impl Fn(&mut Sizes)) -> (Answer, Answer) {
    let mut sizes = GOOD;
    change(&mut sizes);
    (split_live(&sizes, DEMAND).0, merge_live(&sizes, DEMAND).0)
}

#[test]
fn the_table_of_evidence_and_answers() {
    use Answer::{No, NotSeen, Yes};
    type Change = fn(&mut Sizes);
    let table: [(&str, Change, (Answer, Answer)); 13] = [
        ("enough of all", |_| {}, (Yes, Yes)),
        ("too few splits", |it| it.splits = 999, (NotSeen, Yes)),
        ("too few merges", |it| it.merges = 999, (Yes, NotSeen)),
        (
            "too few DMAs meanwhile",
            |it| it.met = 999,
            (NotSeen, NotSeen),
        ),
        (
            "DMAs at other times alone",
            |it| it.met = 0,
            (NotSeen, NotSeen),
        ),
        ("calls given up", |it| it.busy = 7, (Yes, Yes)),
        ("no reads", |it| it.reads = 0, (Yes, Yes)),
        ("an old entry came back", |it| it.reverted = 1, (No, No)),
        ("no leaf in the end", |it| it.astray = 1, (No, No)),
        ("a lost DMA", |it| it.dmas_lost = 1, (No, No)),
        (
            "an error of the device",
            |it| it.device_errors = 1,
            (No, No),
        ),
        ("a fault", |it| it.faults = 1, (No, No)),
        (
            "a fault, and little else",
            |it| (it.splits, it.merges, it.met, it.faults) = (1, 0, 0, 1),
            (No, No),
        ),
    ];
    for (what, change, expected) in table {
        assert_eq!(answers(change), expected, "{what}");
    }
    assert_eq!(split_live(&Sizes::default(), DEMAND).0, NotSeen);
}

#[test]
fn the_bound_is_of_what_met() {
    let (_, why) = split_live(&GOOD, DEMAND);
    assert!(why.contains("one of 333 "), "{why}");
    let (_, why) = split_live(&Sizes { met: 10, ..GOOD }, DEMAND);
    assert!(why.contains("1000 are asked for"), "{why}");
}

#[test]
fn what_was_wrong_is_told() {
    let sizes = Sizes {
        reverted: 2,
        astray: 1,
        busy: 3,
        ..GOOD
    };
    let (_, why) = merge_live(&sizes, DEMAND);
    for part in [
        "came back 2 times",
        "not the leaf any more",
        "3 calls given up",
    ] {
        assert!(why.contains(part), "{why}");
    }
}
