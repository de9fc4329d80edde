// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::memory::{Memory, Source};

#[test]
fn a_command_has_its_fields_where_the_specification_has_them() {
    let mut command = Command::new(0x02, 7);
    command.set_identifier(0x1234);
    command.set_dword(10, 0x55);
    command.set_dword(11, 0x66);
    command.set_data(0xa000, 0xb000);
    assert_eq!(command.words[0], 7 << 32 | 0x1234 << 16 | 0x02);
    assert_eq!(command.words[3..=5], [0xa000, 0xb000, 0x66 << 32 | 0x55]);
}

#[test]
fn doorbells_are_tail_then_head() {
    assert_eq!(doorbell(0, false, 4), 0x1000);
    assert_eq!(doorbell(0, true, 4), 0x1004);
    assert_eq!(doorbell(1, false, 4), 0x1008);
    assert_eq!(doorbell(1, true, 16), 0x1030);
}

#[test]
fn the_phase_tells_new_entries_from_those_of_the_round_before() {
    let memory = Memory::new(Source::Memfd, 2 * PAGE_SIZE, 0, None).unwrap();
    let mut pair = QueuePair::new(&Slice::whole(&memory), 1, 4);
    for round in 0..3u64 {
        let phase = 1 - round % 2;
        for index in 0..u64::from(ENTRIES) {
            assert_eq!(pair.take(), None, "round {round}, entry {index}");
            let offset = PAGE_SIZE + index as usize * COMPLETION_BYTES;
            memory.write_word(offset, 42);
            memory.write_word(offset + 8, 3 << 49 | phase << 48 | index << 32);
            assert_eq!(
                pair.take(),
                Some(Entry {
                    identifier: index as u16,
                    status: 3,
                    result: 42,
                    submission_head: 0,
                })
            );
        }
    }
}

#[test]
fn the_depth_is_what_the_controller_has_fetched_and_not_done() {
    let memory = Memory::new(Source::Memfd, 2 * PAGE_SIZE, 0, None).unwrap();
    let mut pair = QueuePair::new(&Slice::whole(&memory), 1, 4);
    // It fetches 40 and completes them; then one by one, past the end of the ring.
    (0..40).for_each(|_| pair.note_depth(40));
    assert_eq!((pair.depth_seen().most, pair.held), (40, 0));
    for count in 41..200u16 {
        pair.note_depth(count % ENTRIES);
    }
    let depth = pair.depth_seen();
    assert_eq!((depth.most, pair.held, depth.samples), (40, 0, 199));
    assert_eq!(depth.sum, (1..=40).sum::<u64>() + 159);
}
