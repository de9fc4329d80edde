// SPDX-License-Identifier: GPL-2.0
//! Build the kernel modules that tests bring along, written in C.

use super::{is_newest, make_parent, sync, workshop};
use crate::place::Place;
use crate::report::Report;
use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// Builds the module `name`, whose sources are in `dir` of the checkout, and returns
/// where it is. Does nothing where nothing changed.
///
/// One at a time: tests that run side by side may need the same module.
pub fn build(
    place: &Place,
    root: &BuildRoot,
    image: &Image,
    dir: &str,
    name: &str,
) -> Result<PathBuf> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(|broken| broken.into_inner());
    let inside = workshop(place, image).join(name);
    let work = root.dir().join(&inside);
    sync::copy(place.checkout(), &[dir], &work)?;
    let file = format!("{name}.ko");
    let (output, built) = (
        image.within(&place.build()).join(&file),
        work.join(dir).join(&file),
    );
    if is_newest(&output, &built, &work)? {
        return Ok(output);
    }
    let log = image
        .within(&place.build().join("logs"))
        .join(format!("module-{name}.log"));
    let mut report = Report::new("module", &log)?;
    report.step(&format!("building {file} for {}", image.release));
    report.run(&mut image.make_modules(&inside.join(dir))?)?;
    make_parent(&output)?;
    fs::copy(&built, &output).with_context(|| format!("copying {}", built.display()))?;
    report.done();
    Ok(output)
}
