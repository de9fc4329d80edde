// SPDX-License-Identifier: GPL-2.0
//! Build plugins for the build root's QEMU, with the build root's compiler: they have to fit the
//! libraries that QEMU runs with.

use super::{checkout_id, is_newest, sync};
use crate::place::Place;
use crate::report::Report;
use crate::root::{chroot, BuildRoot};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A plugin. Its sources are `plugin/*.c` in its directory, and one header beside that.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    name: &'static str,
    about: &'static str,
    sources: &'static str,
    header: &'static str,
    flags: &'static [&'static str],
}

/// No red zone: it pushes flags. No strict aliasing: it looks at the guest's memory as words and
/// as bytes.
pub const RTM: Plugin = Plugin {
    name: "rtm",
    about: "the emulation of RTM",
    sources: "tests/rtm-emulation",
    header: "control.h",
    flags: &["-mno-red-zone", "-fno-strict-aliasing"],
};

pub const COUNTER: Plugin = Plugin {
    name: "counter",
    about: "the counter of instructions",
    sources: "tests/instruction-counter",
    header: "mark.h",
    flags: &[],
};

const FLAGS: [&str; 9] = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
];

/// Builds it and returns where it is. Does nothing where nothing changed.
pub fn build(place: &Place, root: &BuildRoot, plugin: Plugin) -> Result<PathBuf> {
    let inside = Path::new("build")
        .join(format!("pagemove-{}", checkout_id(place)))
        .join(plugin.name);
    let work = root.dir().join(&inside);
    let sources = format!("{}/plugin", plugin.sources);
    let header = format!("{}/{}", plugin.sources, plugin.header);
    sync::copy(place.checkout(), &[&header, &sources], &work)?;
    let file = format!("{}.so", plugin.name);
    let (output, built) = (place.build().join(&file), work.join(&file));
    if is_newest(&output, &built, &work)? {
        return Ok(output);
    }
    let what = format!("building {}", plugin.about);
    chroot::need_root(&what)?;
    let log = place.build().join(format!("logs/{}.log", plugin.name));
    let mut report = Report::new(plugin.name, &log)?;
    report.step(&what);
    let mut command = chroot::command(root.dir(), "gcc");
    let inside = Path::new("/").join(&inside);
    command
        .args(FLAGS)
        .args(plugin.flags)
        .arg("-o")
        .arg(inside.join(&file));
    for name in files_of(&work.join(&sources))? {
        command.arg(inside.join(&sources).join(name));
    }
    report.run(&mut command)?;
    fs::copy(&built, &output).with_context(|| format!("copying {}", built.display()))?;
    report.done();
    Ok(output)
}

fn files_of(dir: &Path) -> Result<Vec<String>> {
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
