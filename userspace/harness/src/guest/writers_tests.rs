// SPDX-License-Identifier: GPL-2.0

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
