// SPDX-License-Identifier: GPL-2.0
//! Things that can end a process, done in a process of their own.

/// How `work` ended in a child: its exit status, or the number of a signal as `Err`.
pub fn in_child(work: impl FnOnce() -> i32) -> Result<i32, i32> {
    // SAFETY: the child makes no calls but _exit, besides `work`, which the callers
    // keep to plain instructions; this process has one thread then.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        let status = work();
        // SAFETY: ends the child without running what the parent has set up.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    if libc::WIFEXITED(status) {
        Ok(libc::WEXITSTATUS(status))
    } else {
        Err(libc::WTERMSIG(status))
    }
}
