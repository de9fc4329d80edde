// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_devices::memory::{Memory, Source};

fn ledger(pages: usize) -> (Ledger, Slice) {
    let memory = Memory::new(Source::Memfd, pages * PAGE_SIZE, 0, None).unwrap();
    let slice = Slice::whole(&memory);
    (Ledger::new(slice.clone(), 1), slice)
}

#[test]
fn pages_are_taken_once() {
    let (mut ledger, _) = ledger(8);
    let mut random = Random::new(1);
    let mut taken: Vec<usize> = (0..8)
        .map(|_| ledger.take(1, &mut random).unwrap())
        .collect();
    assert_eq!(ledger.take(1, &mut random), None);
    taken.sort();
    assert_eq!(taken, (0..8).collect::<Vec<_>>());
    ledger.release(3, 2);
    assert_eq!(ledger.take(3, &mut random), None);
    assert_eq!(ledger.take(2, &mut random), Some(3));
}

#[test]
fn a_loss_is_counted_once_and_told() {
    let (mut ledger, memory) = ledger(4);
    let account = Account::default();
    ledger.write(
        2,
        Content::Payload {
            device: 0,
            block: 0,
            version: 1,
        },
    );
    assert!(ledger.check(2, &[], "now", &account).is_good());
    memory.write_word(2 * PAGE_SIZE + 800, 0);
    for _ in 0..2 {
        ledger.check(2, &[], "later", &account);
    }
    let status = account.status();
    // The word is zero again, as it was before the page was written.
    assert_eq!(
        (status.lost, status.corrupt, status.events.len()),
        (1, 0, 1)
    );
    assert!(
        status.events[0].contains("later: data page 2"),
        "{:?}",
        status.events
    );
}

#[test]
fn the_final_check_sees_every_page() {
    for page in 0..4 {
        let (mut ledger, memory) = ledger(4);
        let account = Account::default();
        memory.write_word(page * PAGE_SIZE, 1);
        ledger.check_all(&account);
        assert_eq!(account.status().corrupt, 1, "page {page}");
    }
}
