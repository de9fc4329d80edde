// SPDX-License-Identifier: GPL-2.0
//! A message from one rank to another.

pub use pagemove_image::Message as Kept;
use std::sync::Arc;

use crate::who::Rank;

/// Bytes of a message at most.
pub const MAX_BYTES: usize = pagemove_image::MOST_BYTES;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Its number among all from this rank to that one, from 1.
    pub number: u64,
    pub tag: u32,
    /// Shared between the copy that is kept and the one on its way.
    pub bytes: Arc<[u8]>,
}

/// A message that has come and was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Received {
    pub from: Rank,
    pub message: Message,
}

impl From<&Message> for Kept {
    fn from(message: &Message) -> Self {
        Kept {
            number: message.number,
            tag: message.tag,
            bytes: message.bytes.to_vec(),
        }
    }
}

impl From<Kept> for Message {
    fn from(kept: Kept) -> Self {
        Message {
            number: kept.number,
            tag: kept.tag,
            bytes: kept.bytes.into(),
        }
    }
}
