// SPDX-License-Identifier: GPL-2.0
//! The port to the network: a stream of bytes in both directions.

mod plain;
pub mod tls;

use std::io::Result;
use std::time::Duration;

pub use plain::Plain;
pub use tls::Tls;

/// What came in a piece of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Bytes(usize),
    Nothing,
    /// The peer has gone.
    End,
}

/// Usable by a thread that reads and another that writes.
pub trait Wire: Sync {
    /// Sends all of `bytes`.
    fn send(&self, bytes: &[u8]) -> Result<()>;

    /// Waits at most `timeout` for bytes. A signal may end it early, with nothing.
    fn receive(&self, buffer: &mut [u8], timeout: Duration) -> Result<Heard>;

    /// Sends nothing more; the peer finds the end behind what was sent.
    fn hang_up(&self);

    /// Ends both directions.
    fn close(&self);
}
