// SPDX-License-Identifier: GPL-2.0
//! Why something did not go.

use std::fmt;
use std::io;

use crate::scheduler::Denied;
use crate::who::Rank;
use crate::wrong::Wrong;

#[derive(Debug)]
pub enum Error {
    System(&'static str, io::Error),
    /// The scheduler says no.
    Denied(Denied),
    /// The file is not a scheduler's.
    NoScheduler,
    /// The scheduler's file is of an application with so many ranks.
    OtherCount(Rank),
    /// A peer, or an image, is not what it should be.
    Wrong(Wrong),
    /// The program of that rank has ended.
    Terminated,
    /// There is no such rank, or the message is too long.
    Never,
    /// The rank moves: the call is to be made again when it has.
    Moves,
    /// It took too long.
    Late,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System(what, error) => write!(f, "{what}: {error}"),
            Error::Denied(denied) => denied.fmt(f),
            Error::NoScheduler => f.write_str("this is no scheduler's file"),
            Error::OtherCount(of) => write!(f, "the scheduler's file is of {of} ranks"),
            Error::Wrong(wrong) => wrong.fmt(f),
            Error::Terminated => f.write_str("the program of that rank has ended"),
            Error::Never => f.write_str("no such rank, or the message is too long"),
            Error::Moves => f.write_str("the rank moves"),
            Error::Late => f.write_str("it took too long"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Error::Denied(denied)
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        Error::Wrong(wrong)
    }
}
