// SPDX-License-Identifier: GPL-2.0
//! Debian's user space in the VM: commands in it, and its udev. The first process of the VM is not its systemd;
//! all else is as it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{ensure, Context, Result};

const ROOT: &str = "/debian";

/// What a booted system has mounted. What the systemd of a booted system leaves in /run is what packages look
/// at before they tell it anything.
const BOOT: &str = "mount -t proc proc /debian/proc && mount -t sysfs sys /debian/sys && \
    mount --bind /dev /debian/dev && mount -t tmpfs run /debian/run && mount -t tmpfs tmp /debian/tmp && \
    mkdir -p /debian/run/systemd/system";

pub struct Debian;

impl Debian {
    /// Makes it what a booted system is.
    pub fn boot() -> Result<Self> {
        ensure!(
            Path::new(ROOT).join("usr/bin/dpkg").exists(),
            "the VM has no {ROOT}"
        );
        let status = Command::new("sh").args(["-c", BOOT]).status()?;
        ensure!(status.success(), "mounting in {ROOT}: {status}");
        let debian = Self;
        debian.run("/usr/lib/systemd/systemd-udevd --daemon")?;
        Ok(debian)
    }

    /// Returns where a path of its is, from outside.
    pub fn path(path: &str) -> PathBuf {
        Path::new(ROOT).join(path.trim_start_matches('/'))
    }

    /// Types a line there, as root.
    pub fn output(&self, line: &str) -> Result<Output> {
        // To its systemd's programs the VM's first process is outside, so they would do nothing.
        Command::new("chroot")
            .args([ROOT, "/bin/sh", "-c", line])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .envs([("HOME", "/root"), ("LC_ALL", "C.UTF-8")])
            .envs([
                ("DEBIAN_FRONTEND", "noninteractive"),
                ("SYSTEMD_IGNORE_CHROOT", "1"),
            ])
            .output()
            .with_context(|| format!("chroot for {line}"))
    }

    /// Types a line that has to succeed, and returns what it prints.
    pub fn run(&self, line: &str) -> Result<String> {
        let output = self.output(line)?;
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        ensure!(
            output.status.success(),
            "{line}: {}: {err}{out}",
            output.status
        );
        Ok(out.trim_end().to_string())
    }

    /// Writes a file there.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = Self::path(path);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}
