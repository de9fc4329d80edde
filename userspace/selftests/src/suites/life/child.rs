// SPDX-License-Identifier: GPL-2.0
//! Processes that are forked in the middle of things.

use anyhow::{ensure, Result};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    Signal(i32),
}

/// Forks; the child runs `body` and ends with its result, without destructors. Where other
/// threads run it has to use system calls only.
pub fn fork(body: impl FnOnce() -> i32) -> Result<libc::pid_t> {
    // SAFETY: the child ends with _exit, and keeps to what is said above.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = body();
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    ensure!(pid > 0, "fork: {}", std::io::Error::last_os_error());
    Ok(pid)
}

/// Waits for a child, or for any (-1). Says which it was.
pub fn wait(pid: libc::pid_t) -> Result<(libc::pid_t, End)> {
    let mut status = 0;
    loop {
        // SAFETY: a place for the status.
        let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
        if waited > 0 {
            let end = match libc::WIFEXITED(status) {
                true => End::Exit(libc::WEXITSTATUS(status)),
                false => End::Signal(libc::WTERMSIG(status)),
            };
            return Ok((waited, end));
        }
        let error = std::io::Error::last_os_error();
        ensure!(
            error.kind() == std::io::ErrorKind::Interrupted,
            "waitpid: {error}"
        );
    }
}

/// Children of children that have ended become ours.
pub fn adopt() -> Result<()> {
    // SAFETY: a setting of this process.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    ensure!(result == 0, "prctl: {}", std::io::Error::last_os_error());
    Ok(())
}
