// SPDX-License-Identifier: GPL-2.0
//! The scheduler: which process is which rank. It decides nothing else, and it is what
//! everybody asks who does not know. Each change is a compare-and-swap on a rank's epoch, so
//! that of two who want to be the rank one is told no.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::who::{Epoch, Rank};

/// Ranks at most.
pub const MAX_RANKS: Rank = pagemove_image::MOST_RANKS;
/// Bytes of a place at most.
pub const MAX_PLACE: usize = 256;

/// A process, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct At {
    pub epoch: Epoch,
    pub place: String,
}

/// What is known of one rank.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Record {
    /// Who is the rank.
    now: At,
    /// Who is to be the rank, while it moves. It takes requests already. Its place is empty while
    /// the rank is in a file, and nobody is there.
    next: Option<At>,
    /// The highest epoch that was ever given out.
    issued: Epoch,
    ended: bool,
}

/// Where a rank is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Looked {
    At(At),
    /// Nobody has been this rank yet.
    Absent,
    Ended,
}

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    NoSuchRank,
    /// Another process is the rank, or is to be.
    Other,
    Ended,
    /// It does not move.
    NotMoving,
    /// The place is too long, or epochs have run out.
    Limit,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denied::NoSuchRank => "there is no such rank",
            Denied::Other => "another process is that rank, or is to be",
            Denied::Ended => "the program of that rank has ended",
            Denied::NotMoving => "that rank does not move",
            Denied::Limit => "a limit is reached",
        })
    }
}

impl std::error::Error for Denied {}

/// All ranks of an application.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Table {
    records: Vec<Option<Record>>,
}

impl Table {
    /// Nobody is there yet.
    pub fn new(of: Rank) -> Result<Self, Denied> {
        if of == 0 || of > MAX_RANKS {
            return Err(Denied::Limit);
        }
        let records = vec![None; of.into()];
        Ok(Self { records })
    }

    pub fn of(&self) -> Rank {
        self.records.len() as Rank
    }

    /// Figure 4, line 9: whom to ask for a stream. While a rank moves that is the new process, and
    /// while it is in a file nobody.
    pub fn look(&self, rank: Rank) -> Result<Looked, Denied> {
        let record = self.records.get(usize::from(rank));
        let Some(record) = record.ok_or(Denied::NoSuchRank)? else {
            return Ok(Looked::Absent);
        };
        if record.ended {
            return Ok(Looked::Ended);
        }
        let at = record.next.as_ref().unwrap_or(&record.now);
        Ok(match at.place.is_empty() {
            true => Looked::Absent,
            false => Looked::At(at.clone()),
        })
    }

    /// Returns who is the rank, whether or not it moves.
    pub fn holder(&self, rank: Rank) -> Option<&At> {
        let record = self.records.get(usize::from(rank))?.as_ref()?;
        (!record.ended).then_some(&record.now)
    }

    /// The first process of a rank.
    pub fn join(&mut self, rank: Rank, place: &str) -> Result<Epoch, Denied> {
        check_place(place)?;
        let record = self.records.get_mut(usize::from(rank));
        let record = record.ok_or(Denied::NoSuchRank)?;
        match record {
            Some(record) if record.ended => Err(Denied::Ended),
            Some(_) => Err(Denied::Other),
            None => {
                let place = place.into();
                *record = Some(Record {
                    now: At { epoch: 0, place },
                    next: None,
                    issued: 0,
                    ended: false,
                });
                Ok(0)
            }
        }
    }

    /// Figure 6, lines 2 and 3: the rank moves to a process that listens at `place`. Returns that
    /// one's epoch.
    pub fn begin(&mut self, rank: Rank, mine: Epoch, place: &str) -> Result<Epoch, Denied> {
        check_place(place)?;
        let record = self.held(rank, mine)?;
        if record.next.is_some() {
            return Err(Denied::Other);
        }
        let epoch = record.issue()?;
        let place = place.into();
        record.next = Some(At { epoch, place });
        Ok(epoch)
    }

