// SPDX-License-Identifier: GPL-2.0
//! Frames as bytes: a kind, a length of four bytes, and as many bytes. Numbers are
//! little-endian. A length is refused before room is made for it.

use super::{Frame, Hello, Refusal};
use crate::message::{Message, MAX_BYTES};
use crate::who::Who;
use crate::wrong::Wrong;

/// The version of what is said; a Hello carries it.
pub const VERSION: u16 = 1;
/// What a Hello begins with, so that another protocol's first bytes are none.
const MAGIC: [u8; 4] = *b"pmPR";

/// Kind and length.
pub const HEAD: usize = 5;
/// Number and tag of a message.
const DATA_HEAD: usize = 12;
/// Bytes behind the head at most.
pub const MAX_FRAME: usize = DATA_HEAD + MAX_BYTES;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSE: u8 = 3;
const DATA: u8 = 4;
const COMMITTED: u8 = 5;
const TAKEN: u8 = 6;
const MOVING: u8 = 7;
const END: u8 = 8;

impl Frame {
    /// Appends its bytes.
    pub fn put(&self, to: &mut Vec<u8>) {
        let begin = to.len();
        to.extend([self.kind(), 0, 0, 0, 0]);
        self.put_body(to);
        let length = (to.len() - begin - HEAD) as u32;
        to[begin + 1..begin + HEAD].copy_from_slice(&length.to_le_bytes());
    }

    fn kind(&self) -> u8 {
        match self {
            Frame::Hello(_) => HELLO,
            Frame::Welcome(_) => WELCOME,
            Frame::Refuse(_) => REFUSE,
            Frame::Data(_) => DATA,
            Frame::Committed(_) => COMMITTED,
            Frame::Taken(_) => TAKEN,
            Frame::Moving => MOVING,
            Frame::End => END,
        }
    }

    fn put_body(&self, to: &mut Vec<u8>) {
        match self {
            Frame::Hello(hello) => {
                to.extend(MAGIC);
                to.extend(VERSION.to_le_bytes());
                put_who(hello.from, to);
                put_who(hello.to, to);
                to.extend(hello.breaks.to_le_bytes());
                to.extend(hello.received.to_le_bytes());
            }
            Frame::Welcome(None) => to.push(0),
            Frame::Welcome(Some(received)) => {
                to.push(1);
                to.extend(received.to_le_bytes());
            }
            Frame::Refuse(refusal) => match refusal {
                Refusal::Moved => to.push(1),
                Refusal::Old => to.push(2),
                Refusal::Yours => to.push(3),
                Refusal::Again(breaks) => {
                    to.push(4);
                    to.extend(breaks.to_le_bytes());
                }
            },
            Frame::Data(message) => {
                to.extend(message.number.to_le_bytes());
                to.extend(message.tag.to_le_bytes());
                to.extend_from_slice(&message.bytes);
            }
            Frame::Committed(count) | Frame::Taken(count) => to.extend(count.to_le_bytes()),
            Frame::Moving | Frame::End => {}
        }
    }

    fn of(kind: u8, body: &[u8]) -> Result<Frame, Wrong> {
        let mut body = Body(body);
        let frame = match kind {
            HELLO => Frame::Hello(hello(&mut body)?),
            WELCOME => Frame::Welcome(match body.array::<1>()? {
                [0] => None,
                [1] => Some(body.u64()?),
                _ => return Err(Wrong::Damaged("a Welcome of no kind")),
            }),
            REFUSE => Frame::Refuse(match body.array::<1>()? {
                [1] => Refusal::Moved,
                [2] => Refusal::Old,
                [3] => Refusal::Yours,
                [4] => Refusal::Again(body.u32()?),
                _ => return Err(Wrong::Damaged("a refusal of no kind")),
            }),
            DATA => Frame::Data(Message {
                number: body.u64()?,
                tag: body.u32()?,
                bytes: std::mem::take(&mut body.0).into(),
            }),
            COMMITTED => Frame::Committed(body.u64()?),
            TAKEN => Frame::Taken(body.u64()?),
            MOVING => Frame::Moving,
            END => Frame::End,
            _ => return Err(Wrong::Damaged("its kind is not known")),
        };
        if body.0.is_empty() {
            Ok(frame)
        } else {
            Err(Wrong::Damaged("something is behind it"))
        }
    }
}

fn put_who(who: Who, to: &mut Vec<u8>) {
    to.extend(who.rank.to_le_bytes());
    to.extend(who.epoch.to_le_bytes());
}

fn hello(body: &mut Body<'_>) -> Result<Hello, Wrong> {
    if body.array()? != MAGIC {
        return Err(Wrong::Damaged("it is of another protocol"));
    }
    if u16::from_le_bytes(body.array()?) != VERSION {
        return Err(Wrong::Damaged("it is of another version"));
    }
    Ok(Hello {
        from: body.who()?,
        to: body.who()?,
        breaks: body.u32()?,
        received: body.u64()?,
    })
}

/// Takes numbers from the begin of bytes.
struct Body<'b>(&'b [u8]);

impl Body<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let short = Wrong::Damaged("it ends early");
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, Wrong> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Wrong> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn who(&mut self) -> Result<Who, Wrong> {
        let rank = u16::from_le_bytes(self.array()?);
        let epoch = self.u32()?;
        Ok(Who { rank, epoch })
    }
}

/// Takes frames out of bytes that come in pieces of any length.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Bytes at the begin that are done with.
    done: usize,
}

impl Frames {
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.done == self.bytes.len() {
            self.bytes.clear();
            self.done = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next frame, if all of it is there.
    pub fn take(&mut self) -> Result<Option<Frame>, Wrong> {
        let rest = self.bytes.get(self.done..).unwrap_or_default();
        let Some((&[kind, length @ ..], behind)) = rest.split_first_chunk::<HEAD>() else {
            self.pack();
            return Ok(None);
        };
        let length = u32::from_le_bytes(length) as usize;
        let most = if kind == DATA { MAX_FRAME } else { 64 };
        if length > most {
            return Err(Wrong::Damaged("it is too long"));
        }
        let Some(body) = behind.get(..length) else {
            self.pack();
            return Ok(None);
        };
        let frame = Frame::of(kind, body)?;
        self.done += HEAD + length;
        Ok(Some(frame))
    }

    /// Returns whether a frame has begun whose end is missing.
    pub fn is_truncated(&self) -> bool {
        self.done < self.bytes.len()
    }

    fn pack(&mut self) {
        self.bytes.drain(..self.done);
        self.done = 0;
    }
}
