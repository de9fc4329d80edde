// SPDX-License-Identifier: GPL-2.0
//! Build the kernel modules that tests bring along, written in C.

use super::{checkout_id, is_newest, sync};
use crate::place::Place;
use crate::report::Report;
use crate::root::{chroot, make, BuildRoot};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Build the module `name`, whose sources are in `dir` of the checkout, and return
/// where it is. Does nothing where nothing changed.
///
/// One at a time: tests that run side by side may need the same module.
pub fn build(place: &Place, root: &BuildRoot, dir: &str, name: &str) -> Result<PathBuf> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(|broken| broken.into_inner());
    let inside = Path::new("build").join(format!("pagemove-{}", checkout_id(place))).join(name);
    let work = root.dir().join(&inside);
    sync::copy(place.checkout(), &[dir], &work)?;
    let file = format!("{name}.ko");
    let (output, built) = (place.build().join(&file), work.join(dir).join(&file));
    if is_newest(&output, &built, &work)? {
        return Ok(output);
    }
    chroot::need_root("building a module")?;
    let mut report = Report::new("module", &place.build().join(format!("logs/module-{name}.log")))?;
    report.step(&format!("building {file} for {}", root.release()));
    let mut command = chroot::command(root.dir(), "make");
    command.arg("-C").arg(format!("/{}", make::tree())).args(make::make_arguments(root.release()));
    report.run(command.arg(format!("M=/{}", inside.join(dir).display())).arg("modules"))?;
    fs::copy(&built, &output).with_context(|| format!("copying {}", built.display()))?;
    report.done();
    Ok(output)
}
