// SPDX-License-Identifier: GPL-2.0
//! The memory of a rewritten module in which its state lies while it stands: what is where.
//!
//! It is a memory beside the program's own, exported as [`MEMORY`], so that the program neither
//! sees nor damages it. All numbers in it are little-endian.
//!
//! | offset | what |
//! | --- | --- |
//! | [`WORD`] | what is going on, one of [`RUNS`], [`STOP`], [`REWINDS`], [`UNWINDS`] |
//! | [`TOP`] | how many bytes of frames there are |
//! | [`TARGET`] | the point at which the function is that goes on; scratch |
//! | [`TICKS`] | polls until a stop, in builds that count ([`crate::Poll::Counted`]) |
//! | [`FRAMES`] | the frames, the innermost first |
//!
//! A frame is the values of its point one after the other, and then the point's number in 4 bytes.
//!
//! A host asks for a stop by changing the word from [`RUNS`] to [`STOP`], atomically, and in no
//! other case. When the exported function has returned and the word is [`UNWINDS`], the program stands and its
//! result means nothing; else it has ended. To go on, the host puts the program's memories, its
//! mutable globals and the frames where they were, sets the word to [`REWINDS`] and calls
//! the same function with whatever arguments.

/// The name under which the memory is exported.
pub const MEMORY: &str = "pagemove:control";
/// What the names of the program's own memories begin with; their index follows.
pub const PROGRAM_MEMORY: &str = "pagemove:memory:";
/// What the names of the program's mutable globals begin with; their index follows.
pub const PROGRAM_GLOBAL: &str = "pagemove:global:";
/// The name of the start function, which a host calls once for a program that begins.
pub const START: &str = "pagemove:start";
/// The name of the custom section that lists the points.
pub const SECTION: &str = "pagemove.points";

/// Offset of the word, an i32.
pub const WORD: u64 = 0;
/// Offset of the number of bytes of frames, an i32.
pub const TOP: u64 = 4;
/// Offset of the point that is gone to, an i32.
pub const TARGET: u64 = 8;
/// Offset of the number of polls until a stop, an i32; 0 for never.
pub const TICKS: u64 = 12;
/// Offset of the first frame.
pub const FRAMES: u64 = 64;

/// The program runs.
pub const RUNS: i32 = 0;
/// Somebody wants it to stop at its next poll.
pub const STOP: i32 = 1;
/// It goes to the point where it was.
pub const REWINDS: i32 = 2;
/// It stands, or its functions are about to return.
pub const UNWINDS: i32 = 3;

/// What the memory grows by, in bytes.
pub const PAGE: u32 = 65536;
