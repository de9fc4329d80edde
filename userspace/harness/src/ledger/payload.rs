// SPDX-License-Identifier: GPL-2.0
//! What the harness writes into a page: a header {magic, buffer and block,
//! sequence, checksum}, then words that follow from these and a seed. So a page
//! can be rendered again from a few numbers, and what is found in one says
//! where it came from.

use pagemove_testkit::random::mix;
use pagemove_uapi::PAGE_SIZE;

pub const WORDS: usize = PAGE_SIZE / 8;
const HEADER_WORDS: usize = 4;

/// The words of a page.
pub type Page = [u64; WORDS];

const PAYLOAD_MAGIC: u64 = 0x7061_6765_6d6f_7665;
const POISON_MAGIC: u64 = 0x706f_6973_6f6e_6564;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is not known: nothing can be checked.
    Unknown,
    /// All bytes zero: a page that nobody has written.
    Zero,
    /// What was written to block `block` of the store of device `device`, the
    /// `version`-th write: later ones have larger numbers.
    Payload {
        device: u32,
        block: u32,
        version: u64,
    },
    /// Put there before the device writes the page, never read by a device.
    Poison { page: u32, sequence: u64 },
}

impl Content {
    /// The words of a page with this content; an unknown one is left as it is.
    pub fn render(self, seed: u64, page: &mut Page) {
        let header = match self {
            Content::Unknown => return,
            Content::Zero => {
                page.fill(0);
                return;
            }
            Content::Payload {
                device,
                block,
                version,
            } => (PAYLOAD_MAGIC, device, block, version),
            Content::Poison { page, sequence } => (POISON_MAGIC, page, 0, sequence),
        };
        let (magic, high, low, sequence) = header;
        page[0] = magic;
        page[1] = u64::from(high) << 32 | u64::from(low);
        page[2] = sequence;
        let mut state = mix(seed ^ magic) ^ mix(page[1]) ^ mix(sequence).rotate_left(17);
        let mut sum = page[..3].iter().fold(0, |sum, word| add(sum, *word));
        for word in &mut page[HEADER_WORDS..] {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            *word = state ^ state >> 29;
            sum = add(sum, *word);
        }
        page[3] = sum;
    }

    /// What a page says of itself, if its checksum agrees.
    pub fn of(page: &Page) -> Option<Self> {
        if page.iter().all(|word| *word == 0) {
            return Some(Content::Zero);
        }
        if page[3] != checksum(page) {
            return None;
        }
        let (high, low) = ((page[1] >> 32) as u32, page[1] as u32);
        match page[0] {
            PAYLOAD_MAGIC => Some(Content::Payload {
                device: high,
                block: low,
                version: page[2],
            }),
            POISON_MAGIC => Some(Content::Poison {
                page: high,
                sequence: page[2],
            }),
            _ => None,
        }
    }
}

impl Content {
    /// An earlier version of the same block.
    fn is_older_than(self, other: Self) -> bool {
        match (self, other) {
            (
                Content::Payload {
                    device,
                    block,
                    version,
                },
                Content::Payload {
                    device: of,
                    block: number,
                    version: newer,
                },
            ) => (device, block) == (of, number) && version < newer,
            _ => false,
        }
    }
}

/// A number that stands for a page: two that differ have the same only by accident.
pub fn digest(page: &Page) -> u64 {
    page.iter().fold(0, |sum, word| {
        mix(sum ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15)
    })
}

/// Over every word but the checksum itself.
fn checksum(page: &Page) -> u64 {
    let header = page[..3].iter();
    header
        .chain(&page[HEADER_WORDS..])
        .fold(0, |sum, word| add(sum, *word))
}

/// One more word of a checksum.
fn add(sum: u64, word: u64) -> u64 {
    sum.rotate_left(5).wrapping_add(word)
}

/// Returns whether two pages are the same, word by word: the C library of the programs compares
/// memory byte by byte.
fn are_equal(one: &Page, other: &Page) -> bool {
    one.iter()
        .zip(other)
        .fold(0, |differs, (a, b)| differs | (a ^ b))
        == 0
}

/// What a page was found to hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// They hold what was there before the write: the write is lost.
    pub lost: usize,
    /// They hold something older: the device read old bytes, or an older version of
    /// the block.
    pub stale: usize,
    /// They hold what nobody wrote there.
    pub corrupt: usize,
}

impl Verdict {
    pub fn is_good(self) -> bool {
        self == Self::default()
    }
}

/// Compares a page with what it has to hold. `before` is what it held before
/// that was written; `older` is what whoever reads too early may find: what the place
/// that the device read from held before, and the block's version before.
pub fn judge(
    seed: u64,
    found: &Page,
    expected: Content,
    before: Content,
    older: &[Content],
) -> Verdict {
    let mut verdict = Verdict::default();
    if expected == Content::Unknown {
        return verdict;
    }
    let mut right = [0; WORDS];
    expected.render(seed, &mut right);
    if are_equal(found, &right) {
        return verdict;
    }
    let known = |content: Content| {
        (content != Content::Unknown).then(|| {
            let mut page = [0; WORDS];
            content.render(seed, &mut page);
            page
        })
    };
    let before = known(before);
    let older: Vec<Page> = older.iter().copied().filter_map(known).collect();
    let is_old_version = Content::of(found).is_some_and(|content| content.is_older_than(expected));
    for index in 0..WORDS {
        let word = found[index];
        if word == right[index] {
            continue;
        }
        if before.is_some_and(|page| page[index] == word) {
            verdict.lost += 8;
        } else if is_old_version || older.iter().any(|page| page[index] == word) {
            verdict.stale += 8;
        } else {
            verdict.corrupt += 8;
        }
    }
    verdict
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
