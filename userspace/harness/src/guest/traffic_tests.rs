// SPDX-License-Identifier: GPL-2.0
//! The traffic against a device made of memory copies, which can be told to do
//! wrong once: each wrong has to be found and named rightly.

use super::*;
use crate::ledger::payload::{Page, WORDS};
use pagemove_devices::device::Limits;
use pagemove_devices::memory::{Memory, Slice, Source};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const PAGES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// A write that never reaches memory, or half of it.
    DropWrite,
    TearWrite,
    /// One byte of a write arrives changed.
    FlipByte,
    /// The device reads what the page held before the CPU wrote it.
    ReadOld,
    /// A page that was written and checked goes back to what it held before.
    RevertLater,
    /// A write to the store that never arrives, or half of it.
    DropBlock,
    TearBlock,
    /// A completion gets lost, or says that the transfer failed.
    ForgetCompletion,
    Fail,
}

/// The words of a device's store, which the test looks at, too.
type Store = Arc<Mutex<Vec<u64>>>;

/// Does transfers at once and completes them one step later.
struct Copier {
    memory: Slice,
    store: Store,
    done: VecDeque<Completion>,
    wrong: Wrong,
    /// Transfers until it goes wrong.
    countdown: usize,
    /// All of memory as it was some transfers ago.
    snapshot: Vec<u64>,
}

impl Copier {
    fn goes_wrong(&mut self, wrong: Wrong, direction: Direction, transfer: &Transfer) -> bool {
        let now = self.countdown == 0 && self.wrong == wrong && transfer.direction == direction;
        if now {
            self.wrong = Wrong::Nothing;
        }
        now
    }

    fn read_memory(&mut self, transfer: &Transfer) {
        let (offset, words) = (transfer.iova as usize, transfer.length / 8);
        let store = transfer.store as usize / 8;
        let mut data = vec![0; words];
        self.memory.read_words(offset, &mut data);
        if self.goes_wrong(Wrong::ReadOld, Direction::ReadsMemory, transfer) {
            data.copy_from_slice(&self.snapshot[offset / 8..offset / 8 + words]);
        }
        if self.goes_wrong(Wrong::DropBlock, Direction::ReadsMemory, transfer) {
            return;
        }
        if self.goes_wrong(Wrong::TearBlock, Direction::ReadsMemory, transfer) {
            data.truncate(words / 2);
        }
        self.store.lock().unwrap()[store..store + data.len()].copy_from_slice(&data);
    }

    fn write_memory(&mut self, transfer: &Transfer) {
        let (offset, words) = (transfer.iova as usize, transfer.length / 8);
        let store = transfer.store as usize / 8;
        let mut data = self.store.lock().unwrap()[store..store + words].to_vec();
        if self.goes_wrong(Wrong::DropWrite, Direction::WritesMemory, transfer) {
            return;
        }
        if self.goes_wrong(Wrong::TearWrite, Direction::WritesMemory, transfer) {
            data.truncate(words / 2);
        }
        if self.goes_wrong(Wrong::FlipByte, Direction::WritesMemory, transfer) {
            data[words - 1] ^= 0x40 << 24;
        }
        self.memory.write_words(offset, &data);
    }
}

impl DmaDevice for Copier {
    fn limits(&self) -> Limits {
        Limits {
            depth: 4,
            max_length: 4 * PAGE_SIZE,
            store: 1 << 20,
            iova_end: u64::MAX,
            in_order: false,
            timeout_s: 0,
        }
    }

