// SPDX-License-Identifier: GPL-2.0
//! The transaction, instruction by instruction, on a CPU that does as it is told.

use crate::rtm::{
    Code, Committed, Edit, Plan, Schedule, Status, Times, Transaction, TransactionCpu,
};
use crate::Steps;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

/// What the CPU was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Begin,
    Watch(u64, u8),
    Load(u64),
    Store(u64, u64),
    Fence,
    Ticks,
    Slot(u64),
    Commit,
    Abort(Code),
}
use Call::*;

struct Cpu {
    calls: Vec<Call>,
    entries: BTreeMap<u64, u64>,
    /// What the clock says, one after another; the last again and again.
    clock: Vec<u64>,
    slots: [u64; 64],
    /// Aborted at this call, with this.
    dies: Option<(usize, Status)>,
}

impl Cpu {
    fn call(&mut self, call: Call) -> Result<(), Status> {
        assert!(
            self.calls.len() < 1000,
            "it never ends: {:?}",
            &self.calls[990..]
        );
        self.calls.push(call);
        match self.dies {
            Some((at, status)) if at + 1 == self.calls.len() => Err(status),
            _ => Ok(()),
        }
    }
}

impl TransactionCpu for Cpu {
    fn begin(&mut self) -> Result<(), Status> {
        self.call(Begin)
    }

    fn watch(&mut self, page: u64, line: u8) -> Result<(), Status> {
        self.call(Watch(page, line))
    }

    fn load(&mut self, entry: u64) -> Result<u64, Status> {
        self.call(Load(entry))?;
        Ok(self.entries[&entry])
    }

    fn store(&mut self, entry: u64, new: u64) -> Result<(), Status> {
        self.call(Store(entry, new))
    }

    fn fence(&mut self) -> Result<(), Status> {
        self.call(Fence)
    }

    fn ticks(&mut self) -> Result<u64, Status> {
        self.call(Ticks)?;
        Ok(match self.clock.len() {
            1 => self.clock[0],
            _ => self.clock.remove(0),
        })
    }

    fn slot(&mut self, n: u64) -> Result<u64, Status> {
        self.call(Slot(n))?;
        Ok(self.slots[n as usize])
    }

    fn commit(&mut self) -> Result<(), Status> {
        self.call(Commit)
    }

    fn abort(&mut self, code: Code) -> Status {
        self.calls.push(Abort(code));
        Status::explicit(code)
    }
}

const GENERATION: u64 = 77;

/// An edit of the entry at `n` * 8, from 100 + n to 200 + n.
fn edit(n: u64) -> Edit {
    Edit {
        entry: n * 8,
        expected: 100 + n,
        new: 200 + n,
        watch: 0,
    }
}

fn watched(n: u64) -> Edit {
    Edit {
        watch: 0x1000 * (n + 1),
        ..edit(n)
    }
}

/// Slots 0 to 3 are due from 40, 50, 60 and 70 on; late after 20.
fn schedule() -> Schedule {
    let times = Times {
        lead: 20,
        first_slot: 19,
        interval: 10,
        slots: 4,
    };
    Schedule::plan(0, times, 0, u64::MAX).unwrap()
}

fn cpu(clock: &[u64]) -> Cpu {
    Cpu {
        calls: Vec::new(),
        entries: (0..8).map(|n| (n * 8, 100 + n)).collect(),
        clock: clock.to_vec(),
        slots: [0; 64],
        dies: None,
    }
}

fn run_with(
    cpu: &mut Cpu,
    edits: &[Edit],
    schedule: &Schedule,
    without: Steps,
) -> Result<Committed, Status> {
    let plan = Plan {
        edits,
        schedule,
        generation: GENERATION,
        without,
    };
    let mut transaction = Transaction::new();
    loop {
        if let Some(end) = transaction.step(&plan, cpu) {
            return end;
        }
    }
}

fn run(cpu: &mut Cpu, edits: &[Edit]) -> Result<Committed, Status> {
    run_with(cpu, edits, &schedule(), Steps::empty())
}

fn without(cpu: &mut Cpu, step: Steps) -> Result<Committed, Status> {
    run_with(cpu, &[edit(0)], &schedule(), step)
}

fn aborted(code: Code) -> Result<Committed, Status> {
    Err(Status::explicit(code))
}

