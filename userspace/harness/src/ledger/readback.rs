// SPDX-License-Identifier: GPL-2.0
//! What is in a device's store, read back when the traffic is over and by another way: the
//! device is set up anew with rings and buffers in plain memory at another IOVA, which
//! is in no region and can not be moved. So what moved pages did to a block is found here,
//! though they may have shown it rightly.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::ledger::account::Account;
use crate::ledger::medium::Medium;
use crate::ledger::payload::WORDS;
use pagemove_devices::device::{Direction, DmaDevice, Kind, Setup, Transfer};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::vfio::{Assigned, MAP_PIECE};

/// Commands in flight.
const DEPTH: u16 = 16;
/// Between the region and this memory.
const GAP: u64 = MAP_PIECE as u64;
/// Commands that take longer do not come back.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Compares all blocks that were written. The driver of the traffic has to have stopped;
/// `region_end` is where the memory that it used ends.
pub fn check(
    assigned: &mut Assigned,
    kind: Kind,
    medium: &Medium,
    region_end: u64,
    account: &Account,
) -> Result<()> {
    let iova = region_end.next_multiple_of(MAP_PIECE as u64) + GAP;
    let control_pages = kind.control_pages(DEPTH);
    // Room for the longest transfers of each command, whatever the device can do.
    let buffer_pages = usize::from(DEPTH) * LONGEST;
    let memory = Memory::new(
        Source::Memfd,
        (control_pages + buffer_pages) * PAGE_SIZE,
        iova,
        None,
    )?;
    assigned.map(&memory, MAP_PIECE)?;
    let whole = Slice::whole(&memory);
    let setup = Setup {
        depth: DEPTH,
        asynchronous: false,
        harmless: true,
    };
    let control = whole.part(0, control_pages * PAGE_SIZE);
    let device = kind.start(assigned, control, setup)?;
    let buffers = whole.part(control_pages * PAGE_SIZE, buffer_pages * PAGE_SIZE);
    let result = read_all(device, &buffers, medium, account);
    for offset in (0..memory.length()).step_by(MAP_PIECE) {
        assigned.unmap(
            iova + offset as u64,
            MAP_PIECE.min(memory.length() - offset),
        )?;
    }
    result
}

/// Pages of the longest command.
const LONGEST: usize = 8;

/// Reads and judges every block of the medium.
fn read_all(
    mut device: Box<dyn DmaDevice>,
    buffers: &Slice,
    medium: &Medium,
    account: &Account,
) -> Result<()> {
    let limits = device.limits();
    let longest = LONGEST.min(limits.max_length / PAGE_SIZE);
    ensure!(
        Medium::offset(medium.blocks()) <= limits.store,
        "the device's store has become smaller"
    );
    let mut next = 0;
    // For each tag the blocks that it reads.
    let mut reads: Vec<Option<(usize, usize)>> = vec![None; limits.depth.into()];
    let mut seen = Instant::now();
    while next < medium.blocks() || reads.iter().any(Option::is_some) {
        for (tag, read) in reads.iter_mut().enumerate() {
            if read.is_none() && next < medium.blocks() {
                let count = longest.min(medium.blocks() - next);
                *read = Some((next, count));
                device.submit(&Transfer {
                    tag: tag as u16,
                    direction: Direction::WritesMemory,
                    iova: buffers.iova(tag * LONGEST * PAGE_SIZE),
                    length: count * PAGE_SIZE,
                    store: Medium::offset(next),
                })?;
                next += count;
            }
        }
        device.ring();
        let Some(done) = device.poll()? else {
            ensure!(seen.elapsed() < TIMEOUT, "a command does not come back");
            std::thread::yield_now();
            continue;
        };
        seen = Instant::now();
        let tag = usize::from(done.tag);
        let Some((first, count)) = reads.get_mut(tag).and_then(Option::take) else {
            bail!("the device completed what nobody asked for: {done:?}")
        };
        if let Some(error) = done.error {
            bail!("blocks {first} to {}: {error}", first + count - 1);
        }
        for index in 0..count {
            let mut found = [0; WORDS];
            buffers.read_words((tag * LONGEST + index) * PAGE_SIZE, &mut found);
            medium.check(first + index, &found, account);
        }
    }
    device.stop()
}

#[cfg(test)]
#[path = "readback_tests.rs"]
mod tests;
