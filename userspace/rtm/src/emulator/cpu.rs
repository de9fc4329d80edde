// SPDX-License-Identifier: GPL-2.0
//! The CPU that is emulated. It runs in signal handlers: it takes no memory, and
//! what it can not go on with ends the transaction with a fault in the log.

use super::{Conditions, Trace};
use crate::event::{Event, Fault};
use crate::pages::{allow, Access, PAGE};
use crate::scene::{slot_at, Scene};
use engine::rtm::{Code, Status};
use std::ops::Range;

/// Why a handler was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// An instruction that this CPU does not know.
    Illegal,
    /// An access that is forbidden.
    Access,
    /// An instruction of a transaction is done.
    Step,
}

type Registers = [libc::greg_t; 23];

const RIP: usize = libc::REG_RIP as usize;
const RSP: usize = libc::REG_RSP as usize;
const RAX: usize = libc::REG_RAX as usize;
const RDX: usize = libc::REG_RDX as usize;
const FLAGS: usize = libc::REG_EFL as usize;
const ERROR: usize = libc::REG_ERR as usize;
const TRAP: usize = libc::REG_TRAPNO as usize;

/// EFLAGS: a trap after the next instruction.
const TF: i64 = 1 << 8;
/// The error code of a page fault: it was a write.
const WRITE: i64 = 1 << 1;
const PAGE_FAULT: i64 = 14;

const XBEGIN: [u8; 2] = [0xc7, 0xf8];
const XABORT: [u8; 2] = [0xc6, 0xf8];
const XEND: [u8; 3] = [0x0f, 0x01, 0xd5];
const RDTSC: [u8; 2] = [0x0f, 0x31];
const MFENCE: [u8; 3] = [0x0f, 0xae, 0xf0];
const LFENCE: [u8; 3] = [0x0f, 0xae, 0xe8];
const PAUSE: [u8; 2] = [0xf3, 0x90];

/// Events that one run can have.
const EVENTS: usize = 1 << 16;
/// Stores that one transaction can have.
const STORES: usize = 1 << 10;
const FAULTS: usize = 64;
/// Bytes of the stack that are compared, below and above the stack pointer.
const BELOW: usize = 512;
const ABOVE: usize = 256;

/// A page that is open for the instruction that is being done.
struct Open {
    page: usize,
    /// The entry that it writes.
    store: Option<usize>,
}

pub struct Cpu {
    entries: Range<usize>,
    watched: Range<usize>,
    slots: Range<usize>,
    clock: Option<Vec<u64>>,
    clock_at: usize,
    abort: Option<(u64, Status)>,
    keeps_stores: bool,
    /// The registers at the abort target, while there is a transaction.
    kept: Option<Registers>,
    stack: [u8; BELOW + ABOVE],
    /// Entries and what they were, in the order of the stores.
    undo: Vec<(usize, u64)>,
    open: Option<Open>,
    /// The first bytes of the instruction that is next, and of the one before.
    code: [u8; 3],
    code_before: [u8; 3],
    trace: Trace,
}

impl Cpu {
    pub fn new(scene: &Scene, conditions: &Conditions) -> Self {
        let range = |pages: &crate::pages::Pages| pages.base()..pages.base() + pages.length();
        Self {
            entries: range(&scene.entries),
            watched: range(&scene.watched),
            slots: range(&scene.slots),
            clock: conditions.clock.clone(),
            clock_at: 0,
            abort: conditions.abort,
            keeps_stores: conditions.keeps_stores,
            kept: None,
            stack: [0; BELOW + ABOVE],
            undo: Vec::with_capacity(STORES),
            open: None,
            code: [0; 3],
            code_before: [0; 3],
            trace: Trace {
                events: Vec::with_capacity(EVENTS),
                faults: Vec::with_capacity(FAULTS),
                instructions: 0,
            },
        }
    }

    pub fn into_trace(self) -> Trace {
        self.trace
    }

    /// Deals with a signal. `false`: it is none of this CPU's.
    pub fn handle(&mut self, signal: Signal, address: usize, registers: &mut Registers) -> bool {
        match (signal, self.kept.is_some()) {
            (Signal::Illegal, false) if self.at(registers, XBEGIN) => self.begin(registers),
            (Signal::Illegal, true) => self.illegal(registers),
            (Signal::Access, true) if registers[TRAP] == PAGE_FAULT => {
                self.access(address, registers)
            }
            (Signal::Access, true) if self.at(registers, RDTSC) => self.ticks(registers),
            (Signal::Step, true) => self.stepped(registers),
            _ => return false,
        }
        true
    }

    /// Whether an instruction that begins so is next.
    fn at<const N: usize>(&self, registers: &Registers, code: [u8; N]) -> bool {
        bytes(registers[RIP] as usize) == code
    }

    fn begin(&mut self, registers: &mut Registers) {
        let rip = registers[RIP] as usize;
        let distance = i32::from_le_bytes(bytes(rip + 2));
        registers[RIP] += 6;
        let mut kept = *registers;
        kept[RIP] += i64::from(distance);
        self.stack = bytes(registers[RSP] as usize - BELOW);
        self.kept = Some(kept);
        self.undo.clear();
        self.code = [0; 3];
        self.note(Event::Begin);
        registers[FLAGS] |= TF;
        self.boundary(registers);
    }

