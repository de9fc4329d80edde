// SPDX-License-Identifier: GPL-2.0
//! What a peer did that it must not do. Its stream is given up, nothing else.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A message that is not the next one: one was lost, doubled, or overtook another.
    Order { expected: u64, came: u64 },
    /// A frame that has no place in what was said before.
    Unexpected(&'static str),
    /// It says that it has had what was never sent, or names who does not exist.
    Impossible(&'static str),
    /// Bytes that are no frame.
    Damaged(&'static str),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Order { expected, came } => {
                write!(f, "message {came} came where {expected} was due")
            }
            Wrong::Unexpected(what) => write!(f, "{what} was not due"),
            Wrong::Impossible(what) => write!(f, "{what} can not be"),
            Wrong::Damaged(what) => write!(f, "no frame: {what}"),
        }
    }
}

impl std::error::Error for Wrong {}
