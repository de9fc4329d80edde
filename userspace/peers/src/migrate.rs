// SPDX-License-Identifier: GPL-2.0
//! Figure 6: the process that moves. Lines 2 and 3, the scheduler, are the caller's, before
//! it comes here; so is the way of the state to the other process, lines 8 and 10.

use crate::endpoint::{Endpoint, Output, Peer, Role};
use crate::frame::Frame;
use crate::message::Kept;
use crate::rules::Rule;
use crate::who::Epoch;
/// What is kept of messages in the image of a rank: the list, and for each rank who is known and
/// what was not acknowledged.
pub use pagemove_image::{Messages as Image, Peer as PeerImage};

impl From<&Peer> for PeerImage {
    fn from(peer: &Peer) -> Self {
        Self {
            epoch: peer.epoch,
            breaks: peer.breaks,
            doubt: peer.doubt,
            broke: peer.broke,
            owes: peer.owes,
            sent: peer.sent,
            retained: peer.retained.iter().map(Kept::from).collect(),
            received: peer.received,
            told: peer.told,
        }
    }
}

impl Endpoint {
    /// Begins to move: the program stands, and the next incarnation takes requests already.
    pub fn migrate(&mut self, out: &mut Vec<Output>) {
        if self.role != Role::Running {
            return;
        }
        // Line 4.
        self.role = Role::Leaving;
        for peer in &mut self.peers {
            peer.yielded = false;
        }
        self.proceed(out);
    }

    /// The program ends: as [`Endpoint::migrate`], but what comes is dropped, and nobody takes
    /// over. To be called when nothing is in doubt.
    pub fn end(&mut self, out: &mut Vec<Output>) {
        self.ending = true;
        self.list.clear();
        self.count_waiting();
        self.migrate(out);
    }

    /// Goes back from the end, if a stream has broken meanwhile and what was sent may be lost:
    /// it has to be sent again first, and the end tried again. Returns whether that is so.
    pub fn reopen(&mut self) -> bool {
        let again = self.ending && self.role == Role::Drained && !self.is_settled();
        if again {
            self.role = Role::Running;
        }
        again
    }

    /// Lines 5 to 7, as far as they can be done now.
    pub(crate) fn proceed(&mut self, out: &mut Vec<Output>) {
        let waits = self.without.keeps(Rule::OwnAnswer);
        if self.role == Role::Leaving {
            if waits && self.peers.iter().any(|peer| peer.asked.is_some()) {
                return;
            }
            self.role = Role::Draining;
            for open in self.peers.iter_mut().filter_map(|peer| peer.open.as_mut()) {
                if !open.marked {
                    open.marked = true;
                    // Line 5.
                    out.push(Output::Write(open.stream, Frame::Moving));
                }
            }
        }
        // Line 6 is over when each stream is at its end.
        let drains = self.without.keeps(Rule::Drain);
        let over = !drains || self.peers.iter().all(|peer| peer.open.is_none());
        if self.role == Role::Draining && over {
            self.role = Role::Drained;
        }
    }

    /// Line 8: what the next incarnation has to know. None before line 7.
    pub fn image(&self) -> Option<Image> {
        (self.role == Role::Drained).then(|| Image {
            rank: self.me.rank,
            epoch: self.me.epoch,
            peers: self.peers.iter().map(PeerImage::from).collect(),
            list: self
                .list
                .iter()
                .map(|it| (it.from, Kept::from(&it.message)))
                .collect(),
        })
    }

    /// Lines 11 to 13: another is the rank. Who still asks is refused.
    pub fn ended(&mut self) {
        self.role = Role::Ended;
    }

    /// The scheduler has taken the move back: this process is the rank again, by a new number,
    /// so that nobody takes it for older than the one that never was.
    pub fn resume(&mut self, epoch: Epoch) {
        if self.role == Role::Drained && epoch > self.me.epoch {
            self.me.epoch = epoch;
            self.role = Role::Running;
        }
    }
}
