// SPDX-License-Identifier: GPL-2.0
//! What every page of the data area has to hold at this moment, and which of
//! them belong to a transfer.

pub mod account;
pub mod medium;
pub mod payload;
pub mod readback;

use pagemove_uapi::PAGE_SIZE;

use crate::ledger::account::Account;
use crate::ledger::payload::{digest, judge, Content, Page, Verdict, WORDS};
use pagemove_devices::memory::Slice;
use pagemove_testkit::random::Random;

/// One page.
#[derive(Clone, Copy, Debug)]
struct Record {
    holds: Content,
    /// What it held before that was written.
    before: Content,
    /// A transfer uses it.
    taken: bool,
}

/// The data area and what is known of it.
pub struct Ledger {
    memory: Slice,
    seed: u64,
    records: Vec<Record>,
    free: usize,
}

impl Ledger {
    /// The area has to be all zero: fresh memory is.
    pub fn new(memory: Slice, seed: u64) -> Self {
        let pages = memory.pages();
        let record = Record {
            holds: Content::Zero,
            before: Content::Unknown,
            taken: false,
        };
        Self {
            memory,
            seed,
            records: vec![record; pages],
            free: pages,
        }
    }

    pub fn pages(&self) -> usize {
        self.records.len()
    }

    pub fn iova(&self, page: usize) -> u64 {
        self.memory.iova(page * PAGE_SIZE)
    }

    /// Takes `count` free pages that follow one another, from a random place
    /// on. None: there are none.
    pub fn take(&mut self, count: usize, random: &mut Random) -> Option<usize> {
        let pages = self.pages();
        if count == 0 || count > self.free {
            return None;
        }
        let start = random.below(pages);
        for first in (start..pages).chain(0..start) {
            if first + count <= pages
                && self.records[first..first + count]
                    .iter()
                    .all(|record| !record.taken)
            {
                self.records[first..first + count]
                    .iter_mut()
                    .for_each(|record| record.taken = true);
                self.free -= count;
                return Some(first);
            }
        }
        None
    }

    pub fn release(&mut self, first: usize, count: usize) {
        for record in &mut self.records[first..first + count] {
            debug_assert!(record.taken);
            record.taken = false;
        }
        self.free += count;
    }

    /// The CPU writes a page. Returns what it held before.
    pub fn write(&mut self, page: usize, content: Content) -> Content {
        let mut words = [0; WORDS];
        content.render(self.seed, &mut words);
        self.memory.write_words(page * PAGE_SIZE, &words);
        self.expect(page, content)
    }

    /// Returns what a page has to hold, and what it held before.
    pub fn history(&self, page: usize) -> (Content, Content) {
        (self.records[page].holds, self.records[page].before)
    }

    /// From now on a page has to hold this. Returns what it held before.
    pub fn expect(&mut self, page: usize, content: Content) -> Content {
        let record = &mut self.records[page];
        record.before = record.holds;
        record.holds = content;
        record.before
    }

    /// Compares a page with what it has to hold; `older` is what it would be wrong to
    /// find there since it is too old. A loss goes to the account once.
    pub fn check(
        &mut self,
        page: usize,
        older: &[Content],
        when: &str,
        account: &Account,
    ) -> Verdict {
        let mut found: Page = [0; WORDS];
        self.memory.read_words(page * PAGE_SIZE, &mut found);
        let record = self.records[page];
        let verdict = judge(self.seed, &found, record.holds, record.before, older);
        account.checked.add(1);
        if !verdict.is_good() {
            self.report(page, &found, verdict, when, account);
            self.records[page].holds = Content::Unknown;
        }
        verdict
    }

    fn report(&self, page: usize, found: &Page, verdict: Verdict, when: &str, account: &Account) {
        for (bytes, counter) in [
            (verdict.lost, &account.lost),
            (verdict.stale, &account.stale),
            (verdict.corrupt, &account.corrupt),
        ] {
            counter.add((bytes > 0).into());
        }
        let record = self.records[page];
        let found =
            Content::of(found).map_or("a mixture".to_string(), |content| format!("{content:?}"));
        account.event(format!(
            "{when}: data page {page} (IOVA {:#x}) holds {found} instead of {:?}: {} bytes lost, {} stale, {} corrupt",
            self.iova(page),
            record.holds,
            verdict.lost,
            verdict.stale,
            verdict.corrupt,
        ));
    }

    /// Checks a random page that no transfer uses.
    pub fn scrub(&mut self, random: &mut Random, account: &Account) {
        let page = random.below(self.pages());
        if !self.records[page].taken {
            self.check(page, &[], "scrub", account);
            account.scrubbed.add(1);
        }
    }

    /// For each page the digest of what it has to hold, where that is known.
    pub fn digests(&self) -> Vec<Option<u64>> {
        let of = |record: &Record| {
            let mut page = [0; WORDS];
            record.holds.render(self.seed, &mut page);
            (record.holds != Content::Unknown && !record.taken).then(|| digest(&page))
        };
        self.records.iter().map(of).collect()
    }

    /// Checks every page that no transfer uses.
    pub fn check_all(&mut self, account: &Account) {
        for page in 0..self.pages() {
            if !self.records[page].taken {
                self.check(page, &[], "final check", account);
            }
        }
    }
}

#[cfg(test)]
mod tests;
