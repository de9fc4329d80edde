// SPDX-License-Identifier: GPL-2.0
//! The module's ring of events: what is remembered, what is lost, and that it says so.

use pagemove_uapi as abi;

#[path = "../../../src/event/ring.rs"]
mod ring;

use abi::{Event, MAX_EVENTS};
use ring::{Found, Ring};

/// Returns a ring after so many events, each with its own number as its id.
fn after(events: u64) -> Ring {
    let mut ring = Ring::new();
    for number in 1..=events {
        ring.add(Event {
            id: number as u32,
            // Whoever adds it does not choose its number.
            number: 77,
            ..Event::NONE
        });
    }
    ring
}

/// Reads with room for so many. Checks that numbers follow each other and are of their events.
fn read(ring: &Ring, from: u64, room: usize) -> Found {
    let mut room = vec![Event::NONE; room];
    let found = ring.read(from, &mut room);
    let first = found.next - found.filled as u64;
    for (event, number) in room[..found.filled].iter().zip(first..) {
        assert_eq!((event.number, u64::from(event.id)), (number, number));
    }
    assert!(room[found.filled..]
        .iter()
        .all(|event| *event == Event::NONE));
    found
}

#[test]
fn nothing_has_happened() {
    for from in [0, 1] {
        let found = read(&after(0), from, 4);
        assert_eq!((found.filled, found.lost, found.next), (0, 0, 1));
    }
    assert_eq!(after(0).end(), 1);
}

#[test]
fn each_is_read_once() {
    let ring = after(5);
    let found = read(&ring, 0, 3);
    assert_eq!((found.filled, found.lost, found.next), (3, 0, 4));
    let found = read(&ring, found.next, 3);
    assert_eq!((found.filled, found.lost, found.next), (2, 0, 6));
    assert_eq!(read(&ring, 6, 3).filled, 0);
    assert_eq!(ring.end(), 6);
    // No room is no loss.
    assert_eq!(
        read(&ring, 2, 0),
        Found {
            filled: 0,
            lost: 0,
            next: 2
        }
    );
}

#[test]
fn as_many_as_there_is_room_for_are_remembered() {
    let all = MAX_EVENTS as u64;
    let found = read(&after(all), 1, MAX_EVENTS + 1);
    assert_eq!(
        (found.filled, found.lost, found.next),
        (MAX_EVENTS, 0, all + 1)
    );
    let found = read(&after(all + 1), 1, MAX_EVENTS + 1);
    assert_eq!(
        (found.filled, found.lost, found.next),
        (MAX_EVENTS, 1, all + 2)
    );
}

#[test]
fn lost_ones_are_counted() {
    let ring = after(3 * MAX_EVENTS as u64);
    let oldest = 2 * MAX_EVENTS as u64 + 1;
    for from in [0, 1, 7, oldest - 1, oldest] {
        let found = read(&ring, from, 2);
        assert_eq!(found.lost, oldest - from.max(1));
        assert_eq!((found.filled, found.next), (2, oldest + 2));
    }
    let found = read(&ring, oldest + 1, 2);
    assert_eq!((found.lost, found.next), (0, oldest + 3));
}

#[test]
fn there_is_no_number_beyond_the_end() {
    let found = read(&after(3), 100, 2);
    assert_eq!((found.filled, found.next), (0, 100));
}
