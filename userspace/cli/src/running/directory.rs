// SPDX-License-Identifier: GPL-2.0
//! The directory with a file for each command that runs. Whoever can write to it says what runs and
//! what is to be interrupted, so nobody else may.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::process::Identity;
use super::told::Told;

/// More than any command tells, and little enough to be read whatever it is.
const MOST: u64 = 64 << 10;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the command tells, complete at any time.
    Told,
    /// The same before it is complete.
    New,
    /// Empty; the exit code once it has ended, for who has it open by then.
    End,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Told, Kind::New, Kind::End];

    fn suffix(self) -> &'static str {
        match self {
            Kind::Told => "json",
            Kind::New => "new",
            Kind::End => "end",
        }
    }
}

/// Returns the name of a file. It says whose it is, so that a file of one that has ended can be
/// removed without a look at it, and never be that of the next process with the same PID.
pub fn name(who: Identity, kind: Kind) -> String {
    format!("{}-{}.{}", who.pid, who.start, kind.suffix())
}

/// Returns whose file it is by its name, and what for; none of what is not ours.
fn parse(text: &str) -> Option<(Identity, Kind)> {
    let (stem, suffix) = text.split_once('.')?;
    let (pid, start) = stem.split_once('-')?;
    let who = Identity {
        pid: pid.parse().ok()?,
        start: start.parse().ok()?,
    };
    let kind = Kind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
    (name(who, kind) == text).then_some((who, kind))
}

#[derive(Debug)]
pub struct Directory {
    /// By the descriptor: that which was looked at, whatever has its path later.
    base: PathBuf,
    _open: File,
}

impl Directory {
    pub fn open(path: &Path) -> io::Result<Self> {
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)?;
        let found = open.metadata()?;
        if !is_trusted(found.uid()) {
            let words = format!("it belongs to user {}", found.uid());
            return Err(io::Error::other(words));
        }
        if found.mode() & 0o022 != 0 {
            return Err(io::Error::other("others may write to it"));
        }
        Ok(Self {
            base: PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())),
            _open: open,
        })
    }

    /// Opens it, and makes it where it is missing, as notes of migrations are kept: for its owner
    /// alone.
    pub fn make(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)
    }

    fn path(&self, who: Identity, kind: Kind) -> PathBuf {
        self.base.join(name(who, kind))
    }

    /// Returns all files of ours, by their names.
    pub fn files(&self) -> io::Result<Vec<(Identity, Kind)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.base)? {
            all.extend(entry?.file_name().to_str().and_then(parse));
        }
        all.sort_by_key(|(who, _)| *who);
        Ok(all)
    }

    /// Returns what a process tells; none of what this program has not written. An error is that
    /// there is no file, or that it can't be read.
    pub fn read(&self, who: Identity) -> io::Result<Option<Told>> {
        let file = self.open_file(who, Kind::Told)?;
        let found = file.metadata()?;
        if !found.is_file() || !is_trusted(found.uid()) || found.len() > MOST {
            return Ok(None);
        }
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text)?;
        Ok(Told::read(&text, who))
    }

    /// Opens a file to be read: no link is followed, no FIFO waited for.
    pub fn open_file(&self, who: Identity, kind: Kind) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.path(who, kind))
    }

    /// Makes a file that nobody else reads.
    pub fn create(&self, who: Identity, kind: Kind) -> io::Result<File> {
        self.remove(who, kind)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(who, kind))
    }

    /// Puts what a process tells in the place of what it has told before. (A host that goes down
    /// takes it along, so nothing waits for a disk.)
    pub fn write(&self, who: Identity, told: &Told) -> io::Result<()> {
        let text = serde_json::to_vec(told).map_err(io::Error::other)?;
        self.create(who, Kind::New)?.write_all(&text)?;
        fs::rename(self.path(who, Kind::New), self.path(who, Kind::Told))
    }

    /// Removes a file, if there is one.
    pub fn remove(&self, who: Identity, kind: Kind) -> io::Result<()> {
        match fs::remove_file(self.path(who, kind)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what a process has left: what it tells first, so that nobody finds that and misses
    /// the other.
    pub fn remove_all(&self, who: Identity) {
        for kind in Kind::ALL {
            // Nobody is left to be told, and the next `status` tries again.
            let _ = self.remove(who, kind);
        }
    }
}

/// Returns whether what a user has written may be believed: root, or who runs this.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

/// Notes an exit code for who waits.
pub fn note_code(end: &File, code: u8) -> io::Result<()> {
    end.write_all_at(&[code], 0)
}

/// Returns the exit code that was noted; none if none was.
pub fn noted_code(end: &File) -> Option<u8> {
    let mut code = [0];
    match end.read_at(&mut code, 0) {
        Ok(1) => Some(code[0]),
        _ => None,
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
