// SPDX-License-Identifier: GPL-2.0
//! The read-back against a disk in memory.

use super::*;
use crate::ledger::payload::Content;
use pagemove_devices::device::{Completion, Limits};
use std::collections::VecDeque;

const BLOCKS: usize = 100;
const SEED: u64 = 2;

struct Disk {
    memory: Slice,
    blocks: Vec<Content>,
    done: VecDeque<Completion>,
    fails_at: Option<usize>,
}

impl DmaDevice for Disk {
    fn limits(&self) -> Limits {
        Limits {
            depth: DEPTH,
            max_length: 3 * PAGE_SIZE,
            store: Medium::offset(BLOCKS),
            iova_end: u64::MAX,
            in_order: false,
            timeout_s: 1,
        }
    }

    fn submit(&mut self, transfer: &Transfer) -> Result<()> {
        assert_eq!(transfer.direction, Direction::WritesMemory);
        let first = transfer.store as usize / PAGE_SIZE;
        for index in 0..transfer.length / PAGE_SIZE {
            let mut page = [0; WORDS];
            self.blocks[first + index].render(SEED, &mut page);
            let offset = transfer.iova as usize + index * PAGE_SIZE;
            self.memory.write_words(offset, &page);
        }
        let error = (self.fails_at == Some(first)).then(|| "status 0x281".to_string());
        self.done.push_front(Completion {
            tag: transfer.tag,
            error,
        });
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Completion>> {
        Ok(self.done.pop_back())
    }

    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A disk whose blocks were all written twice, but for the last.
fn run(change: impl Fn(&mut Disk, &Medium)) -> (Result<()>, crate::ledger::account::Status) {
    let pages = usize::from(DEPTH) * LONGEST;
    let memory = Memory::new(Source::Memfd, pages * PAGE_SIZE, 0, None).unwrap();
    let mut medium = Medium::new(0, BLOCKS, SEED);
    for version in 1..3 {
        for block in 0..BLOCKS - 1 {
            medium.wrote(block, medium.next(block, version), Content::Zero);
        }
    }
    let mut disk = Disk {
        memory: Slice::whole(&memory),
        blocks: (0..BLOCKS).map(|block| medium.next(block, 2)).collect(),
        done: VecDeque::new(),
        fails_at: None,
    };
    change(&mut disk, &medium);
    let account = Account::default();
    let slice = Slice::whole(&memory);
    (
        read_all(Box::new(disk), &slice, &medium, &account),
        account.status(),
    )
}

#[test]
fn every_block_that_was_written_is_read() {
    let (result, status) = run(|_, _| {});
    assert!(result.is_ok() && status.is_clean(), "{status:?}");
    assert_eq!(status.medium_checked, BLOCKS as u64 - 1);
}

#[test]
fn a_stale_block_is_found_wherever_it_is() {
    for block in [0, 1, 57, BLOCKS - 2] {
        let (_, status) = run(|disk, medium| disk.blocks[block] = medium.next(block, 1));
        assert_eq!((status.medium_stale, status.medium_lost), (1, 0), "{block}");
        assert!(
            status.events[0].contains(&format!("block {block} holds")),
            "{status:?}"
        );
    }
}

#[test]
fn a_lost_block_is_found() {
    let (_, status) = run(|disk, _| {
        disk.blocks[9] = Content::Poison {
            page: 1,
            sequence: 1,
        }
    });
    assert_eq!((status.medium_stale, status.medium_lost), (0, 1));
    let (_, status) = run(|disk, medium| disk.blocks[9] = medium.next(10, 2));
    assert_eq!((status.medium_stale, status.medium_lost), (0, 1));
}

#[test]
fn a_command_that_fails_is_an_error() {
    let (result, _) = run(|disk, _| disk.fails_at = Some(9));
    assert!(result.unwrap_err().to_string().contains("blocks 9 to"));
}
