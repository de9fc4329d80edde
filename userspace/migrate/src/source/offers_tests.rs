// SPDX-License-Identifier: GPL-2.0

use super::*;

fn offer(first: u32, count: u32, target: u64) -> Offer {
    Offer {
        run: Run::new(first, count),
        target,
    }
}

fn offers() -> Offers {
    Offers::new(Run::new(10, 8), RoaringBitmap::new(), 64 * PAGE)
}

#[test]
fn offers_are_taken_in_order() {
    let mut offers = offers();
    assert_eq!(offers.missing(5), Some(Run::new(10, 5)));
    offers
        .take(Run::new(10, 5), &[offer(10, 2, 62 * PAGE), offer(12, 3, 0)])
        .unwrap();
    assert_eq!(offers.missing(5), Some(Run::new(15, 3)));
    offers
        .take(Run::new(15, 3), &[offer(15, 3, 3 * PAGE)])
        .unwrap();
    assert_eq!(offers.missing(5), None);
    assert_eq!(offers.targets(Run::new(11, 3)), [63 * PAGE, 0, PAGE]);
    assert_eq!(offers.target(17), Some(5 * PAGE));
    assert_eq!((offers.target(9), offers.target(18)), (None, None));
}

#[test]
fn bad_offers_change_nothing() {
    let mut good = offers();
    good.take(Run::new(10, 2), &[offer(10, 2, 0)]).unwrap();
    let asked = Run::new(12, 4);
    for (bad, reason) in [
        (vec![offer(12, 4, 100)], "not that of a page"),
        (vec![offer(12, 4, 61 * PAGE)], "not all in the aperture"),
        (
            vec![offer(12, 4, u64::MAX - PAGE + 1)],
            "not all in the aperture",
        ),
        (vec![offer(12, 4, PAGE)], "offered twice"),
        (
            vec![offer(12, 2, 8 * PAGE), offer(14, 2, 9 * PAGE)],
            "offered twice",
        ),
        (vec![offer(12, 3, 8 * PAGE)], "asked for and not offered"),
        (vec![offer(12, 5, 8 * PAGE)], "are not all of"),
        (vec![offer(12, 0, 8 * PAGE)], "a run of no pages"),
        (vec![offer(13, 3, 8 * PAGE)], "was due"),
        (vec![offer(12, u32::MAX, 8 * PAGE)], "are not all of"),
        (vec![], "asked for and not offered"),
    ] {
        let wrong = good.take(asked, &bad).unwrap_err();
        assert!(wrong.0.contains(reason), "{bad:?}: {wrong}");
        assert_eq!(good.missing(4), Some(asked), "{bad:?}");
    }
    good.take(asked, &[offer(12, 4, 8 * PAGE)]).unwrap();
}

#[test]
fn nothing_is_asked_for_in_holes() {
    let holes = RoaringBitmap::from_iter([10, 13, 14, 17]);
    let mut offers = Offers::new(Run::new(10, 8), holes, 64 * PAGE);
    assert_eq!(offers.missing(5), Some(Run::new(11, 2)));
    offers
        .take(Run::new(11, 2), &[offer(11, 2, 5 * PAGE)])
        .unwrap();
    assert_eq!(offers.missing(1), Some(Run::new(15, 1)));
    offers.take(Run::new(15, 1), &[offer(15, 1, 0)]).unwrap();
    assert_eq!(offers.missing(5), Some(Run::new(16, 1)));
    offers.take(Run::new(16, 1), &[offer(16, 1, PAGE)]).unwrap();
    assert_eq!(offers.missing(5), None);
    assert_eq!(offers.target(12), Some(6 * PAGE));
    assert_eq!(
        (offers.target(10), offers.target(13), offers.target(17)),
        (None, None, None)
    );
    assert_eq!(offers.targets(Run::new(15, 2)), [0, PAGE]);
}
