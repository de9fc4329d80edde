// SPDX-License-Identifier: GPL-2.0
//! What `pagemove resume` has to know of a migration that ended early: its arguments.
//! Where the pages are is not noted, since the kernels know.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::address::parse_peer;
use super::args::{MigrateArgs, Order, TlsArgs};
use crate::args::Engine;

const VERSION: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    version: u32,
    to: String,
    /// Missing in the notes of older versions.
    #[serde(default)]
    tls: TlsArgs,
    /// None: one that maps the region, and all that it maps of it. They are looked for again, since what a
    /// device maps stays as it is while a guest runs.
    device: Option<String>,
    iova: Option<u64>,
    length: Option<u64>,
    region: u32,
    offset: u64,
    aperture: u32,
    back: bool,
    node: i32,
    release: bool,
    engine: String,
    order: String,
    batch: u32,
    retries: u32,
    deadline_ns: Option<u64>,
    patience_ns: u64,
    hook: Option<String>,
}

/// A migration's file. While this lives, no other command works at the same migration.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    /// What was noted under the name before.
    before: Option<Vec<u8>>,
    _lock: Flock<File>,
}

impl Note {
    /// Notes a migration. What another one left under the same name is replaced.
    pub fn write(args: &MigrateArgs) -> io::Result<Note> {
        let noted = Noted::from(args);
        let directory = &args.state;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let lock = lock(directory, &args.name())?;
        let path = file(directory, &args.name());
        let before = match fs::read(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let text = serde_json::to_string_pretty(&noted).map_err(io::Error::other)?;
        replace(&path, text.as_bytes())?;
        Ok(Note {
            path,
            before,
            _lock: lock,
        })
    }

    /// Returns whether something was noted under the name before.
    pub fn was_there(&self) -> bool {
        self.before.is_some()
    }

    /// Leaves what was noted before, as if this migration had not been tried.
    pub fn take_back(self) -> io::Result<()> {
        match &self.before {
            Some(text) => replace(&self.path, text),
            None => self.remove(),
        }
    }

    /// Reads the arguments of a migration. Commands of other users are not run.
    pub fn read(directory: &Path, name: &str) -> io::Result<MigrateArgs> {
        let path = file(directory, name);
        let owner = fs::metadata(&path)?.uid();
        if owner != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user"));
        }
        let noted: Noted = serde_json::from_slice(&fs::read(&path)?).map_err(io::Error::other)?;
        noted.into_args(directory, name).map_err(io::Error::other)
    }

    /// Removes the files: there is nothing to resume any more.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

/// Puts a text in the place of another one, as a whole.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = private().truncate(true).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Locks the migration. The lock's own file stays, as one that was removed could be locked twice.
fn lock(directory: &Path, name: &str) -> io::Result<Flock<File>> {
    let file = private().open(directory.join(format!("{name}.lock")))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| io::Error::other("another command works at this migration: wait for its end"))
}

/// Returns a choice in the word that the command line has for it.
fn word(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_string())
}

impl From<&MigrateArgs> for Noted {
    fn from(args: &MigrateArgs) -> Self {
        Self {
            version: VERSION,
            to: args.to.to_string(),
            tls: args.tls.clone(),
            device: args.device.map(|device| device.to_string()),
            iova: args.span().map(|(iova, _)| iova),
            length: args.span().map(|(_, length)| length),
            region: args.region,
            offset: args.offset,
            aperture: args.aperture,
            back: args.back,
            node: args.node,
            release: args.release,
            engine: word(&args.engine),
            order: word(&args.order),
            batch: args.batch,
            retries: args.retries,
            deadline_ns: args.deadline.map(|time| time.as_nanos() as u64),
            patience_ns: args.patience.as_nanos() as u64,
            hook: args.hook.clone(),
        }
    }
}

impl Noted {
    fn into_args(self, directory: &Path, name: &str) -> Result<MigrateArgs, String> {
        if self.version != VERSION {
            return Err(format!("version {} of the file is not known", self.version));
        }
        let parse = |text: String| text.parse().map_err(|_| format!("'{text}' is no device"));
        let device = self.device.map(parse).transpose()?;
        Ok(MigrateArgs {
            to: parse_peer(&self.to)?,
            tls: self.tls,
            device,
            old_iova: None,
            old_length: None,
            iova: self.iova,
            length: self.length,
            region: self.region,
            offset: self.offset,
            aperture: self.aperture,
            back: self.back,
            node: self.node,
            release: self.release,
            engine: Engine::from_str(&self.engine, false)?,
            order: Order::from_str(&self.order, false)?,
            batch: self.batch,
            retries: self.retries,
            deadline: self.deadline_ns.map(Duration::from_nanos),
            patience: Duration::from_nanos(self.patience_ns),
            hook: self.hook,
            name: Some(name.to_string()),
            state: directory.to_path_buf(),
        })
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
