// SPDX-License-Identifier: GPL-2.0

use super::*;

fn queue(pages: std::ops::Range<u32>) -> Queue {
    let mut queue = Queue::default();
    queue.add(pages);
    queue
}

/// Moves all, `most` at a time, and says in which order.
fn drain(queue: &mut Queue, most: u32) -> Vec<Run> {
    let mut order = Vec::new();
    while let Next::Pages(run) = queue.next(Duration::ZERO, most) {
        run.pages().for_each(|page| queue.done(page));
        order.push(run);
    }
    order
}

#[test]
fn wanted_pages_come_first_and_their_neighbours_next() {
    let mut queue = queue(0..20);
    assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(0, 4)));
    (0..4).for_each(|page| queue.done(page));
    queue.want(11);
    queue.want(12);
    queue.want(2);
    queue.want(6);
    assert_eq!(
        drain(&mut queue, 4),
        [
            Run::new(11, 2),
            Run::new(6, 1),
            Run::new(7, 4),
            Run::new(13, 4),
            Run::new(17, 3),
            Run::new(4, 2)
        ]
    );
    assert_eq!(
        (queue.left(), queue.next(Duration::ZERO, 4)),
        (0, Next::Empty)
    );
}

#[test]
fn preferred_pages_come_before_the_rest_once() {
    let mut queue = queue(0..6);
    queue.prefer(RoaringBitmap::from_iter([3, 4, 9]));
    assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(3, 2)));
    queue.want(5);
    assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(5, 1)));
    (3..6).for_each(|page| queue.done(page));
    assert_eq!(drain(&mut queue, 9), [Run::new(0, 3)]);
}

#[test]
fn pages_in_use_come_again_after_longer_and_longer() {
    let mut queue = queue(5..7);
    let mut now = Duration::ZERO;
    queue.rest(5, now);
    assert_eq!(queue.next(now, 4), Next::Pages(Run::new(6, 1)));
    queue.done(6);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let Next::Wait(pause) = queue.next(now, 4) else {
            panic!("it rests")
        };
        pauses.push(pause.as_millis());
        now += pause;
        assert_eq!(queue.next(now, 4), Next::Pages(Run::new(5, 1)));
        queue.rest(5, now);
    }
    assert_eq!(pauses[..4], [10, 20, 40, 80]);
    assert_eq!(pauses[11], 1000);
    assert_eq!(queue.left(), 1);
}

#[test]
fn a_wanted_page_does_not_rest() {
    let mut queue = queue(5..7);
    queue.rest(6, Duration::ZERO);
    queue.want(6);
    assert_eq!(queue.next(Duration::ZERO, 4), Next::Pages(Run::new(6, 1)));
    assert_eq!(queue.left(), 2);
}
