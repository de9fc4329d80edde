// SPDX-License-Identifier: GPL-2.0
//! `xtask build-root`: make the build root, in stages. A stage that was finished
//! leaves a stamp with what it was made of, so an interrupted run goes on where
//! it was and a finished one has nothing to do.

use super::kernel::{self, Incomplete, Kernel};
use super::mirror::Mirror;
use super::series::{self, Series};
use super::wipe::remove_tree;
use super::{chroot, lock, lock_file, packages, pin, unpacked, BuildRoot};
use crate::place::Place;
use crate::report::Report;
use anyhow::{bail, Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bumped when a stage does something else than before.
const RECIPE: u32 = 2;

/// Returns where a kernel's packages wait to be unpacked, inside the build root. Each series has
/// its own: an interrupted run of one leaves nothing to another.
fn downloads(series: Series) -> String {
    format!("var/cache/pagemove/{}", series.name())
}

/// Returns the kernel's source tree, in the build root.
pub fn tree(series: Series) -> String {
    format!("build/{}", kernel::source_package(series))
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
    stamps: Stamps,
    mirror: Option<String>,
    /// A root that an earlier version has made.
    left_over: Option<PathBuf>,
    report: Report,
}

/// The stamp that says that the root was begun by this program, and so may be
/// removed by it. Where it is missing, somebody else's root is never touched.
const BEGUN: &str = "begun";

/// The stamp that says which series is taken where none is asked for.
const DEFAULT: &str = "default";

type SystemStage = (&'static str, &'static str, fn(&mut Maker) -> Result<()>);

/// What all kernels share. The first makes a new root, in which nothing is left of the old one.
const SYSTEM: [SystemStage; 2] = [
    (
        "system",
        "root file system with the toolchain",
        Maker::system,
    ),
    ("qemu", "QEMU", Maker::qemu),
];

type KernelStage = (
    &'static str,
    &'static str,
    fn(&mut Maker, Series) -> Result<()>,
);

/// What is there for each series.
const KERNEL: [KernelStage; 3] = [
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

/// Returns the series that is taken where none is asked for, if that has been decided.
pub fn default_series(place: &Place) -> Option<Series> {
    Stamps::of(place).default_series()
}

/// Returns the series that was asked for, if it is not the default one.
pub fn other_series(place: &Place) -> Option<Series> {
    place
        .series()
        .filter(|series| default_series(place) != Some(*series))
}

/// Returns the supported series beside the default one; none as long as that is not decided.
pub fn other_than_default(place: &Place) -> Vec<Series> {
    let Some(default) = default_series(place) else {
        return Vec::new();
    };
    let all = pin::SUPPORTED.into_iter();
    all.filter(|series| *series != default).collect()
}

/// Makes what is missing; returns at once if nothing is.
///
/// That is the series that was asked for, else the default one. Where there is no default yet, it is
/// the newest that the mirror has.
pub fn ensure(place: &Place, mirror: Option<&str>) -> Result<BuildRoot> {
    let stamps = Stamps::of(place);
    let series = place.series().or(stamps.default_series());
    if series.is_some_and(|series| stamps.are_whole(series)) {
        return BuildRoot::open(place);
    }
    chroot::need_root("making the build root")?;
    fs::create_dir_all(&stamps.0).with_context(|| format!("making {}", stamps.0.display()))?;
    let file = File::create(lock_file(&place.root()))?;
    let lock = lock::alone(file).context("waiting for who uses the build root")?;
    let mut maker = Maker {
        dir: place.root(),
        stamps,
        mirror: mirror.map(str::to_string),
        left_over: left_over(place.cache()),
        report: Report::new("build-root", &place.cache().join("build-root.log"))?,
    };
    maker.make(place.series())?;
    maker.report.done();
    drop(lock);
    BuildRoot::open(place)
}

/// Returns the root that versions made which knew one kernel series alone, if it is there.
fn left_over(cache: &Path) -> Option<PathBuf> {
    let root = cache.join("root");
    (cache.join("stamps").join(BEGUN).exists() && root.exists()).then_some(root)
}

/// What was made of what: a stamp for each stage.
struct Stamps(PathBuf);

impl Stamps {
    fn of(place: &Place) -> Self {
        Self(place.root().with_extension("stamps"))
    }

    /// Returns what a stage is made of: a change of it makes the stage, and all after it, again.
    fn recipe(stage: &str) -> String {
        match stage {
            "system" => format!(
                "{RECIPE} {} {} {:?}",
                pin::SUITE,
                pin::BACKPORTS,
                pin::PACKAGES
            ),
            "qemu" => format!("{RECIPE} {:?}", pin::QEMU),
            _ => format!("{RECIPE} {}", pin::FLAVOUR),
        }
    }

    /// Returns the stamp of a stage, which may be one of a kernel's.
    fn file(&self, series: Option<Series>, stage: &str) -> PathBuf {
        match series {
            None => self.0.join(stage),
            Some(series) => self.0.join(series.name()).join(stage),
        }
    }

    fn has(&self, series: Option<Series>, stage: &str) -> bool {
        let text = fs::read_to_string(self.file(series, stage));
        text.is_ok_and(|text| text == Self::recipe(stage))
    }

    fn set(&self, series: Option<Series>, stage: &str) -> Result<()> {
        let file = self.file(series, stage);
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)?;
        }
        Ok(fs::write(file, Self::recipe(stage))?)
    }

    fn clear(&self, series: Option<Series>, stage: &str) {
        let _ = fs::remove_file(self.file(series, stage));
    }

    /// Returns whether everything is there for this series.
    fn are_whole(&self, series: Series) -> bool {
        SYSTEM.iter().all(|stage| self.has(None, stage.0))
            && KERNEL.iter().all(|stage| self.has(Some(series), stage.0))
    }

    fn default_series(&self) -> Option<Series> {
        let text = fs::read_to_string(self.0.join(DEFAULT)).ok()?;
        let name = text.strip_suffix(&default_recipe())?;
        Series::parse(name).ok()
    }

    fn set_default(&self, series: Series) -> Result<()> {
        let text = series.name().to_string() + &default_recipe();
        Ok(fs::write(self.0.join(DEFAULT), text)?)
    }
}

