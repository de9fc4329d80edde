// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::ledger::payload::WORDS;

const SEED: u64 = 5;

fn page(content: Content) -> Page {
    let mut page = [0; WORDS];
    content.render(SEED, &mut page);
    page
}

/// Block 3 was written by the versions 1, 2 and 9.
fn written() -> Medium {
    let mut medium = Medium::new(1, 8, SEED);
    let mut old = Content::Zero;
    for version in [1, 2, 9] {
        let content = medium.next(3, version);
        medium.wrote(3, content, old);
        old = Content::Poison {
            page: 7,
            sequence: version,
        };
    }
    medium
}

fn found(page: &Page) -> (u64, u64, u64) {
    let account = Account::default();
    written().check(3, page, &account);
    let status = account.status();
    assert_eq!(status.losses(), status.medium_lost + status.medium_stale);
    (
        status.medium_checked,
        status.medium_lost,
        status.medium_stale,
    )
}

#[test]
fn what_was_written_last_is_right() {
    assert_eq!(found(&page(written().next(3, 9))), (1, 0, 0));
}

#[test]
fn every_older_version_is_stale() {
    for version in [1, 2] {
        assert_eq!(
            found(&page(written().next(3, version))),
            (1, 0, 1),
            "{version}"
        );
    }
}

#[test]
fn what_the_source_page_held_before_is_stale() {
    assert_eq!(
        found(&page(Content::Poison {
            page: 7,
            sequence: 2
        })),
        (1, 0, 1)
    );
}

#[test]
fn half_an_older_version_is_stale() {
    let mut torn = page(written().next(3, 9));
    torn[WORDS / 2..].copy_from_slice(&page(written().next(3, 2))[WORDS / 2..]);
    assert_eq!(found(&torn), (1, 0, 1));
}

#[test]
fn anything_else_is_lost() {
    let mut flipped = page(written().next(3, 9));
    flipped[100] ^= 1;
    for other in [
        page(Content::Zero),
        page(written().next(4, 9)),
        page(written().next(3, 10)),
        flipped,
    ] {
        assert_eq!(found(&other), (1, 1, 0));
    }
}

#[test]
fn a_block_that_nobody_wrote_is_not_judged() {
    let account = Account::default();
    let medium = written();
    medium.check(4, &page(Content::Zero), &account);
    assert_eq!(account.status().medium_checked, 0);
    assert_eq!((medium.known(), medium.blocks()), (1, 8));
}

#[test]
fn blocks_are_taken_once_and_read_only_when_they_are_known() {
    let mut medium = written();
    let mut random = Random::new(1);
    let mut read = None;
    for _ in 0..100 {
        read = read.or_else(|| medium.take(1, true, &mut random));
    }
    assert_eq!(read, Some(3));
    assert_eq!(medium.take(1, true, &mut random), None);
    assert_eq!(medium.take(8, false, &mut random), None);
    assert_eq!(medium.take(9, false, &mut random), None);
    medium.release(3, 1);
    assert_eq!(medium.take(8, false, &mut random), Some(0));
}
