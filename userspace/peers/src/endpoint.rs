// SPDX-License-Identifier: GPL-2.0
//! One incarnation of a rank, as far as messages are concerned. It does no I/O: what it is
//! told comes by its methods, what is to be done goes out as [`Output`]s.

use std::collections::VecDeque;

use crate::frame::Frame;
use crate::message::{Message, Received};
use crate::rules::Without;
use crate::who::{Epoch, Rank, StreamId, Who};

/// What has to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Make this stream. If that fails the stream has broken.
    Open(StreamId),
    Write(StreamId, Frame),
    /// Nothing more goes into it or comes out of it, but what was written has to arrive.
    Close(StreamId),
    /// Drop it; whatever is in it is sent again.
    Drop(StreamId),
}

/// What the scheduler knows of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// This incarnation takes requests.
    At(Epoch),
    /// The program has ended.
    Ended,
    /// It is not known now.
    Later,
}

/// The scheduler, as far as a process asks it (figure 4, line 9).
pub trait Scheduler {
    fn look(&mut self, rank: Rank) -> Found;
}

/// What a process is to the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It is the rank.
    Running,
    /// It moves, and waits for answers to what it asked (R4).
    Leaving,
    /// It moves, and waits for the ends of messages.
    Draining,
    /// All that its peers have sent it is here: its state can be taken.
    Drained,
    /// It waits for the state.
    Initializing,
    /// Another is the rank, or the program has ended.
    Ended,
}

/// How much may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Messages to one rank that the program there has not taken.
    pub messages: usize,
    /// The same in bytes; one message may be longer.
    pub bytes: usize,
}

impl Limits {
    pub const USUAL: Self = Self {
        messages: 1024,
        bytes: 4 << 20,
    };

    /// Returns whether a message may follow others that are on their way.
    pub(crate) fn admit(&self, messages: usize, bytes: usize, more: usize) -> bool {
        messages == 0 || (messages < self.messages && bytes + more <= self.bytes)
    }
}

/// A request of ours that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub stream: StreamId,
    /// The other's request has come and was granted meanwhile.
    pub crossed: bool,
}

/// A stream that both ends know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub stream: StreamId,
    /// We have said that nothing more comes.
    pub marked: bool,
    /// Both know what the other has received, so that messages may go.
    pub settled: bool,
    /// The other end is the rank, as far as it has said so.
    pub committed: bool,
    /// It was granted when nobody here knew what had been received.
    pub blind: bool,
    /// Messages that were sent before it was there.
    pub base: u64,
    /// What the other end had received when it asked.
    pub heard: u64,
}

/// All that is known of another rank.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// The newest incarnation that was heard of.
    pub epoch: Epoch,
    /// Whom to ask for a stream, the entry of the PL table; none: the scheduler first.
    pub place: Option<Epoch>,
    pub asked: Option<Asked>,
    /// It said that its own request counts, and that has not come.
    pub yielded: bool,
    /// It was told so by us, and ours has not been granted: it waits for that.
    pub owes: bool,
    pub open: Option<Open>,
    /// How many streams with it have broken.
    pub breaks: u32,
    /// The last stream's end does not say that all has arrived where it is kept.
    pub doubt: bool,
    /// The last stream has broken.
    pub broke: bool,
    /// Messages to it so far, and those of them that its program has not taken.
    pub sent: u64,
    pub retained: VecDeque<Message>,
    /// Bytes of these.
    pub retained_bytes: usize,
    /// Messages from it so far, and up to which it was told that they are taken.
    pub received: u64,
    pub told: u64,
    /// Messages from it in the list, and their bytes.
    pub waiting: usize,
    pub waiting_bytes: usize,
    /// Messages and bytes that the program took since it was told.
    pub since: usize,
    pub since_bytes: usize,
}

/// A process: what it is, whom it is connected with, and what has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub(crate) me: Who,
    pub(crate) role: Role,
    /// The state of the old process has come.
    pub(crate) restored: bool,
    /// The program has ended: what comes is dropped, and there is no move.
    pub(crate) ending: bool,
    pub(crate) peers: Vec<Peer>,
    /// The received-message-list.
    pub(crate) list: VecDeque<Received>,
    pub(crate) limits: Limits,
    pub(crate) without: Without,
}

impl Endpoint {
    /// The first incarnation of a rank, of so many ranks.
    pub fn new(rank: Rank, of: Rank, limits: Limits) -> Self {
        Self {
            me: Who { rank, epoch: 0 },
            role: Role::Running,
            restored: false,
            ending: false,
            peers: vec![Peer::default(); of.into()],
            list: VecDeque::new(),
            limits,
            without: Without::NOTHING,
        }
    }

    /// Leaves out a rule.
    #[cfg(any(test, feature = "mutants"))]
    pub fn without(mut self, without: Without) -> Self {
        self.without = without;
        self
    }

    /// Fills the PL table with first incarnations, as the patent's is filled.
    pub fn knowing_all(mut self) -> Self {
        for peer in &mut self.peers {
            peer.place = Some(0);
        }
        self
    }

