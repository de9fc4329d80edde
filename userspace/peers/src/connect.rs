// SPDX-License-Identifier: GPL-2.0
//! Figure 4: a stream to a rank, which may be asked for by both at once, or be elsewhere.
//!
//! R1: the request is the first frame of the stream that it asks for, and so is the answer in
//! the other direction. No request and no grant can be found when its stream is gone.

use crate::endpoint::{Asked, Endpoint, Found, Open, Output, Role, Scheduler};
use crate::frame::{Frame, Hello, Refusal};
use crate::rules::Rule;
use crate::send::Unsent;
use crate::who::{Rank, StreamId, Who};
use crate::wrong::Wrong;

impl Endpoint {
    /// Returns whether there is a stream to a rank; asks for one if not. What the figure has
    /// as a loop is the caller's: it calls again when something has been heard.
    pub(crate) fn connect(
        &mut self,
        dest: Rank,
        scheduler: &mut impl Scheduler,
        out: &mut Vec<Output>,
    ) -> Result<bool, Unsent> {
        let me = self.me;
        let peer = &mut self.peers[usize::from(dest)];
        // Line 1.
        if let Some(open) = peer.open {
            return Ok(!open.marked);
        }
        if peer.asked.is_some() || peer.yielded {
            return Ok(false);
        }
        // Lines 9 to 13, put off from the refusal until it is used.
        let epoch = match peer.place {
            Some(epoch) => epoch,
            None => match scheduler.look(dest) {
                Found::At(epoch) => epoch,
                Found::Ended => return Err(Unsent::Terminated),
                Found::Later => return Ok(false),
            },
        };
        peer.epoch = peer.epoch.max(epoch);
        peer.place = Some(epoch);
        // Line 2.
        let to = Who { rank: dest, epoch };
        let stream = StreamId {
            opener: me,
            target: to,
            breaks: peer.breaks,
        };
        let crossed = false;
        peer.asked = Some(Asked { stream, crossed });
        out.push(Output::Open(stream));
        let hello = Hello {
            from: me,
            to,
            breaks: peer.breaks,
            received: peer.received,
        };
        out.push(Output::Write(stream, Frame::Hello(hello)));
        Ok(false)
    }

    /// Asks for streams to those for whom messages are kept that may be lost otherwise (R7).
    pub fn settle(&mut self, scheduler: &mut impl Scheduler, out: &mut Vec<Output>) {
        if self.role != Role::Running || !self.without.keeps(Rule::Again) {
            return;
        }
        for rank in 0..self.of() {
            if self.doubts(rank) && self.connect(rank, scheduler, out) == Err(Unsent::Terminated) {
                // Nobody is there who could miss them.
                let peer = &mut self.peers[usize::from(rank)];
                peer.retained.clear();
                peer.retained_bytes = 0;
                peer.doubt = false;
                peer.owes = false;
            }
        }
    }

    /// A request has come (lines 6 and 7).
    pub(crate) fn requested(
        &mut self,
        stream: StreamId,
        hello: Hello,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        let rank = usize::from(hello.from.rank);
        if hello.from.rank == self.me.rank || rank >= self.peers.len() {
            return Err(Wrong::Impossible("a request of such a rank"));
        }
        if hello.received > self.peers[rank].sent && self.role != Role::Initializing {
            return Err(Wrong::Impossible("more received than was sent"));
        }
        let refuse = |refusal, out: &mut Vec<Output>| {
            out.push(Output::Write(stream, Frame::Refuse(refusal)));
            out.push(Output::Close(stream));
        };
        let takes = matches!(self.role, Role::Running | Role::Initializing);
        if hello.to != self.me || !takes {
            // Figure 6, line 4.
            refuse(Refusal::Moved, out);
            return Ok(());
        }
        let without = self.without;
        let lower = self.me.rank < hello.from.rank;
        let peer = &mut self.peers[rank];
        if hello.from.epoch < peer.epoch && without.keeps(Rule::NoOlder) {
            refuse(Refusal::Old, out);
            return Ok(());
        }
        if hello.breaks < peer.breaks && hello.from.epoch == peer.epoch {
            refuse(Refusal::Again(peer.breaks), out);
            return Ok(());
        }
        if let Some(open) = peer.open {
            let other = open.stream.other(self.me.rank);
            let same = other.epoch == hello.from.epoch && hello.breaks <= open.stream.breaks;
            if same && without.keeps(Rule::LowerRank) {
                refuse(Refusal::Yours, out);
                return Ok(());
            }
            // R6, or the other end has seen it break.
            match without.keeps(Rule::NewerAlone) {
                true => self.drop_open(rank, out),
                false => peer.open = None,
            }
        }
        let peer = &mut self.peers[rank];
        if let Some(asked) = &mut peer.asked {
            let other = asked.stream.target;
            let same = other.epoch == hello.from.epoch && asked.stream.breaks >= hello.breaks;
            // R2.
            if same && lower && without.keeps(Rule::LowerRank) {
                peer.owes = true;
                refuse(Refusal::Yours, out);
                return Ok(());
            }
            asked.crossed = true;
        }
        self.grant(rank, stream, hello, out);
        Ok(())
    }

