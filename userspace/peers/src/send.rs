// SPDX-License-Identifier: GPL-2.0
//! Figure 3: a message to a rank, wherever that is.

use crate::endpoint::{Endpoint, Output, Role, Scheduler};
use crate::frame::Frame;
use crate::message::{Message, Received, MAX_BYTES};
use crate::rules::Rule;
use crate::who::Rank;
use std::sync::Arc;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// Not yet: call again after whatever happens next.
    Wait,
    /// The program of that rank has ended (figure 4, line 12).
    Terminated,
    /// There is no such rank, or the message is too long.
    Never,
}

impl Endpoint {
    /// Sends a message, or begins with what has to come before. The call is made again until
    /// it does not say [`Unsent::Wait`]; a process that moves meanwhile leaves it to the next.
    pub fn send(
        &mut self,
        dest: Rank,
        tag: u32,
        bytes: &Arc<[u8]>,
        scheduler: &mut impl Scheduler,
        out: &mut Vec<Output>,
    ) -> Result<(), Unsent> {
        let rank = usize::from(dest);
        if rank >= self.peers.len() || bytes.len() > MAX_BYTES {
            return Err(Unsent::Never);
        }
        if self.role != Role::Running || self.ending {
            return Err(Unsent::Wait);
        }
        if dest == self.me.rank {
            return self.send_home(tag, bytes);
        }
        // Lines 1 to 3.
        if !self.connect(dest, scheduler, out)? {
            return Err(Unsent::Wait);
        }
        let limits = self.limits;
        let peer = &mut self.peers[rank];
        let Some(open) = peer.open.filter(|open| open.settled) else {
            return Err(Unsent::Wait);
        };
        if !limits.admit(peer.retained.len(), peer.retained_bytes, bytes.len()) {
            return Err(Unsent::Wait);
        }
        // Line 4.
        peer.sent += 1;
        let message = Message {
            number: peer.sent,
            tag,
            bytes: bytes.clone(),
        };
        peer.retained_bytes += message.bytes.len();
        peer.retained.push_back(message.clone());
        out.push(Output::Write(open.stream, Frame::Data(message)));
        Ok(())
    }

    fn send_home(&mut self, tag: u32, bytes: &Arc<[u8]>) -> Result<(), Unsent> {
        let limits = self.limits;
        let rank = self.me.rank;
        let peer = &mut self.peers[usize::from(rank)];
        if !limits.admit(peer.waiting, peer.waiting_bytes, bytes.len()) {
            return Err(Unsent::Wait);
        }
        peer.waiting += 1;
        peer.waiting_bytes += bytes.len();
        peer.received += 1;
        let number = peer.received;
        let bytes = bytes.clone();
        let message = Message { number, tag, bytes };
        let from = rank;
        self.list.push_back(Received { from, message });
        Ok(())
    }

    /// Sends again what the other end has not received.
    pub(crate) fn send_again(&mut self, rank: usize, received: u64, out: &mut Vec<Output>) {
        if !self.without.keeps(Rule::Again) {
            return;
        }
        let peer = &self.peers[rank];
        let Some(open) = peer.open else { return };
        let missing = peer.retained.iter().filter(|it| it.number > received);
        for message in missing {
            out.push(Output::Write(open.stream, Frame::Data(message.clone())));
        }
    }
}
