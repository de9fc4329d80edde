// SPDX-License-Identifier: GPL-2.0
//! What a program that is a rank among others may ask of its host: messages.
//!
//! | function of the module `pagemove` | |
//! | --- | --- |
//! | `rank() -> i32` | which rank it is, from 0 |
//! | `size() -> i32` | how many there are |
//! | `send(rank, tag, at, length) -> i32` | 0: the message is kept until that rank's program has taken it |
//! | `recv(rank, tag, at, room, told) -> i32` | the length of the message that lies at `at` now |
//!
//! `recv` takes the first message of that rank (-1: of any) with that tag (-1: with any), and puts three numbers
//! of 4 bytes at `told`: rank, tag and length. Both may answer [`AGAIN`]: the call has done nothing, and is
//! to be made again, in a loop, whose header is where a program that waits can be stopped. A call that can
//! never be right is a trap, which says why.

use crate::mistake::Mistake;
use crate::wasi::{Host, Line, Place};
use pagemove_peers::driver::{Error as Broken, Node};
use pagemove_peers::{Rank, MAX_BYTES};
use pagemove_portable::control;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wasmi::{Caller, Error, Linker};

/// The module that programs import from.
pub const MODULE: &str = "pagemove";

/// Nothing was done yet: make the call again.
const AGAIN: i32 = -1;
/// The program of that rank has ended, or those of all others have, and nothing of them is left.
const ENDED: i32 = -2;
/// The message is longer than the room; it is still there, and its length is told.
const ROOM: i32 = -3;

/// How long a call waits before it has the program stand. In between others can have it stopped.
const PATIENCE: Duration = Duration::from_millis(10);

/// What a program asked that can never be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Rank { rank: i32, of: Rank },
    Tag(i32),
    Length(u32),
    Outside { at: u32, length: u32 },
    NoRank,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Rank { rank, of } => write!(f, "there is no rank {rank} of {of}"),
            Wrong::Tag(tag) => write!(f, "{tag} is no tag: those are not negative"),
            Wrong::Length(length) => {
                write!(
                    f,
                    "a message of {length} bytes is too long: {MAX_BYTES} at most"
                )
            }
            Wrong::Outside { at, length } => write!(
                f,
                "{length} bytes at {at:#x} are outside of the program's memory"
            ),
            Wrong::NoRank => f.write_str("this program is no rank"),
        }
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        Error::new(wrong.to_string())
    }
}

pub fn define(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap(MODULE, "rank", |caller: Caller<'_, Host>| {
        Ok::<_, Error>(i32::from(line(&caller)?.node.rank()))
    })?;
    linker.func_wrap(MODULE, "size", |caller: Caller<'_, Host>| {
        Ok::<_, Error>(i32::from(line(&caller)?.node.of()))
    })?;
    linker.func_wrap(MODULE, "send", send)?;
    linker.func_wrap(MODULE, "recv", recv)?;
    Ok(())
}

fn line(caller: &Caller<'_, Host>) -> Result<Line, Wrong> {
    caller.data().line.clone().ok_or(Wrong::NoRank)
}

fn known(node: &Node, rank: i32) -> Result<Rank, Wrong> {
    let of = node.of();
    let known = Rank::try_from(rank).ok().filter(|&rank| rank < of);
    known.ok_or(Wrong::Rank { rank, of })
}

/// Returns the bytes of a place in the program's memory.
fn bytes<'c>(caller: &'c mut Caller<'_, Host>, at: i32, length: u32) -> Result<&'c [u8], Wrong> {
    let outside = Wrong::Outside {
        at: at as u32,
        length,
    };
    let at = match Mistake::Place.is_made() {
        true => 0,
        false => at,
    };
    Place(caller)
        .take(at, length as usize)
        .map(|bytes| &*bytes)
        .ok_or(outside)
}

