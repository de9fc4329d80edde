// SPDX-License-Identifier: GPL-2.0
//! What the application's rank knows of messages: those that came and were not taken, those that were sent
//! and not taken by who they are for, and how far each pair of ranks is.

use crate::error::Error;
use crate::part::Kind;
use serde::{Deserialize, Serialize};

/// Ranks of an application at most.
pub const MOST_RANKS: u16 = 4096;
/// Bytes of a message at most.
pub const MOST_BYTES: usize = 1 << 24;
/// No rank sends so many messages.
const MOST_SENT: u64 = 1 << 62;
/// Nor do streams between two ranks break so often.
const MOST_BREAKS: u32 = u32::MAX / 2;

/// What a rank knows of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    pub rank: u16,
    /// The incarnation that has left it.
    pub epoch: u32,
    /// What is known of each rank, from 0; its own entry is of what it sent itself.
    pub peers: Vec<Peer>,
    /// Messages that have come and were not taken, in the order in which they came, and who sent them.
    pub list: Vec<(u16, Message)>,
}

/// What is known of a rank.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub epoch: u32,
    pub breaks: u32,
    pub doubt: bool,
    pub broke: bool,
    pub owes: bool,
    /// Messages to it so far, and those of them that its program has not taken.
    pub sent: u64,
    pub retained: Vec<Message>,
    /// Messages from it so far, and up to which it was told that they are taken.
    pub received: u64,
    pub told: u64,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number among all from one rank to another, from 1.
    pub number: u64,
    pub tag: u32,
    pub bytes: Vec<u8>,
}

impl Messages {
    /// As bytes, to go to the next process.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        postcard::to_stdvec(self).map_err(|_| Error::TooLarge("a part"))
    }

    /// Of bytes that may be a stranger's; [`Messages::check`] looks at what they say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Nonsense(Kind::Messages.name(), what);
        match postcard::take_from_bytes(bytes) {
            Ok((messages, [])) => Ok(messages),
            Ok(_) => Err(wrong("something is behind it".into())),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Says what no rank can have left, if there is something.
    pub fn check(&self) -> Result<(), String> {
        let of = self.peers.len();
        if of > MOST_RANKS.into() || usize::from(self.rank) >= of {
            return Err(format!("there is no rank {} of {of}", self.rank));
        }
        let kept = self.peers.iter().flat_map(|peer| &peer.retained);
        let all = kept.chain(self.list.iter().map(|(_, message)| message));
        if let Some(long) = all.map(|it| it.bytes.len()).find(|&it| it > MOST_BYTES) {
            return Err(format!("a message has {long} bytes"));
        }
        for (rank, peer) in (0u16..).zip(&self.peers) {
            peer.check()
                .map_err(|what| format!("{what} (rank {rank})"))?;
        }
        self.check_list()?;
        let own = &self.peers[usize::from(self.rank)];
        if own.sent > 0 || !own.retained.is_empty() {
            return Err("it has sent itself something by a peer".into());
        }
        Ok(())
    }

    fn check_list(&self) -> Result<(), String> {
        let of = self.peers.len();
        let mut before = vec![0; of];
        for (from, message) in &self.list {
            let rank = usize::from(*from);
            let Some(peer) = self.peers.get(rank) else {
                return Err(format!("a message is from rank {from} of {of}"));
            };
            if message.number <= before[rank] || message.number > peer.received {
                let number = message.number;
                return Err(format!("message {number} is not due there (rank {from})"));
            }
            before[rank] = message.number;
        }
        Ok(())
    }
}

impl Peer {
    fn check(&self) -> Result<(), String> {
        if self.sent >= MOST_SENT || self.received >= MOST_SENT || self.breaks >= MOST_BREAKS {
            return Err("no rank counts so far".into());
        }
        if self.told > self.received {
            return Err("more was taken than came".into());
        }
        let mut before = 0;
        for message in &self.retained {
            if message.number <= before || message.number > self.sent {
                return Err("what is kept was not sent in this order".into());
            }
            before = message.number;
        }
        Ok(())
    }
}