    pub fn me(&self) -> Who {
        self.me
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns how many ranks there are.
    pub fn of(&self) -> Rank {
        self.peers.len() as Rank
    }

    /// Returns the stream with a rank, if there is one.
    pub fn stream(&self, rank: Rank) -> Option<StreamId> {
        let peer = self.peers.get(usize::from(rank))?;
        peer.open.map(|open| open.stream)
    }

    /// Returns the stream that a rank was asked for, and has not answered.
    pub fn asked(&self, rank: Rank) -> Option<StreamId> {
        let peer = self.peers.get(usize::from(rank))?;
        peer.asked.map(|asked| asked.stream)
    }

    /// Returns whether a stream to that rank is needed even if the program sends nothing: messages
    /// to it may be lost, or it was told to wait.
    pub fn doubts(&self, rank: Rank) -> bool {
        let peer = self.peers.get(usize::from(rank));
        peer.is_some_and(|peer| peer.owes || peer.doubt && !peer.retained.is_empty())
    }

    /// Returns whether no message of this process may be lost any more.
    pub fn is_settled(&self) -> bool {
        !(0..self.of()).any(|rank| self.doubts(rank))
    }

    /// Returns the first message that is wanted, if it is there, and leaves it where it is.
    pub fn first(&self, src: Option<Rank>, tag: Option<u32>) -> Option<&Received> {
        self.place_of(src, tag).map(|place| &self.list[place])
    }

    pub(crate) fn place_of(&self, src: Option<Rank>, tag: Option<u32>) -> Option<usize> {
        let wanted = |it: &Received| {
            src.is_none_or(|src| src == it.from) && tag.is_none_or(|tag| tag == it.message.tag)
        };
        (self.role == Role::Running).then(|| self.list.iter().position(wanted))?
    }

    /// Returns messages and bytes that have come and were not taken.
    pub fn waiting(&self) -> (usize, usize) {
        let bytes = self.peers.iter().map(|peer| peer.waiting_bytes).sum();
        (self.list.len(), bytes)
    }

    /// Says in a line for each rank how things are with it, for people.
    pub fn describe(&self) -> String {
        let mut text = format!("{} {:?}", self.me, self.role);
        for (rank, peer) in self.peers.iter().enumerate() {
            let stream = peer.open.map(|open| open.stream.to_string());
            let asked = peer.asked.map(|asked| asked.stream.to_string());
            text +=
                &format!(
                "\n  {rank}: stream {}, asked {}{}{}{}, {} breaks, sent {}, kept {}, received {}",
                stream.as_deref().unwrap_or("none"),
                asked.as_deref().unwrap_or("nobody"),
                if peer.yielded { ", waits for its request" } else { "" },
                if peer.doubt { ", in doubt" } else { "" },
                if peer.open.is_some_and(|open| !open.settled) { ", unsettled" } else { "" },
                peer.breaks,
                peer.sent,
                peer.retained.len(),
                peer.received,
            );
        }
        text
    }

    /// Counts what is in the list, for each rank.
    pub(crate) fn count_waiting(&mut self) {
        for peer in &mut self.peers {
            peer.waiting = 0;
            peer.waiting_bytes = 0;
        }
        for it in &self.list {
            let peer = &mut self.peers[usize::from(it.from)];
            peer.waiting += 1;
            peer.waiting_bytes += it.message.bytes.len();
        }
    }

    /// Drops the stream that is open with a rank, as if it had broken.
    pub(crate) fn drop_open(&mut self, rank: usize, out: &mut Vec<Output>) {
        let peer = &mut self.peers[rank];
        if let Some(open) = peer.open.take() {
            peer.doubt = true;
            peer.broke = true;
            out.push(Output::Drop(open.stream));
        }
    }

    /// Gives up the stream that is open with a rank.
    pub(crate) fn give_up(&mut self, rank: usize, out: &mut Vec<Output>) {
        if let Some(open) = self.peers[rank].open {
            out.push(Output::Drop(open.stream));
            self.broken(open.stream, out);
        }
    }

    /// A stream has ended without a marker, or could not be made.
    pub fn broken(&mut self, stream: StreamId, out: &mut Vec<Output>) {
        let rank = usize::from(stream.other(self.me.rank).rank);
        let Some(peer) = self.peers.get_mut(rank) else {
            return;
        };
        let mut ours = false;
        if peer.asked.is_some_and(|asked| asked.stream == stream) {
            peer.asked = None;
            ours = true;
        }
        if peer.open.is_some_and(|open| open.stream == stream) {
            peer.open = None;
            ours = true;
        }
        if ours {
            peer.breaks = peer.breaks.max(stream.breaks.saturating_add(1));
            peer.doubt = true;
            peer.broke = true;
            peer.place = None;
            // The request that we were told to wait for may have been in it.
            peer.yielded = false;
            self.proceed(out);
        }
    }
}
