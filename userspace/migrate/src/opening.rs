// SPDX-License-Identifier: GPL-2.0
//! The first frame of each side. Its head has the same layout in every version, so that a
//! peer of any age can be told what it is that it can not talk to.
//!
//! A: magic, lowest, highest; then a [`Hello`].
//! B: magic, lowest, highest, chosen (0: none), session; then an [`Answer`] if one was chosen.

use serde::de::DeserializeOwned;

use crate::message::{is_name, readable, Answer, Hello};
use crate::version::Versions;
use crate::wrong::Wrong;

pub const MAGIC: [u8; 8] = *b"pagemove";

/// Makes A's first frame.
pub fn hello(versions: Versions, hello: &Hello) -> Vec<u8> {
    with_head(versions, &[], &encode(hello))
}

pub fn read_hello(
    payload: &[u8],
    ours: Versions,
) -> Result<(Versions, Option<(u16, Hello)>), Wrong> {
    let (theirs, rest) = head(payload)?;
    let Some(version) = ours.common(theirs) else {
        return Ok((theirs, None));
    };
    let hello: Hello = decode(rest, "Hello")?;
    if !is_name(&hello.name) {
        return Err(Wrong::new("a migration's name that is none"));
    }
    Ok((theirs, Some((version, hello))))
}

/// Makes B's first frame: the version it chose, the session, and what it has to say; or that no
/// version is common.
pub fn answer(versions: Versions, chosen: Option<(u16, u64, &Answer)>) -> Vec<u8> {
    let (version, session, answer) = match chosen {
        Some((version, session, answer)) => (version, session, encode(answer)),
        None => (0, 0, Vec::new()),
    };
    let mut fixed = version.to_be_bytes().to_vec();
    fixed.extend_from_slice(&session.to_be_bytes());
    with_head(versions, &fixed, &answer)
}

/// Reads version, session and answer.
pub fn read_answer(payload: &[u8], ours: Versions) -> Result<(u16, u64, Answer), Wrong> {
    let (theirs, rest) = head(payload)?;
    let short = || Wrong::new("the peer's first frame ends too early");
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (session, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let version = u16::from_be_bytes(*version);
    if version == 0 {
        return Err(no_common_version(ours, theirs));
    }
    if ours.common(theirs) != Some(version) {
        return Err(Wrong::new(format!(
            "the peer chose version {version}; it speaks {theirs}, this program {ours}"
        )));
    }
    let answer = match decode(rest, "Answer")? {
        Answer::Refused(reason) => Answer::Refused(readable(&reason)),
        welcome => welcome,
    };
    Ok((version, u64::from_be_bytes(*session), answer))
}

pub fn no_common_version(ours: Versions, theirs: Versions) -> Wrong {
    Wrong::new(format!(
        "this program speaks {ours} of the protocol, the peer {theirs}: install the same \
         release on both hosts"
    ))
}

fn with_head(versions: Versions, fixed: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut payload = MAGIC.to_vec();
    payload.extend_from_slice(&versions.lowest.to_be_bytes());
    payload.extend_from_slice(&versions.highest.to_be_bytes());
    payload.extend_from_slice(fixed);
    payload.extend_from_slice(rest);
    payload
}

fn head(payload: &[u8]) -> Result<(Versions, &[u8]), Wrong> {
    let no_magic = || Wrong::new("the peer does not speak pagemove's protocol");
    let rest = payload.strip_prefix(&MAGIC).ok_or_else(no_magic)?;
    let short = || Wrong::new("the peer's first frame ends too early");
    let (lowest, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (highest, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let versions = Versions {
        lowest: u16::from_be_bytes(*lowest),
        highest: u16::from_be_bytes(*highest),
    };
    Ok((versions, rest))
}

pub(crate) fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("messages are plain data")
}

/// Decodes a value; all of `bytes` has to be used.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Wrong> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Wrong::new(format!(
            "{} bytes too many behind {what}",
            rest.len()
        ))),
        Err(error) => Err(Wrong::new(format!("{what} can not be read: {error}"))),
    }
}
