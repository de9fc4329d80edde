// SPDX-License-Identifier: GPL-2.0
//! What is said in a stream between two processes.

mod bytes;

pub use bytes::{Frames, HEAD, MAX_FRAME, VERSION};

use crate::message::Message;
use crate::who::Who;

/// The first frame of a stream: the request for it (figure 4, line 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    pub from: Who,
    /// Whom it is for: a process at the same place may be somebody else.
    pub to: Who,
    /// How many streams between the two ranks have broken, as far as the sender knows.
    pub breaks: u32,
    /// Messages that it has received, all incarnations together.
    pub received: u64,
}

/// Why a request is refused (figure 4, line 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It moves, has moved, or is not who was asked for: the scheduler knows more.
    Moved,
    /// The one who asks has been succeeded by another.
    Old,
    /// The other one's own request counts.
    Yours,
    /// So many streams have broken; who asked has not seen all of them.
    Again(u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    Hello(Hello),
    /// The stream is there. What has been received; none from a process that does not know
    /// it yet, since it is not the rank yet.
    Welcome(Option<u64>),
    Refuse(Refusal),
    Data(Message),
    /// The other end is the rank now, and has received so many.
    Committed(u64),
    /// So many of the messages to the sender of this were taken by its program.
    Taken(u64),
    /// Nothing more comes in this direction, since the sender moves: the marker
    /// (peer_migrating).
    Moving,
    /// Nothing more comes in this direction, since the other one moves (end-of-messages).
    End,
}
