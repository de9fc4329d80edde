// SPDX-License-Identifier: GPL-2.0
//! Frames: a length of four bytes, most significant first, and as many bytes.

use crate::wrong::Wrong;

/// Longer frames are refused before room is made for them.
pub const MAX_FRAME: usize = 1 << 20;
const LENGTH: usize = 4;

/// Returns a frame around `payload`.
///
/// # Panics
///
/// If the payload is longer than [`MAX_FRAME`]: no message of ours is.
pub fn wrap(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= MAX_FRAME, "messages are kept short");
    let mut frame = Vec::with_capacity(LENGTH + payload.len());
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Takes frames out of bytes that come in pieces of any length.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the payload of the next frame, if all of it is there.
    pub fn payload(&mut self) -> Result<Option<Vec<u8>>, Wrong> {
        let Some(length) = self.bytes.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(Wrong::new(format!(
                "a frame of {length} bytes was announced, {MAX_FRAME} is the most"
            )));
        }
        if self.bytes.len() < LENGTH + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(LENGTH + length);
        let mut payload = std::mem::replace(&mut self.bytes, rest);
        payload.drain(..LENGTH);
        Ok(Some(payload))
    }

    /// Returns whether a frame has begun whose end is missing.
    pub fn is_truncated(&self) -> bool {
        !self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_of_pieces_of_any_length() {
        let payloads: [&[u8]; 3] = [b"one", b"", b"three"];
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| wrap(payload)).collect();
        for piece in 1..=bytes.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in bytes.chunks(piece) {
                frames.feed(part);
                while let Some(payload) = frames.payload().unwrap() {
                    found.push(payload);
                }
            }
            assert_eq!(found, payloads, "pieces of {piece}");
            assert!(!frames.is_truncated());
        }
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_come() {
        let mut frames = Frames::default();
        frames.feed(&(MAX_FRAME as u32 + 1).to_be_bytes());
        let wrong = frames.payload().unwrap_err();
        assert!(wrong.0.contains("1048577 bytes"), "{wrong}");
        let mut frames = Frames::default();
        frames.feed(&(MAX_FRAME as u32).to_be_bytes());
        assert_eq!(frames.payload(), Ok(None));
        assert!(frames.is_truncated());
    }
}
