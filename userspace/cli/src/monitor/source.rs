// SPDX-License-Identifier: GPL-2.0
//! Where events come from: the device file, or a test.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{ppoll, PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use pagemove_uapi::{Call, Control, Error, Heard, Stats};

use crate::signals;

/// What a wait has ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    Events,
    /// The time is over, or a signal came.
    Nothing,
    /// No events were read before it, so that none can be waited for.
    NotRead,
}

pub trait Source {
    /// Returns the number that the next event will have, and passes over those before it.
    fn end(&self) -> Result<u64, Error>;
    /// Returns events from this number on, so many at most.
    fn events(&self, next: u64, most: usize) -> Result<Heard, Error>;
    fn stats(&self) -> Result<Stats, Error>;
    /// Waits for more of them; without a time for as long as it takes.
    fn wait(&self, most: Option<Duration>) -> Result<Awaited, Error>;
}

impl Source for Control {
    fn end(&self) -> Result<u64, Error> {
        self.events_from_now()
    }

    fn events(&self, next: u64, most: usize) -> Result<Heard, Error> {
        self.events(next, most)
    }

    fn stats(&self) -> Result<Stats, Error> {
        self.stats()
    }

    fn wait(&self, most: Option<Duration>) -> Result<Awaited, Error> {
        let mut files = [PollFd::new(self.file().as_fd(), PollFlags::POLLIN)];
        let most = most.map(TimeSpec::from);
        match signals::interruptible(|mask| ppoll(&mut files, most, Some(mask))) {
            None | Some(Err(Errno::EINTR) | Ok(0)) => Ok(Awaited::Nothing),
            Some(Err(errno)) => Err(Error::new(Call::Events, errno as i32)),
            Some(Ok(_)) => Ok(match files[0].revents() {
                Some(flags) if flags.contains(PollFlags::POLLIN) => Awaited::Events,
                _ => Awaited::NotRead,
            }),
        }
    }
}
