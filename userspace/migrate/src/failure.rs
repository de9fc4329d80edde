// SPDX-License-Identifier: GPL-2.0
//! Why a migration ended before it was done.

use std::fmt;

use crate::host::{HostError, Trouble};
use crate::wrong::Wrong;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection broke, or there was none.
    Connection(String),
    /// The peer would not begin.
    Refused(String),
    /// The peer ended it and said why.
    Peer(String),
    /// The peer's operator ended it.
    PeerStopped(String),
    /// The peer broke the protocol.
    Wrong(Wrong),
    /// This host's kernel failed or refused.
    Host(HostError),
    /// An operator's command failed.
    Hook(String),
    /// What was found is not what it has to be.
    State(String),
    /// These many pages stayed in use.
    Busy(u32),
    /// These many could not be moved, since calls ended for what passes; the last one for this.
    Later(u32, HostError),
    /// The time that the operator gave is over.
    Deadline,
    /// A signal.
    Stopped,
}

impl Failure {
    /// Returns whether the peer knows already, or can not be told.
    pub fn is_known_to_peer(&self) -> bool {
        matches!(
            self,
            Failure::Connection(_)
                | Failure::Refused(_)
                | Failure::Peer(_)
                | Failure::PeerStopped(_)
        )
    }
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        Failure::Wrong(wrong)
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        match error.trouble {
            Trouble::Interrupted => Failure::Stopped,
            _ => Failure::Host(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connection(text) => write!(f, "the connection to the peer is lost: {text}"),
            Failure::Refused(text) => write!(f, "the peer refused: {text}"),
            Failure::Peer(text) => write!(f, "the peer gave up: {text}"),
            Failure::PeerStopped(text) => write!(f, "the peer was stopped: {text}"),
            Failure::Wrong(wrong) => write!(f, "the peer broke the protocol: {wrong}"),
            Failure::Host(error) => write!(f, "{error}"),
            Failure::Hook(text) => write!(f, "the hook failed: {text}"),
            Failure::State(text) => f.write_str(text),
            Failure::Busy(pages) => write!(
                f,
                "devices kept using {pages} pages for so long that they could not be moved"
            ),
            Failure::Later(pages, error) => write!(
                f,
                "{pages} pages could not be moved for so long that it was given up; at last: {error}"
            ),
            Failure::Deadline => f.write_str("the deadline passed"),
            Failure::Stopped => f.write_str("stopped by a signal"),
        }
    }
}