    fn submit(&mut self, transfer: &Transfer) -> Result<()> {
        self.countdown = self.countdown.saturating_sub(1);
        match transfer.direction {
            Direction::ReadsMemory => self.read_memory(transfer),
            Direction::WritesMemory => self.write_memory(transfer),
        }
        if self.countdown == 0 && self.wrong == Wrong::RevertLater {
            self.wrong = Wrong::Nothing;
            self.memory.write_words(0, &self.snapshot);
        }
        if self.countdown > 0 && self.countdown % 50 == 0 {
            self.memory.read_words(0, &mut self.snapshot);
        }
        if self.goes_wrong(Wrong::ForgetCompletion, transfer.direction, transfer) {
            return Ok(());
        }
        let failed = self.goes_wrong(Wrong::Fail, transfer.direction, transfer);
        self.done.push_back(Completion {
            tag: transfer.tag,
            error: failed.then(|| "failed".to_string()),
        });
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Completion>> {
        Ok(self.done.pop_front())
    }

    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}

fn run(wrong: Wrong) -> crate::ledger::account::Status {
    go(wrong, 0).0
}

/// Traffic that roams over 40 blocks, or does not (0). Returns the account, and what was
/// in the store at last, with what has to be there.
fn go(wrong: Wrong, roam: usize) -> (crate::ledger::account::Status, Medium, Store) {
    let memory = Memory::new(Source::Memfd, PAGES * PAGE_SIZE, 0, None).unwrap();
    let slice = Slice::whole(&memory);
    let store = Store::new(Mutex::new(vec![0; 1 << 17]));
    let copier = Copier {
        memory: slice.clone(),
        store: store.clone(),
        done: VecDeque::new(),
        wrong,
        countdown: 400,
        snapshot: vec![0; PAGES * PAGE_SIZE / 8],
    };
    let account = Account::of_devices(1);
    let settings = Settings {
        roam,
        ..Settings::new(3)
    };
    let ledger = Ledger::new(slice, 3);
    let mut traffic = Traffic::new(vec![Box::new(copier)], ledger, &account, settings).unwrap();
    for round in 0..400 {
        traffic.step().unwrap();
        if round % 4 == 0 {
            traffic.scrub();
        }
    }
    let medium = traffic.finish().unwrap().remove(0);
    (account.status(), medium, store)
}

/// The store as a last look at every block finds it.
fn look_at(medium: &Medium, store: &Store) -> crate::ledger::account::Status {
    let account = Account::default();
    let words = store.lock().unwrap();
    for block in 0..medium.blocks() {
        let mut page: Page = [0; WORDS];
        page.copy_from_slice(&words[block * WORDS..(block + 1) * WORDS]);
        medium.check(block, &page, &account);
    }
    account.status()
}

#[test]
fn a_faithful_device_loses_nothing() {
    let status = run(Wrong::Nothing);
    assert!(status.is_clean(), "{status:?}");
    assert!(
        status.dmas_read > 500 && status.dmas_written == status.dmas_read,
        "{status:?}"
    );
    assert!(
        status.bytes_written > status.dmas_written * PAGE_SIZE as u64,
        "no long transfers: {status:?}"
    );
    assert_eq!(status.bytes_read, status.bytes_written);
    assert!(
        status.checked > status.dmas() && status.scrubbed > 20,
        "{status:?}"
    );
}

#[test]
fn a_dropped_write_is_lost() {
    let status = run(Wrong::DropWrite);
    assert!(
        status.lost > 0 && status.stale + status.corrupt == 0,
        "{status:?}"
    );
    assert!(status.events[0].contains("Poison"), "{status:?}");
}

#[test]
fn half_a_write_is_lost() {
    let status = run(Wrong::TearWrite);
    assert!(
        status.lost > 0 && status.stale + status.corrupt == 0,
        "{status:?}"
    );
}

#[test]
fn a_flipped_byte_is_corrupt() {
    let status = run(Wrong::FlipByte);
    assert_eq!(
        (status.corrupt, status.lost, status.stale),
        (1, 0, 0),
        "{status:?}"
    );
    assert!(status.events[0].contains("8 corrupt"), "{status:?}");
}

#[test]
fn an_old_source_is_found() {
    let status = run(Wrong::ReadOld);
    assert!(status.stale + status.corrupt > 0, "{status:?}");
    assert_eq!(status.lost, 0, "{status:?}");
}

#[test]
fn a_page_that_goes_back_later_is_found() {
    let status = run(Wrong::RevertLater);
    assert!(
        status.lost + status.corrupt + status.stale > 0,
        "{status:?}"
    );
}

#[test]
fn a_lost_completion_is_found() {
    let status = run(Wrong::ForgetCompletion);
    assert_eq!((status.unfinished, status.losses()), (1, 1), "{status:?}");
}

#[test]
fn a_failed_transfer_is_found() {
    let status = run(Wrong::Fail);
    assert_eq!((status.unfinished, status.losses()), (1, 1), "{status:?}");
}

#[test]
fn traffic_that_roams_loses_nothing_and_leaves_its_mark_everywhere() {
    let (status, medium, store) = go(Wrong::Nothing, 40);
    assert!(status.is_clean() && status.dmas_read > 500, "{status:?}");
    assert_eq!(status.devices[0].blocks, status.blocks());
    assert_eq!((medium.blocks(), medium.known()), (40, 40));
    let last = look_at(&medium, &store);
    assert_eq!((last.losses(), last.medium_checked), (0, 40));
}

#[test]
fn blocks_that_are_not_written_are_found_when_they_are_read() {
    for wrong in [Wrong::DropBlock, Wrong::TearBlock] {
        let (status, ..) = go(wrong, 40);
        assert!(
            status.stale > 0 && status.lost == 0,
            "{wrong:?}: {status:?}"
        );
    }
}

#[test]
fn an_old_version_on_the_medium_is_stale_and_anything_else_lost() {
    let (status, medium, store) = go(Wrong::Nothing, 40);
    assert!(status.is_clean());
    let (Content::Payload { version, .. }, _) = medium.expected(17) else {
        panic!("block 17 was never written")
    };
    let put = |block: usize, content: Content| {
        let mut page: Page = [0; WORDS];
        content.render(3, &mut page);
        store.lock().unwrap()[block * WORDS..(block + 1) * WORDS].copy_from_slice(&page);
    };
    put(17, medium.next(17, version - 1));
    let found = look_at(&medium, &store);
    assert_eq!((found.medium_stale, found.medium_lost), (1, 0), "{found:?}");
    put(17, medium.next(18, version));
    put(20, Content::Zero);
    let found = look_at(&medium, &store);
    assert_eq!((found.medium_stale, found.medium_lost), (0, 2), "{found:?}");
}

/// 7 lanes have taken 28 pages; 25 are left in 8 pieces at most, so one has 4.
#[test]
fn transfers_in_order_need_pages_for_whoever_is_next() {
    assert!(check_pages(53, 8, 4).is_ok());
    assert!(check_pages(52, 8, 4).is_err());
    // Few pages make short transfers.
    assert!(check_pages(8, 8, 1).is_ok());
    assert!(check_pages(7, 8, 1).is_err());
}
