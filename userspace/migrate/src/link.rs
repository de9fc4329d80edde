// SPDX-License-Identifier: GPL-2.0
//! The two directions of a connection. Each frame behind the first carries the session,
//! which B chose at random, and its number in its direction, so that none can be left out,
//! doubled, or come from another connection.

use serde::{Deserialize, Serialize};

use crate::frame::{self, Frames};
use crate::message::{readable, Message, MAX_RUNS};
use crate::opening::{decode, encode};
use crate::wrong::Wrong;

#[derive(Serialize, Deserialize)]
struct Envelope {
    session: u64,
    sequence: u64,
    message: Message,
}

/// Makes frames of messages.
#[derive(Debug)]
pub struct Sender {
    session: u64,
    next: u64,
}

impl Sender {
    pub fn new(session: u64) -> Self {
        Self { session, next: 1 }
    }

    pub fn seal(&mut self, message: Message) -> Vec<u8> {
        let sequence = self.next;
        self.next += 1;
        frame::wrap(&encode(&Envelope {
            session: self.session,
            sequence,
            message,
        }))
    }
}

/// Makes messages of frames.
#[derive(Debug)]
pub struct Receiver {
    frames: Frames,
    /// Version and session, once they are agreed on.
    agreed: Option<(u16, u64)>,
    next: u64,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            frames: Frames::default(),
            agreed: None,
            next: 1,
        }
    }
}

impl Receiver {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.frames.feed(bytes);
    }

    /// Returns the first frame, which has no envelope.
    pub fn opening(&mut self) -> Result<Option<Vec<u8>>, Wrong> {
        self.frames.payload()
    }

    pub fn agree(&mut self, version: u16, session: u64) {
        self.agreed = Some((version, session));
    }

    pub fn message(&mut self) -> Result<Option<Message>, Wrong> {
        let Some(payload) = self.frames.payload()? else {
            return Ok(None);
        };
        let (version, session) = self
            .agreed
            .ok_or_else(|| Wrong::new("a message came before the versions were agreed on"))?;
        let envelope: Envelope = decode(&payload, "a message")?;
        if envelope.session != session {
            return Err(Wrong::new("a message of another connection"));
        }
        if envelope.sequence != self.next {
            return Err(Wrong::new(format!(
                "message {} came where {} was due",
                envelope.sequence, self.next
            )));
        }
        self.next += 1;
        check(envelope.message, version).map(Some)
    }

    pub fn is_truncated(&self) -> bool {
        self.frames.is_truncated()
    }
}

/// Returns what can be said of a message without knowing what the connection is about.
fn check(message: Message, version: u16) -> Result<Message, Wrong> {
    if message.since() > version {
        return Err(Wrong::new(format!(
            "{} is not of version {version}",
            message.name()
        )));
    }
    if message.entries() > MAX_RUNS {
        return Err(Wrong::new(format!(
            "{} names {} entries, {MAX_RUNS} are the most",
            message.name(),
            message.entries()
        )));
    }
    Ok(match message {
        Message::Stop(text) => Message::Stop(readable(&text)),
        Message::Error(text) => Message::Error(readable(&text)),
        other => other,
    })
}
