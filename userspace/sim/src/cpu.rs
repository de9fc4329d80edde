// SPDX-License-Identifier: GPL-2.0
//! The editor's CPU in a transaction: read set, store buffer, write set.

use crate::config::Lines;
use crate::memory::{locate, page_of_entry};
use crate::monitor::Broken;
use crate::{World, PAGES};
use engine::rtm::{AbortBits, Code, Status, Transaction, TransactionCpu};
use engine::PhysAddr;

/// What aborted a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It was not aborted, or by itself.
    Nothing,
    /// A walk, or the update of A and D.
    Walk,
    /// A DMA to a watched page.
    Dma,
    /// A write of another CPU to a watched page.
    Cpu,
    /// A change of the entry by another CPU.
    Software,
    /// A slot that was read and then set.
    Slot,
    /// An interrupt.
    Interrupt,
    /// The cache was too small.
    Capacity,
}

/// A transaction that is being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tx {
    pub steps: Transaction,
    begun: bool,
    /// It is aborted; the CPU notices at its next step.
    pub doomed: Option<Status>,
    watched: [bool; PAGES],
    read: [bool; PAGES],
    buffered: [Option<u64>; PAGES],
    written: [Option<u64>; PAGES],
    slots: [bool; crate::world::SLOTS],
}

impl Tx {
    pub fn new() -> Self {
        Self {
            steps: Transaction::new(),
            begun: false,
            doomed: None,
            watched: [false; PAGES],
            read: [false; PAGES],
            buffered: [None; PAGES],
            written: [None; PAGES],
            slots: [false; crate::world::SLOTS],
        }
    }

    pub fn is_active(&self) -> bool {
        self.begun && self.doomed.is_none()
    }

    pub fn watches(&self) -> bool {
        self.watched.iter().any(|watched| *watched)
    }

    pub fn has_buffered(&self) -> bool {
        self.is_active() && self.buffered.iter().any(Option::is_some)
    }

    /// The oldest store leaves the store buffer.
    pub fn drain_one(&mut self) {
        for (from, to) in self.buffered.iter_mut().zip(&mut self.written) {
            if from.is_some() {
                *to = from.take();
                return;
            }
        }
    }
}

impl World {
    /// Aborts the transaction that runs, if one does: nothing of it has happened.
    pub(crate) fn doom(&mut self, status: Status, why: Why) {
        if let Some(tx) = self.tx.as_mut().filter(|tx| tx.is_active()) {
            let steps = tx.steps;
            *tx = Tx {
                steps,
                begun: true,
                doomed: Some(status),
                ..Tx::new()
            };
            self.why = why;
        }
    }

    /// Somebody reads or writes the line of an entry.
    pub(crate) fn touches_entry(&mut self, page: usize, write: bool, why: Why) {
        if !write && !self.config.hardware.walk_conflicts {
            return;
        }
        let in_line = |other: usize| other == page || self.config.hardware.lines != Lines::Own;
        let hit = self.tx.as_ref().is_some_and(|tx| {
            (0..PAGES).filter(|other| in_line(*other)).any(|n| {
                tx.written[n].is_some() || write && (tx.read[n] || tx.buffered[n].is_some())
            })
        });
        if hit {
            self.doom(Status(AbortBits::CONFLICT.bits()), why);
        }
    }

    /// Somebody writes to a page of START.
    pub(crate) fn touches_watched(&mut self, page: usize, why: Why) {
        let seen = why != Why::Dma || self.config.hardware.dma_conflicts;
        if seen && self.tx.as_ref().is_some_and(|tx| tx.watched[page]) {
            self.doom(Status(AbortBits::CONFLICT.bits()), why);
        }
    }

    /// The helper sets a slot.
    pub(crate) fn touches_slot(&mut self, n: usize) {
        if self.tx.as_ref().is_some_and(|tx| tx.slots[n]) {
            self.doom(Status(AbortBits::CONFLICT.bits()), Why::Slot);
            if self.mail.could_know(n as u64, self.clock) {
                self.breaks(Broken::SLOT_RACED);
            }
        }
    }

    fn tx(&mut self) -> Result<&mut Tx, Status> {
        match &mut self.tx {
            Some(tx) => match tx.doomed {
                Some(status) => Err(status),
                None => Ok(tx),
            },
            None => Err(Status(0)),
        }
    }
}

impl TransactionCpu for World {
    const LINES: u8 = 1;

    fn begin(&mut self) -> Result<(), Status> {
        self.tx()?.begun = true;
        Ok(())
    }

    fn watch(&mut self, page: u64, _line: u8) -> Result<(), Status> {
        self.tx()?.watched[locate(PhysAddr(page)).1] = true;
        Ok(())
    }

    fn load(&mut self, entry: u64) -> Result<u64, Status> {
        let page = page_of_entry(entry);
        self.tx()?.read[page] = true;
        Ok(self.entries[page])
    }

    fn store(&mut self, entry: u64, new: u64) -> Result<(), Status> {
        self.tx()?.buffered[page_of_entry(entry)] = Some(new);
        Ok(())
    }

    fn fence(&mut self) -> Result<(), Status> {
        let tx = self.tx()?;
        while tx.has_buffered() {
            tx.drain_one();
        }
        Ok(())
    }

    fn ticks(&mut self) -> Result<u64, Status> {
        self.tx()?;
        Ok(self.read_clock())
    }

    fn slot(&mut self, n: u64) -> Result<u64, Status> {
        let n = n as usize;
        let slot = &mut self.tx()?.slots[n];
        if std::mem::replace(slot, true) {
            self.breaks(Broken::SLOT_TWICE);
        }
        Ok(u64::from(self.slots[n]))
    }

    fn commit(&mut self) -> Result<(), Status> {
        let tx = *self.tx()?;
        for page in 0..PAGES {
            if let Some(new) = tx.buffered[page].or(tx.written[page]) {
                let old = std::mem::replace(&mut self.entries[page], new);
                self.entry_changed(page, old);
            }
        }
        Ok(())
    }

    fn abort(&mut self, code: Code) -> Status {
        let status = Status::explicit(code);
        self.doom(status, Why::Nothing);
        status
    }
}
