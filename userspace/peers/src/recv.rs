// SPDX-License-Identifier: GPL-2.0
//! Figure 5: what comes is kept in order until the program takes it. Polls of the program and
//! the thread that serves its streams come here; the figure's loop is theirs.

use crate::endpoint::{Endpoint, Output, Role};
use crate::frame::{Frame, Hello};
use crate::message::{Message, Received};
use crate::rules::Rule;
use crate::who::{Rank, StreamId};
use crate::wrong::Wrong;

impl Endpoint {
    /// Lines 2 and 3: takes the first message that is wanted, if it is there.
    pub fn recv(
        &mut self,
        src: Option<Rank>,
        tag: Option<u32>,
        out: &mut Vec<Output>,
    ) -> Option<Received> {
        let index = self.place_of(src, tag)?;
        let found = self.list.remove(index)?;
        let rank = usize::from(found.from);
        let peer = &mut self.peers[rank];
        let length = found.message.bytes.len();
        peer.waiting -= 1;
        peer.waiting_bytes -= length;
        peer.since += 1;
        peer.since_bytes += length;
        self.tell_taken(rank, false, out);
        Some(found)
    }

    /// Tells the sender what was taken, so that it may forget that, and send more.
    pub(crate) fn tell_taken(&mut self, rank: usize, at_once: bool, out: &mut Vec<Output>) {
        let limits = self.limits;
        let early = !self.without.keeps(Rule::ByProgram);
        let peer = &mut self.peers[rank];
        // Who is not the rank yet does not know what was sent.
        let open = peer.open.filter(|open| !open.marked && open.committed);
        let due = at_once
            || early
            || peer.since >= limits.messages.div_ceil(2)
            || peer.since_bytes >= limits.bytes.div_ceil(2);
        let Some(open) = open.filter(|_| due && (early || self.role == Role::Running)) else {
            return;
        };
        // Messages are taken in any order of tags: all below the oldest that is left are.
        let left = self.list.iter().find(|it| usize::from(it.from) == rank);
        let taken = left.filter(|_| !early).map(|it| it.message.number - 1);
        let taken = taken.unwrap_or(peer.received);
        // What was said in a stream that broke may not have arrived.
        let again = at_once && taken > 0 && self.without.keeps(Rule::TakenAgain);
        if taken > peer.told || again {
            peer.told = taken;
            peer.since = 0;
            peer.since_bytes = 0;
            out.push(Output::Write(open.stream, Frame::Taken(taken)));
        }
    }

    /// Lines 4 to 13: something has come in a stream. Who gets an error gives the stream up,
    /// and says that it has broken.
    pub fn hear(
        &mut self,
        stream: StreamId,
        frame: Frame,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        let other = stream.other(self.me.rank).rank;
        let rank = usize::from(other);
        let ends = [stream.opener.rank, stream.target.rank];
        let ours = ends.contains(&self.me.rank) && ends[0] != ends[1];
        if !ours || rank >= self.peers.len() {
            return Err(Wrong::Impossible("a stream with such a rank"));
        }
        match frame {
            Frame::Hello(hello) => self.asked_for(stream, hello, out),
            Frame::Welcome(received) => self.welcomed(stream, received, out),
            Frame::Refuse(refusal) => self.refused(stream, refusal, out),
            Frame::Data(message) => self.came(stream, rank, message, out),
            Frame::Committed(received) => self.committed_there(stream, rank, received, out),
            Frame::Taken(count) => self.taken_there(stream, rank, count),
            Frame::Moving | Frame::End => self.marked(stream, rank, frame == Frame::End, out),
        }
    }

    /// Line 9.
    fn asked_for(
        &mut self,
        stream: StreamId,
        hello: Hello,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        if stream.opener != hello.from || stream.breaks != hello.breaks {
            return Err(Wrong::Unexpected("a request"));
        }
        self.requested(stream, hello, out)
    }

    /// Returns whether frames of this stream count: it may have been given up.
    fn is_open(&self, stream: StreamId, rank: usize) -> bool {
        let open = self.peers.get(rank).and_then(|peer| peer.open);
        open.is_some_and(|open| open.stream == stream || !self.without.keeps(Rule::NewerAlone))
    }