#[test]
fn a_straight_run() {
    let mut cpu = cpu(&[15, 40]);
    cpu.slots[0] = GENERATION;
    assert_eq!(run(&mut cpu, &[edit(0)]), Ok(Committed { phase1: 15 }));
    let calls = [
        Begin,
        Load(0),
        Store(0, 200),
        Fence,
        Ticks,
        Ticks,
        Slot(0),
        Commit,
    ];
    assert_eq!(cpu.calls, calls);
}

#[test]
fn it_commits_at_each_slot() {
    for n in 0..4 {
        let mut cpu = cpu(&[20, 40, 50, 60, 70, 80]);
        cpu.slots[n] = GENERATION;
        assert_eq!(
            run(&mut cpu, &[edit(0)]),
            Ok(Committed { phase1: 20 }),
            "slot {n}"
        );
        let read: Vec<_> = cpu
            .calls
            .iter()
            .filter(|call| matches!(call, Slot(_)))
            .copied()
            .collect();
        assert_eq!(read, (0..=n as u64).map(Slot).collect::<Vec<_>>());
    }
}

#[test]
fn slots_whose_time_is_over_are_skipped() {
    let mut cpu = cpu(&[0, 65]);
    cpu.slots = [GENERATION; 64];
    assert!(run(&mut cpu, &[edit(0)]).is_ok());
    assert_eq!(cpu.calls[5..], [Ticks, Slot(2), Commit]);
}

#[test]
fn it_polls_the_clock_and_reads_nothing_until_the_first_slot_is_due() {
    let mut cpu = cpu(&[0, 1, 39, 40]);
    cpu.slots[0] = GENERATION;
    assert!(run(&mut cpu, &[edit(0)]).is_ok());
    assert_eq!(
        cpu.calls[4..],
        [Ticks, Ticks, Ticks, Ticks, Slot(0), Commit]
    );
}

#[test]
fn a_slot_is_read_once() {
    let mut cpu = cpu(&[0, 40, 41, 45, 49, 50]);
    cpu.slots[1] = GENERATION;
    assert!(run(&mut cpu, &[edit(0)]).is_ok());
    let polls = [Ticks, Slot(0), Ticks, Ticks, Ticks, Ticks, Slot(1), Commit];
    assert_eq!(cpu.calls[5..], polls);
}

#[test]
fn twin_left_out_it_is_read_again() {
    let mut cpu = cpu(&[0, 40, 41, 50]);
    cpu.slots[1] = GENERATION;
    assert!(without(&mut cpu, Steps::SLOT_ONCE).is_ok());
    assert_eq!(
        cpu.calls[5..],
        [Ticks, Slot(0), Ticks, Slot(0), Ticks, Slot(1), Commit]
    );
}

#[test]
fn slots_of_another_attempt_are_not_set() {
    let mut cpu = cpu(&[0, 40, 50, 60, 70]);
    cpu.slots = [GENERATION - 1; 64];
    assert_eq!(run(&mut cpu, &[edit(0)]), aborted(Code::Timeout));
    let mut cpu = self::cpu(&[0, 40]);
    cpu.slots = [GENERATION - 1; 64];
    assert!(without(&mut cpu, Steps::GENERATION).is_ok());
}

#[test]
fn phase_1_must_not_be_late() {
    let mut cpu = cpu(&[21]);
    cpu.slots = [GENERATION; 64];
    assert_eq!(run(&mut cpu, &[edit(0)]), aborted(Code::Late));
    assert_eq!(cpu.calls[3..], [Fence, Ticks, Abort(Code::Late)]);
    let mut cpu = self::cpu(&[21, 40]);
    cpu.slots = [GENERATION; 64];
    assert_eq!(
        without(&mut cpu, Steps::LATE_CHECK),
        Ok(Committed { phase1: 21 })
    );
}

#[test]
fn after_the_last_slot_it_times_out() {
    // It came too late for any.
    let mut late = cpu(&[0, 80]);
    late.slots = [GENERATION; 64];
    assert_eq!(run(&mut late, &[edit(0)]), aborted(Code::Timeout));
    // None was set: the last one's answer is the end.
    let mut unset = cpu(&[0, 40, 50, 60, 70]);
    assert_eq!(run(&mut unset, &[edit(0)]), aborted(Code::Timeout));
    assert_eq!(unset.calls[11..], [Ticks, Slot(3), Abort(Code::Timeout)]);
    let mut twin = cpu(&[0, 80]);
    assert!(without(&mut twin, Steps::TIMEOUT).is_ok());
}

