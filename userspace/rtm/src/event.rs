// SPDX-License-Identifier: GPL-2.0
//! What a transaction does that somebody else could tell from something else.

/// One action, in program order. Addresses and values are those that were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Begin,
    /// A line of a watched page was read: its address.
    Watch(u64),
    /// An entry was read: address and value.
    Load(u64, u64),
    /// An entry was written: address and value.
    Store(u64, u64),
    /// MFENCE, then LFENCE.
    Fence,
    /// The clock said so.
    Ticks(u64),
    /// A slot was read: its number and its value.
    Slot(u64, u64),
    Commit,
    /// XABORT with this argument.
    Abort(u8),
}

/// What an emulated transaction must not do, and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It read from an address that belongs to nobody.
    StrayLoad(usize),
    /// It wrote to an address that is no entry.
    StrayStore(usize),
    /// It read a slot without an LFENCE right before.
    EarlySlot(u64),
    /// PAUSE.
    Pause,
    /// The stack pointer was moved: PUSH, CALL.
    StackMoved,
    /// The stack, or what is below it, was written.
    StackWritten,
    /// An instruction that the CPU and the emulation do not know, at this address.
    Illegal(usize),
    /// The log is full.
    LogFull,
}
