// SPDX-License-Identifier: GPL-2.0
//! Each guarantee broken by the shortest story that breaks it, and its twin. The
//! two of the slots are in `slots.rs`.

use super::setup::*;
use crate::cpu::Tx;
use crate::memory::{address, entry_of};
use crate::monitor::FORMAT;
use crate::*;
use engine::{Checksum, LeafSize, Machine, Transfer};

#[test]
fn g1_a_device_reaches_the_page_that_is_not_mapped() {
    for write in [false, true] {
        let mut world = world(|_| ());
        world.commit_page(0);
        world.begin(PLAIN, 0, write, false);
        assert_eq!(world.broken, Broken::empty());
        world.lands(PLAIN);
        assert_eq!(world.broken, Broken::G1);
    }
}

#[test]
fn twin_g1_it_reaches_the_page_that_is() {
    for write in [false, true] {
        let mut world = world(|_| ());
        world.commit_page(0);
        world.invalidates();
        world.begin(PLAIN, 0, write, false);
        world.lands(PLAIN);
        assert_eq!(world.broken, Broken::empty());
    }
}

/// END was used ahead of the commit, and what was written there is on top.
#[test]
fn g1_a_device_reads_something_old() {
    for (old, seen) in [(true, Broken::G1), (false, Broken::empty())] {
        let mut world = world(|_| ());
        if old {
            world.newest[0][1] += 1;
        }
        world.reads(PLAIN);
        world.lands(PLAIN);
        assert_eq!(world.broken, seen);
    }
}

#[test]
fn g2_a_commit_of_what_is_no_copy() {
    for (end, seen) in [([1, 0], Broken::G2), ([1, 1], Broken::empty())] {
        let mut world = world(|_| ());
        world.memory.end[0] = end;
        let old = world.entries[0];
        world.swap(entry_of(0), old, to_end(old)).unwrap();
        assert_eq!(world.broken, seen);
    }
}

#[test]
fn g2_a_commit_while_bytes_are_on_their_way() {
    for (publish, seen) in [(false, Broken::G2), (true, Broken::empty())] {
        let mut world = world(|config| config.hardware.aperture = true);
        world.memory.end[0] = world.memory.start[0];
        let (start, end) = (address(Place::Start, 0), address(Place::End, 0));
        world.copy(start, end, 0, Checksum::new());
        if publish {
            world.publish(start, end, LeafSize::Page).unwrap();
        }
        let old = world.entries[0];
        world.store(entry_of(0), to_end(old));
        assert_eq!(world.broken, seen);
    }
}

/// The commit of a transaction is judged as one by a swap is.
#[test]
fn g2_a_transaction_commits_what_is_no_copy() {
    use engine::rtm::TransactionCpu;
    for (end, seen) in [([1, 0], Broken::G2), ([1, 1], Broken::empty())] {
        let mut world = world(|_| ());
        world.memory.end[0] = end;
        let new = to_end(world.entries[0]);
        world.tx = Some(Tx::new());
        TransactionCpu::begin(&mut world).unwrap();
        TransactionCpu::store(&mut world, entry_of(0).0, new).unwrap();
        assert_eq!(world.broken, Broken::empty());
        TransactionCpu::commit(&mut world).unwrap();
        assert_eq!(world.broken, seen);
    }
}

#[test]
fn only_from_start_to_end_is_a_commit() {
    let mut world = world(|_| ());
    let old = world.entries[0];
    world.store(entry_of(0), old & !(A | D));
    world.store(entry_of(0), 0);
    world.store(entry_of(0), to_end(old));
    world.store(entry_of(0), old);
    assert_eq!(world.broken, Broken::empty());
}

#[test]
fn deadline_a_commit_after_it_was_seen_to_pass() {
    for (clock, seen) in [(5, Broken::DEADLINE), (4, Broken::empty())] {
        let mut world = world(|config| config.policy.deadline = Some(4));
        world.clock = clock;
        world.now();
        world.commit_page(0);
        assert_eq!(world.broken, seen);
    }
}

/// Twin: who does not look can not know.
#[test]
fn twin_deadline_a_commit_after_it_passed_unseen() {
    let mut world = world(|config| config.policy.deadline = Some(4));
    world.clock = 5;
    world.commit_page(0);
    assert_eq!(world.broken, Broken::empty());
}

#[test]
fn freed_a_device_uses_a_page_that_was_given_back() {
    for freed in [Some(Place::Start), Some(Place::End), None] {
        let mut world = world(|_| ());
        world.freed[0] = freed;
        world.reads(PLAIN);
        world.lands(PLAIN);
        let used = freed == Some(Place::Start);
        assert_eq!(world.broken.contains(Broken::FREED), used);
    }
}

#[test]
fn freed_a_cpu_uses_a_page_that_was_given_back() {
    for (freed, seen) in [(Place::Start, Broken::FREED), (Place::End, Broken::empty())] {
        let mut world = world(|config| config.workload.cpu_writes = 1);
        world.freed[0] = Some(freed);
        world.cpu_write(0);
        assert_eq!(world.broken, seen);
    }
}

#[test]
fn freed_the_engine_copies_to_a_page_that_was_given_back() {
    for (freed, seen) in [(Place::End, Broken::FREED), (Place::Start, Broken::empty())] {
        let mut world = world(|_| ());
        world.freed[0] = Some(freed);
        let (start, end) = (address(Place::Start, 0), address(Place::End, 0));
        world.copy(start, end, 0, Checksum::new());
        assert_eq!(world.broken, seen);
    }
}

/// A device that holds START reads from it, after END was written.
fn reads_old(reads_allowed: bool, freed: bool) -> Broken {
    let mut world = world(|config| config.policy.reads_allowed = reads_allowed);
    world.commit_page(0);
    world.queue_invalidation(span(0));
    world.evict();
    world.writes(PLAIN);
    world.lands(PLAIN);
    assert_eq!(world.broken, Broken::empty());
    world.freed[0] = freed.then_some(Place::Start);
    world.reads(ATS);
    world.lands(ATS);
    world.broken
}

#[test]
fn tolerated_old_bytes_are_read_where_readers_may() {
    assert_eq!(reads_old(true, false), Broken::TOLERATED);
}

#[test]
fn twin_tolerated_is_nothing_else() {
    assert_eq!(reads_old(false, false), Broken::G1);
    assert_eq!(reads_old(true, true), Broken::G1 | Broken::FREED);
}

/// Not even of the newest bytes, once START was given back.
#[test]
fn twin_tolerated_is_no_reader_of_a_page_that_was_given_back() {
    for (freed, seen) in [
        (None, Broken::empty()),
        (Some(Place::Start), Broken::G1 | Broken::FREED),
    ] {
        let mut world = world(|config| config.policy.reads_allowed = true);
        world.commit_page(0);
        world.freed[0] = freed;
        world.reads(PLAIN);
        world.lands(PLAIN);
        assert_eq!(world.broken, seen);
    }
}

/// A writer is never tolerated.
#[test]
fn twin_tolerated_is_no_write() {
    let mut world = world(|config| config.policy.reads_allowed = true);
    world.commit_page(0);
    world.writes(PLAIN);
    world.lands(PLAIN);
    assert_eq!(world.broken, Broken::G1);
}

fn to_end(entry: u64) -> u64 {
    FORMAT.redirected(entry, address(Place::End, 0), LeafSize::Page)
}
