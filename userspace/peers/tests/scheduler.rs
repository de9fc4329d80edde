// SPDX-License-Identifier: GPL-2.0
//! The scheduler's file: whoever dies in the middle of a change leaves the old table or the new
//! one, and of two who want to be a rank one is told no.

use nix::sys::signal::{raise, Signal};
use pagemove_image::{Disk, System};
use pagemove_peers::driver::Error;
use pagemove_peers::{Denied, Looked, SchedulerFile, Table};
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells the process which is killed at which step, where the file is, and how it is written.
const STEP: &str = "PAGEMOVE_PEERS_STEP";
const FILE: &str = "PAGEMOVE_PEERS_FILE";
const IN_PLACE: &str = "PAGEMOVE_PEERS_IN_PLACE";

/// The host's file system, with an end at a step; `in_place` writes to the file itself, which is
/// the mistake that the test has to notice.
struct Deadly {
    steps_left: usize,
    in_place: bool,
}

impl Deadly {
    fn step(&mut self) {
        if self.steps_left == 0 {
            raise(Signal::SIGKILL).expect("the end");
        }
        self.steps_left -= 1;
    }

    fn name(&self, path: &Path) -> PathBuf {
        match self.in_place {
            true => PathBuf::from(path.to_str().unwrap().trim_end_matches(".new")),
            false => path.to_path_buf(),
        }
    }
}

impl Disk for Deadly {
    type File = File;

    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.step();
        System.create(&self.name(path))
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(8) {
            self.step();
            System.write(file, piece)?;
        }
        Ok(())
    }

    fn sync(&mut self, file: &mut File) -> io::Result<()> {
        self.step();
        System.sync(file)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step();
        match self.in_place {
            true => Ok(()),
            false => System.rename(from, to),
        }
    }

    fn sync_directory(&mut self, directory: &Path) -> io::Result<()> {
        self.step();
        System.sync_directory(directory)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        System.remove(path)
    }
}

fn fresh(path: &Path) -> SchedulerFile {
    let _ = std::fs::remove_file(path);
    let file = SchedulerFile::open(path, 3).unwrap();
    for rank in 0..3 {
        file.join(rank, "192.0.2.1:7180").unwrap();
    }
    file
}

fn begun(table: &mut Table) -> Result<u32, Denied> {
    table.begin(1, 0, "192.0.2.2:7181")
}

/// Kills at each step; returns the steps, and at how many the file was neither old nor new.
fn kills(test: &str, in_place: bool) -> Option<(usize, usize)> {
    if let (Ok(step), Some(path)) = (std::env::var(STEP), std::env::var_os(FILE)) {
        let mut disk = Deadly {
            steps_left: step.parse().unwrap(),
            in_place: std::env::var_os(IN_PLACE).is_some(),
        };
        let file = SchedulerFile::open(Path::new(&path), 3).unwrap();
        file.change_on(&mut disk, begun).unwrap();
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler");
    let old = fresh(&path).read().unwrap();
    let mut new = old.clone();
    begun(&mut new).unwrap();
    let mut bad = 0;
    for step in 0.. {
        let file = fresh(&path);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([test, "--exact", "--test-threads=1"]);
        child.env(STEP, step.to_string()).env(FILE, &path);
        if in_place {
            child.env(IN_PLACE, "1");
        }
        let status = child
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        match file.read() {
            Ok(table) if table == old || table == new => {
                // The lock is free, and the table goes on.
                let next = file.change_on(&mut System, begun);
                assert_eq!(next.is_ok(), table == old);
            }
            _ => bad += 1,
        }
        if status.success() {
            return Some((step, bad));
        }
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }
    None
}

#[test]
fn killed_at_each_step_it_is_the_old_table_or_the_new() {
    let name = "killed_at_each_step_it_is_the_old_table_or_the_new";
    if let Some((steps, bad)) = kills(name, false) {
        println!("{steps} steps");
        assert!(steps > 10);
        assert_eq!(bad, 0);
    }
}

#[test]
fn a_file_written_in_place_would_be_torn() {
    if let Some((_, bad)) = kills("a_file_written_in_place_would_be_torn", true) {
        assert!(bad > 0);
    }
}

/// The old process wants to go on, the new one wants to be the rank: at once, over and over.
#[test]
fn one_of_two_is_told_no() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler");
    let file = fresh(&path);
    let mut wins = [0, 0];
    let mut epoch = 0;
    for round in 0..60 {
        let next = file.begin(0, epoch, "192.0.2.9:1").unwrap();
        let (file, old) = (&file, epoch);
        let (back, gone) = std::thread::scope(|scope| {
            let wait = std::time::Duration::from_micros(round * 20 % 300);
            let back = scope.spawn(move || file.withdraw(0, old));
            std::thread::sleep(wait);
            let gone = file.commit(0, next);
            (back.join().unwrap(), gone)
        });
        epoch = match (back, gone) {
            (Ok(epoch), Err(Error::Denied(_))) => {
                wins[0] += 1;
                epoch
            }
            (Err(Error::Denied(_)), Ok(())) => {
                wins[1] += 1;
                next
            }
            both => panic!("{both:?}"),
        };
        let table = file.read().unwrap();
        assert_eq!(table.holder(0).unwrap().epoch, epoch);
        assert!(matches!(table.look(0), Ok(Looked::At(at)) if at.epoch == epoch));
    }
    println!("the old one {}, the new one {}", wins[0], wins[1]);
}

