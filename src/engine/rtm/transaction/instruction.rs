// SPDX-License-Identifier: GPL-2.0
//! The transaction in single steps: what [`super::block`] does between XBEGIN and
//! XEND, for machines that have to look at it from inside (the model checker and
//! the simulator). A test runs both on the same plans.

use super::plan::{Edit, Plan};
use super::status::{Code, Status};
use crate::batch::step::Steps;

/// A CPU that is in a transaction. Each call is one action; `Err` says that the
/// transaction was aborted, and that nothing of it has happened.
pub trait TransactionCpu {
    /// Cache lines of a page.
    const LINES: u8 = 64;
    /// Begins (XBEGIN).
    fn begin(&mut self) -> Result<(), Status>;
    /// Reads line `line` of the page at `page` into the read set.
    fn watch(&mut self, page: u64, line: u8) -> Result<(), Status>;
    /// Reads an entry.
    fn load(&mut self, entry: u64) -> Result<u64, Status>;
    /// Writes an entry. It may linger in the store buffer, where a walk does not
    /// collide with it.
    fn store(&mut self, entry: u64, new: u64) -> Result<(), Status>;
    /// Fences (MFENCE and LFENCE): the stores are in the write set.
    fn fence(&mut self) -> Result<(), Status>;
    /// Reads the time stamp counter (RDTSC).
    fn ticks(&mut self) -> Result<u64, Status>;
    /// Reads a slot into the read set.
    fn slot(&mut self, n: u64) -> Result<u64, Status>;
    /// Commits (XEND).
    fn commit(&mut self) -> Result<(), Status>;
    /// Aborts (XABORT).
    fn abort(&mut self, code: Code) -> Status;
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// XBEGIN.
    Begin,
    /// Read a line of START of an edit.
    Watch(u16, u8),
    /// Compare an entry.
    Compare(u16),
    /// Store an entry.
    Store(u16),
    /// Wait until the stores are in the write set.
    Fence,
    /// Read the clock: is phase 1 late?
    LateCheck,
    /// Read the clock: which slot is due? The number is the first that was not
    /// read yet.
    Poll(u64),
    /// Read a slot.
    Read(u64),
    /// XEND.
    Commit,
}

/// A transaction that is being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    next: Instruction,
    phase1: u64,
}

/// A transaction that has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Committed {
    /// When phase 1 was over, as the late check read it. TSC ticks.
    pub phase1: u64,
}

impl Transaction {
    /// Returns a transaction that has not begun.
    pub const fn new() -> Self {
        Self {
            next: Instruction::Begin,
            phase1: 0,
        }
    }

    /// Tells what the next step does.
    pub const fn next(&self) -> Instruction {
        self.next
    }

    /// Does one step. `Some` is the end.
    pub fn step(
        &mut self,
        plan: &Plan<'_>,
        cpu: &mut impl TransactionCpu,
    ) -> Option<Result<Committed, Status>> {
        match self.act(plan, cpu) {
            Ok(Some(next)) => {
                self.next = next;
                None
            }
            Ok(None) => Some(Ok(Committed {
                phase1: self.phase1,
            })),
            Err(status) => Some(Err(status)),
        }
    }

    fn act<C: TransactionCpu>(
        &mut self,
        plan: &Plan<'_>,
        cpu: &mut C,
    ) -> Result<Option<Instruction>, Status> {
        Ok(Some(match self.next {
            Instruction::Begin => {
                cpu.begin()?;
                first_watch(plan, 0)
            }
            Instruction::Watch(n, line) => {
                let edit = edit(plan, n, cpu)?;
                cpu.watch(edit.watch, line)?;
                match line.saturating_add(1) {
                    next if next < C::LINES => Instruction::Watch(n, next),
                    _ => first_watch(plan, n.saturating_add(1)),
                }
            }
            Instruction::Compare(n) => {
                let edit = edit(plan, n, cpu)?;
                let seen = cpu.load(edit.entry)?;
                if seen != edit.expected && !plan.without.leaves_out(Steps::COMPARE) {
                    return Err(cpu.abort(Code::PteChanged));
                }
                Instruction::Store(n)
            }
            Instruction::Store(n) => {
                let edit = edit(plan, n, cpu)?;
                cpu.store(edit.entry, edit.new)?;
                match n.saturating_add(1) {
                    next if usize::from(next) < plan.edits.len() => Instruction::Compare(next),
                    _ if plan.without.leaves_out(Steps::FENCE) => Instruction::LateCheck,
                    _ => Instruction::Fence,
                }
            }
            Instruction::Fence => {
                cpu.fence()?;
                Instruction::LateCheck
            }
            Instruction::LateCheck => self.late_check(plan, cpu)?,
            Instruction::Poll(from) => poll(plan, from, cpu)?,
            Instruction::Read(n) => read(plan, n, cpu)?,
            Instruction::Commit => {
                cpu.commit()?;
                return Ok(None);
            }
        }))
    }

    fn late_check(
        &mut self,
        plan: &Plan<'_>,
        cpu: &mut impl TransactionCpu,
    ) -> Result<Instruction, Status> {
        let now = cpu.ticks()?;
        if now > plan.schedule.late && !plan.without.leaves_out(Steps::LATE_CHECK) {
            return Err(cpu.abort(Code::Late));
        }
        self.phase1 = now;
        Ok(Instruction::Poll(0))
    }
}

impl Default for Transaction {
    fn default() -> Self {
        Self::new()
    }
}

fn edit(plan: &Plan<'_>, n: u16, cpu: &mut impl TransactionCpu) -> Result<Edit, Status> {
    match plan.edits.get(usize::from(n)) {
        Some(edit) => Ok(*edit),
        // Not reached: every number comes from the plan's length.
        None => Err(cpu.abort(Code::PteChanged)),
    }
}

/// Returns the first line to watch of edit `n` or a later one.
fn first_watch(plan: &Plan<'_>, n: u16) -> Instruction {
    let mut n = n;
    while let Some(edit) = plan.edits.get(usize::from(n)) {
        if edit.watch != 0 {
            return Instruction::Watch(n, 0);
        }
        match n.checked_add(1) {
            Some(next) => n = next,
            None => break,
        }
    }
    Instruction::Compare(0)
}

fn poll(plan: &Plan<'_>, from: u64, cpu: &mut impl TransactionCpu) -> Result<Instruction, Status> {
    let now = cpu.ticks()?;
    if now > plan.schedule.deadline && !plan.without.leaves_out(Steps::DEADLINE) {
        return Err(cpu.abort(Code::Deadline));
    }
    Ok(match plan.schedule.slot_at(now) {
        Some(n) if n >= plan.schedule.slots => {
            if plan.without.leaves_out(Steps::TIMEOUT) {
                return Ok(Instruction::Commit);
            }
            return Err(cpu.abort(Code::Timeout));
        }
        Some(n) if n >= from => Instruction::Read(n),
        _ => Instruction::Poll(from),
    })
}

fn read(plan: &Plan<'_>, n: u64, cpu: &mut impl TransactionCpu) -> Result<Instruction, Status> {
    let value = cpu.slot(n)?;
    let any = plan.without.leaves_out(Steps::GENERATION) && value != 0;
    if value == plan.generation || any {
        return Ok(Instruction::Commit);
    }
    if plan.without.leaves_out(Steps::SLOT_ONCE) {
        return Ok(Instruction::Poll(n));
    }
    let next = n.saturating_add(1);
    if next >= plan.schedule.slots && !plan.without.leaves_out(Steps::TIMEOUT) {
        return Err(cpu.abort(Code::Timeout));
    }
    Ok(Instruction::Poll(next))
}
