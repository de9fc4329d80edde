// SPDX-License-Identifier: GPL-2.0
//! The port to the network: a stream of bytes in both directions.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use socket2::{SockRef, TcpKeepalive};

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

/// How long a peer whose host died is waited for: keep-alive probes find that.
const SILENCE: Duration = Duration::from_secs(10);
const PROBE: Duration = Duration::from_secs(3);
const PROBES: u32 = 5;
/// How long bytes may lie unsent or unacknowledged.
const SENDING: Duration = Duration::from_secs(30);

/// A connection over TCP.
pub struct Tcp(TcpStream);

impl Tcp {
    pub fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SENDING))?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new()
            .with_time(SILENCE)
            .with_interval(PROBE)
            .with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(SENDING))?;
        Ok(Self(stream))
    }
}

impl Wire for Tcp {
    fn send(&self, bytes: &[u8]) -> Result<()> {
        (&self.0)
            .write_all(bytes)
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => Error::new(ErrorKind::TimedOut, "the peer takes no bytes"),
                _ => error,
            })
    }

    fn receive(&self, buffer: &mut [u8], timeout: Duration) -> Result<Heard> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Heard::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match (&self.0).read(buffer) {
            Ok(0) => Ok(Heard::End),
            Ok(count) => Ok(Heard::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Heard::Nothing),
            Err(error) => Err(error),
        }
    }

    fn hang_up(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    fn close(&self) {
        // It may be closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
