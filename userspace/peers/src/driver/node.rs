// SPDX-License-Identifier: GPL-2.0
//! One process of a rank.

use std::net::TcpListener;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::accept;
use super::error::Error;
use super::shared::{Inner, Look, Shared};
use crate::endpoint::{Endpoint, Limits, Role};
use crate::file::SchedulerFile;
use crate::message::Received;
use crate::migrate::Image;
use crate::rules::Without;
use crate::scheduler::Looked;
use crate::send::Unsent;
use crate::who::{Epoch, Rank};

/// How long who waits sleeps at most; he is woken when something has changed.
const NAP: Duration = Duration::from_millis(100);

/// A process that listens, and is nobody yet.
#[derive(Debug)]
pub struct Prepared {
    listener: TcpListener,
    place: String,
    without: Without,
    deaf: bool,
}

impl Prepared {
    /// Once it is the rank, nothing that comes is looked at until it moves: what is sent to it
    /// is on its way then, whoever is how fast.
    #[cfg(any(test, feature = "mutants"))]
    pub fn deaf(mut self) -> Self {
        self.deaf = true;
        self
    }

    /// Leaves out rules.
    #[cfg(any(test, feature = "mutants"))]
    pub fn without(mut self, without: Without) -> Self {
        self.without = without;
        self
    }

    /// Listens at an address of this host, which has to be one that the others reach.
    pub fn at(address: &str) -> Result<Self, Error> {
        let told = |error| Error::System("it can't listen there", error);
        let listener = TcpListener::bind(address).map_err(told)?;
        let place = listener.local_addr().map_err(told)?.to_string();
        let without = Without::NOTHING;
        Ok(Self {
            listener,
            place,
            without,
            deaf: false,
        })
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    /// Becomes a rank that nobody has been.
    pub fn join(self, file: SchedulerFile, rank: Rank, limits: Limits) -> Result<Node, Error> {
        let of = file.read()?.of();
        file.join(rank, &self.place)?;
        Ok(self.begin(file, Endpoint::new(rank, of, limits)))
    }

    /// Waits to become a rank, by the epoch that the scheduler gave for it: requests are
    /// granted from here on.
    pub fn initialize(
        self,
        file: SchedulerFile,
        rank: Rank,
        epoch: Epoch,
        limits: Limits,
    ) -> Result<Node, Error> {
        let of = file.read()?.of();
        if rank >= of {
            return Err(Error::Never);
        }
        Ok(self.begin(file, Endpoint::initialize(rank, of, epoch, limits)))
    }

    fn begin(self, file: SchedulerFile, mut endpoint: Endpoint) -> Node {
        endpoint.without = self.without;
        let shared = Shared::new(endpoint, file, self.deaf);
        accept::serve(&shared, self.listener);
        Node { shared }
    }
}

/// A process that is a rank, was it, or is to be it.
pub struct Node {
    shared: Arc<Shared>,
}

impl Node {
    pub fn rank(&self) -> Rank {
        self.shared.lock().endpoint.me().rank
    }

    pub fn epoch(&self) -> Epoch {
        self.shared.lock().endpoint.me().epoch
    }

    /// Returns how many ranks there are.
    pub fn of(&self) -> Rank {
        self.shared.lock().endpoint.of()
    }

    /// Sends a message. It returns when the message is kept here until it has arrived.
    pub fn send(&self, dest: Rank, tag: u32, bytes: &[u8]) -> Result<(), Error> {
        self.send_until(dest, tag, bytes, None).map(|_| ())
    }

    /// Sends a message if there is room for it within a time; returns whether there was.
    pub fn send_within(
        &self,
        dest: Rank,
        tag: u32,
        bytes: &[u8],
        limit: Duration,
    ) -> Result<bool, Error> {
        self.send_until(dest, tag, bytes, Some(Instant::now() + limit))
    }

