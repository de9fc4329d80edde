// SPDX-License-Identifier: GPL-2.0
//! What is in the guest, made of what this VM has: its kernel's modules, busybox and this program.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};

use super::Options;

const INSIDE: &str = "/tmp/inside";
pub const INITRAMFS: &str = "/tmp/inside.cpio";
/// The guest's disk, and one that only says what to do.
pub const DISK: &str = "/dev/ram0";
pub const WORD: &str = "/dev/ram1";

const INIT: &str = include_str!("init.sh");

/// Of the stock modules, those of KVM, and those that are of use to this VM alone. VFIO's the runner has loaded.
const KVM: [&str; 3] = ["kvm", "irqbypass", "ccp"];
const OURS: [&str; 5] = ["vfio", "brd", "vhost", "tun", "tap"];

/// The stock modules that are there.
fn stock() -> Result<Vec<PathBuf>> {
    let dirs = fs::read_dir("/lib/modules")?.map(|entry| Ok(entry?.path()));
    let dirs: Vec<PathBuf> = dirs.collect::<Result<_>>()?;
    let mut files = Vec::new();
    for dir in dirs {
        for entry in fs::read_dir(dir)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    Ok(files)
}

fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn is_of(file: &Path, names: &[&str]) -> bool {
    let name = name(file);
    names.iter().any(|other| name.starts_with(other))
}

/// Loads KVM, the RAM disks, and what a network of the guest needs. What depends on another succeeds in a later round.
pub fn load_modules() -> Result<()> {
    let files = stock()?;
    let ours = files
        .iter()
        .filter(|file| is_of(file, &KVM) || is_of(file, &OURS) && !is_of(file, &["vfio"]));
    let ours: Vec<&PathBuf> = ours.collect();
    for _ in 0..4 {
        for file in &ours {
            let mut insmod = Command::new("insmod");
            insmod.arg(file).stderr(Stdio::null());
            if name(file) == "brd" {
                insmod.args(["rd_nr=2", "rd_size=16384"]);
            }
            insmod.status().context("insmod")?;
        }
    }
    ensure!(Path::new(DISK).exists(), "there is no {DISK}");
    Ok(())
}

/// Loads one stock module.
pub fn load(wanted: &str) -> Result<()> {
    let files = stock()?;
    let file = files.iter().find(|file| name(file) == wanted);
    let file = file.with_context(|| format!("the VM has no {wanted}"))?;
    let status = Command::new("insmod").arg(file).status()?;
    ensure!(status.success(), "insmod {wanted}: {status}");
    Ok(())
}

/// Makes the guest's initramfs.
pub fn pack(options: Options) -> Result<()> {
    let dir = |name: &str| format!("{INSIDE}/{name}");
    for name in ["bin", "ko", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(dir(name))?;
    }
    fs::copy("/bin/busybox", dir("bin/busybox"))?;
    symlink("busybox", dir("bin/sh"))?;
    for file in stock()?.iter().filter(|file| !is_of(file, &OURS)) {
        if !is_of(file, &KVM) || options.is_nested {
            fs::copy(file, dir(&format!("ko/{}.ko", name(file))))?;
        }
    }
    if options.is_nested {
        let itself = std::env::current_exe()?;
        fs::copy(itself, dir("bin/pagemove-selftest"))?;
    }
    fs::write(dir("init"), INIT)?;
    fs::set_permissions(dir("init"), fs::Permissions::from_mode(0o755))?;
    let packed = Command::new("sh")
        .args([
            "-c",
            &format!("cd {INSIDE} && find . | cpio -o -H newc > {INITRAMFS}"),
        ])
        .stderr(Stdio::null())
        .status()?;
    ensure!(packed.success(), "cpio: {packed}");
    Ok(())
}