fn put(caller: &mut Caller<'_, Host>, at: i32, bytes: &[u8]) -> Result<(), Wrong> {
    let length = bytes.len() as u32;
    let at = at as u32;
    let put = Place(caller).put(at as i32, bytes);
    put.ok_or(Wrong::Outside { at, length })
}

/// Has the program stand at its next poll, which is the loop around the call.
fn stand(caller: &mut Caller<'_, Host>) -> Result<(), Error> {
    let memory = caller.get_export(control::MEMORY);
    let Some(memory) = memory.and_then(wasmi::Extern::into_memory) else {
        return Ok(());
    };
    let mut word = [0; 4];
    memory.read(&*caller, control::WORD as usize, &mut word)?;
    if i32::from_le_bytes(word) == control::RUNS {
        let stop = control::STOP.to_le_bytes();
        memory.write(caller, control::WORD as usize, &stop)?;
    }
    Ok(())
}

/// Says that nothing was done.
fn again(caller: &mut Caller<'_, Host>) -> Result<i32, Error> {
    stand(caller)?;
    Ok(AGAIN)
}

/// Says what was done. Who wants something of the program does not wait for all that it has to say.
fn done(caller: &mut Caller<'_, Host>, line: &Line, answer: i32) -> Result<i32, Error> {
    if line.wanted.load(Ordering::Acquire) {
        stand(caller)?;
    }
    Ok(answer)
}

fn send(
    mut caller: Caller<'_, Host>,
    rank: i32,
    tag: i32,
    at: i32,
    length: i32,
) -> Result<i32, Error> {
    let line = line(&caller)?;
    let node = &line.node;
    let rank = known(node, rank)?;
    let tag = u32::try_from(tag).map_err(|_| Wrong::Tag(tag))?;
    let length = length as u32;
    if length as usize > MAX_BYTES {
        return Err(Wrong::Length(length).into());
    }
    let message = bytes(&mut caller, at, length)?;
    match node.send_within(rank, tag, message, PATIENCE) {
        Ok(true) => done(&mut caller, &line, 0),
        Ok(false) | Err(Broken::Moves) => again(&mut caller),
        Err(Broken::Terminated) => Ok(ENDED),
        Err(error) => Err(Error::new(error.to_string())),
    }
}

fn recv(
    mut caller: Caller<'_, Host>,
    rank: i32,
    tag: i32,
    at: i32,
    room: i32,
    told: i32,
) -> Result<i32, Error> {
    let line = line(&caller)?;
    let node = &line.node;
    let from = match rank {
        -1 => None,
        rank => Some(known(node, rank)?),
    };
    let wanted = match tag {
        -1 => None,
        tag => Some(u32::try_from(tag).map_err(|_| Wrong::Tag(tag))?),
    };
    // Before anything is taken: what is taken has to have a place.
    let room = room as u32;
    bytes(&mut caller, at, room)?;
    bytes(&mut caller, told, 12)?;
    let mut found = node.look_within(from, wanted, PATIENCE);
    if found.is_none() && has_ended(node, from) {
        // What it has sent came before its end was known.
        found = node.look_within(from, wanted, Duration::ZERO);
        if found.is_none() {
            return Ok(ENDED);
        }
    }
    let Some((sender, tag, length)) = found else {
        return again(&mut caller);
    };
    let numbers = [u32::from(sender), tag, length as u32];
    let numbers: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
    put(&mut caller, told, &numbers)?;
    if length > room as usize {
        return Ok(ROOM);
    }
    let Some(taken) = node.try_recv(from, wanted) else {
        return again(&mut caller);
    };
    put(&mut caller, at, &taken.message.bytes)?;
    done(&mut caller, &line, length as i32)
}

/// Returns whether nothing can come any more from a rank, or from any other.
fn has_ended(node: &Node, from: Option<Rank>) -> bool {
    match from {
        Some(from) => node.has_ended(from),
        None => {
            let own = node.rank();
            (0..node.of()).all(|rank| rank == own || node.has_ended(rank))
        }
    }
}
