// SPDX-License-Identifier: GPL-2.0
//! The build root: a Debian root file system with the toolchain that built the
//! stock kernel, that kernel's source tree with Rust metadata, the kernel and
//! its modules, and QEMU.

pub mod cargo;
pub mod chroot;
pub mod debian;
mod debug;
pub mod image;
pub mod kernel;
pub mod libvirt;
mod lock;
pub mod make;
mod mirror;
mod packages;
pub mod pin;
pub mod series;
mod wipe;

use crate::place::Place;
use anyhow::{Context, Result};
use lock::Lock;
use series::Series;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a kernel's packages are unpacked, as seen from inside.
fn unpacked(series: Series) -> PathBuf {
    Path::new("opt/kernel").join(series.name())
}

/// A build root that is complete enough to boot a VM and to build a module, and one kernel of it.
pub struct BuildRoot {
    dir: PathBuf,
    series: Series,
    is_default: bool,
    release: String,
    /// Held as long as the root is used: it is not made anew meanwhile.
    _lock: Option<Lock>,
}

/// Returns the file that is locked, shared by who uses the root, alone by who makes it.
fn lock_file(dir: &Path) -> PathBuf {
    dir.with_extension("lock")
}

impl BuildRoot {
    /// Opens the root of `place`, with the kernel that was asked for, else the one it was made for;
    /// waits while it is being made.
    pub fn open(place: &Place) -> Result<Self> {
        let dir = place.root();
        let none = || {
            format!(
                "no build root in {}: `make build-root` makes one",
                dir.display()
            )
        };
        let file = File::open(lock_file(&dir)).ok().with_context(none)?;
        let lock = lock::shared(file)
            .with_context(|| format!("waiting for the build root in {}", dir.display()))?;
        let default = make::default_series(place);
        let series = place.series().or(default).with_context(none)?;
        Ok(Self {
            is_default: default == Some(series),
            _lock: Some(lock),
            ..Self::look(&dir, series)?
        })
    }

    /// Looks at the kernel of this series, for who makes the root and holds the lock alone.
    fn look(dir: &Path, series: Series) -> Result<Self> {
        let modules = dir.join(unpacked(series)).join("usr/lib/modules");
        let none = || {
            let series = series.name();
            format!(
                "no kernel {series} in {}: `make build-root KERNEL={series}` gets one",
                dir.display()
            )
        };
        let entries = fs::read_dir(&modules).ok().with_context(none)?;
        let mut releases = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<Vec<_>>>()?;
        releases.sort();
        let release = releases.pop().with_context(none)?;
        let release = release
            .into_string()
            .ok()
            .context("a kernel release that is not UTF-8")?;
        Ok(Self {
            dir: dir.to_path_buf(),
            series,
            is_default: false,
            release,
            _lock: None,
        })
    }

    /// Returns the series of the kernel.
    pub fn series(&self) -> Series {
        self.series
    }

    /// Returns whether this is the kernel that is taken where none is asked for.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// Returns the kernel's source tree, as seen from inside.
    pub fn tree(&self) -> String {
        make::tree(self.series)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the stock kernel's `uname -r`.
    pub fn release(&self) -> &str {
        &self.release
    }

    pub fn modules(&self) -> PathBuf {
        self.dir
            .join(unpacked(self.series))
            .join("usr/lib/modules")
            .join(&self.release)
    }

    /// Returns what Debian's package of headers for this kernel has, as seen from inside.
    pub fn headers(&self) -> PathBuf {
        let name = format!("usr/src/linux-headers-{}", self.release);
        Path::new("/").join(unpacked(self.series)).join(name)
    }

    pub fn busybox(&self) -> PathBuf {
        self.dir.join("bin/busybox")
    }

    /// Returns a program of the build root, run from outside with the build root's own
    /// dynamic linker and libraries: that needs neither root nor a mount.
    pub fn tool(&self, program: &str) -> Command {
        let mut command = self.linker();
        command.arg(self.dir.join(program));
        command
    }

    /// Returns the dynamic linker, told where the build root's libraries are.
    pub fn linker(&self) -> Command {
        self.linker_beside(&[])
    }

    /// Returns the dynamic linker, told of the libraries of another root as well: `usr/lib/x86_64-linux-gnu` below each
    /// of these.
    pub fn linker_beside(&self, others: &[PathBuf]) -> Command {
        let roots = std::iter::once(&self.dir).chain(others);
        let mut paths = OsString::new();
        for root in roots {
            if !paths.is_empty() {
                paths.push(":");
            }
            paths.push(root.join("usr/lib/x86_64-linux-gnu"));
        }
        let mut command = Command::new(self.dir.join("usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(paths);
        command
    }
}
