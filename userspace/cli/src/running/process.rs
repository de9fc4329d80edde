// SPDX-License-Identifier: GPL-2.0
//! Which process it is: a PID alone may be another's by the time that it is used.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

/// A process, told apart from all that have had its PID before or will have it.
///
/// By the time at which it began, and not by a lock that it holds: its file is replaced by rename,
/// so that a lock would need one more file that stays, would go on where a child has inherited it,
/// and would still not say which process a PID means. The kernel gives no PID again within a tick
/// (10 ms) of its clock, but for a host that goes through all PIDs in that time. `/run` ends with
/// the boot that these times count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub pid: u32,
    /// In ticks since the boot: field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl Identity {
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Returns who has this PID now; nobody where that has ended, even if its parent has not asked
    /// yet.
    pub fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let start = start(&text)?;
        Some(Self { pid, start })
    }

    /// Returns whether it has not ended, as far as this PID namespace goes: the directory is one's
    /// alone.
    pub fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// Returns when a process began, by the text of its `stat`; none of one that has ended.
fn start(stat: &str) -> Option<u64> {
    // The name, in brackets, may have brackets and spaces of its own.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?;
    match state {
        "Z" | "X" | "x" => None,
        _ => start.parse().ok(),
    }
}

/// A process by a descriptor: what is done by it reaches that process or none.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl Handle {
    /// Opens a process, if it is still the one that is meant; `is_it` is [`Identity::is_running`].
    ///
    /// The descriptor comes first. If the one that is meant has the PID afterwards, it has had it
    /// all the time, for it was there before: so the descriptor is its own. The other way round the
    /// PID could become another's in between.
    pub fn open(who: Identity, is_it: &dyn Fn(Identity) -> bool) -> io::Result<Option<Self>> {
        // SAFETY: pidfd_open() takes two numbers, and what it returns is a new descriptor or an
        // error.
        let handle = unsafe {
            let result = libc::syscall(libc::SYS_pidfd_open, who.pid, 0);
            match i32::try_from(result) {
                Ok(fd) if fd >= 0 => Self(OwnedFd::from_raw_fd(fd)),
                _ => return none_if_gone(io::Error::last_os_error()),
            }
        };
        Ok(is_it(who).then_some(handle))
    }

    /// Sends SIGINT. An error of one that has ended meanwhile is none: it is what was wanted.
    pub fn interrupt(&self) -> io::Result<()> {
        // SAFETY: the descriptor is ours, and no information goes with the signal.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                libc::SIGINT,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match result {
            0 => Ok(()),
            _ => none_if_gone(io::Error::last_os_error()).map(|_: Option<()>| ()),
        }
    }

    /// Waits for its end. False: the time was over first.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, slice(left)) {
                Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Returns how long one poll waits: what is left, rounded up, so that none comes back too early for
/// ever.
fn slice(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else {
        return PollTimeout::NONE;
    };
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

fn none_if_gone<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.raw_os_error() {
        Some(libc::ESRCH) => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
