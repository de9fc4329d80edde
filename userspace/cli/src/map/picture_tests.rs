// SPDX-License-Identifier: GPL-2.0

use super::super::testing::{aperture, layouts, node, run};
use super::*;

fn draw(runs: &[Mapping], most: usize) -> Picture {
    Picture::new(vec![PciAddress::new(0, 0, 3, 0)], runs, most)
}

fn symbols(picture: &Picture) -> Vec<String> {
    let of = |segment: &Segment| {
        segment
            .blocks
            .iter()
            .map(|block| picture.symbol(block))
            .collect()
    };
    picture.segments.iter().map(of).collect()
}

#[test]
fn blocks_segments_and_holes() {
    let runs = [
        run(0, 0x3000, node(1)),
        run(0x3000, 0x1000, aperture(4)),
        run(0x4000, 0x1000, node(0)),
        run(0x8000, 0x2000, Place::default()),
    ];
    let picture = draw(&runs, 100);
    assert_eq!(picture.block_bytes(), 4096);
    assert_eq!(symbols(&picture), ["111A0", "--"]);
    assert_eq!(picture.holes().collect::<Vec<_>>(), [(0x5000, 0x7fff)]);
    assert_eq!(
        (picture.bytes, picture.hidden_holes, picture.mixed_blocks()),
        (0x7000, 0, 0)
    );
    // Of larger blocks there are fewer; what is in one is mixed, and no hole is seen in it.
    let picture = draw(&runs, 3);
    assert_eq!(picture.block_bytes(), 0x4000);
    assert_eq!(symbols(&picture), ["*0-"]);
    assert_eq!((picture.hidden_holes, picture.mixed_blocks()), (1, 1));
    assert_eq!(
        picture.segments[0].blocks[0].shares,
        [(1, 0x3000), (2, 0x1000)]
    );
    assert_eq!(symbols(&draw(&runs, 1)), ["*"]);
}

#[test]
fn rows_begin_at_multiples_of_a_row() {
    let picture = draw(&[run(0x6000, 0x7000, node(0))], 100);
    let rows = picture.rows(&picture.segments[0], 4);
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.address, row.column, row.blocks.len()))
        .collect();
    assert_eq!(found, [(0x4000, 2, 2), (0x8000, 0, 4), (0xc000, 0, 1)]);
}

#[test]
fn nothing_is_mapped() {
    let picture = draw(&[], 10);
    assert!(picture.segments.is_empty() && picture.kinds.is_empty());
    assert_eq!((picture.bytes, picture.hidden_holes), (0, 0));
    assert_eq!(picture.holes().count(), 0);
}

#[test]
fn the_last_addresses() {
    let picture = draw(&[run(u64::MAX - 4095, 4096, node(0))], 10);
    assert_eq!(symbols(&picture), ["0"]);
    assert_eq!(picture.segments[0].last, u64::MAX);
    let runs = [run(0, 4096, node(0)), run(u64::MAX - 4095, 4096, node(1))];
    let picture = draw(&runs, 10);
    assert_eq!(symbols(&picture), ["0", "1"]);
    assert_eq!(
        picture.holes().collect::<Vec<_>>(),
        [(4096, u64::MAX - 4096)]
    );
    assert_eq!(draw(&[run(0, u64::MAX - 4095, node(0))], 1).shift, 63);
}

#[test]
fn an_address_that_is_told_twice_counts_once() {
    let runs = [
        run(0x2000, 0x2000, node(1)),
        run(0, 0x3000, node(0)),
        run(0x1000, 0x1000, node(2)),
        run(0x3000, 0, node(3)),
    ];
    let picture = draw(&runs, 10);
    assert_eq!(symbols(&picture), ["0001"]);
    assert_eq!(picture.bytes, 0x4000);
}

#[test]
fn each_place_has_its_symbol_until_there_are_too_many() {
    let places = |count: u64| -> Vec<Mapping> {
        let nodes = (0..count).map(|n| run(n << 12, 4096, node(n as i32)));
        let apertures = (0..4).map(|n| run((count + n) << 12, 4096, aperture(n as i32 + 70)));
        nodes.chain(apertures).collect()
    };
    assert_eq!(symbols(&draw(&places(12), 1000)), ["0123456789abABCD"]);
    let many = draw(&places(40), 1000);
    assert_eq!(
        symbols(&many),
        ["0123456789abcdefghijklmnopqrstuv????????????"]
    );
    assert_eq!(many.kinds.len(), 10 + usize::from(MOST_LETTERS) + 1);
    assert_eq!(
        many.kinds.last().map(|kind| (kind.place, kind.bytes)),
        Some((None, 12 << 12))
    );
}

/// Whatever a guest looks like: no block too many, none larger than has to be, no byte lost.
#[test]
fn blocks_are_few_and_as_small_as_can_be() {
    const MOST: usize = 500;
    for (name, runs) in layouts() {
        let picture = draw(&runs, MOST);
        let blocks = || picture.segments.iter().flat_map(|segment| &segment.blocks);
        assert!(blocks().count() <= MOST, "{name}: {}", blocks().count());
        assert!(picture.segments.len() <= MOST_SEGMENTS, "{name}");
        let drawn: u64 = blocks()
            .flat_map(|block| &block.shares)
            .map(|(_, bytes)| bytes)
            .sum();
        let mapped: u64 = runs.iter().map(|run| run.length).sum();
        assert_eq!((drawn, picture.bytes), (mapped, mapped), "{name}");
        assert!(blocks().all(|block| !block.shares.is_empty()), "{name}");
        let mut kinds = kinds(&runs);
        let spans = spans(&runs, &mut kinds);
        if picture.shift > 12 {
            let (blocks, segments) = count(&spans, picture.shift - 1);
            assert!(blocks > MOST as u64 || segments > MOST_SEGMENTS, "{name}");
        }
        let counted = count(&spans, picture.shift);
        assert_eq!(
            counted,
            (blocks().count() as u64, picture.segments.len()),
            "{name}"
        );
    }
}
