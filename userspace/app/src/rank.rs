// SPDX-License-Identifier: GPL-2.0
//! A process that is a rank: how it becomes it, and how it leaves it.

use crate::exit::{Exit, Failure};
use crate::mistake::{Death, Mistake};
use pagemove_image::Messages;
use pagemove_peers::driver::{Error, Node, Prepared};
use pagemove_peers::{Denied, Limits, Looked, Rank as Number, SchedulerFile};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Where a process listens that was not told: for applications on one host.
const LISTEN: &str = "127.0.0.1:0";
/// How long the process before may take to give an address back.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a wait for peers is, before it is begun again.
const TURN: Duration = Duration::from_secs(1);

/// A process that is a rank.
pub struct Rank {
    pub node: Arc<Node>,
    file: SchedulerFile,
}

fn scheduler(path: &Path) -> impl Fn(Error) -> Failure + '_ {
    |error| {
        let exit = match error {
            Error::NoScheduler | Error::OtherCount(_) | Error::Denied(_) => Exit::Unsupported,
            _ => Exit::System,
        };
        Failure::new(exit, format!("{}: {error}", path.display()))
    }
}

fn listen(address: Option<&str>) -> Result<Prepared, Failure> {
    let address = address.unwrap_or(LISTEN);
    let until = Instant::now() + PATIENCE;
    loop {
        match Prepared::at(address) {
            Ok(prepared) => return Ok(with_mistake(prepared)),
            Err(Error::System(_, error))
                if error.kind() == ErrorKind::AddrInUse && Instant::now() < until =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                let text = format!("{address}: {error}");
                return Err(Failure::new(Exit::System, text));
            }
        }
    }
}

impl Rank {
    /// Becomes a rank that nobody has been.
    pub fn join(
        rank: Number,
        of: Number,
        path: &Path,
        address: Option<&str>,
    ) -> Result<Self, Failure> {
        if rank >= of {
            let text = format!("there is no rank {rank} of {of}: the first is 0");
            return Err(Failure::new(Exit::Usage, text));
        }
        let file = SchedulerFile::open(path, of).map_err(scheduler(path))?;
        let prepared = listen(address)?;
        let joined = prepared.join(file.clone(), rank, Limits::USUAL);
        let node = Arc::new(joined.map_err(scheduler(path))?);
        Ok(Rank { node, file })
    }

    /// Becomes a rank by what another process has left of it. From here on it is the rank.
    pub fn take_up(
        messages: Messages,
        path: &Path,
        address: Option<&str>,
    ) -> Result<Self, Failure> {
        let (rank, of) = (messages.rank, messages.peers.len());
        let file = SchedulerFile::existing(path).map_err(scheduler(path))?;
        let known = file.read().map_err(scheduler(path))?.of();
        if usize::from(known) != of {
            return Err(scheduler(path)(Error::OtherCount(known)));
        }
        let prepared = listen(address)?;
        let epoch = match Mistake::Older.is_made() {
            true => take_up_whatever(&file, rank, prepared.place()),
            false => file.take_up(rank, messages.epoch, prepared.place()),
        };
        let epoch = epoch.map_err(|error| told(error, rank, path))?;
        let node = prepared.initialize(file.clone(), rank, epoch, Limits::USUAL);
        let node = Arc::new(node.map_err(scheduler(path))?);
        if Death::TakenUp.is_near() {
            // With more than one message, so that nobody else has these. One may be the conductor's.
            let until = Instant::now() + Duration::from_secs(30);
            while node.waiting().0 < 2 && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            Death::TakenUp.comes();
        }
        node.restore(messages)
            .map_err(Failure::of(Exit::Unsupported, "the messages"))?;
        node.commit().map_err(|error| told(error, rank, path))?;
        Ok(Rank { node, file })
    }

    /// Leaves the rank: nothing more comes, and all that was sent to it is in what is returned. If nothing
    /// is returned the process is the rank as before.
    pub fn leave(&self) -> Result<Messages, Failure> {
        let (rank, epoch) = (self.node.rank(), self.node.epoch());
        if let Err(error) = self.file.leave(rank, epoch) {
            // It may have been written all the same.
            if !matches!(self.file.look(rank), Ok(Looked::Absent)) {
                return Err(Failure::new(Exit::System, error));
            }
        }
        Death::Left.comes();
        let mut messages = loop {
            // A peer that is there answers, and one that is gone is noticed.
            if let Ok(messages) = self.node.stop(TURN) {
                break messages;
            }
        };
        Death::Drained.comes();
        if Mistake::List.is_made() {
            messages.list.clear();
        }
        if Mistake::Kept.is_made() {
            for peer in &mut messages.peers {
                peer.retained.clear();
            }
        }
        Ok(messages)
    }

    /// Is the rank again after all. It tries that until the scheduler's file can be written; if it is told no
    /// another process has become the rank by what this one has left.
    pub fn come_back(&self) -> Result<(), Failure> {
        loop {
            match self.node.resume() {
                Err(Error::System(..)) => thread::sleep(Duration::from_millis(100)),
                done => {
                    return done.map_err(Failure::of(Exit::System, "another process is the rank"));
                }
            }
        }
    }

    /// Ends the rank, if what it has sent has come within a time; returns whether it has.
    pub fn end(&self, limit: Duration) -> Result<bool, Failure> {
        match self.node.end(limit) {
            Ok(()) => Ok(true),
            Err(Error::Late) => Ok(false),
            Err(error) => Err(Failure::new(Exit::System, error)),
        }
    }
}

/// Says why a state is not taken up.
fn told(error: Error, rank: Number, path: &Path) -> Failure {
    match error {
        Error::Denied(Denied::Other | Denied::NotMoving) => {
            let text = format!(
                "this is an older state of rank {rank}, which has gone on since, or is going on elsewhere"
            );
            Failure::new(Exit::Unsupported, text)
        }
        error => scheduler(path)(error),
    }
}

fn take_up_whatever(file: &SchedulerFile, rank: Number, place: &str) -> Result<u32, Error> {
    let table = file.read()?;
    let now = table.holder(rank).ok_or(Error::Denied(Denied::Ended))?;
    match file.take_up(rank, now.epoch, place) {
        Err(Error::Denied(Denied::NotMoving)) => file.begin(rank, now.epoch, place),
        taken => taken,
    }
}

#[cfg(feature = "mutants")]
fn with_mistake(mut prepared: Prepared) -> Prepared {
    use pagemove_peers::{Rule, Without};
    if Mistake::Deaf.is_made() {
        prepared = prepared.deaf();
    }
    match Mistake::Drain.is_made() {
        true => prepared.without(Without::rules(&[Rule::Drain, Rule::Again])),
        false => prepared,
    }
}

#[cfg(not(feature = "mutants"))]
fn with_mistake(prepared: Prepared) -> Prepared {
    prepared
}
