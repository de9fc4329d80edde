// SPDX-License-Identifier: GPL-2.0
//! The build root: a Debian root file system with the toolchain that built the
//! stock kernel, that kernel's source tree with Rust metadata, the kernel and
//! its modules, and QEMU.

pub mod cargo;
pub mod chroot;
mod debug;
pub mod image;
mod kernel;
mod lock;
pub mod make;
mod mirror;
mod pin;
mod wipe;

use anyhow::{bail, Context, Result};
use lock::Lock;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the kernel's packages are unpacked, as seen from inside.
pub const KERNEL: &str = "opt/kernel";

/// A build root that is complete enough to boot a VM and to build a module.
pub struct BuildRoot {
    dir: PathBuf,
    release: String,
    /// Held as long as the root is used: it is not made anew meanwhile.
    _lock: Option<Lock>,
}

/// Returns the file that is locked, shared by who uses the root, alone by who makes it.
fn lock_file(dir: &Path) -> PathBuf {
    dir.with_file_name("lock")
}

impl BuildRoot {
    /// Opens the root at `dir`; waits while it is being made.
    pub fn open(dir: &Path) -> Result<Self> {
        let file = match File::open(lock_file(dir)) {
            Ok(file) => file,
            Err(_) => bail!(
                "no build root in {}: `make build-root` makes one",
                dir.display()
            ),
        };
        let lock = lock::shared(file)
            .with_context(|| format!("waiting for the build root in {}", dir.display()))?;
        Ok(Self {
            _lock: Some(lock),
            ..Self::look(dir)?
        })
    }

    /// Opens the root at `dir` for who makes it and holds the lock alone.
    fn look(dir: &Path) -> Result<Self> {
        let modules = dir.join(KERNEL).join("usr/lib/modules");
        let mut releases = match fs::read_dir(&modules) {
            Ok(entries) => entries
                .map(|e| Ok(e?.file_name()))
                .collect::<Result<Vec<_>>>()?,
            Err(_) => bail!(
                "no build root in {}: `make build-root` makes one",
                dir.display()
            ),
        };
        releases.sort();
        let release = releases.pop();
        let release = release.with_context(|| {
            format!(
                "no kernel in {}: `make build-root` gets one",
                modules.display()
            )
        })?;
        let release = release
            .into_string()
            .ok()
            .context("a kernel release that is not UTF-8")?;
        Ok(Self {
            dir: dir.to_path_buf(),
            release,
            _lock: None,
        })
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
            .join(KERNEL)
            .join("usr/lib/modules")
            .join(&self.release)
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
        let mut command = Command::new(self.dir.join("usr/lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(self.dir.join("usr/lib/x86_64-linux-gnu"));
        command
    }
}