    /// The same, to a file: whoever takes the rank up from there says later where it is.
    pub fn leave(&mut self, rank: Rank, mine: Epoch) -> Result<Epoch, Denied> {
        self.begin(rank, mine, "")
    }

    /// A process that listens at `place` wants to take up the rank from the state that the
    /// incarnation `old` has left. That one must still be the last that was the rank, and must have
    /// left it. Returns the epoch of the new one, which has to commit; of several that try it with
    /// the same state the last one can.
    pub fn take_up(&mut self, rank: Rank, old: Epoch, place: &str) -> Result<Epoch, Denied> {
        check_place(place)?;
        let record = self.held(rank, old)?;
        if record.next.is_none() {
            return Err(Denied::NotMoving);
        }
        let epoch = record.issue()?;
        let place = place.into();
        record.next = Some(At { epoch, place });
        Ok(epoch)
    }

    /// Figure 7, line 8: from here on the new process is the rank. The one change that
    /// decides who runs.
    pub fn commit(&mut self, rank: Rank, next: Epoch) -> Result<(), Denied> {
        let record = self.live(rank)?;
        if record.now.epoch == next {
            // Said twice, by one who has not heard the answer.
            return Ok(());
        }
        if record.next.as_ref().is_none_or(|at| at.epoch != next) {
            return Err(Denied::NotMoving);
        }
        if let Some(at) = record.next.take() {
            record.now = at;
        }
        Ok(())
    }

    /// The old process takes the move back. It gets a new epoch, so that the new process, if it
    /// lives, is older and can't commit.
    pub fn withdraw(&mut self, rank: Rank, mine: Epoch) -> Result<Epoch, Denied> {
        let record = self.held(rank, mine)?;
        if record.next.is_none() {
            return Err(Denied::NotMoving);
        }
        let epoch = record.issue()?;
        record.next = None;
        record.now.epoch = epoch;
        Ok(epoch)
    }

    /// The program has ended.
    pub fn end(&mut self, rank: Rank, mine: Epoch) -> Result<(), Denied> {
        let record = self.held(rank, mine)?;
        if record.next.is_some() {
            return Err(Denied::Other);
        }
        record.ended = true;
        Ok(())
    }

    /// Returns whether everybody has come and ended.
    pub fn all_ended(&self) -> bool {
        let ended = |record: &Option<Record>| record.as_ref().is_some_and(|it| it.ended);
        self.records.iter().all(ended)
    }

    fn live(&mut self, rank: Rank) -> Result<&mut Record, Denied> {
        let record = self.records.get_mut(usize::from(rank));
        let record = record.ok_or(Denied::NoSuchRank)?;
        let record = record.as_mut().ok_or(Denied::Other)?;
        if record.ended {
            return Err(Denied::Ended);
        }
        Ok(record)
    }

    fn held(&mut self, rank: Rank, mine: Epoch) -> Result<&mut Record, Denied> {
        let record = self.live(rank)?;
        if record.now.epoch != mine {
            return Err(Denied::Other);
        }
        Ok(record)
    }

    /// Returns whether a table that comes from a file is one that the calls above make.
    pub fn is_sound(&self) -> bool {
        let sound = |record: &Record| {
            let next = record.next.as_ref();
            record.now.epoch <= record.issued
                && record.now.place.len() <= MAX_PLACE
                && next.is_none_or(|at| {
                    at.epoch > record.now.epoch
                        && at.epoch <= record.issued
                        && at.place.len() <= MAX_PLACE
                })
        };
        let of = self.records.len();
        of > 0 && of <= MAX_RANKS.into() && self.records.iter().flatten().all(sound)
    }
}

impl Record {
    fn issue(&mut self) -> Result<Epoch, Denied> {
        self.issued = self.issued.checked_add(1).ok_or(Denied::Limit)?;
        Ok(self.issued)
    }
}

fn check_place(place: &str) -> Result<(), Denied> {
    if place.len() > MAX_PLACE {
        return Err(Denied::Limit);
    }
    Ok(())
}
