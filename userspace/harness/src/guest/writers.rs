// SPDX-License-Identifier: GPL-2.0
//! CPU writers: threads that count up words of guest memory which no device
//! touches. Each word has one writer, which has to find its last value there:
//! a write that went to a page's old place while it was moved shows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pagemove_uapi::PAGE_SIZE;

use crate::ledger::account::Account;
use crate::random::Random;
use pagemove_devices::memory::Slice;

/// Words of one page that a writer visits in one burst.
const BURST: usize = 64;

/// Running writers; dropping them stops them.
pub struct Writers {
    stop: Arc<AtomicBool>,
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
        let threads = (0..count)
            .map(|number| {
                let (stop, account) = (stop.clone(), account.clone());
                let mut writer = Writer::new(area.clone(), number, count, seed);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        writer.burst(&account);
                        std::thread::sleep(pause);
                    }
                    writer.check_all(&account);
                })
            })
            .collect();
        Self { stop, threads }
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
mod tests {
    use super::*;
    use pagemove_devices::memory::{Memory, Source};

    fn area() -> Slice {
        Slice::whole(&Memory::new(Source::Memfd, 2 * PAGE_SIZE, 0, None).unwrap())
    }

    #[test]
    fn writers_that_are_left_alone_lose_nothing() {
        let account = Arc::new(Account::default());
        let writers = Writers::start(&area(), 3, Duration::ZERO, 1, &account);
        while account.cpu_writes.get() < 20_000 {
            std::thread::yield_now();
        }
        writers.finish();
        assert!(account.status().is_clean(), "{:?}", account.status());
    }

    #[test]
    fn a_word_that_goes_back_is_found_and_told_once() {
        let account = Account::default();
        let area = area();
        let mut writer = Writer::new(area.clone(), 0, 1, 1);
        (0..1000).for_each(|_| writer.burst(&account));
        assert!(account.status().is_clean());
        let old = area.read_word(PAGE_SIZE);
        area.write_word(PAGE_SIZE, old - 1);
        writer.check_all(&account);
        writer.check_all(&account);
        assert_eq!(account.status().cpu_lost, 1);
    }

    #[test]
    fn every_word_has_one_writer() {
        for count in 1..5 {
            let account = Account::default();
            let area = area();
            let mut writers: Vec<_> = (0..count)
                .map(|number| Writer::new(area.clone(), number, count, 9))
                .collect();
            (0..2000).for_each(|round| writers[round % count].burst(&account));
            for writer in &mut writers {
                writer.check_all(&account);
            }
            assert!(
                account.status().is_clean(),
                "{count}: {:?}",
                account.status()
            );
        }
    }
}
