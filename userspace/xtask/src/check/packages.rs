// SPDX-License-Identifier: GPL-2.0
//! What an operator installs, for a VM with Debian's user space: what `make deb` makes, in two versions, and a
//! checkout with what `make install` takes, as a cpio archive.
//!
//! The second version has the same module but for the version that it tells, so that it is seen which one
//! is loaded.

use crate::place::Place;
use crate::report::Report;
use crate::vm::initramfs::Initramfs;
use crate::vm::kmod::ModInfo;
use anyhow::{bail, ensure, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// What `make install` reads of the checkout, beside what is built.
const SOURCES: [&str; 3] = ["Makefile", "packaging", "include/uapi/linux/pagemove.h"];
/// Where it looks for the tool.
const TOOL: &str = "userspace/target/x86_64-unknown-linux-gnu/release/pagemove";
const KO: &str = "build/pagemove.ko";

/// Makes the archive, unless it is there and younger than all that is in it.
pub fn pack(place: &Place, tool: &Path, ko: &Path) -> Result<PathBuf> {
    let archive = ko.with_file_name("packages.cpio");
    let mut sources = Vec::new();
    for name in SOURCES {
        collect(place.checkout(), Path::new(name), &mut sources)?;
    }
    let files = sources.iter().map(|name| place.checkout().join(name));
    let files = files.chain([tool.to_path_buf(), ko.to_path_buf()]);
    let made = fs::metadata(&archive).and_then(|data| data.modified());
    if made.is_ok_and(|made| newest(files).is_ok_and(|newest| newest < made)) {
        return Ok(archive);
    }
    let dir = ko.with_file_name("packages");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    let log = place.build().join("logs/packages.log");
    let mut report = Report::new("packages", &log)?;
    report.step("packages for Debian, in two versions");
    let info = ModInfo::read(ko)?;
    let version = info.get("version").context("the module has no version")?;
    let (next, next_ko) = (following(version)?, dir.join("pagemove.ko"));
    fs::write(&next_ko, with_version(&fs::read(ko)?, version, &next)?)?;
    for (number, ko, version) in [("1", ko, version), ("2", next_ko.as_path(), next.as_str())] {
        let mut command = Command::new(place.checkout().join("packaging/deb.sh"));
        command.arg(dir.join(number));
        command
            .env("TOOL", tool)
            .env("KO", ko)
            .env("VERSION", version);
        // An emulated CPU would unpack what this one has packed.
        command.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
        report.run(&mut command)?;
    }
    let partial = dir.join("partial");
    let mut image = Initramfs::create(&partial)?;
    for number in ["1", "2"] {
        for entry in fs::read_dir(dir.join(number))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            image.copy(&entry.path(), &format!("debian/packages/{number}/{name}"))?;
        }
    }
    for name in &sources {
        let inside = format!("debian/checkout/{}", name.display());
        image.copy(&place.checkout().join(name), &inside)?;
    }
    for (file, name) in [(tool, TOOL), (ko, KO), (&next_ko, "next/pagemove.ko")] {
        image.copy(file, &format!("debian/checkout/{name}"))?;
    }
    image.finish()?;
    fs::rename(&partial, &archive)?;
    report.done();
    Ok(archive)
}

/// Collects the files at or below `name`.
fn collect(from: &Path, name: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let path = from.join(name);
    if !path.is_dir() {
        files.push(name.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))? {
        collect(from, &name.join(entry?.file_name()), files)?;
    }
    Ok(())
}

fn newest(files: impl Iterator<Item = PathBuf>) -> Result<SystemTime> {
    let ages = files
        .map(|file| Ok(fs::metadata(file)?.modified()?))
        .collect::<Result<Vec<_>>>()?;
    ages.into_iter().max().context("no files")
}

/// Returns a version that is higher, of the same length.
fn following(version: &str) -> Result<String> {
    match version.strip_prefix(|first: char| ('0'..='8').contains(&first)) {
        Some(rest) => Ok(format!("9{rest}")),
        None => bail!("a version {version}"),
    }
}

/// Returns the module with another version in what it tells of itself.
fn with_version(ko: &[u8], old: &str, new: &str) -> Result<Vec<u8>> {
    let entry = |version: &str| format!("\0version={version}\0").into_bytes();
    let (old, new) = (entry(old), entry(new));
    ensure!(old.len() == new.len(), "versions of two lengths");
    let found: Vec<usize> = (0..ko.len().saturating_sub(old.len()))
        .filter(|&at| ko[at..].starts_with(&old))
        .collect();
    let &[at] = &found[..] else {
        bail!("the module tells its version {} times", found.len());
    };
    let mut ko = ko.to_vec();
    ko[at..at + new.len()].copy_from_slice(&new);
    Ok(ko)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_is_higher_and_as_long() {
        assert_eq!(following("0.1.0").unwrap(), "9.1.0");
        assert!(following("9.0").is_err() && following("").is_err());
    }

    #[test]
    fn one_version_is_replaced_and_none_is_made_up() {
        let ko = b"\0srcversion=0.1\0version=0.1\0rest";
        let new = with_version(ko, "0.1", "9.1").unwrap();
        assert_eq!(new, b"\0srcversion=0.1\0version=9.1\0rest");
        assert!(with_version(b"\0name=x\0", "0.1", "9.1").is_err());
    }
}
