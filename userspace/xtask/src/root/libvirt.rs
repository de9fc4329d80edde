// SPDX-License-Identifier: GPL-2.0
//! libvirt for the VM that tries it: unpacked below the build root, where nothing else finds it.

use super::wipe::remove_tree;
use super::{chroot, lock, packages, pin, BuildRoot};
use crate::place::Place;
use crate::report::Report;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::PathBuf;

/// Bumped when something else is done than before.
const RECIPE: u32 = 1;
/// In the build root: where its files are, and where its packages wait to be unpacked.
const FILES: &str = "opt/libvirt";
const PACKAGES: &str = "var/cache/pagemove/libvirt";

/// Returns the directory with its files, which are fetched if they are not there.
pub fn ensure(place: &Place, root: &BuildRoot) -> Result<PathBuf> {
    let files = root.dir().join(FILES);
    let stamp = files.join(".pagemove");
    let recipe = format!("{RECIPE} {:?}", pin::LIBVIRT);
    let is_there = || fs::read_to_string(&stamp).is_ok_and(|text| text == recipe);
    if is_there() {
        return Ok(files);
    }
    chroot::need_root("fetching libvirt")?;
    let file = File::create(place.cache().join("lock-libvirt"))?;
    let _lock = lock::alone(file).context("waiting for who fetches libvirt")?;
    if !is_there() {
        let mut report = Report::new("libvirt", &place.cache().join("libvirt.log"))?;
        report.step("fetching its packages");
        packages::update(&mut report, root.dir())?;
        let names = pin::LIBVIRT.map(String::from);
        packages::download(&mut report, root.dir(), PACKAGES, &names)?;
        remove_tree(&files)?;
        fs::create_dir_all(&files)?;
        let script =
            format!("set -e; for deb in /{PACKAGES}/*.deb; do dpkg -x $deb /{FILES}; done");
        report.run(chroot::command(root.dir(), "sh").args(["-c", &script]))?;
        remove_tree(&root.dir().join(PACKAGES))?;
        report.done();
        fs::write(&stamp, recipe)?;
    }
    Ok(files)
}
