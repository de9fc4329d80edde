// SPDX-License-Identifier: GPL-2.0
//! Processes that are forked, and how they end.

use anyhow::{bail, Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::ForkResult;

pub use nix::sys::signal::Signal;
pub use nix::unistd::Pid;

/// Stands for whichever child ends first.
pub const ANY: Pid = Pid::from_raw(-1);

pub const CAP_SYS_ADMIN: u32 = 21;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    Signal(i32),
}

/// Forks; the child runs `body` and ends with its result, without destructors. Where other
/// threads run it has to use system calls only.
pub fn fork(body: impl FnOnce() -> i32) -> Result<Pid> {
    // SAFETY: the child ends with _exit, and keeps to what is said above.
    match unsafe { nix::unistd::fork() }.context("fork")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = body();
            // SAFETY: ends the child.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Forks a child that runs `body`, which has to use nothing but system calls, and waits for
/// its end.
pub fn run(body: impl FnOnce() -> i32) -> Result<End> {
    Ok(wait(fork(body)?)?.1)
}

/// Runs `body` in a child and returns its exit status: a signal is an error.
pub fn status_of(body: impl FnOnce() -> i32) -> Result<i32> {
    match run(body)? {
        End::Exit(status) => Ok(status),
        End::Signal(signal) => bail!("the child was killed by signal {signal}"),
    }
}

/// Waits for a child, or for [`ANY`], and returns which it was.
pub fn wait(pid: Pid) -> Result<(Pid, End)> {
    loop {
        match waitpid(pid, None) {
            Err(Errno::EINTR) => {}
            status => {
                if let Some(ended) = end(status.context("waitpid")?) {
                    return Ok(ended);
                }
            }
        }
    }
}

/// Returns how a child ended, if it has; nothing waits.
pub fn poll(pid: Pid) -> Result<Option<End>> {
    let status = waitpid(pid, Some(WaitPidFlag::WNOHANG)).context("waitpid")?;
    Ok(end(status).map(|(_, end)| end))
}

/// Returns whether a child has stopped; one that has ended is an error.
pub fn is_stopped(pid: Pid) -> Result<bool> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    let status = waitpid(pid, Some(flags)).context("waitpid")?;
    if let Some((_, end)) = end(status) {
        bail!("the child ended with {end:?}");
    }
    Ok(matches!(status, WaitStatus::Stopped(..)))
}

fn end(status: WaitStatus) -> Option<(Pid, End)> {
    match status {
        WaitStatus::Exited(pid, status) => Some((pid, End::Exit(status))),
        WaitStatus::Signaled(pid, signal, _) => Some((pid, End::Signal(signal as i32))),
        _ => None,
    }
}

/// Sends a signal to a child, which may have ended but was not waited for.
pub fn signal(pid: Pid, signal: Signal) {
    // Nothing else can be wrong with it.
    let _ = nix::sys::signal::kill(pid, signal);
}

/// Kills a child, and waits for its end.
pub fn kill(pid: Pid) {
    signal(pid, Signal::SIGKILL);
    let _ = wait(pid);
}

/// Lets this process end with its parent.
pub fn end_with_parent() {
    // A process has this setting.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
}

/// Makes children of children that have ended ours.
pub fn adopt() -> Result<()> {
    prctl::set_child_subreaper(true).context("prctl")
}

/// Takes a capability from this process: version 3 of capset's interface.
pub fn drop_capability(capability: u32) -> Result<(), i32> {
    let header = [0x2008_0522u32, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: the header and data that version 3 wants.
    let mut result = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) };
    if result == 0 {
        for set in &mut data[(capability / 32) as usize] {
            *set &= !(1 << (capability % 32));
        }
        // SAFETY: as above.
        result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    }
    if result == 0 {
        Ok(())
    } else {
        Err(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_answer() {
        assert_eq!(status_of(|| 7).unwrap(), 7);
        let end = run(|| {
            let _ = nix::sys::signal::raise(Signal::SIGKILL);
            0
        });
        assert_eq!(end.unwrap(), End::Signal(Signal::SIGKILL as i32));
    }

    #[test]
    fn a_child_that_stops_has_not_ended() {
        let child = fork(|| {
            let _ = nix::sys::signal::raise(Signal::SIGSTOP);
            3
        })
        .unwrap();
        while !is_stopped(child).unwrap() {
            std::thread::yield_now();
        }
        assert_eq!(poll(child).unwrap(), None);
        signal(child, Signal::SIGCONT);
        assert_eq!(wait(child).unwrap(), (child, End::Exit(3)));
    }
}
