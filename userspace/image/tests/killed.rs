// SPDX-License-Identifier: GPL-2.0
//! A process that saves is killed at every one of its writes: its file is the old one or the new one.

mod common;

use common::image;
use nix::sys::signal::{raise, Signal};
use pagemove_image::{load, save, save_to, Disk, System};
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Tells the process which is killed at which step, and what to write.
const STEP: &str = "PAGEMOVE_IMAGE_STEP";
const FILE: &str = "PAGEMOVE_IMAGE_FILE";
const TEST: &str = "each_kill_leaves_the_old_or_the_new_one";
/// Bytes of a write.
const PIECE: usize = 16 << 10;

/// The host's file system, with an end at a step.
struct Deadly {
    steps_left: usize,
}

impl Deadly {
    fn step(&mut self) {
        if self.steps_left == 0 {
            raise(Signal::SIGKILL).expect("the end");
        }
        self.steps_left -= 1;
    }
}

impl Disk for Deadly {
    type File = File;

    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.step();
        System.create(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
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
        System.rename(from, to)
    }

    fn sync_directory(&mut self, directory: &Path) -> io::Result<()> {
        self.step();
        System.sync_directory(directory)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        System.remove(path)
    }
}

#[test]
fn each_kill_leaves_the_old_or_the_new_one() {
    let (old, new) = (image(1, 20), image(2, 70));
    if let (Ok(step), Some(file)) = (std::env::var(STEP), std::env::var_os(FILE)) {
        let mut disk = Deadly {
            steps_left: step.parse().expect("a number"),
        };
        save_to(&mut disk, &new, Path::new(&file)).expect("it can be saved");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("image");
    let (mut kills, mut olds) = (0, 0);
    loop {
        save(&old, &file).expect("it can be saved");
        let status = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", TEST])
            .env(STEP, kills.to_string())
            .env(FILE, &file)
            .stdout(Stdio::null())
            .status()
            .expect("this test");
        let found = load(&file).expect("it is whole");
        if status.success() {
            assert!(found == new, "it was saved, and is not there");
            break;
        }
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
        assert!(
            found == old || found == new,
            "after {kills} steps it is neither"
        );
        olds += usize::from(found == old);
        kills += 1;
    }
    println!("{kills} kills, the old one {olds} times");
    assert!(kills >= 200, "{kills} kills");
    assert!(olds < kills, "the last kill is behind the new name");
}
