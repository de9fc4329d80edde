// SPDX-License-Identifier: GPL-2.0
//! Bytes as they are, over TCP or between two processes of one host.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use socket2::{Socket, TcpKeepalive};

use super::{Heard, Wire};

/// How long a peer whose host died is waited for: keep-alive probes find that.
const SILENCE: Duration = Duration::from_secs(10);
const PROBE: Duration = Duration::from_secs(3);
const PROBES: u32 = 5;
/// How long bytes may lie unsent or unacknowledged.
const SENDING: Duration = Duration::from_secs(30);

/// A socket that is connected.
pub struct Plain(Socket);

impl Plain {
    /// Makes a wire of a connection over TCP.
    pub fn tcp(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        let socket = Socket::from(stream);
        let keepalive = TcpKeepalive::new()
            .with_time(SILENCE)
            .with_interval(PROBE)
            .with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(SENDING))?;
        Self::new(socket)
    }

    /// Makes a wire of a connection within this host.
    pub fn unix(stream: UnixStream) -> Result<Self> {
        Self::new(Socket::from(stream))
    }

    fn new(socket: Socket) -> Result<Self> {
        socket.set_write_timeout(Some(SENDING))?;
        Ok(Self(socket))
    }

    /// Waits at most `timeout` for something to read, the end among it. A signal may end it early.
    pub(super) fn wait(&self, timeout: Duration) -> Result<bool> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for &Plain {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for &Plain {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        (&self.0).write(bytes).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Error::new(ErrorKind::TimedOut, "the peer takes no bytes"),
            _ => error,
        })
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Wire for Plain {
    fn send(&self, bytes: &[u8]) -> Result<()> {
        let mut socket = self;
        socket.write_all(bytes)
    }

    fn receive(&self, buffer: &mut [u8], timeout: Duration) -> Result<Heard> {
        if !self.wait(timeout)? {
            return Ok(Heard::Nothing);
        }
        let mut socket = self;
        match socket.read(buffer) {
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