    fn send_until(
        &self,
        dest: Rank,
        tag: u32,
        bytes: &[u8],
        until: Option<Instant>,
    ) -> Result<bool, Error> {
        let bytes = Arc::from(bytes);
        let mut inner = self.shared.lock();
        loop {
            let mut out = Vec::new();
            let Inner {
                endpoint, places, ..
            } = &mut *inner;
            let file = &self.shared.scheduler;
            let sent = endpoint.send(dest, tag, &bytes, &mut Look { file, places }, &mut out);
            self.shared.perform(&mut inner, out);
            match sent {
                Ok(()) => return Ok(true),
                Err(Unsent::Terminated) => return Err(Error::Terminated),
                Err(Unsent::Never) => return Err(Error::Never),
                Err(Unsent::Wait) if inner.moves || inner.closed => return Err(Error::Moves),
                Err(Unsent::Wait) if is_over(until) => return Ok(false),
                Err(Unsent::Wait) => inner = self.nap(inner, until),
            }
        }
    }

    /// Takes the first message that is wanted, when it is there.
    pub fn recv(&self, src: Option<Rank>, tag: Option<u32>) -> Result<Received, Error> {
        loop {
            if let Some(found) = self.recv_until(src, tag, None)? {
                return Ok(found);
            }
        }
    }

    /// Takes the first message that is wanted, if it comes within a time.
    pub fn recv_within(
        &self,
        src: Option<Rank>,
        tag: Option<u32>,
        limit: Duration,
    ) -> Result<Option<Received>, Error> {
        self.recv_until(src, tag, Some(Instant::now() + limit))
    }

    fn recv_until(
        &self,
        src: Option<Rank>,
        tag: Option<u32>,
        until: Option<Instant>,
    ) -> Result<Option<Received>, Error> {
        let mut inner = self.shared.lock();
        loop {
            match self.take(&mut inner, src, tag) {
                Some(found) => return Ok(Some(found)),
                None if inner.moves || inner.closed => return Err(Error::Moves),
                None if is_over(until) => return Ok(None),
                None => inner = self.nap(inner, until),
            }
        }
    }

    /// Waits for a time for a message that is wanted, and leaves it where it is. Returns who sent
    /// it, its tag and its length: the next call that takes such a one takes this.
    pub fn look_within(
        &self,
        src: Option<Rank>,
        tag: Option<u32>,
        limit: Duration,
    ) -> Option<(Rank, u32, usize)> {
        let until = Some(Instant::now() + limit);
        let mut inner = self.shared.lock();
        loop {
            if let Some(it) = inner.endpoint.first(src, tag) {
                return Some((it.from, it.message.tag, it.message.bytes.len()));
            }
            if is_over(until) {
                return None;
            }
            inner = self.nap(inner, until);
        }
    }

    /// Returns whether the program of a rank has ended. All that it has sent has come then.
    pub fn has_ended(&self, rank: Rank) -> bool {
        matches!(self.shared.scheduler.look(rank), Ok(Looked::Ended))
    }

    /// Returns messages and bytes that have come and were not taken.
    pub fn waiting(&self) -> (usize, usize) {
        self.shared.lock().endpoint.waiting()
    }

    /// Takes the first message that is wanted, if it is there.
    pub fn try_recv(&self, src: Option<Rank>, tag: Option<u32>) -> Option<Received> {
        self.take(&mut self.shared.lock(), src, tag)
    }

    fn take(&self, inner: &mut Inner, src: Option<Rank>, tag: Option<u32>) -> Option<Received> {
        let mut out = Vec::new();
        let found = inner.endpoint.recv(src, tag, &mut out);
        if !out.is_empty() {
            self.shared.perform(inner, out);
        }
        found
    }

    /// Has calls that wait return, so that the program can be stopped.
    pub fn interrupt(&self) {
        self.shared.lock().moves = true;
        self.shared.changed.notify_all();
    }

