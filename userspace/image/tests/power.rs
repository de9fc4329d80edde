// SPDX-License-Identifier: GPL-2.0
//! The machine stops at any step of saving, and forgets what was not made durable: the file is the old one
//! or the new one. Two ways to save that look as good are found to be none.

mod common;

use common::image;
use pagemove_image::{decode, save_to, Disk, Image};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What is done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// What was written is not made durable before it is renamed.
    NoSync,
    /// It is written over the old one.
    InPlace,
}

/// A file's contents, as they are and as they are known to survive.
#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
}

/// A disk that stops after so many steps.
#[derive(Clone, Debug)]
struct Forgetful {
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    steps_left: usize,
    mistake: Mistake,
}

impl Forgetful {
    fn step(&mut self) -> io::Result<()> {
        if self.steps_left == 0 {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.steps_left -= 1;
        Ok(())
    }

    /// Returns what can be in a file after the machine has stopped, and nothing for no file.
    fn after_crash(&self, path: &Path) -> Vec<Option<Vec<u8>>> {
        let mut found = Vec::new();
        for names in [&self.names, &self.durable_names] {
            let Some(&file) = names.get(path) else {
                found.push(None);
                continue;
            };
            let contents = &self.files[file];
            // A part of what was not made durable may be there.
            let half = contents.now[..contents.now.len() / 2].to_vec();
            found.push(Some(contents.durable.clone()));
            if contents.now != contents.durable {
                found.extend([Some(contents.now.clone()), Some(half)]);
            }
        }
        found
    }
}

impl Disk for Forgetful {
    type File = usize;

    fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.step()?;
        let path = match self.mistake {
            Mistake::InPlace => Path::new("dir/image"),
            _ => path,
        };
        if let Some(&file) = self.names.get(path) {
            self.files[file].now.clear();
            return Ok(file);
        }
        self.files.push(Contents::default());
        self.names.insert(path.to_path_buf(), self.files.len() - 1);
        Ok(self.files.len() - 1)
    }

    fn write(&mut self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(1 << 14) {
            self.step()?;
            self.files[*file].now.extend(piece);
        }
        Ok(())
    }

    fn sync(&mut self, file: &mut usize) -> io::Result<()> {
        self.step()?;
        if self.mistake != Mistake::NoSync {
            self.files[*file].durable = self.files[*file].now.clone();
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        if let Some(file) = self.names.remove(from) {
            self.names.insert(to.to_path_buf(), file);
        }
        Ok(())
    }

    fn sync_directory(&mut self, _: &Path) -> io::Result<()> {
        self.step()?;
        self.durable_names = self.names.clone();
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.names.remove(path);
        Ok(())
    }
}

/// Saves `new` over `old` with an end at every step; returns how many ends there were, and what was wrong.
fn ends(old: Option<&Image>, new: &Image, mistake: Mistake) -> (usize, Vec<String>) {
    let path = Path::new("dir/image");
    let mut wrong = Vec::new();
    for steps in 0.. {
        let mut disk = Forgetful {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            steps_left: usize::MAX,
            mistake: Mistake::None,
        };
        if let Some(old) = old {
            save_to(&mut disk, old, path).expect("nothing stops");
        }
        disk.steps_left = steps;
        disk.mistake = mistake;
        let ended = save_to(&mut disk, new, path);
        for found in disk.after_crash(path) {
            let found = found.map(|bytes| decode(&bytes));
            let right = match &found {
                None => old.is_none(),
                Some(Ok(image)) => Some(image) == old || image == new,
                Some(Err(_)) => false,
            };
            let lost = ended.is_ok() && !matches!(&found, Some(Ok(image)) if image == new);
            if !right || lost {
                wrong.push(format!(
                    "after {steps} steps: {:?}",
                    found.map(|it| it.is_ok())
                ));
            }
        }
        if ended.is_ok() {
            return (steps, wrong);
        }
    }
    unreachable!("it ends when nothing stops")
}

#[test]
fn the_old_or_the_new_one_survives_each_end() {
    let (steps, wrong) = ends(Some(&image(1, 8)), &image(2, 30), Mistake::None);
    println!("{steps} steps");
    assert!(steps > 50, "{steps} steps");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_or_the_new_one_survives_each_end() {
    let (_, wrong) = ends(None, &image(2, 8), Mistake::None);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_rename_before_what_it_names_is_durable_is_found() {
    let (_, wrong) = ends(Some(&image(1, 8)), &image(2, 8), Mistake::NoSync);
    assert!(!wrong.is_empty());
}

#[test]
fn writing_over_the_old_one_is_found() {
    let (_, wrong) = ends(Some(&image(1, 8)), &image(2, 8), Mistake::InPlace);
    assert!(!wrong.is_empty());
}
