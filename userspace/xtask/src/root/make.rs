// SPDX-License-Identifier: GPL-2.0
//! `xtask build-root`: make the build root, in stages. A stage that was finished
//! leaves a stamp with what it was made of, so an interrupted run goes on where
//! it was and a finished one has nothing to do.

use super::kernel::{self, Kernel};
use super::mirror::Mirror;
use super::wipe::remove_tree;
use super::{chroot, lock, lock_file, pin, BuildRoot, KERNEL};
use crate::place::Place;
use crate::report::Report;
use anyhow::{bail, Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bumped when a stage does something else than before.
const RECIPE: u32 = 1;

/// Inside the build root.
const DOWNLOADS: &str = "var/cache/pagemove";

/// Returns the kernel's source tree, in the build root.
pub fn tree() -> String {
    format!("build/linux-source-{}", pin::SERIES)
}

/// Returns what every make in the kernel's tree is told. LOCALVERSION makes the release
/// that of the stock kernel.
pub fn make_arguments(release: &str) -> Vec<String> {
    let numbers = release
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(release.len());
    vec![
        "ARCH=x86".into(),
        "CROSS_COMPILE=x86_64-linux-gnu-".into(),
        format!("LOCALVERSION={}", &release[numbers..]),
        format!(
            "-j{}",
            std::thread::available_parallelism().map_or(1, |n| n.get())
        ),
    ]
}

struct Maker {
    dir: PathBuf,
    stamps: PathBuf,
    mirror: Option<String>,
    report: Report,
}

type Stage = (&'static str, &'static str, fn(&mut Maker) -> Result<()>);

/// The stamp that says that the root was begun by this program, and so may be
/// removed by it. Where it is missing, somebody else's root is never touched.
const BEGUN: &str = "begun";

const STAGES: [Stage; 5] = [
    (
        "system",
        "root file system with the toolchain",
        Maker::system,
    ),
    ("qemu", "QEMU", Maker::qemu),
    (
        "download",
        "kernel, modules, headers and source",
        Maker::download,
    ),
    (
        "unpack",
        "unpacking the kernel and its source",
        Maker::unpack,
    ),
    ("prepare", "kernel tree with Rust metadata", Maker::prepare),
];

/// Makes what is missing; returns at once if nothing is.
pub fn ensure(place: &Place, mirror: Option<&str>) -> Result<BuildRoot> {
    let stamps = place.cache().join("stamps");
    if missing(&stamps) == STAGES.len() {
        return BuildRoot::open(&place.root());
    }
    chroot::need_root("making the build root")?;
    fs::create_dir_all(&stamps).with_context(|| format!("making {}", stamps.display()))?;
    let file = File::create(lock_file(&place.root()))?;
    let lock = lock::alone(file).context("waiting for who uses the build root")?;
    let mut maker = Maker {
        dir: place.root(),
        stamps,
        mirror: mirror.map(str::to_string),
        report: Report::new("build-root", &place.cache().join("build-root.log"))?,
    };
    maker.make()?;
    maker.report.done();
    drop(lock);
    BuildRoot::open(&place.root())
}

/// Returns what a stage was made of: a change of it makes the stage, and all after it, again.
fn recipe() -> String {
    let names = [pin::SUITE, pin::BACKPORTS, pin::SERIES, pin::FLAVOUR];
    format!(
        "{RECIPE} {} {:?} {:?}",
        names.join(" "),
        pin::PACKAGES,
        pin::QEMU
    )
}

/// Returns the first stage that is not stamped.
fn missing(stamps: &Path) -> usize {
    let recipe = recipe();
    let done = |name: &str| fs::read_to_string(stamps.join(name)).is_ok_and(|text| text == recipe);
    STAGES
        .iter()
        .position(|stage| !done(stage.0))
        .unwrap_or(STAGES.len())
}

impl Maker {
    fn make(&mut self) -> Result<()> {
        // Another run may have done it while this one waited for the lock.
        let first = missing(&self.stamps);
        self.report.say(&format!(
            "build-root: {} (whole output: build-root.log beside it)",
            self.dir.display()
        ));
        for stage in &STAGES[first..] {
            // No stamp of a later stage may outlive the redoing of this one.
            let _ = fs::remove_file(self.stamps.join(stage.0));
        }
        for (number, (name, about, run)) in STAGES.iter().enumerate().skip(first) {
            self.report
                .step(&format!("[{}/{}] {about}", number + 1, STAGES.len()));
            run(self)?;
            fs::write(self.stamps.join(name), recipe())?;
        }
        Ok(())
    }

    fn inside(&self, program: &str) -> Command {
        chroot::command(&self.dir, program)
    }

    fn system(&mut self) -> Result<()> {
        self.mmdebstrap()?;
        let mirror = Mirror::find(self.mirror.as_deref())?;
        self.report
            .say(&format!("build-root: Debian mirror {}", mirror.site));
        self.clear()?;
        let mut command = Command::new("mmdebstrap");
        command.args(["--mode=root", "--variant=apt", "--format=directory"]);
        command.arg(format!("--include={}", pin::PACKAGES.join(",")));
        for option in mirror
            .options
            .iter()
            .map(String::as_str)
            .chain(["Acquire::Retries \"3\""])
        {
            command.arg(format!("--aptopt={option}"));
        }
        command
            .arg(pin::SUITE)
            .arg(&self.dir)
            .args(mirror.sources());
        self.report.run(&mut command)
    }

    /// Makes room for a new root.
    fn clear(&self) -> Result<()> {
        let begun = self.stamps.join(BEGUN);
        if self.dir.exists() && !begun.exists() {
            bail!(
                "{} is there, but build-root did not make it: move it away, or choose another cache with XDG_CACHE_HOME",
                self.dir.display()
            );
        }
        remove_tree(&self.dir)?;
        Ok(fs::write(begun, "")?)
    }

    /// Installs the one program that has to be on the machine itself.
    fn mmdebstrap(&mut self) -> Result<()> {
        let found = || {
            Command::new("mmdebstrap")
                .arg("--version")
                .output()
                .is_ok_and(|output| output.status.success())
        };
        if found() {
            return Ok(());
        }
        let install = || {
            let mut command = Command::new("apt-get");
            command.args(["install", "-y", "--no-install-recommends", "mmdebstrap"]);
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        // Fails where apt has no lists yet, or old ones: then with new ones.
        if !install()
            .output()
            .is_ok_and(|output| output.status.success())
        {
            self.report.run(Command::new("apt-get").arg("update"))?;
            self.report.run(&mut install())?;
        }
        if !found() {
            bail!("mmdebstrap is missing: install the package mmdebstrap");
        }
        Ok(())
    }

    fn qemu(&mut self) -> Result<()> {
        // Name resolution as on the machine; the package lists were left out of the root.
        fs::copy("/etc/resolv.conf", self.dir.join("etc/resolv.conf"))
            .context("copying /etc/resolv.conf")?;
        let mut command = self.inside("apt-get");
        self.report.run(command.arg("update"))?;
        let mut command = self.inside("apt-get");
        command
            .args([
                "install",
                "-y",
                "--no-install-recommends",
                "-t",
                pin::BACKPORTS,
            ])
            .args(pin::QEMU);
        self.report.run(&mut command)
    }

    fn choose(&mut self) -> Result<Kernel> {
        let mut command = self.inside("apt-get");
        self.report.run(command.arg("update"))?;
        let names = self.report.capture(
            self.inside("apt-cache")
                .arg("pkgnames")
                .arg("linux-headers-"),
        )?;
        let releases = kernel::releases(&names);
        let table = self.report.capture(
            self.inside("apt-cache")
                .arg("madison")
                .args(kernel::candidates(&releases)),
        )?;
        kernel::choose(&releases, &table)
    }

    fn download(&mut self) -> Result<()> {
        let kernel = self.choose()?;
        self.report.say(&format!(
            "build-root: kernel {}, packages {}",
            kernel.release, kernel.version
        ));
        let downloads = self.dir.join(DOWNLOADS);
        remove_tree(&downloads)?;
        fs::create_dir_all(&downloads)?;
        let mut command = self.inside("sh");
        // apt downloads as user _apt where it can; into this directory it can not.
        command.args([
            "-c",
            "cd \"$1\" && shift && apt-get -o APT::Sandbox::User=root download \"$@\"",
            "sh",
        ]);
        command.arg(format!("/{DOWNLOADS}")).args(kernel.packages());
        self.report.run(&mut command)
    }

    fn unpack(&mut self) -> Result<()> {
        for dir in [KERNEL, "build"] {
            remove_tree(&self.dir.join(dir))?;
            fs::create_dir_all(self.dir.join(dir))?;
        }
        let script = format!(
            "set -e; for deb in /{DOWNLOADS}/*.deb; do case $deb in */{source}_*) dpkg -x $deb /{DOWNLOADS}/source;; \
             *) dpkg -x $deb /{KERNEL};; esac; done; \
             tar -C /build -xf /{DOWNLOADS}/source/usr/src/{source}.tar.xz; rm -r /{DOWNLOADS}",
            source = kernel::source_package(),
        );
        // Without its downloads the stage before would have to be done again.
        let _ = fs::remove_file(self.stamps.join("download"));
        let mut command = self.inside("sh");
        self.report.run(command.args(["-c", &script]))?;
        Ok(fs::write(self.stamps.join("download"), recipe())?)
    }

    fn prepare(&mut self) -> Result<()> {
        let root = BuildRoot::look(&self.dir)?;
        let headers = self
            .dir
            .join(KERNEL)
            .join("usr/src")
            .join(format!("linux-headers-{}", root.release()));
        for file in [".config", "Module.symvers"] {
            let from = headers.join(file);
            fs::copy(&from, self.dir.join(tree()).join(file))
                .with_context(|| format!("copying {}", from.display()))?;
        }
        let mut command = self.inside("make");
        command
            .arg("-C")
            .arg(format!("/{}", tree()))
            .args(make_arguments(root.release()));
        self.report
            .run(command.args(["olddefconfig", "modules_prepare"]))?;
        let made = fs::read_to_string(self.dir.join(tree()).join("include/config/kernel.release"))?;
        if made.trim() != root.release() {
            bail!(
                "the kernel tree says it is {}, the stock kernel is {}",
                made.trim(),
                root.release()
            );
        }
        Ok(())
    }
}