/// Returns what the default was chosen from: where another series is supported, it is chosen again.
fn default_recipe() -> String {
    format!(" of {}\n", series::names())
}

impl Maker {
    fn make(&mut self, asked: Option<Series>) -> Result<()> {
        self.report.say(&format!(
            "build-root: {} (whole output: build-root.log beside it)",
            self.dir.display()
        ));
        if let Some(old) = &self.left_over {
            self.report.say(&format!(
                "build-root: {} is of an earlier version of this program and not used any more: remove it",
                old.display()
            ));
        }
        for (number, (stage, about, run)) in SYSTEM.iter().enumerate() {
            // Another run may have done it while this one waited for the lock.
            if self.stamps.has(None, stage) {
                continue;
            }
            // No stamp of a later stage may outlive the redoing of this one.
            SYSTEM[number..]
                .iter()
                .for_each(|later| self.stamps.clear(None, later.0));
            self.step(number, about);
            run(self)?;
            self.stamps.set(None, stage)?;
        }
        // A default that has to be got anew may have left the mirror meanwhile.
        let default = self.stamps.default_series();
        let usable = default.filter(|series| self.stamps.are_whole(*series));
        let series = match asked.or(usable) {
            Some(series) => series,
            None => self.newest()?,
        };
        self.make_kernel(series)?;
        match asked {
            Some(_) => Ok(()),
            None => self.stamps.set_default(series),
        }
    }

    fn make_kernel(&mut self, series: Series) -> Result<()> {
        let done = |stage: &KernelStage| self.stamps.has(Some(series), stage.0);
        let first = KERNEL.iter().position(|stage| !done(stage));
        for (number, (stage, about, run)) in KERNEL
            .iter()
            .enumerate()
            .skip(first.unwrap_or(KERNEL.len()))
        {
            KERNEL[number..]
                .iter()
                .for_each(|later| self.stamps.clear(Some(series), later.0));
            self.step(
                SYSTEM.len() + number,
                &format!("{about} ({})", series.name()),
            );
            run(self, series)?;
            self.stamps.set(Some(series), stage)?;
        }
        Ok(())
    }

    fn step(&mut self, number: usize, about: &str) {
        let all = SYSTEM.len() + KERNEL.len();
        self.report.step(&format!("[{}/{all}] {about}", number + 1));
    }

    /// Returns the newest supported series that is complete on the mirror.
    fn newest(&mut self) -> Result<Series> {
        let mut missing = Vec::new();
        for series in pin::SUPPORTED.into_iter().rev() {
            match self.choose(series)? {
                Ok(kernel) => return Ok(kernel.series),
                Err(incomplete) => missing.push(incomplete.to_string()),
            }
        }
        bail!("{}", missing.join("; "))
    }

    fn inside(&self, program: &str) -> Command {
        chroot::command(&self.dir, program)
    }

    fn system(&mut self) -> Result<()> {
        mmdebstrap(&mut self.report)?;
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
        let begun = self.stamps.0.join(BEGUN);
        if self.dir.exists() && !begun.exists() {
            bail!(
                "{} is there, but build-root did not make it: move it away, or choose another cache with XDG_CACHE_HOME",
                self.dir.display()
            );
        }
        remove_tree(&self.dir)?;
        for series in pin::SUPPORTED {
            remove_tree(&self.stamps.0.join(series.name()))?;
        }
        Ok(fs::write(begun, "")?)
    }

