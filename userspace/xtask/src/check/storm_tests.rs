// SPDX-License-Identifier: GPL-2.0

use super::*;

fn output(blocks: u64, lost: u64, stale: u64) -> String {
    format!(
        "[####] 5 of 6 blocks\r\nNothing was lost.\r\nstorm-figures {{\"engine\":\"rtm\",\"seconds\":2.5,\"blocks\":{blocks},\
         \"dmas\":7,\"moves\":9,\"aborts\":{{\"conflict\":3}},\"lost\":{lost},\"stale\":{stale},\"compared\":4,\"medium\":5,\
         \"moving\":0.9}}\r\n"
    )
}

fn sums(of: &[(u64, u64, u64)]) -> Sums {
    let mut sums = Sums::default();
    for (blocks, lost, stale) in of {
        sums.add(true, Figures::find(&output(*blocks, *lost, *stale)));
    }
    sums
}

#[test]
fn a_million_blocks_and_nothing_lost_is_good() {
    let sums = sums(&[(800_000, 0, 0), (200_000, 0, 0)]);
    assert!(sums.good());
    let last = sums.describe();
    let total = last.lines().nth(3).unwrap();
    assert!(
        total.starts_with("all ") && total.contains("1000000") && total.ends_with("conflict 6"),
        "{last}"
    );
    assert!(last.ends_with("Nothing was lost."));
}

#[test]
fn too_few_blocks_or_any_loss_is_not() {
    for of in [
        [(800_000, 0, 0), (199_999, 0, 0)],
        [(800_000, 1, 0), (200_000, 0, 0)],
        [(800_000, 0, 0), (200_000, 0, 1)],
    ] {
        assert!(!sums(&of).good());
        assert!(sums(&of).describe().ends_with("FAILED"));
    }
}

#[test]
fn one_that_failed_or_says_nothing_is_not() {
    let mut failed = sums(&[(2_000_000, 0, 0)]);
    failed.add(false, Figures::find(&output(5, 0, 0)));
    assert!(!failed.good());
    let mut mute = sums(&[(2_000_000, 0, 0)]);
    mute.add(true, Figures::find("Nothing was lost.\n"));
    assert!(!mute.good());
    assert!(!Sums::default().good());
}
