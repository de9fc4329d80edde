// SPDX-License-Identifier: GPL-2.0
//! What every block of a device's store has to hold at this moment, and which of them
//! belong to a transfer. A block is a page long. Each has content of its own: it names
//! the block and the version, which is larger with each write.

use pagemove_uapi::PAGE_SIZE;

use crate::ledger::account::Account;
use crate::ledger::payload::{judge, Content, Page, Verdict};
use pagemove_testkit::random::Random;

/// Places that are looked at before [`Medium::take`] gives up.
const TRIES: usize = 16;

/// One block.
#[derive(Clone, Copy, Debug)]
struct Block {
    holds: Content,
    /// What it held before that was written.
    before: Content,
    /// What the page that it was written from had held before.
    source_before: Content,
    /// A transfer uses it.
    taken: bool,
}

/// The store of one device.
#[derive(Clone, Debug)]
pub struct Medium {
    device: u32,
    seed: u64,
    blocks: Vec<Block>,
}

impl Medium {
    /// Nothing is known of what is there.
    pub fn new(device: usize, blocks: usize, seed: u64) -> Self {
        let block = Block {
            holds: Content::Unknown,
            before: Content::Unknown,
            source_before: Content::Unknown,
            taken: false,
        };
        Self {
            device: device as u32,
            seed,
            blocks: vec![block; blocks],
        }
    }

    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that were written.
    pub fn known(&self) -> usize {
        self.blocks
            .iter()
            .filter(|block| block.holds != Content::Unknown)
            .count()
    }

    /// Where a block is in the store.
    pub fn offset(block: usize) -> u64 {
        (block * PAGE_SIZE) as u64
    }

    /// Takes `count` blocks that follow one another from somewhere, if a few random
    /// places have some that nobody uses. To be read they have to be known.
    pub fn take(&mut self, count: usize, to_read: bool, random: &mut Random) -> Option<usize> {
        let places = self.blocks.len().checked_sub(count)? + 1;
        for _ in 0..TRIES {
            let first = random.below(places);
            let wanted = &mut self.blocks[first..first + count];
            let fits = |block: &Block| !(block.taken || to_read && block.holds == Content::Unknown);
            if wanted.iter().all(fits) {
                wanted.iter_mut().for_each(|block| block.taken = true);
                return Some(first);
            }
        }
        None
    }

    pub fn release(&mut self, first: usize, count: usize) {
        for block in &mut self.blocks[first..first + count] {
            debug_assert!(block.taken);
            block.taken = false;
        }
    }

    /// What a block holds that is written next.
    pub fn next(&self, block: usize, version: u64) -> Content {
        Content::Payload {
            device: self.device,
            block: block as u32,
            version,
        }
    }

    /// The device has written a block, from a page that had held `source_before`.
    pub fn wrote(&mut self, block: usize, content: Content, source_before: Content) {
        let block = &mut self.blocks[block];
        block.before = block.holds;
        block.holds = content;
        block.source_before = source_before;
    }

    /// A block that nobody knows any more.
    pub fn forget(&mut self, block: usize) {
        self.blocks[block].holds = Content::Unknown;
    }

    /// What a block has to hold, and what would be too old.
    pub fn expected(&self, block: usize) -> (Content, [Content; 2]) {
        let block = &self.blocks[block];
        (block.holds, [block.source_before, block.before])
    }

    /// Judges what was read from a block. An older version is stale; anything else that
    /// is not what it has to hold is lost.
    pub fn check(&self, block: usize, found: &Page, account: &Account) -> Verdict {
        let (holds, older) = self.expected(block);
        if holds == Content::Unknown {
            return Verdict::default();
        }
        account.medium_checked.add(1);
        let verdict = judge(self.seed, found, holds, Content::Unknown, &older);
        if verdict.is_good() {
            return verdict;
        }
        let is_stale = verdict.corrupt == 0;
        let counter = if is_stale {
            &account.medium_stale
        } else {
            &account.medium_lost
        };
        counter.add(1);
        account.event(format!(
            "medium of device {}: block {block} holds {} instead of {holds:?}: {} bytes stale, {} corrupt",
            self.device,
            Content::of(found).map_or("a mixture".to_string(), |content| format!("{content:?}")),
            verdict.stale,
            verdict.corrupt,
        ));
        verdict
    }
}

#[cfg(test)]
#[path = "medium_tests.rs"]
mod tests;
