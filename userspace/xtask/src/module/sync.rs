// SPDX-License-Identifier: GPL-2.0
//! Keep a copy of source files such that make sees as changed what has changed.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The list of files that were copied, in the copy.
const MANIFEST: &str = ".copied";

/// Makes the files `names` (files or directories) of `from` appear in `to`. Files
/// with the same content are left alone; those that were copied before and are
/// gone from `from` are removed. What a build left in `to` stays.
pub fn copy(from: &Path, names: &[&str], to: &Path) -> Result<()> {
    let mut files = BTreeSet::new();
    for name in names {
        collect(from, Path::new(name), &mut files)?;
    }
    fs::create_dir_all(to)?;
    let manifest = to.join(MANIFEST);
    for old in fs::read_to_string(&manifest).unwrap_or_default().lines() {
        if !files.contains(Path::new(old)) {
            // It may be gone already; make would notice if it were not.
            let _ = fs::remove_file(to.join(old));
        }
    }
    let list: String = files
        .iter()
        .map(|file| format!("{}\n", file.display()))
        .collect();
    // Left alone if it is the same: its age says when the set of files changed.
    if !fs::read_to_string(&manifest).is_ok_and(|old| old == list) {
        fs::write(&manifest, list)?;
    }
    for file in &files {
        copy_changed(&from.join(file), &to.join(file))?;
    }
    Ok(())
}

/// Returns whether everything that `copy` put into `to` is older than `time`.
pub fn all_older(to: &Path, time: SystemTime) -> Result<bool> {
    let list = fs::read_to_string(to.join(MANIFEST))?;
    for name in list.lines() {
        if fs::metadata(to.join(name))?.modified()? >= time {
            return Ok(false);
        }
    }
    // The list itself is written anew only if it changed: a removed file counts, too.
    Ok(fs::metadata(to.join(MANIFEST))?.modified()? < time)
}

fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(to, new).with_context(|| format!("writing {}", to.display()))
}

/// Collects all source files at or below `name`.
fn collect(from: &Path, name: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let path = from.join(name);
    if !path.is_dir() {
        if is_source(name) {
            files.insert(name.to_path_buf());
        }
        return Ok(());
    }
    for entry in fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))? {
        collect(from, &name.join(entry?.file_name()), files)?;
    }
    Ok(())
}

/// Returns whether a file is a source, not what an in-place build (`make KDIR=...`) left there.
fn is_source(name: &Path) -> bool {
    let file = name.file_name().unwrap_or_default().to_string_lossy();
    let extension = name.extension().unwrap_or_default().to_string_lossy();
    file == "Kbuild" || ["rs", "c", "h"].contains(&&*extension)
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
