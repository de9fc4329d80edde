// SPDX-License-Identifier: GPL-2.0
//! What the tests of several files need: processes that wait to be ended, and what they would have
//! told.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{signal, SigHandler, Signal};

use super::directory::{Directory, Kind};
use super::process::Identity;
use super::told::{Told, Work, VERSION};

/// A process of somebody else's, which SIGINT ends. It is ended with this.
pub struct Sleeper(Child);

impl Sleeper {
    pub fn new() -> Self {
        let mut command = Command::new("sleep");
        command.arg("600");
        // SAFETY: signal() is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                signal(Signal::SIGINT, SigHandler::SigDfl)?;
                Ok(())
            })
        };
        Self(command.spawn().expect("sleep runs"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn identity(&self) -> Identity {
        Identity::of(self.pid()).expect("it runs")
    }

    /// Returns the one that had its PID before, as far as a file says.
    pub fn predecessor(&self) -> Identity {
        let who = self.identity();
        Identity {
            start: who.start - 1,
            ..who
        }
    }

    /// Ends it, and lets the PID go.
    pub fn kill(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours");
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        self.0.wait().expect("it is ours")
    }

    /// Returns whether SIGINT has ended it, which takes a moment.
    pub fn is_interrupted(&mut self) -> bool {
        for _ in 0..20 {
            if let Some(status) = self.0.try_wait().expect("it is ours") {
                return status.signal() == Some(libc::SIGINT);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns what a process tells.
pub fn told(who: Identity) -> Told {
    Told {
        version: VERSION,
        pid: who.pid,
        start: who.start,
        work: Work::of("move").to("node 1".to_string()),
        began: 1_000_000_000,
        phase: "moving".to_string(),
        pages: Some(512),
        pages_done: Some(64),
    }
}

/// Writes the files of a process.
pub fn announce(path: &Path, who: Identity) {
    let directory = Directory::make(path).unwrap();
    directory.create(who, Kind::End).unwrap();
    directory.write(who, &told(who)).unwrap();
}

/// Returns the names in a directory.
pub fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
