// SPDX-License-Identifier: GPL-2.0
//! Build what tests of NTBs need: the kernel's own NTB core, which the stock kernel leaves
//! out, from the kernel's tree; a driver of a stand-in for a bridge; and pagemove_ntb.ko.

use super::{is_newest, make_parent, sync, workshop, Variant};
use crate::place::Place;
use crate::report::Report;
use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The kernel's file, and where `tests/ntb/Kbuild` looks for it.
const CORE: (&str, &str) = ("drivers/ntb/core.c", "core.c");
const STAND_IN: &str = "tests/ntb";
const CLIENT: &str = "src/ntb";
const SOURCES: [&str; 3] = [STAND_IN, CLIENT, "src/shim/link.h"];

/// In the order in which they have to be loaded; pagemove.ko comes before the last.
const MODULES: [(&str, &str); 3] = [
    (STAND_IN, "ntb"),
    (STAND_IN, "pagemove_test_ntb"),
    (CLIENT, "pagemove_ntb"),
];

/// Builds them and returns where they are. Does nothing where nothing changed. pagemove.ko has
/// to be built: the last is linked against what it exports.
///
/// One at a time: tests that run side by side may need them.
pub fn build(place: &Place, root: &BuildRoot, image: &Image) -> Result<Vec<PathBuf>> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(|broken| broken.into_inner());
    let ours = workshop(place, image);
    let inside = ours.join("ntb");
    let work = root.dir().join(&inside);
    sync::copy(place.checkout(), &SOURCES, &work)?;
    copy_core(root, &work)?;
    let output = |name: &str| image.within(&place.build()).join(format!("{name}.ko"));
    let outputs: Vec<PathBuf> = MODULES.iter().map(|(_, name)| output(name)).collect();
    let built = |dir: &str, name: &str| work.join(dir).join(format!("{name}.ko"));
    let mut newest = true;
    for (dir, name) in MODULES {
        newest &= is_newest(&output(name), &built(dir, name), &work)?;
    }
    if newest {
        return Ok(outputs);
    }
    let mut report = Report::new(
        "module",
        &image
            .within(&place.build().join("logs"))
            .join("module-ntb.log"),
    )?;
    report.step(&format!(
        "building ntb.ko and its client for {}",
        image.release
    ));
    // What both builds of pagemove.ko export is the same.
    let exports = [ours.join(Variant::Ship.name()), inside.join(STAND_IN)]
        .map(|dir| format!("/{}/Module.symvers", dir.display()))
        .join(" ");
    for (dir, extra) in [(STAND_IN, None), (CLIENT, Some(exports))] {
        let mut command = image.make_modules(&inside.join(dir))?;
        command.args(extra.map(|files| format!("KBUILD_EXTRA_SYMBOLS={files}")));
        report.run(&mut command)?;
    }
    for ((dir, name), output) in MODULES.iter().zip(&outputs) {
        let built = built(dir, name);
        make_parent(output)?;
        fs::copy(&built, output).with_context(|| format!("copying {}", built.display()))?;
    }
    report.done();
    Ok(outputs)
}

fn copy_core(root: &BuildRoot, work: &Path) -> Result<()> {
    let from = root.dir().join(root.tree()).join(CORE.0);
    let to = work.join(STAND_IN).join(CORE.1);
    let text = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
    if !fs::read(&to).is_ok_and(|old| old == text) {
        fs::write(&to, text).with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}
