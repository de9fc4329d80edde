// SPDX-License-Identifier: GPL-2.0
//! The transaction in single steps, as the engine specifies it, on a [`Scene`].

use crate::event::Event;
use crate::scene::Scene;
use engine::rtm::{Code, Committed, Plan, Status, Transaction, TransactionCpu};
use std::collections::BTreeMap;

/// A CPU that does one step after another and notes them.
struct Cpu<'a> {
    scene: &'a Scene,
    clock: std::slice::Iter<'a, u64>,
    /// The write set.
    written: BTreeMap<u64, u64>,
    events: Vec<Event>,
}

impl Cpu<'_> {
    fn word(&self, entry: u64) -> usize {
        (entry as usize - self.scene.entries.base()) / 8
    }
}

impl TransactionCpu for Cpu<'_> {
    fn begin(&mut self) -> Result<(), Status> {
        self.events.push(Event::Begin);
        Ok(())
    }

    fn watch(&mut self, page: u64, line: u8) -> Result<(), Status> {
        self.events.push(Event::Watch(page + u64::from(line) * 64));
        Ok(())
    }

    fn load(&mut self, entry: u64) -> Result<u64, Status> {
        let in_memory = self.scene.entries.load(self.word(entry));
        let value = *self.written.get(&entry).unwrap_or(&in_memory);
        self.events.push(Event::Load(entry, value));
        Ok(value)
    }

    fn store(&mut self, entry: u64, new: u64) -> Result<(), Status> {
        self.written.insert(entry, new);
        self.events.push(Event::Store(entry, new));
        Ok(())
    }

    fn fence(&mut self) -> Result<(), Status> {
        self.events.push(Event::Fence);
        Ok(())
    }

    fn ticks(&mut self) -> Result<u64, Status> {
        // After its end the script stands still at the end of time.
        let now = self.clock.next().copied().unwrap_or(u64::MAX);
        self.events.push(Event::Ticks(now));
        Ok(now)
    }

    fn slot(&mut self, n: u64) -> Result<u64, Status> {
        let value = self.scene.slot(n as usize);
        self.events.push(Event::Slot(n, value));
        Ok(value)
    }

    fn commit(&mut self) -> Result<(), Status> {
        self.events.push(Event::Commit);
        for (entry, new) in &self.written {
            self.scene.entries.store(self.word(*entry), *new);
        }
        Ok(())
    }

    fn abort(&mut self, code: Code) -> Status {
        self.events.push(Event::Abort(code as u8));
        Status::explicit(code)
    }
}

/// Runs the transaction to its end; the clock shows what `clock` says.
pub fn run(
    scene: &Scene,
    plan: &Plan<'_>,
    clock: &[u64],
) -> (Result<Committed, Status>, Vec<Event>) {
    let mut cpu = Cpu {
        scene,
        clock: clock.iter(),
        written: BTreeMap::new(),
        events: Vec::new(),
    };
    let mut transaction = Transaction::new();
    loop {
        if let Some(result) = transaction.step(plan, &mut cpu) {
            return (result, cpu.events);
        }
    }
}
