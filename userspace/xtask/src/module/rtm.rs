// SPDX-License-Identifier: GPL-2.0
//! Build the emulation of RTM, a plugin for the build root's QEMU, with the build
//! root's compiler: it has to fit the libraries that QEMU runs with.

use super::{checkout_id, is_newest, sync};
use crate::place::Place;
use crate::report::Report;
use crate::root::{chroot, BuildRoot};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const SOURCES: &str = "tests/rtm-emulation";

/// No red zone: the plugin pushes flags. No strict aliasing: it looks at the guest's
/// memory as words and as bytes.
const FLAGS: [&str; 11] = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-mno-red-zone",
    "-fno-strict-aliasing",
];

/// Builds it and returns where it is. Does nothing where nothing changed.
pub fn build(place: &Place, root: &BuildRoot) -> Result<PathBuf> {
    let inside = Path::new("build")
        .join(format!("pagemove-{}", checkout_id(place)))
        .join("rtm");
    let work = root.dir().join(&inside);
    let plugin = format!("{SOURCES}/plugin");
    sync::copy(
        place.checkout(),
        &[&format!("{SOURCES}/control.h"), &plugin],
        &work,
    )?;
    let output = place.build().join("rtm.so");
    let built = work.join("rtm.so");
    if is_newest(&output, &built, &work)? {
        return Ok(output);
    }
    chroot::need_root("building the emulation of RTM")?;
    let mut report = Report::new("rtm", &place.build().join("logs/rtm.log"))?;
    report.step("building the emulation of RTM");
    let mut command = chroot::command(root.dir(), "gcc");
    command
        .args(FLAGS)
        .arg("-o")
        .arg(Path::new("/").join(&inside).join("rtm.so"));
    for name in sources(&work.join(&plugin))? {
        command.arg(Path::new("/").join(&inside).join(&plugin).join(name));
    }
    report.run(&mut command)?;
    fs::copy(&built, &output).with_context(|| format!("copying {}", built.display()))?;
    report.done();
    Ok(output)
}

fn sources(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".c") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
