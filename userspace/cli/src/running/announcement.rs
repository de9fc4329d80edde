// SPDX-License-Identifier: GPL-2.0
//! The side of a command that runs: it tells of itself until it ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::directory::{note_code, Directory, Kind};
use super::process::Identity;
use super::told::{Told, Work, VERSION};

/// How often progress is written at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where this process tells what it does, once it has begun. Where it can't, it works as well and
/// says nothing: who may move pages but not write there is no worse off.
#[derive(Debug)]
pub struct Running {
    directory: Option<PathBuf>,
    announced: Mutex<Option<Announcement>>,
}

impl Running {
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: Some(directory.to_path_buf()),
            announced: Mutex::new(None),
        }
    }

    /// Returns what tells nobody anything.
    pub fn untold() -> Self {
        Self {
            directory: None,
            announced: Mutex::new(None),
        }
    }

    /// Begins to tell. Signals have to be caught by then, where they are: from here on they may
    /// come.
    pub fn begins(&self, work: Work, phase: &str, pages: Option<u64>) {
        let Some(directory) = &self.directory else {
            return;
        };
        *self.announced() = Announcement::begin(directory, work, phase, pages).ok();
    }

    /// Tells that another phase begins. At once, since it may be long until there is more to tell;
    /// pages are counted anew.
    pub fn starts(&self, phase: &str, pages: Option<u64>) {
        self.change(|told| {
            told.phase = phase.to_string();
            told.pages = pages;
            told.pages_done = pages.map(|_| 0);
        });
    }

    /// Tells that another phase begins, with the same pages.
    pub fn goes_on(&self, phase: &str) {
        self.change(|told| told.phase = phase.to_string());
    }

    fn change(&self, change: impl FnOnce(&mut Told)) {
        if let Some(announcement) = self.announced().as_mut() {
            let before = announcement.told.clone();
            change(&mut announcement.told);
            if announcement.told != before {
                announcement.write();
            }
        }
    }

    /// Tells how many pages are done, if that was not told a moment ago.
    pub fn has_done(&self, pages: u64) {
        if let Some(announcement) = self.announced().as_mut() {
            announcement.told.pages_done = Some(pages);
            if announcement.written.elapsed() >= INTERVAL {
                announcement.write();
            }
        }
    }

    /// Leaves the exit code to who waits for it, and the directory as if nothing had been.
    pub fn ends(self, code: u8) {
        let announced = self.announced.into_inner();
        if let Some(announcement) = announced.unwrap_or_else(PoisonError::into_inner) {
            // Without it the waiting one says that it does not know.
            let _ = note_code(&announcement.end, code);
        }
    }

    fn announced(&self) -> MutexGuard<'_, Option<Announcement>> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of this process, which go with it.
#[derive(Debug)]
struct Announcement {
    directory: Directory,
    who: Identity,
    told: Told,
    end: File,
    written: Instant,
}

impl Announcement {
    fn begin(path: &Path, work: Work, phase: &str, pages: Option<u64>) -> io::Result<Self> {
        let directory = Directory::make(path)?;
        let who = Identity::own().ok_or(io::ErrorKind::NotFound)?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let announcement = Self {
            end: directory.create(who, Kind::End)?,
            told: Told {
                version: VERSION,
                pid: who.pid,
                start: who.start,
                work,
                began: since_1970.map_or(0, |time| time.as_secs()),
                phase: phase.to_string(),
                pages,
                pages_done: pages.map(|_| 0),
            },
            directory,
            who,
            written: Instant::now(),
        };
        announcement.directory.write(who, &announcement.told)?;
        Ok(announcement)
    }

    /// Writes what is to be told. Where that fails, what was told before stays.
    fn write(&mut self) {
        let _ = self.directory.write(self.who, &self.told);
        self.written = Instant::now();
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.directory.remove_all(self.who);
    }
}

#[cfg(test)]
#[path = "announcement_tests.rs"]
mod tests;
