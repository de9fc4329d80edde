// SPDX-License-Identifier: GPL-2.0
//! What a device maps as blocks of equal size, however much it is.

use std::collections::BTreeMap;

use pagemove_uapi::{
    Mapping, PciAddress, Place, PAGE_SIZE, PLACE_APERTURE, PLACE_NODE, PLACE_NONE,
};

/// Most segments: addresses with a hole before and behind them.
pub const MOST_SEGMENTS: usize = 64;

/// Nodes and apertures that have a letter; what is more of them is one kind.
pub const MOST_LETTERS: u8 = 22;

/// Where memory is: all that is at one place, or, of places too many, all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// None for the places that are not told apart.
    pub place: Option<Place>,
    pub symbol: char,
    pub bytes: u64,
}

/// A block: what of it is mapped, by kind, most first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the kind, and bytes.
    pub shares: Vec<(usize, u64)>,
}

impl Block {
    pub fn is_mixed(&self) -> bool {
        self.shares.len() > 1
    }

    fn add(&mut self, kind: usize, bytes: u64) {
        match self.shares.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, sum)) => *sum += bytes,
            None => self.shares.push((kind, bytes)),
        }
    }
}

/// Blocks one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What is mapped in it: the first byte and the last.
    pub first: u64,
    pub last: u64,
    /// Where the first block begins.
    pub start: u64,
    pub blocks: Vec<Block>,
}

/// Blocks of a segment that are drawn in one row.
#[derive(Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Of the first column, of which nothing needs to be mapped.
    pub address: u64,
    /// Of the first block.
    pub column: usize,
    pub blocks: &'a [Block],
}

/// What devices map that map the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub devices: Vec<PciAddress>,
    /// A block is 1 << shift bytes.
    pub shift: u32,
    pub bytes: u64,
    pub kinds: Vec<Kind>,
    pub segments: Vec<Segment>,
    /// Holes that are in blocks, and thus not between segments.
    pub hidden_holes: usize,
}

/// Addresses that are mapped to one kind.
struct Span {
    first: u64,
    last: u64,
    kind: usize,
}

impl Picture {
    /// Draws runs with blocks as small as can be: no more than `most` of them.
    pub fn new(devices: Vec<PciAddress>, runs: &[Mapping], most: usize) -> Self {
        let mut kinds = kinds(runs);
        let spans = spans(runs, &mut kinds);
        let shift = shift(&spans, most);
        let segments = segments(&spans, shift);
        let holes = spans
            .windows(2)
            .filter(|two| is_hole(&two[0], two[1].first));
        Self {
            devices,
            shift,
            bytes: kinds
                .iter()
                .fold(0, |sum, kind| sum.saturating_add(kind.bytes)),
            kinds,
            hidden_holes: (holes.count() + 1).saturating_sub(segments.len().max(1)),
            segments,
        }
    }

    /// Returns the bytes that a block stands for.
    pub fn block_bytes(&self) -> u64 {
        1 << self.shift
    }

    pub fn mixed_blocks(&self) -> usize {
        let blocks = self.segments.iter().flat_map(|segment| &segment.blocks);
        blocks.filter(|block| block.is_mixed()).count()
    }

    /// Returns the first and the last byte of each hole between segments.
    pub fn holes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let pairs = self.segments.windows(2);
        pairs.map(|two| (two[0].last + 1, two[1].first - 1))
    }

    /// Divides a segment into rows. Each begins at a multiple of what a whole row stands for, so that the same
    /// column is the same part of it everywhere.
    pub fn rows<'a>(&self, segment: &'a Segment, columns: usize) -> Vec<Row<'a>> {
        let first = segment.start >> self.shift;
        let mut column = (first % columns as u64) as usize;
        let mut address = (first - column as u64) << self.shift;
        let mut left = &segment.blocks[..];
        let mut rows = Vec::new();
        while !left.is_empty() {
            let (blocks, rest) = left.split_at(left.len().min(columns - column));
            rows.push(Row {
                address,
                column,
                blocks,
            });
            (left, column) = (rest, 0);
            address = address.wrapping_add((columns as u64) << self.shift);
        }
        rows
    }

    /// Returns what a block is drawn as: its kind's symbol, or `*` of several.
    pub fn symbol(&self, block: &Block) -> char {
        match block.shares.first() {
            Some((kind, _)) if !block.is_mixed() => self.kinds[*kind].symbol,
            _ => '*',
        }
    }
}

fn is_hole(before: &Span, next: u64) -> bool {
    before.last.checked_add(1).is_some_and(|end| end < next)
}

/// Returns the kinds that there are, nodes first, each with a symbol of its own.
fn kinds(runs: &[Mapping]) -> Vec<Kind> {
    let order = |place: Place| match place.kind {
        PLACE_NODE => 0,
        PLACE_APERTURE => 1,
        _ => 2,
    };
    let mut places: Vec<Place> = runs.iter().map(|run| run.place).collect();
    places.sort_by_key(|place| (order(*place), place.kind, place.number));
    places.dedup();
    let mut symbols = Symbols::default();
    let kind = |place: Place| {
        Some(Kind {
            place: Some(place),
            symbol: symbols.of(place)?,
            bytes: 0,
        })
    };
    places.into_iter().filter_map(kind).collect()
}

