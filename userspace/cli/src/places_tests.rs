// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::PLACE_NODE;

const NONE: Place = Place {
    kind: PLACE_NONE,
    number: 0,
};

fn node(number: i32) -> Place {
    Place {
        kind: PLACE_NODE,
        number,
    }
}

#[test]
fn runs_go_on_over_calls() {
    let mut runs = Vec::new();
    append(&mut runs, 0, &[node(0), node(0), node(1)]);
    append(&mut runs, 3 * 4096, &[node(1), NONE, node(0)]);
    let expected = [
        (0, 2, node(0)),
        (2, 2, node(1)),
        (4, 1, NONE),
        (5, 1, node(0)),
    ]
    .map(|(page, pages, place)| Run {
        offset: page * 4096,
        pages,
        place,
    });
    assert_eq!(runs, expected);
}

#[test]
fn totals_count_every_page_once() {
    let mut runs = Vec::new();
    append(&mut runs, 0, &[node(1), node(0), node(1), NONE]);
    assert_eq!(totals(&runs), [(NONE, 1), (node(0), 1), (node(1), 2)]);
    assert!(totals(&[]).is_empty());
}

#[test]
fn names() {
    assert_eq!(name(node(3)), "node 3");
    assert_eq!(name(NONE), "none");
    assert_eq!(name(Place { kind: 9, number: 2 }), "9 2");
}
