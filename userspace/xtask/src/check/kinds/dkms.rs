// SPDX-License-Identifier: GPL-2.0
//! The package pagemove-dkms, installed with Debian's dkms where kernel trees are: on top of the build root,
//! which stays as it is.

use crate::check::setup::Setup;
use crate::judge::verdict::{self, Verdict};
use crate::module::Variant;
use crate::report::Report;
use crate::root::image::Flavour;
use crate::root::{chroot, BuildRoot};
use crate::vm::run::End;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is written is in memory and gone with the last process. $2 is to be seen as /mnt/debs, $3 as /mnt/test.
const ENTER: &str = r#"dir=$1 debs=$2 test=$3; shift 3
mount -t tmpfs tmpfs "$dir/mnt" && mkdir "$dir/mnt/upper" "$dir/mnt/work" "$dir/mnt/root" &&
mount -t overlay overlay -o "lowerdir=$dir,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" "$dir/mnt/root" &&
root=$dir/mnt/root && mkdir "$root/mnt/debs" "$root/mnt/test" &&
mount -t proc proc "$root/proc" && mount --bind "$debs" "$root/mnt/debs" && mount --bind "$test" "$root/mnt/test" &&
exec "$@""#;

/// Gets dkms and what it depends on. As root: into this folder apt's own user can not write.
const FETCH: &str = "rm -rf /mnt/debs/* && apt-get update && apt-get -o APT::Sandbox::User=root -o Dir::Cache::archives=/mnt/debs \
    install --download-only --yes --no-install-recommends dkms && touch /mnt/debs/whole";

/// Without a network.
const RUN: &str = "dpkg -i /mnt/debs/*.deb >/tmp/dkms.log 2>&1 || { cat /tmp/dkms.log; exit 1; }
exec sh /mnt/test/dkms.sh \"$@\" /mnt/test/pagemove-dkms_*.deb";

pub fn run(name: &str, setup: &Setup) -> Result<(Verdict, String)> {
    let (place, root) = (setup.place, setup.root()?);
    chroot::need_root("building by dkms")?;
    // The crates are there, too, when the module is.
    setup.module(Flavour::Stock, Variant::Ship)?;
    let debs = place.cache().join("dkms");
    let is_there = || {
        let age = |file: PathBuf| fs::metadata(file).and_then(|data| data.modified()).ok();
        // What belongs to it follows from what the root has.
        age(debs.join("whole")) > age(root.dir().join("var/lib/dpkg/status"))
    };
    let test = place.build().join("dkms");
    if test.exists() {
        fs::remove_dir_all(&test).with_context(|| format!("emptying {}", test.display()))?;
    }
    for dir in [&debs, &test] {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let mut report = Report::new("dkms", &place.build().join("logs/dkms.log"))?;
    if !is_there() {
        report.step("Debian's dkms");
        let mut command = enter(root, &debs, &test);
        command.args(["chroot", &inside(root), "sh", "-c", FETCH]);
        report.run(&mut command)?;
    }
    let mut command = Command::new(place.checkout().join("packaging/deb.sh"));
    command.arg(&test).env("KO", "none");
    command.env("TOOL", setup.tool()?);
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    report.step("pagemove-dkms");
    report.run(&mut command)?;
    report.done();
    let script = place.tests().join("dkms.sh");
    fs::copy(&script, test.join("dkms.sh"))
        .with_context(|| format!("copying {}", script.display()))?;
    let release = root.release();
    let headers = root.headers().to_string_lossy().into_owned();
    let mut command = enter(root, &debs, &test);
    command.args([
        "unshare",
        "--net",
        "chroot",
        &inside(root),
        "sh",
        "-c",
        RUN,
        "sh",
    ]);
    command.args([release, &format!("/{}", root.tree()), &headers]);
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("starting unshare")?;
    let results = String::from_utf8_lossy(&output.stdout);
    let end = output.status.code().map_or(End::Died, End::Status);
    let verdict = verdict::of_program(name, end, &results);
    let said = String::from_utf8_lossy(&output.stderr);
    Ok((verdict, results.into_owned() + &said))
}

fn enter(root: &BuildRoot, debs: &Path, test: &Path) -> Command {
    let mut command = chroot::shell(root.dir(), ENTER);
    command.args([debs, test]);
    command
}

/// Returns where the build root is with what is written on top of it.
fn inside(root: &BuildRoot) -> String {
    root.dir().join("mnt/root").to_string_lossy().into_owned()
}