    /// Line 7: the stream is the one between the two.
    fn grant(&mut self, rank: usize, stream: StreamId, hello: Hello, out: &mut Vec<Output>) {
        let knows = self.role != Role::Initializing;
        let peer = &mut self.peers[rank];
        peer.epoch = peer.epoch.max(hello.from.epoch);
        peer.place = Some(hello.from.epoch);
        peer.breaks = peer.breaks.max(hello.breaks);
        peer.yielded = false;
        peer.owes = false;
        peer.open = Some(Open {
            stream,
            marked: false,
            settled: knows,
            committed: true,
            blind: !knows,
            base: peer.sent,
            heard: hello.received,
        });
        if knows {
            peer.doubt = false;
            peer.broke = false;
        }
        let received = knows.then_some(peer.received);
        out.push(Output::Write(stream, Frame::Welcome(received)));
        if knows {
            self.send_again(rank, hello.received, out);
            self.tell_taken(rank, true, out);
        }
    }

    /// Lines 3 to 5: our request was granted.
    pub(crate) fn welcomed(
        &mut self,
        stream: StreamId,
        received: Option<u64>,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        let rank = usize::from(stream.target.rank);
        let peer = &mut self.peers[rank];
        let Some(asked) = peer.asked.filter(|asked| asked.stream == stream) else {
            return Err(Wrong::Unexpected("a Welcome"));
        };
        if asked.crossed && self.without.keeps(Rule::LowerRank) {
            // What was granted to the other since then counts; this has broken, or who said
            // it has been succeeded.
            peer.asked = None;
            out.push(Output::Drop(stream));
            self.proceed(out);
            return Ok(());
        }
        if peer.open.is_some() && self.without.keeps(Rule::LowerRank) {
            return Err(Wrong::Unexpected("a second stream"));
        }
        if received.is_some_and(|received| received > peer.sent) {
            return Err(Wrong::Impossible("more received than was sent"));
        }
        peer.asked = None;
        peer.owes = false;
        let settled = received.is_some() || !peer.broke;
        peer.open = Some(Open {
            stream,
            marked: false,
            settled,
            committed: received.is_some(),
            blind: false,
            base: peer.sent,
            heard: 0,
        });
        if let Some(received) = received {
            peer.doubt = false;
            peer.broke = false;
            self.send_again(rank, received, out);
        }
        self.tell_taken(rank, true, out);
        self.proceed(out);
        Ok(())
    }

    /// Line 8: it was refused.
    pub(crate) fn refused(
        &mut self,
        stream: StreamId,
        refusal: Refusal,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        let rank = usize::from(stream.target.rank);
        let peer = &mut self.peers[rank];
        let Some(asked) = peer.asked.filter(|asked| asked.stream == stream) else {
            return Err(Wrong::Unexpected("a refusal"));
        };
        peer.asked = None;
        out.push(Output::Close(stream));
        match refusal {
            Refusal::Moved => peer.place = None,
            Refusal::Old => {}
            // Unless it has come already, and its stream has perhaps ended.
            Refusal::Yours => peer.yielded = peer.open.is_none() && !asked.crossed,
            Refusal::Again(breaks) => {
                let stale = peer.open.is_some_and(|open| open.stream.breaks < breaks);
                peer.breaks = peer.breaks.max(breaks);
                peer.place = None;
                if stale {
                    self.drop_open(rank, out);
                }
            }
        }
        self.proceed(out);
        Ok(())
    }
}