/// Letters that were given away.
#[derive(Default)]
struct Symbols {
    small: u8,
    large: u8,
}

impl Symbols {
    /// Returns the symbol of the next place. A node's number is its symbol where it has one digit, so that
    /// it looks the same in each picture.
    fn of(&mut self, place: Place) -> Option<char> {
        let is_left = self.small + self.large < MOST_LETTERS;
        let next = |count: &mut u8, first: u8| {
            *count += 1;
            Some(char::from(first + *count - 1))
        };
        match (place.kind, u32::try_from(place.number)) {
            (PLACE_NODE, Ok(number @ 0..=9)) => char::from_digit(number, 10),
            (PLACE_NODE, _) if is_left => next(&mut self.small, b'a'),
            (PLACE_APERTURE, _) if is_left => next(&mut self.large, b'A'),
            (PLACE_NONE, _) => Some('-'),
            _ => None,
        }
    }
}

/// Returns what is mapped in ascending order, runs of one kind that follow each other as one, and counts
/// bytes by kind.
fn spans(runs: &[Mapping], kinds: &mut Vec<Kind>) -> Vec<Span> {
    let known: BTreeMap<(u32, i32), usize> = kinds
        .iter()
        .enumerate()
        .filter_map(|(n, kind)| Some(((kind.place?.kind, kind.place?.number), n)))
        .collect();
    let others = kinds.len();
    let mut runs: Vec<&Mapping> = runs.iter().filter(|run| run.length > 0).collect();
    runs.sort_by_key(|run| run.iova);
    let mut spans: Vec<Span> = Vec::new();
    for run in runs {
        let place = (run.place.kind, run.place.number);
        let kind = known.get(&place).copied().unwrap_or(others);
        if kind == kinds.len() {
            kinds.push(Kind {
                place: None,
                symbol: '?',
                bytes: 0,
            });
        }
        let last = run.iova.saturating_add(run.length - 1);
        // What is told is of several moments: an address may be told of twice.
        let first = match spans.last() {
            Some(before) if before.last >= last => continue,
            Some(before) => run.iova.max(before.last + 1),
            None => run.iova,
        };
        kinds[kind].bytes = kinds[kind]
            .bytes
            .saturating_add(last - first)
            .saturating_add(1);
        match spans.last_mut() {
            Some(before) if before.kind == kind && !is_hole(before, first) => before.last = last,
            _ => spans.push(Span { first, last, kind }),
        }
    }
    spans
}

/// Returns the smallest blocks of which there are few enough. There is always one: at most two blocks are as large as
/// half of all addresses.
fn shift(spans: &[Span], most: usize) -> u32 {
    let fits = |shift: &u32| {
        let (blocks, segments) = count(spans, *shift);
        blocks <= most as u64 && segments <= MOST_SEGMENTS
    };
    (PAGE_SIZE.trailing_zeros()..u64::BITS - 1)
        .find(fits)
        .unwrap_or(u64::BITS - 1)
}

/// Counts blocks and segments.
fn count(spans: &[Span], shift: u32) -> (u64, usize) {
    let (mut blocks, mut segments) = (0u64, 0);
    let mut before: Option<u64> = None;
    for span in spans {
        let (first, last) = (span.first >> shift, span.last >> shift);
        segments += usize::from(before.is_none_or(|before| before + 1 < first));
        let fresh = before.map_or(first, |before| first.max(before + 1));
        blocks += (last + 1).saturating_sub(fresh);
        before = Some(last);
    }
    (blocks, segments)
}

/// Divides what is mapped into blocks; between segments there is one at least of which nothing is.
fn segments(spans: &[Span], shift: u32) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for span in spans {
        for number in span.first >> shift..=span.last >> shift {
            let start = number << shift;
            let end = start | ((1 << shift) - 1);
            let (first, last) = (span.first.max(start), span.last.min(end));
            let segment = match segments.last_mut() {
                Some(segment) if (segment.last >> shift) + 1 >= number => segment,
                _ => {
                    segments.push(Segment {
                        first,
                        last: first,
                        start,
                        blocks: Vec::new(),
                    });
                    let n = segments.len() - 1;
                    &mut segments[n]
                }
            };
            let place = (number - (segment.start >> shift)) as usize;
            if place == segment.blocks.len() {
                segment.blocks.push(Block { shares: Vec::new() });
            }
            segment.blocks[place].add(span.kind, (last - first).saturating_add(1));
            segment.last = last;
        }
    }
    for block in segments.iter_mut().flat_map(|segment| &mut segment.blocks) {
        block
            .shares
            .sort_by_key(|(kind, bytes)| (u64::MAX - bytes, *kind));
    }
    segments
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
