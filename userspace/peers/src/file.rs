// SPDX-License-Identifier: GPL-2.0
//! The scheduler as one file, which any process that uses it may leave in the middle of
//! anything: it is read as a whole, and replaced as a whole by whoever holds the lock. There is
//! no process of it that could die.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use pagemove_image::{Disk, System};

use crate::driver::Error;
use crate::scheduler::{Looked, Table};
use crate::who::{Epoch, Rank};

const MAGIC: [u8; 8] = *b"pagemvS\n";
const VERSION: u32 = 1;
/// Magic, version, checksum of what follows.
const HEAD: usize = 16;
/// Longer files are none of ours.
const MAX_BYTES: u64 = 4 << 20;

/// The file of an application's scheduler.
#[derive(Clone, Debug)]
pub struct SchedulerFile {
    path: PathBuf,
}

impl SchedulerFile {
    /// Opens the file, or makes it for so many ranks. All of an application say the same number.
    pub fn open(path: &Path, of: Rank) -> Result<Self, Error> {
        let file = Self {
            path: path.to_path_buf(),
        };
        let _lock = file.lock()?;
        let table = match file.read() {
            Ok(table) => table,
            Err(Error::System(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                let table = Table::new(of)?;
                file.replace(&mut System, &table)?;
                table
            }
            Err(error) => return Err(error),
        };
        if table.of() != of {
            return Err(Error::OtherCount(table.of()));
        }
        Ok(file)
    }

    /// Opens the file of an application that is there already.
    pub fn existing(path: &Path) -> Result<Self, Error> {
        let file = Self {
            path: path.to_path_buf(),
        };
        file.read()?;
        Ok(file)
    }

    /// Reads it. No lock is needed: it is the old table or the new one.
    pub fn read(&self) -> Result<Table, Error> {
        let told = |error| Error::System("the scheduler's file can't be read", error);
        let length = fs::metadata(&self.path).map_err(told)?.len();
        if length > MAX_BYTES {
            return Err(Error::NoScheduler);
        }
        decode(&fs::read(&self.path).map_err(told)?).ok_or(Error::NoScheduler)
    }

    pub fn look(&self, rank: Rank) -> Result<Looked, Error> {
        Ok(self.read()?.look(rank)?)
    }

    pub fn join(&self, rank: Rank, place: &str) -> Result<Epoch, Error> {
        self.change(|table| table.join(rank, place))
    }

    pub fn begin(&self, rank: Rank, mine: Epoch, place: &str) -> Result<Epoch, Error> {
        self.change(|table| table.begin(rank, mine, place))
    }

    pub fn leave(&self, rank: Rank, mine: Epoch) -> Result<Epoch, Error> {
        self.change(|table| table.leave(rank, mine))
    }

    pub fn take_up(&self, rank: Rank, old: Epoch, place: &str) -> Result<Epoch, Error> {
        self.change(|table| table.take_up(rank, old, place))
    }

    pub fn commit(&self, rank: Rank, next: Epoch) -> Result<(), Error> {
        self.change(|table| table.commit(rank, next))
    }

    pub fn withdraw(&self, rank: Rank, mine: Epoch) -> Result<Epoch, Error> {
        self.change(|table| table.withdraw(rank, mine))
    }

    pub fn end(&self, rank: Rank, mine: Epoch) -> Result<(), Error> {
        self.change(|table| table.end(rank, mine))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Table) -> Result<T, crate::scheduler::Denied>,
    ) -> Result<T, Error> {
        self.change_on(&mut System, change)
    }

    /// Changes the table, on a disk that may be a test's.
    pub fn change_on<T>(
        &self,
        disk: &mut impl Disk,
        change: impl FnOnce(&mut Table) -> Result<T, crate::scheduler::Denied>,
    ) -> Result<T, Error> {
        let _lock = self.lock()?;
        let mut table = self.read()?;
        let result = change(&mut table)?;
        self.replace(disk, &table)?;
        Ok(result)
    }

    fn replace(&self, disk: &mut impl Disk, table: &Table) -> Result<(), Error> {
        let told = |error| Error::System("the scheduler's file can't be written", error);
        let bytes = encode(table);
        let other = beside(&self.path, ".new");
        let mut file = disk.create(&other).map_err(told)?;
        disk.write(&mut file, &bytes).map_err(told)?;
        disk.sync(&mut file).map_err(told)?;
        disk.rename(&other, &self.path).map_err(told)?;
        let directory = self.path.parent();
        let directory = directory.filter(|path| *path != Path::new(""));
        disk.sync_directory(directory.unwrap_or(Path::new(".")))
            .map_err(told)
    }

    /// Who dies gives it back.
    fn lock(&self) -> Result<Flock<fs::File>, Error> {
        let told = |error| Error::System("the scheduler's lock can't be taken", error);
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(beside(&self.path, ".lock")).map_err(told)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| told(errno.into()))
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(end);
    path.with_file_name(name)
}

fn encode(table: &Table) -> Vec<u8> {
    // A table of our own can be written: it holds numbers and short texts.
    let body = postcard::to_stdvec(table).unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Table> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let sum = u32::from_le_bytes(*head.last_chunk()?);
    let version = u32::from_le_bytes(head.get(8..12)?.try_into().ok()?);
    if head.get(..8)? != MAGIC || version != VERSION || sum != crc32fast::hash(body) {
        return None;
    }
    let (table, rest): (Table, _) = postcard::take_from_bytes(body).ok()?;
    (rest.is_empty() && table.is_sound()).then_some(table)
}
