// SPDX-License-Identifier: GPL-2.0
//! Packages that are fetched to be unpacked, not to be installed.

use super::{chroot, wipe::remove_tree};
use crate::report::Report;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Brings apt's lists up to date, with names resolved as on the machine.
pub fn update(report: &mut Report, root: &Path) -> Result<()> {
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))
        .context("copying /etc/resolv.conf")?;
    report.run(chroot::command(root, "apt-get").arg("update"))
}

/// Fetches packages into a directory of the build root, which is made anew.
pub fn download(report: &mut Report, root: &Path, dir: &str, packages: &[String]) -> Result<()> {
    remove_tree(&root.join(dir))?;
    fs::create_dir_all(root.join(dir))?;
    let mut command = chroot::command(root, "sh");
    // apt downloads as user _apt where it can; into this directory it can not.
    command.args([
        "-c",
        "cd \"$1\" && shift && apt-get -o APT::Sandbox::User=root download \"$@\"",
        "sh",
    ]);
    report.run(command.arg(format!("/{dir}")).args(packages))
}