    /// Figure 6, lines 4 to 7: no more messages, and all that were sent to it are here.
    /// The scheduler knows of the next process already. Who is told that it took too long
    /// may wait again.
    pub fn stop(&self, limit: Duration) -> Result<Image, Error> {
        let mut inner = self.shared.lock();
        inner.moves = true;
        let mut out = Vec::new();
        inner.endpoint.migrate(&mut out);
        self.shared.perform(&mut inner, out);
        let inner = self.until(inner, limit, |it| it.endpoint.role() == Role::Drained)?;
        inner.endpoint.image().ok_or(Error::Late)
    }

    /// The move was taken back: this process is the rank again.
    pub fn resume(&self) -> Result<(), Error> {
        let mut inner = self.shared.lock();
        let me = inner.endpoint.me();
        let epoch = self.shared.scheduler.withdraw(me.rank, me.epoch)?;
        inner.endpoint.resume(epoch);
        inner.moves = false;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Figure 7, lines 2 and 3.
    pub fn restore(&self, image: Image) -> Result<(), Error> {
        let mut inner = self.shared.lock();
        let mut out = Vec::new();
        let restored = inner.endpoint.restore(image, &mut out);
        self.shared.perform(&mut inner, out);
        Ok(restored?)
    }

    /// Figure 7, lines 6 to 8: from here on this process is the rank, or never.
    pub fn commit(&self) -> Result<(), Error> {
        let mut inner = self.shared.lock();
        let me = inner.endpoint.me();
        self.shared.scheduler.commit(me.rank, me.epoch)?;
        let mut out = Vec::new();
        inner.endpoint.committed(&mut out);
        self.shared.perform(&mut inner, out);
        Ok(())
    }

    /// The program ends. It returns when all that it has sent is where it is kept.
    pub fn end(&self, limit: Duration) -> Result<(), Error> {
        let until = Instant::now() + limit;
        let mut inner = self.shared.lock();
        let me = inner.endpoint.me();
        loop {
            let mut out = Vec::new();
            inner.endpoint.end(&mut out);
            self.shared.perform(&mut inner, out);
            let left = until.saturating_duration_since(Instant::now());
            inner = self.until(inner, left, |it| it.endpoint.role() == Role::Drained)?;
            if !inner.endpoint.reopen() {
                break;
            }
            self.shared.settle(&mut inner);
            let left = until.saturating_duration_since(Instant::now());
            inner = self.until(inner, left, |it| it.endpoint.is_settled())?;
        }
        drop(inner);
        self.shared.scheduler.end(me.rank, me.epoch)
    }

    /// Ends the connections with a rank, as a network may do.
    pub fn cut(&self, rank: Rank) {
        let inner = self.shared.lock();
        for (stream, connection) in &inner.connections {
            let with = stream.opener.rank == rank || stream.target.rank == rank;
            if let Some(socket) = connection.socket.as_ref().filter(|_| with) {
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Says how things are, for people.
    pub fn describe(&self) -> String {
        self.shared.lock().endpoint.describe()
    }

    fn nap<'i>(
        &self,
        inner: MutexGuard<'i, Inner>,
        until: Option<Instant>,
    ) -> MutexGuard<'i, Inner> {
        let left = until.map_or(NAP, |until| until.saturating_duration_since(Instant::now()));
        let waited = self.shared.changed.wait_timeout(inner, left.min(NAP));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn until<'i>(
        &self,
        mut inner: MutexGuard<'i, Inner>,
        limit: Duration,
        holds: impl Fn(&Inner) -> bool,
    ) -> Result<MutexGuard<'i, Inner>, Error> {
        let until = Instant::now() + limit;
        while !holds(&inner) {
            if Instant::now() >= until {
                return Err(Error::Late);
            }
            inner = self.nap(inner, Some(until));
        }
        Ok(inner)
    }
}

impl Drop for Node {
    /// Connections that are still there are cut: who is at their other end asks the scheduler.
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.closed = true;
        inner.endpoint.ended();
        let streams: Vec<_> = inner.connections.keys().copied().collect();
        for stream in streams {
            inner.cut(stream);
        }
        self.shared.changed.notify_all();
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}