    /// Lines 5 and 6.
    fn came(
        &mut self,
        stream: StreamId,
        rank: usize,
        message: Message,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        if !self.is_open(stream, rank) {
            return Ok(());
        }
        let limits = self.limits;
        let peer = &mut self.peers[rank];
        let blind = peer.open.is_some_and(|open| open.blind);
        let first = blind && !self.restored && peer.received == 0;
        let expected = peer.received + 1;
        if message.number != expected && !first {
            if blind && message.number > expected && self.without.keeps(Rule::Again) {
                // What is missing was in a stream of the old process that broke behind its
                // sender's end of messages.
                self.give_up(rank, out);
                return Ok(());
            }
            let came = message.number;
            return Err(Wrong::Order { expected, came });
        }
        if message.number == 0 || message.number == u64::MAX {
            return Err(Wrong::Impossible("a message of that number"));
        }
        let length = message.bytes.len();
        let (count, sum) = (
            peer.waiting + peer.since,
            peer.waiting_bytes + peer.since_bytes,
        );
        if !limits.admit(count, sum, length) {
            return Err(Wrong::Impossible("more messages than may be on their way"));
        }
        peer.received = message.number;
        if !self.ending {
            peer.waiting += 1;
            peer.waiting_bytes += length;
            let from = rank as Rank;
            self.list.push_back(Received { from, message });
        }
        if self.ending || !self.without.keeps(Rule::ByProgram) {
            self.tell_taken(rank, false, out);
        }
        Ok(())
    }

    /// The other end has become the rank.
    fn committed_there(
        &mut self,
        stream: StreamId,
        rank: usize,
        received: u64,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        if !self.is_open(stream, rank) {
            return Ok(());
        }
        let peer = &mut self.peers[rank];
        if received > peer.sent {
            return Err(Wrong::Impossible("more received than was sent"));
        }
        let Some(open) = &mut peer.open else {
            return Ok(());
        };
        open.committed = true;
        if open.settled && received < open.base && self.without.keeps(Rule::Again) {
            // What was sent before is missing there, and what was sent since can't be taken.
            self.give_up(rank, out);
            return Ok(());
        }
        let settles = !open.settled && !open.marked;
        open.settled |= settles;
        // Who moves has nothing to say any more: the next one sends it again.
        peer.doubt &= !open.settled;
        peer.broke &= !open.settled;
        if settles {
            self.send_again(rank, received, out);
        }
        self.tell_taken(rank, true, out);
        Ok(())
    }

    fn taken_there(&mut self, stream: StreamId, rank: usize, count: u64) -> Result<(), Wrong> {
        if !self.is_open(stream, rank) {
            return Ok(());
        }
        let peer = &mut self.peers[rank];
        if count > peer.sent {
            return Err(Wrong::Impossible("more taken than was sent"));
        }
        while peer.retained.front().is_some_and(|it| it.number <= count) {
            let length = peer.retained.pop_front().map_or(0, |it| it.bytes.len());
            peer.retained_bytes -= length;
        }
        Ok(())
    }

    /// Lines 11 and 12: nothing more comes. R5: of who moves, too, its marker is the end.
    fn marked(
        &mut self,
        stream: StreamId,
        rank: usize,
        end: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), Wrong> {
        if !self.is_open(stream, rank) {
            return Ok(());
        }
        let peer = &mut self.peers[rank];
        let Some(open) = &mut peer.open else {
            return Ok(());
        };
        if end && !open.marked {
            return Err(Wrong::Unexpected("an end of messages"));
        }
        if open.marked && !end && !self.without.keeps(Rule::MarkersMeet) {
            return Ok(());
        }
        if !open.marked {
            // What the one who moves waits for.
            out.push(Output::Write(stream, Frame::End));
        }
        // Only an end of messages says that all before our marker was read, and only of the rank
        // that it is kept.
        peer.doubt |= !end || !open.committed;
        peer.open = None;
        peer.place = None;
        out.push(Output::Close(stream));
        self.proceed(out);
        Ok(())
    }
}