    fn qemu(&mut self) -> Result<()> {
        // The package lists were left out of the root.
        packages::update(&mut self.report, &self.dir)?;
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

    /// Returns the kernel of this series that is to be taken, or why none can be.
    fn choose(&mut self, series: Series) -> Result<Result<Kernel, Incomplete>> {
        let mut command = self.inside("apt-get");
        self.report.run(command.arg("update"))?;
        let names = self.report.capture(
            self.inside("apt-cache")
                .arg("pkgnames")
                .arg("linux-headers-"),
        )?;
        let releases = kernel::releases(series, &names);
        let table = self.report.capture(
            self.inside("apt-cache")
                .arg("madison")
                .args(kernel::candidates(series, &releases)),
        )?;
        Ok(kernel::choose(series, &releases, &table))
    }

    fn download(&mut self, series: Series) -> Result<()> {
        let kernel = self.choose(series)??;
        self.report.say(&format!(
            "build-root: kernel {}, packages {}",
            kernel.release, kernel.version
        ));
        packages::download(
            &mut self.report,
            &self.dir,
            &downloads(series),
            &kernel.packages(),
        )
    }

    fn unpack(&mut self, series: Series) -> Result<()> {
        let kernel = unpacked(series);
        for dir in [&kernel, Path::new(&tree(series))] {
            remove_tree(&self.dir.join(dir))?;
        }
        for dir in [&kernel, Path::new("build")] {
            fs::create_dir_all(self.dir.join(dir))?;
        }
        let script = format!(
            "set -e; for deb in /{downloads}/*.deb; do case $deb in */{source}_*) dpkg -x $deb /{downloads}/source;; \
             *) dpkg -x $deb /{kernel};; esac; done; \
             tar -C /build -xf /{downloads}/source/usr/src/{source}.tar.xz; rm -r /{downloads}",
            downloads = downloads(series),
            kernel = kernel.display(),
            source = kernel::source_package(series),
        );
        // Without its downloads the stage before would have to be done again.
        self.stamps.clear(Some(series), "download");
        let mut command = self.inside("sh");
        self.report.run(command.args(["-c", &script]))?;
        self.stamps.set(Some(series), "download")
    }

    fn prepare(&mut self, series: Series) -> Result<()> {
        let root = BuildRoot::look(&self.dir, series)?;
        let headers = self
            .dir
            .join(unpacked(series))
            .join("usr/src")
            .join(format!("linux-headers-{}", root.release()));
        for file in [".config", "Module.symvers"] {
            let from = headers.join(file);
            fs::copy(&from, self.dir.join(tree(series)).join(file))
                .with_context(|| format!("copying {}", from.display()))?;
        }
        let mut command = self.inside("make");
        command
            .arg("-C")
            .arg(format!("/{}", tree(series)))
            .args(make_arguments(root.release()));
        self.report
            .run(command.args(["olddefconfig", "modules_prepare"]))?;
        let made = fs::read_to_string(
            self.dir
                .join(tree(series))
                .join("include/config/kernel.release"),
        )?;
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

/// Installs the one program that has to be on the machine itself.
pub fn mmdebstrap(report: &mut Report) -> Result<()> {
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
        report.run(Command::new("apt-get").arg("update"))?;
        report.run(&mut install())?;
    }
    if !found() {
        bail!("mmdebstrap is missing: install the package mmdebstrap");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_root_that_was_made_here_is_left_over() {
        let cache = tempfile::tempdir().unwrap();
        let (root, stamps) = (cache.path().join("root"), cache.path().join("stamps"));
        fs::create_dir(&root).unwrap();
        assert_eq!(left_over(cache.path()), None);
        fs::create_dir(&stamps).unwrap();
        fs::write(stamps.join(BEGUN), "").unwrap();
        assert_eq!(left_over(cache.path()), Some(root.clone()));
        fs::remove_dir(&root).unwrap();
        assert_eq!(left_over(cache.path()), None);
    }

    #[test]
    fn a_series_is_whole_with_the_stamps_of_all_stages() {
        let dir = tempfile::tempdir().unwrap();
        let stamps = Stamps(dir.path().to_path_buf());
        let [one, other] = pin::SUPPORTED;
        SYSTEM
            .iter()
            .for_each(|stage| stamps.set(None, stage.0).unwrap());
        for stage in &KERNEL {
            assert!(!stamps.are_whole(one));
            stamps.set(Some(one), stage.0).unwrap();
        }
        assert!(stamps.are_whole(one) && !stamps.are_whole(other));
        assert_eq!(stamps.default_series(), None);
        stamps.set_default(one).unwrap();
        assert_eq!(stamps.default_series(), Some(one));
        fs::write(dir.path().join(DEFAULT), "7.2 of 7.1, 7.2\n").unwrap();
        assert_eq!(stamps.default_series(), None);
        stamps.clear(None, SYSTEM[0].0);
        assert!(!stamps.are_whole(one));
    }
}
