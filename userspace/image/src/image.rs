// SPDX-License-Identifier: GPL-2.0
//! What an image consists of.

use crate::memory::Memory;
use crate::messages::Messages;
use serde::{Deserialize, Serialize};

/// The state of an application that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub program: Program,
    /// The frames of its functions, as the rewritten module has them, the innermost first.
    pub frames: Vec<u8>,
    /// The mutable globals.
    pub globals: Vec<Global>,
    pub memories: Vec<Memory>,
    pub files: Vec<File>,
    /// Of a program that is a rank among others.
    pub messages: Option<Messages>,
    pub times: Times,
}

/// Which program it is, and what was called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// SHA-256 of the rewritten module.
    pub module: [u8; 32],
    /// What the user calls it.
    pub name: String,
    /// The exported function that is called again to go on.
    pub function: String,
    /// What the program was given to begin with.
    pub arguments: Vec<String>,
}

/// A number of WebAssembly's. Floating-point numbers are bits, so that a NaN stays what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
}

/// A mutable global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Global {
    /// Its index in the module.
    pub index: u32,
    pub value: Value,
}

/// What may be done with an open file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    /// Each write goes to the end.
    pub append: bool,
}

/// A file that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The program's own number for it.
    pub number: u32,
    /// Below the directory that the host gives the program; no `..` in it.
    pub path: String,
    /// Where the next byte is read or written.
    pub offset: u64,
    pub access: Access,
}

/// Times, as differences: no clock of one host means anything on another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// For how long the program has run, in nanoseconds; its clock goes on from there.
    pub ran_ns: u64,
    /// In how many nanoseconds, from when it goes on, each of its timers is due.
    pub timers_ns: Vec<u64>,
}
