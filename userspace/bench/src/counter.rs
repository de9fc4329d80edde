// SPDX-License-Identifier: GPL-2.0
//! The counter of instructions, a plugin of the emulator: tests/instruction-counter/mark.h.

use std::arch::asm;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_rtm_emulation::{Control, Counter as RtmCounter};

const MAGIC: u64 = 0x434f_554e_5445_5201;
const NONE: u64 = u64::MAX;

/// `enum counter_command`.
#[repr(u64)]
enum Command {
    Present = 1,
    Switch,
    IsOn,
    Begin,
    End,
    Kernel,
    User,
    Next,
    Address,
    Count,
}

/// How long QEMU may take to translate everything anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was run, in instructions.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// By the kernel, on each CPU.
    pub kernel: Vec<u64>,
    /// By programs.
    pub user: u64,
    /// In emulated transactions: they are interpreted, and counted apart.
    pub transactions: u64,
}

impl Count {
    /// What the kernel has run on the caller's CPU, which is the first, or on all; transactions among it.
    pub fn of_kernel(&self, on_all: bool) -> u64 {
        let cpus = if on_all { self.kernel.len() } else { 1 };
        self.kernel.iter().take(cpus).sum::<u64>() + self.transactions
    }
}

/// The counter is there and counts, until it is dropped.
pub struct Counter {
    cpus: u64,
    rtm: Option<Control>,
}

impl Counter {
    /// Switches it on. None: this emulator has none.
    pub fn begin(cpus: usize) -> Result<Option<Self>> {
        if call(Command::Present, 0, 0) != MAGIC {
            return Ok(None);
        }
        switch(true)?;
        Ok(Some(Self {
            cpus: cpus as u64,
            rtm: Control::find().ok(),
        }))
    }

    fn in_transactions(&self) -> u64 {
        self.rtm
            .map_or(0, |control| control.counter(RtmCounter::Instructions))
    }

    /// Counts what is run while `body` is.
    pub fn count<T>(&self, body: impl FnOnce() -> T) -> (T, Count) {
        let before = self.in_transactions();
        call(Command::Begin, 0, 0);
        let done = body();
        call(Command::End, 0, 0);
        let each = |command: fn() -> Command| {
            (0..self.cpus)
                .map(move |cpu| call(command(), cpu, 0))
                .collect::<Vec<u64>>()
        };
        let count = Count {
            kernel: each(|| Command::Kernel),
            user: each(|| Command::User).iter().sum(),
            transactions: self.in_transactions() - before,
        };
        (done, count)
    }

    /// Of the last that was counted: instructions by the address of their block, in the kernel, on
    /// one CPU.
    pub fn places(&self, cpu: u64) -> BTreeMap<u64, u64> {
        let mut places = BTreeMap::new();
        // The first is that of user space.
        let mut at = call(Command::Next, 1, 0);
        while at != NONE {
            let count = call(Command::Count, at, cpu);
            if count > 0 {
                *places.entry(call(Command::Address, at, 0)).or_default() += count;
            }
            at = call(Command::Next, at + 1, 0);
        }
        places
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // Times that are taken now would be longer; whoever takes them asks.
        let _ = switch(false);
    }
}

/// Switches it, which QEMU does when no CPU runs.
fn switch(on: bool) -> Result<()> {
    call(Command::Switch, on.into(), 0);
    let end = Instant::now() + PATIENCE;
    while call(Command::IsOn, 0, 0) != u64::from(on) {
        ensure!(Instant::now() < end, "the counter can not be switched");
        std::thread::yield_now();
    }
    Ok(())
}

fn call(command: Command, a: u64, b: u64) -> u64 {
    let answer: u64;
    // SAFETY: a NOP, which changes RAX where there is a counter.
    unsafe {
        asm!(
            ".byte 0x0f, 0x1f, 0x84, 0x00, 0x50, 0x47, 0x4d, 0x43",
            inout("rax") command as u64 => answer,
            in("rcx") a,
            in("rdx") b,
            options(nostack, preserves_flags),
        );
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_counter_the_mark_does_nothing() {
        assert_eq!(call(Command::IsOn, 1, 2), Command::IsOn as u64);
        assert!(Counter::begin(1).unwrap().is_none());
    }
}
