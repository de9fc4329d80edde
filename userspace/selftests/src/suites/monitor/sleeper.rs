// SPDX-License-Identifier: GPL-2.0
//! A thread that waits for an event in poll().

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::wait;
use pagemove_uapi::Control;

const PATIENCE: Duration = Duration::from_secs(10);

/// What poll() of two files has returned.
type Flags = [i16; 2];

/// Without a look at it, it sleeps for ever.
pub struct Sleeper {
    thread: JoinHandle<Result<Flags>>,
    /// What ends it where nobody else does.
    rescue: OwnedFd,
}

impl Sleeper {
    /// Begins one. Returns when it sleeps.
    pub fn begin(control: &Control) -> Result<Self> {
        let file = control.file().try_clone()?;
        // SAFETY: no preconditions; the result is checked.
        let rescue = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        ensure!(rescue >= 0, "eventfd: {}", std::io::Error::last_os_error());
        // SAFETY: just made, and nobody else's.
        let rescue = unsafe { OwnedFd::from_raw_fd(rescue) };
        let other = rescue.try_clone()?;
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: no preconditions.
            let _ = tell.send(unsafe { libc::gettid() });
            poll([file.as_raw_fd(), other.as_raw_fd()], -1)
        });
        let tid = told.recv().context("the thread has ended")?;
        let path = format!("/proc/self/task/{tid}/syscall");
        wait::until("a thread sleeps in poll()", PATIENCE, || {
            is_in(&path, libc::SYS_poll)
        })?;
        Ok(Self { thread, rescue })
    }

    /// Returns if it is woken by an event, in time.
    pub fn expect_woken(self) -> Result<()> {
        let woken = wait::until("who waits for an event is woken", PATIENCE, || {
            Ok(self.thread.is_finished())
        });
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes, as an eventfd wants them.
        unsafe { libc::write(self.rescue.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        let flags = self.thread.join().expect("the thread does not panic")?;
        woken?;
        ensure!(flags == [libc::POLLIN, 0], "it woke up with {flags:x?}");
        Ok(())
    }
}

/// Returns whether a task sleeps in this system call, by its file `syscall` in procfs.
pub fn is_in(path: &str, call: libc::c_long) -> Result<bool> {
    let text = fs::read_to_string(path).with_context(|| path.to_string())?;
    Ok(text.starts_with(&format!("{call} ")))
}

/// Returns what poll() says without waiting.
pub fn ready(control: &Control) -> Result<i16> {
    Ok(poll([control.file().as_raw_fd(), -1], 0)?[0])
}

fn poll(files: [i32; 2], ms: i32) -> Result<Flags> {
    let mut wanted = files.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: two elements, which outlive the call.
    let result = unsafe { libc::poll(wanted.as_mut_ptr(), 2, ms) };
    ensure!(result >= 0, "poll: {}", std::io::Error::last_os_error());
    Ok(wanted.map(|file| file.revents))
}