#[test]
fn what_the_table_denies() {
    let mut table = Table::new(2).unwrap();
    assert_eq!(table.look(0), Ok(Looked::Absent));
    assert_eq!(table.look(2), Err(Denied::NoSuchRank));
    assert_eq!(table.begin(0, 0, "x"), Err(Denied::Other));
    assert_eq!(table.join(0, "a"), Ok(0));
    assert_eq!(table.join(0, "b"), Err(Denied::Other));
    assert_eq!(table.commit(0, 1), Err(Denied::NotMoving));
    assert_eq!(table.withdraw(0, 0), Err(Denied::NotMoving));
    assert_eq!(table.begin(0, 0, "b"), Ok(1));
    assert_eq!(table.begin(0, 0, "c"), Err(Denied::Other));
    assert_eq!(table.end(0, 0), Err(Denied::Other));
    assert_eq!(table.commit(0, 2), Err(Denied::NotMoving));
    assert_eq!(table.commit(0, 1), Ok(()));
    // Said again, it is still so.
    assert_eq!(table.commit(0, 1), Ok(()));
    assert_eq!(table.withdraw(0, 0), Err(Denied::Other));
    assert_eq!(table.begin(0, 1, &"x".repeat(300)), Err(Denied::Limit));
    assert_eq!(table.end(0, 1), Ok(()));
    assert_eq!(table.look(0), Ok(Looked::Ended));
    assert_eq!(table.join(0, "d"), Err(Denied::Ended));
    assert!(Table::new(0).is_err() && Table::new(u16::MAX).is_err());
}

#[test]
fn of_those_who_take_up_the_same_state_one_can_be_the_rank() {
    let mut table = Table::new(2).unwrap();
    assert_eq!(table.join(0, "a"), Ok(0));
    assert_eq!(table.take_up(0, 0, "b"), Err(Denied::NotMoving));
    assert_eq!(table.leave(0, 0), Ok(1));
    // It is in a file.
    assert_eq!(table.look(0), Ok(Looked::Absent));
    assert!(table.is_sound());
    assert_eq!(table.take_up(0, 1, "b"), Err(Denied::Other));
    assert_eq!(table.take_up(0, 0, "b"), Ok(2));
    assert!(matches!(table.look(0), Ok(Looked::At(at)) if at.place == "b"));
    // That one died, or is slow.
    assert_eq!(table.take_up(0, 0, "c"), Ok(3));
    assert_eq!(table.commit(0, 2), Err(Denied::NotMoving));
    assert_eq!(table.commit(0, 3), Ok(()));
    assert_eq!(table.take_up(0, 0, "d"), Err(Denied::Other));
    // The state could not be written: whoever has it all the same is told no.
    assert_eq!(table.leave(0, 3), Ok(4));
    assert_eq!(table.withdraw(0, 3), Ok(5));
    assert_eq!(table.take_up(0, 3, "e"), Err(Denied::Other));
    assert_eq!(table.end(0, 5), Ok(()));
    assert_eq!(table.take_up(0, 5, "f"), Err(Denied::Ended));
}