    fn illegal(&mut self, registers: &mut Registers) {
        let rip = registers[RIP] as usize;
        if self.at(registers, XABORT) {
            let [argument] = bytes(rip + 2);
            self.note(Event::Abort(argument));
            self.roll_back(registers, xabort(argument));
        } else if self.at(registers, XEND) {
            self.note(Event::Commit);
            self.compare_stack(registers);
            self.kept = None;
            registers[RIP] += 3;
            registers[FLAGS] &= !TF;
        } else {
            self.fail(Fault::Illegal(rip), registers);
        }
    }

    /// An access to memory that is not open.
    fn access(&mut self, address: usize, registers: &mut Registers) {
        let is_write = registers[ERROR] & WRITE != 0;
        let page = address & !(PAGE - 1);
        if self.open.is_some() {
            // One instruction, two accesses: none of the transaction's does that.
            return self.fail(Fault::StrayLoad(address), registers);
        }
        if is_write {
            if !self.entries.contains(&address) {
                return self.fail(Fault::StrayStore(address), registers);
            }
            allow(page, PAGE, Access::Write);
            self.open = Some(Open {
                page,
                store: Some(address),
            });
            if self.undo.len() == STORES {
                return self.fail(Fault::LogFull, registers);
            }
            self.undo.push((address, word(address)));
            return;
        }
        let slot = self.slot(address);
        if !self.entries.contains(&address) && !self.watched.contains(&address) && slot.is_none() {
            return self.fail(Fault::StrayLoad(address), registers);
        }
        allow(page, PAGE, Access::Read);
        self.open = Some(Open { page, store: None });
        if let Some(n) = slot {
            if self.code_before != LFENCE {
                self.fault(Fault::EarlySlot(n));
            }
            self.note(Event::Slot(n, word(address)));
        } else if self.watched.contains(&address) {
            self.note(Event::Watch(address as u64));
        } else {
            self.note(Event::Load(address as u64, word(address)));
        }
    }

    fn slot(&self, address: usize) -> Option<u64> {
        let inside = self.slots.contains(&address);
        slot_at(self.slots.start, address).filter(|_| inside)
    }

    fn ticks(&mut self, registers: &mut Registers) {
        let script = self.clock.as_deref().unwrap_or_default();
        let now = script.get(self.clock_at).copied().unwrap_or(u64::MAX);
        self.clock_at += 1;
        registers[RAX] = (now & 0xffff_ffff) as i64;
        registers[RDX] = (now >> 32) as i64;
        registers[RIP] += 2;
        self.note(Event::Ticks(now));
        self.boundary(registers);
    }

    fn stepped(&mut self, registers: &mut Registers) {
        if let Some(open) = self.open.take() {
            if let Some(entry) = open.store {
                self.note(Event::Store(entry as u64, word(entry)));
            }
            allow(open.page, PAGE, Access::None);
        }
        self.boundary(registers);
    }

    /// Between two instructions of a transaction.
    fn boundary(&mut self, registers: &mut Registers) {
        let Some(kept) = self.kept else { return };
        if registers[RSP] != kept[RSP] {
            return self.fail(Fault::StackMoved, registers);
        }
        if let Some((at, status)) = self.abort {
            if at == self.trace.instructions {
                self.abort = None;
                return self.roll_back(registers, status);
            }
        }
        self.trace.instructions += 1;
        self.code_before = self.code;
        self.code = bytes(registers[RIP] as usize);
        if self.code == LFENCE && self.code_before == MFENCE {
            self.note(Event::Fence);
        }
        if self.code[..2] == PAUSE {
            self.fail(Fault::Pause, registers);
        }
    }

    /// Gives registers and entries back.
    fn roll_back(&mut self, registers: &mut Registers, status: Status) {
        let Some(kept) = self.kept.take() else { return };
        if let Some(open) = self.open.take() {
            allow(open.page, PAGE, Access::None);
        }
        self.compare_stack(&kept);
        while let Some((entry, old)) = self.undo.pop() {
            if !self.keeps_stores {
                let page = entry & !(PAGE - 1);
                allow(page, PAGE, Access::Write);
                // SAFETY: `access` has checked that it is within the entries.
                unsafe { (entry as *mut u64).write_volatile(old) };
                allow(page, PAGE, Access::None);
            }
        }
        *registers = kept;
        registers[RAX] = i64::from(status.0);
        registers[FLAGS] &= !TF;
    }

    fn compare_stack(&mut self, registers: &Registers) {
        if self.stack != bytes::<{ BELOW + ABOVE }>(registers[RSP] as usize - BELOW) {
            self.fault(Fault::StackWritten);
        }
    }

    fn note(&mut self, event: Event) {
        if self.trace.events.len() < EVENTS {
            self.trace.events.push(event);
        } else {
            self.fault(Fault::LogFull);
        }
    }

    fn fault(&mut self, fault: Fault) {
        if self.trace.faults.len() < FAULTS {
            self.trace.faults.push(fault);
        }
    }

    fn fail(&mut self, fault: Fault, registers: &mut Registers) {
        self.fault(fault);
        self.roll_back(registers, Status(0));
    }
}

/// The status that XABORT leaves, whoever's its argument is.
fn xabort(argument: u8) -> Status {
    let flag = Status::explicit(Code::PteChanged).0 & 0xff;
    Status((u32::from(argument) << 24) | flag)
}

/// What is in memory at an address that can be read.
fn bytes<const N: usize>(address: usize) -> [u8; N] {
    // SAFETY: Callers name code that is being run, and the stack around its pointer,
    // which has been deeper than that before.
    unsafe { (address as *const [u8; N]).read_volatile() }
}

fn word(address: usize) -> u64 {
    // SAFETY: Callers have just opened its page. Unaligned ones are read, too.
    unsafe { (address as *const u64).read_unaligned() }
}
