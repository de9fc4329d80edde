// SPDX-License-Identifier: GPL-2.0
//! One NVMe queue pair in guest memory: submission entries of 64 bytes,
//! completion entries of 16 bytes with a phase bit (NVM Express base
//! specification 2.0, sections 3.3.1 and 4.1 to 4.2).

use std::sync::atomic::{fence, Ordering};

use pagemove_uapi::PAGE_SIZE;

use crate::device::Depth;
use crate::memory::Slice;
use crate::vfio::Bar;

pub const SUBMISSION_BYTES: usize = 64;
pub const COMPLETION_BYTES: usize = 16;
/// Both rings of a pair have as many entries as submissions fit in a page.
pub const ENTRIES: u16 = (PAGE_SIZE / SUBMISSION_BYTES) as u16;

/// A command: double words 0 to 15 of a submission entry, in pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub words: [u64; SUBMISSION_BYTES / 8],
}

impl Command {
    pub fn new(opcode: u8, namespace: u32) -> Self {
        let mut command = Self::default();
        command.words[0] = u64::from(opcode);
        command.set_dword(1, namespace);
        command
    }

    /// Sets double word `index`, as the specification counts them.
    pub fn set_dword(&mut self, index: usize, value: u32) {
        let shift = index % 2 * 32;
        let word = &mut self.words[index / 2];
        *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    pub fn set_identifier(&mut self, identifier: u16) {
        self.words[0] = self.words[0] & !0xffff_0000 | u64::from(identifier) << 16;
    }

    /// Physical region pages 1 and 2.
    pub fn set_data(&mut self, prp1: u64, prp2: u64) {
        self.words[3] = prp1;
        self.words[4] = prp2;
    }
}

/// What the controller says of a command that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub identifier: u16,
    /// Status without the phase bit; 0 is success.
    pub status: u16,
    pub result: u32,
    /// Where the controller was in the submissions when it wrote this.
    pub submission_head: u16,
}

/// A submission ring and its completion ring.
pub struct QueuePair {
    submissions: Slice,
    completions: Slice,
    tail: u16,
    /// The tail that the controller knows.
    rung: u16,
    head: u16,
    phase: bool,
    /// Commands that the controller has fetched, as its completions say, and how many
    /// of them are not done.
    fetched: u16,
    held: u16,
    depth: Depth,
    /// Offsets of the two doorbells in BAR 0.
    tail_doorbell: usize,
    head_doorbell: usize,
}

impl QueuePair {
    /// `memory` is two pages: the submissions, then the completions.
    pub fn new(memory: &Slice, number: u16, doorbell_stride: usize) -> Self {
        memory.fill(0);
        Self {
            submissions: memory.part(0, PAGE_SIZE),
            completions: memory.part(PAGE_SIZE, PAGE_SIZE),
            tail: 0,
            rung: 0,
            head: 0,
            phase: true,
            fetched: 0,
            held: 0,
            depth: Depth::default(),
            tail_doorbell: doorbell(number, false, doorbell_stride),
            head_doorbell: doorbell(number, true, doorbell_stride),
        }
    }

    pub fn submissions_iova(&self) -> u64 {
        self.submissions.iova(0)
    }

    pub fn completions_iova(&self) -> u64 {
        self.completions.iova(0)
    }

    /// Hands a command to the controller.
    pub fn submit(&mut self, bar: &Bar, command: &Command) {
        self.queue(command);
        self.ring(bar);
    }

    /// Puts a command into the ring, of which the controller is not told yet. No more than
    /// ENTRIES - 1 may be in flight.
    pub fn queue(&mut self, command: &Command) {
        self.submissions
            .write_words(usize::from(self.tail) * SUBMISSION_BYTES, &command.words);
        self.tail = (self.tail + 1) % ENTRIES;
    }

    /// Tells the controller of what was queued.
    pub fn ring(&mut self, bar: &Bar) {
        if self.rung != self.tail {
            // The entries have to be in memory before the doorbell rings.
            fence(Ordering::SeqCst);
            bar.write32(self.tail_doorbell, self.tail.into());
            self.rung = self.tail;
        }
    }

    /// Takes the next completion without telling the controller yet.
    fn take(&mut self) -> Option<Entry> {
        let offset = usize::from(self.head) * COMPLETION_BYTES;
        let high = self.completions.read_word(offset + 8);
        if (high >> 48 & 1 == 1) != self.phase {
            return None;
        }
        // The rest of the entry is read after its phase.
        fence(Ordering::Acquire);
        let low = self.completions.read_word(offset);
        self.head = (self.head + 1) % ENTRIES;
        if self.head == 0 {
            self.phase = !self.phase;
        }
        Some(Entry {
            identifier: (high >> 32) as u16,
            status: (high >> 49) as u16,
            result: low as u32,
            submission_head: high as u16,
        })
    }

    /// Takes every completion that is there: one ring of the doorbell for all.
    pub fn reap(&mut self, bar: &Bar, entries: &mut impl Extend<Entry>) {
        let mut any = false;
        while let Some(entry) = self.take() {
            self.note_depth(entry.submission_head);
            entries.extend([entry]);
            any = true;
        }
        if any {
            bar.write32(self.head_doorbell, self.head.into());
        }
    }
}

impl QueuePair {
    /// One more command is done. The controller had fetched all up to `head` by then,
    /// and held those that were not done: no more than the ring has.
    fn note_depth(&mut self, head: u16) {
        let head = head % ENTRIES;
        let new = (head + ENTRIES - self.fetched) % ENTRIES;
        self.fetched = head;
        self.held = self.held.saturating_add(new);
        self.depth.note(self.held);
        self.held = self.held.saturating_sub(1);
    }

    /// How many commands the controller held at a time, by its own completions.
    pub fn depth_seen(&self) -> Depth {
        self.depth
    }
}

/// Doorbells begin at 0x1000: tail and head of each queue in turn.
fn doorbell(queue: u16, head: bool, stride: usize) -> usize {
    0x1000 + (2 * usize::from(queue) + usize::from(head)) * stride
}

#[cfg(test)]
#[path = "nvme_queue_tests.rs"]
mod tests;
