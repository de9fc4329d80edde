// SPDX-License-Identifier: GPL-2.0
//! Figure 7: the process that a rank moves to. The program's own state, lines 4 and 5, is the
//! caller's, and so is the scheduler, lines 6 to 8.

use std::collections::VecDeque;

use crate::endpoint::{Endpoint, Limits, Output, Role};
use crate::frame::Frame;
use crate::message::{Message, Received};
use crate::migrate::Image;
use crate::rules::Rule;
use crate::who::{Epoch, Rank, Who};
use crate::wrong::Wrong;

impl Endpoint {
    /// Line 1: requests are granted from here on. The rank it is not yet.
    pub fn initialize(rank: Rank, of: Rank, epoch: Epoch, limits: Limits) -> Self {
        Self {
            me: Who { rank, epoch },
            role: Role::Initializing,
            ..Self::new(rank, of, limits)
        }
    }

    /// Lines 2 and 3: what the old process knew. If it is refused nothing has changed.
    pub fn restore(&mut self, image: Image, out: &mut Vec<Output>) -> Result<(), Wrong> {
        self.check(&image)?;
        self.compare(&image, out)?;
        let mut list: VecDeque<Received> = VecDeque::with_capacity(image.list.len());
        for (from, kept) in image.list {
            let message = Message::from(kept);
            list.push_back(Received { from, message });
        }
        if self.without.keeps(Rule::ListInFront) {
            list.append(&mut self.list);
        } else {
            let mut behind = std::mem::take(&mut self.list);
            behind.append(&mut list);
            list = behind;
        }
        self.list = list;
        self.restored = true;
        for (peer, old) in self.peers.iter_mut().zip(image.peers) {
            peer.epoch = peer.epoch.max(old.epoch);
            peer.breaks = peer.breaks.max(old.breaks);
            peer.doubt |= old.doubt;
            peer.broke |= old.broke;
            peer.owes = old.owes && peer.open.is_none();
            peer.sent = old.sent;
            peer.retained = old.retained.into_iter().map(Message::from).collect();
            peer.retained_bytes = peer.retained.iter().map(|it| it.bytes.len()).sum();
            peer.received = peer.received.max(old.received);
            peer.told = peer.told.max(old.told);
        }
        self.count_waiting();
        Ok(())
    }

    /// What has come here already has to go on where the list of the old process ends. If it does
    /// not, a stream of that one broke behind its sender's end of messages, and all from there on
    /// comes again.
    fn compare(&mut self, image: &Image, out: &mut Vec<Output>) -> Result<(), Wrong> {
        for (rank, old) in (0..).zip(&image.peers) {
            let mut came = self.list.iter().filter(|it| it.from == rank);
            let Some(came) = came.next().map(|it| it.message.number) else {
                continue;
            };
            let expected = old.received + 1;
            if came == expected {
                continue;
            }
            if !self.without.keeps(Rule::Again) {
                return Err(Wrong::Order { expected, came });
            }
            self.list.retain(|it| it.from != rank);
            self.peers[usize::from(rank)].received = 0;
            self.give_up(rank.into(), out);
        }
        Ok(())
    }

    fn check(&self, image: &Image) -> Result<(), Wrong> {
        let unfit = Err(Wrong::Impossible("such an image"));
        if self.role != Role::Initializing
            || image.rank != self.me.rank
            || image.epoch >= self.me.epoch
            || image.peers.len() != self.peers.len()
        {
            return unfit;
        }
        image
            .check()
            .map_err(|_| Wrong::Impossible("such an image"))
    }

    /// Line 8 is done: this is the rank.
    pub fn committed(&mut self, out: &mut Vec<Output>) {
        if self.role != Role::Initializing {
            return;
        }
        self.role = Role::Running;
        for rank in 0..self.peers.len() {
            let peer = &mut self.peers[rank];
            if let Some(open) = &mut peer.open {
                open.settled = true;
                peer.doubt = false;
                peer.broke = false;
                let (stream, heard) = (open.stream, open.heard);
                out.push(Output::Write(stream, Frame::Committed(peer.received)));
                self.send_again(rank, heard, out);
                self.tell_taken(rank, true, out);
            }
        }
    }
}
