// SPDX-License-Identifier: GPL-2.0
//! Debian as users have it, for a VM: its user space, with the packages of the kernel that the VM boots and
//! `make`, as a cpio archive whose files are below /debian. Kept in the cache.

use super::series::Series;
use super::wipe::remove_tree;
use super::{chroot, lock, make, mirror, pin, BuildRoot};
use crate::place::Place;
use crate::report::Report;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bumped when something else is done than before.
const RECIPE: u32 = 1;

/// Beside the essential packages and the kernel's. The last one is the smallest of those that make an initramfs,
/// without one of which the kernel's package is not installed; `make` runs `make install`.
const PACKAGES: [&str; 5] = ["kmod", "udev", "systemd", "make", "tiny-initramfs"];

/// What apt says of a kernel that has left the mirror.
const GONE: &str = "Unable to locate package linux-image-";

/// Prints the names of what goes into the archive. What no installation of ours touches and a VM does not use stays
/// away: kernels as files, modules other than VFIO's, translations, documents.
const NAMES: &str = r#"find debian \( -path 'debian/boot/*' -o -path 'debian/usr/lib/modules/*/vmlinuz' \
    -o -path 'debian/usr/lib/modules/*/System.map' -o -path 'debian/usr/share/locale/*' -o -path 'debian/usr/share/doc/*' \
    -o -path 'debian/usr/share/i18n/*' -o -path 'debian/usr/share/zoneinfo/*' -o -path 'debian/usr/lib/x86_64-linux-gnu/gconv/*' \
    -o -path 'debian/usr/lib/modules/*/kernel/*' ! -path '*/kernel/drivers' ! -path '*/kernel/drivers/vfio*' \
    ! -path '*/kernel/virt*' \) -prune -o -print0"#;

/// Returns the archive, made if it is not there; none where the mirror does not have this kernel any more.
///
/// That takes a minute, and 120 MB in the cache.
pub fn ensure(place: &Place, root: &BuildRoot) -> Result<Option<PathBuf>> {
    let archive = file(place, root.series());
    let stamp = archive.with_extension("stamp");
    let recipe = format!("{RECIPE} {} {PACKAGES:?} {NAMES}", root.release());
    let is_made =
        || fs::read_to_string(&stamp).is_ok_and(|text| text == recipe) && archive.exists();
    if is_made() {
        return Ok(Some(archive));
    }
    let lock = File::create(place.cache().join("lock-debian"))?;
    let _lock = lock::alone(lock).context("waiting for who makes Debian's user space")?;
    if is_made() {
        return Ok(Some(archive));
    }
    chroot::need_root("making Debian's user space")?;
    let dir = place.cache().join("debian.partial");
    remove_tree(&dir)?;
    fs::create_dir_all(&dir)?;
    let log = place.cache().join("debian.log");
    let mut report = Report::new("debian", &log)?;
    make::mmdebstrap(&mut report)?;
    report.step(&format!("Debian's user space for {}", root.release()));
    if let Err(error) = report.run(&mut bootstrap(root, &dir.join("debian"))?) {
        remove_tree(&dir)?;
        let said = fs::read_to_string(&log)?;
        return if said.contains(GONE) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    report.run(&mut pack(root, &dir, &archive))?;
    remove_tree(&dir)?;
    fs::write(&stamp, recipe)?;
    report.done();
    Ok(Some(archive))
}

fn file(place: &Place, series: Series) -> PathBuf {
    place.cache().join(format!("debian-{}.cpio", series.name()))
}

/// Makes the command that installs it, from the mirror that the build root is from.
fn bootstrap(root: &BuildRoot, dir: &Path) -> Result<Command> {
    let list = root.dir().join("etc/apt/sources.list");
    let sources =
        fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--variant=apt", "--format=directory"]);
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    for option in mirror::options()? {
        command.arg(format!("--aptopt={option}"));
    }
    // The kernel is from backports, and so is what it wants of linux-base.
    command.arg(format!(
        "--include={},linux-base/{},linux-image-{}",
        PACKAGES.join(","),
        pin::BACKPORTS,
        root.release()
    ));
    command.arg(pin::SUITE).arg(dir);
    command.args(sources.lines().filter(|line| line.starts_with("deb ")));
    Ok(command)
}

/// Makes the command that packs it, with the build root's cpio.
fn pack(root: &BuildRoot, dir: &Path, archive: &Path) -> Command {
    let script = format!(
        "set -e; cd \"$1\"; archive=$2; shift 2; {NAMES} >names; \
         \"$@\" --null --create --format=newc --quiet <names >\"$archive.partial\"; mv \"$archive.partial\" \"$archive\""
    );
    let cpio = root.tool("usr/bin/cpio");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(dir).arg(archive);
    command.arg(cpio.get_program()).args(cpio.get_args());
    command
}
