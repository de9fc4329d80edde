// SPDX-License-Identifier: GPL-2.0
//! A leaf for all pages: how it is cached, and what a commit of it has to have.

use super::setup::*;
use crate::memory::{address, entry_of};
use crate::monitor::FORMAT;
use crate::*;
use engine::{LeafSize, Machine, PageSpan, Transfer, CHUNK_SIZE};

const BOTH: [Leaves; 2] = [Leaves::Whole, Leaves::Pieces];

fn chunk(leaves: Leaves) -> World {
    world(|config| {
        cold(config);
        config.workload.leaves = leaves;
        config.workload.devices[ATS] = DeviceKind::NONE;
    })
}

fn whole() -> PageSpan {
    PageSpan::new(span(0).first(), CHUNK_SIZE).expect("a chunk")
}

/// A device reads a page; says whether a walk was needed.
fn walks(world: &mut World, page: usize) -> bool {
    world.begin(PLAIN, page, false, false);
    let walks = world.devices[PLAIN].op.is_walk();
    world.lands(PLAIN);
    walks
}

#[test]
fn pages_have_one_translation_or_each_its_own() {
    for leaves in BOTH {
        let mut world = chunk(leaves);
        assert!(walks(&mut world, 0));
        assert_eq!(world.used(), A);
        assert_eq!(walks(&mut world, 1), leaves == Leaves::Pieces);
        assert!(!walks(&mut world, 1));
        assert!(world.broken.is_empty());
    }
}

#[test]
fn the_first_page_alone_is_not_all_that_is_cached() {
    for (span, is_whole) in [(span(0), false), (whole(), true)] {
        for leaves in BOTH {
            let mut world = chunk(leaves);
            walks(&mut world, 0);
            walks(&mut world, 1);
            world.invalidate(span);
            world.evict();
            assert_eq!(world.invalidated(), Some(Ok(())));
            let gone = is_whole || leaves == Leaves::Whole;
            assert_eq!(walks(&mut world, 1), gone, "{leaves:?} {span:?}");
        }
    }
}

fn commit(world: &mut World) {
    let old = world.entries[0];
    let new = FORMAT.redirected(old, address(Place::End, 0), LeafSize::Chunk);
    assert_eq!(world.swap(entry_of(0), old, new), Ok(()));
}

#[test]
fn a_commit_needs_a_copy_of_every_page() {
    for page in 0..PAGES {
        let mut world = chunk(Leaves::Pieces);
        world.memory.end = world.memory.start;
        let sum = world.sum(address(Place::Start, 0), LeafSize::Chunk);
        assert_eq!(world.sum(address(Place::End, 0), LeafSize::Chunk), sum);
        let mut other = world.clone();
        commit(&mut world);
        assert!(world.broken.is_empty());

        other.memory.end[page][WORDS - 1] += 1;
        assert_ne!(other.sum(address(Place::End, 0), LeafSize::Chunk), sum);
        commit(&mut other);
        assert_eq!(other.broken, Broken::G2);
    }
}

#[test]
fn after_a_commit_every_page_is_at_end() {
    for leaves in BOTH {
        let mut world = chunk(leaves);
        world.memory.end = world.memory.start;
        walks(&mut world, 1);
        let mut stale = world.clone();
        commit(&mut world);
        world.invalidate(whole());
        world.evict();
        assert_eq!(world.invalidated(), Some(Ok(())));
        assert!(walks(&mut world, 1) && world.broken.is_empty());

        // With what was cached before it is at START still.
        commit(&mut stale);
        assert!(!walks(&mut stale, 1));
        assert_eq!(stale.broken, Broken::G1);
    }
}
