// SPDX-License-Identifier: GPL-2.0
//! CPU writers: threads that count up words of guest memory which no device
//! touches. Each word has one writer, which has to find its last value there:
//! a write that went to a page's old place while it was moved shows.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pagemove_uapi::PAGE_SIZE;

use crate::ledger::account::Account;
use pagemove_devices::memory::Slice;
use pagemove_testkit::random::Random;

/// Words of one page that a writer visits in one burst.
const BURST: usize = 64;

/// Whether writers rest, and how many are at work.
#[derive(Default)]
struct Rest {
    wanted: AtomicBool,
    at_work: AtomicUsize,
}

/// Running writers; dropping them stops them.
pub struct Writers {
    stop: Arc<AtomicBool>,
    rest: Arc<Rest>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Starts `count` writers that pause for `pause` after each burst.
    pub fn start(
        area: &Slice,
        count: usize,
        pause: Duration,
        seed: u64,
        account: &Arc<Account>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rest = Arc::new(Rest::default());
        let threads = (0..count)
            .map(|number| {
                let (stop, rest, account) = (stop.clone(), rest.clone(), account.clone());
                let mut writer = Writer::new(area.clone(), number, count, seed);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        rest.at_work.fetch_add(1, Ordering::SeqCst);
                        if !rest.wanted.load(Ordering::SeqCst) {
                            writer.burst(&account);
                        }
                        rest.at_work.fetch_sub(1, Ordering::SeqCst);
                        std::thread::sleep(pause);
                    }
                    writer.check_all(&account);
                })
            })
            .collect();
        Self {
            stop,
            rest,
            threads,
        }
    }

    /// Lets them rest, or go on. Returns when none is at work any more.
    pub fn rest(&self, rest: bool) {
        self.rest.wanted.store(rest, Ordering::SeqCst);
        while rest && self.rest.at_work.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Stops them; each checks all of its words once more.
    pub fn finish(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A writer that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.join();
    }
}

/// One writer: words `number`, `number + count`, ... of every page.
struct Writer {
    area: Slice,
    number: usize,
    count: usize,
    random: Random,
    /// The last value written to each word, by page and word.
    written: Vec<u64>,
}

impl Writer {
    fn new(area: Slice, number: usize, count: usize, seed: u64) -> Self {
        let written = vec![0; area.length() / 8];
        Self {
            area,
            number,
            count,
            random: Random::new(seed ^ number as u64),
            written,
        }
    }

    /// Checks a word, and tells a loss once.
    fn check(&mut self, index: usize, account: &Account) {
        let (found, expected) = (self.area.read_word(index * 8), self.written[index]);
        if found != expected {
            account.cpu_lost.add(1);
            let (page, iova) = (index * 8 / PAGE_SIZE, self.area.iova(index * 8));
            account.event(format!(
                "CPU page {page} (IOVA {iova:#x}) holds {found} instead of {expected}"
            ));
            self.written[index] = found;
        }
    }

    fn burst(&mut self, account: &Account) {
        let page = self.random.below(self.area.pages());
        let words = PAGE_SIZE / 8;
        let start = self.random.below(words);
        for step in 0..BURST {
            let word = (start + step * self.count) % words / self.count * self.count + self.number;
            if word >= words {
                continue;
            }
            let index = page * words + word;
            self.check(index, account);
            self.written[index] += 1;
            self.area.write_word(index * 8, self.written[index]);
            account.cpu_writes.add(1);
        }
    }

    fn check_all(&mut self, account: &Account) {
        for index in 0..self.written.len() {
            if index % (PAGE_SIZE / 8) % self.count == self.number {
                self.check(index, account);
            }
        }
    }
}

#[cfg(test)]
#[path = "writers_tests.rs"]
mod tests;