#[test]
fn nothing_commits_after_the_deadline() {
    let strict = |deadline| Schedule {
        deadline,
        ..schedule()
    };
    let try_with = |deadline, without| {
        let mut cpu = cpu(&[0, 60]);
        cpu.slots = [GENERATION; 64];
        run_with(&mut cpu, &[edit(0)], &strict(deadline), without)
    };
    assert_eq!(try_with(59, Steps::empty()), aborted(Code::Deadline));
    assert!(try_with(60, Steps::empty()).is_ok());
    assert!(try_with(59, Steps::DEADLINE).is_ok());
    // It is the cause even when the slots are over, too.
    let mut cpu = cpu(&[0, 1000]);
    let end = run_with(&mut cpu, &[edit(0)], &strict(59), Steps::empty());
    assert_eq!(end, aborted(Code::Deadline));
}

#[test]
fn an_entry_that_changed_is_not_stored() {
    let mut cpu = cpu(&[0]);
    cpu.entries.insert(0, 101);
    assert_eq!(run(&mut cpu, &[edit(0)]), aborted(Code::PteChanged));
    assert_eq!(cpu.calls, [Begin, Load(0), Abort(Code::PteChanged)]);
    let mut cpu = self::cpu(&[0, 40]);
    cpu.entries.insert(0, 101);
    cpu.slots[0] = GENERATION;
    assert!(without(&mut cpu, Steps::COMPARE).is_ok());
}

/// One that changed is enough to undo the others.
#[test]
fn each_of_several_entries_is_compared() {
    for changed in 0..3 {
        let mut cpu = cpu(&[0, 40]);
        cpu.slots[0] = GENERATION;
        cpu.entries.insert(changed * 8, 0);
        let end = run(&mut cpu, &[edit(0), edit(1), edit(2)]);
        assert_eq!(end, aborted(Code::PteChanged));
        assert_eq!(cpu.calls.last(), Some(&Abort(Code::PteChanged)));
    }
}

#[test]
fn several_entries_are_in_the_write_set_before_the_late_check() {
    let mut cpu = cpu(&[0, 40]);
    cpu.slots[0] = GENERATION;
    assert!(run(&mut cpu, &[edit(2), edit(0), edit(1)]).is_ok());
    let stores = [
        Load(16),
        Store(16, 202),
        Load(0),
        Store(0, 200),
        Load(8),
        Store(8, 201),
    ];
    assert_eq!(cpu.calls[1..7], stores);
    assert_eq!(cpu.calls[7..9], [Fence, Ticks]);
}

#[test]
fn every_line_of_what_is_watched_is_read_first() {
    let mut cpu = cpu(&[0, 40]);
    cpu.slots[0] = GENERATION;
    assert!(run(&mut cpu, &[watched(0), edit(1), watched(2)]).is_ok());
    let mut wanted = vec![Begin];
    for page in [0x1000, 0x3000] {
        wanted.extend((0..64).map(|line| Watch(page, line)));
    }
    wanted.push(Load(0));
    assert_eq!(cpu.calls[..wanted.len()], wanted);
    let watches = |call: &&Call| matches!(call, Watch(..));
    assert_eq!(cpu.calls.iter().filter(watches).count(), 128);
}

/// Whichever instruction it is: what the CPU says is the end, and nothing follows.
#[test]
fn an_abort_ends_it_at_each_instruction() {
    let edits = [watched(0), edit(1)];
    let mut whole = cpu(&[0, 30, 40]);
    whole.slots[0] = GENERATION;
    assert!(run(&mut whole, &edits).is_ok());
    for at in 0..whole.calls.len() {
        for status in [Status(0), Status(4), Status(8)] {
            let mut cpu = cpu(&[0, 30, 40]);
            cpu.slots[0] = GENERATION;
            cpu.dies = Some((at, status));
            assert_eq!(run(&mut cpu, &edits), Err(status));
            assert_eq!(cpu.calls, whole.calls[..=at]);
        }
    }
}

#[test]
fn left_out_the_fence_is_not_waited_for() {
    let mut cpu = cpu(&[0, 40]);
    cpu.slots[0] = GENERATION;
    assert!(without(&mut cpu, Steps::FENCE).is_ok());
    assert!(!cpu.calls.contains(&Fence));
}

/// A plan of nothing is a mistake, and no panic.
#[test]
fn nothing_to_edit_is_an_abort() {
    let mut cpu = cpu(&[0]);
    assert_eq!(run(&mut cpu, &[]), aborted(Code::PteChanged));
    assert_eq!(cpu.calls, [Begin, Abort(Code::PteChanged)]);
}
