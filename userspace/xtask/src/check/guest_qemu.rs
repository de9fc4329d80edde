// SPDX-License-Identifier: GPL-2.0
//! QEMU for the guest: the build root's own, unmodified, with the libraries and
//! the firmware it needs, below /qemu-root, and a command that starts it.

use super::libraries;
use crate::root::BuildRoot;
use crate::vm::initramfs::Initramfs;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

pub const PROGRAM: &str = "usr/bin/qemu-system-x86_64";
pub const LINKER: &str = "usr/lib64/ld-linux-x86-64.so.2";
pub const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
pub const FIRMWARE: [&str; 6] = [
    "usr/share/seabios/bios-256k.bin",
    "usr/share/seabios/vgabios-stdvga.bin",
    "usr/share/qemu/efi-e1000.rom",
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot_dma.bin",
    "usr/share/qemu/keymaps/en-us",
];

/// The command /bin/qemu-system-x86_64 of the guest.
const START: &str = "#!/bin/sh\nroot=/qemu-root\n\
    exec $root/usr/lib64/ld-linux-x86-64.so.2 --library-path $root/usr/lib/x86_64-linux-gnu \
    $root/usr/bin/qemu-system-x86_64 -L $root/usr/share/qemu -L $root/usr/share/seabios \"$@\"\n";

/// Makes the archive in `build`, unless it is there and as new as QEMU.
pub fn pack(root: &BuildRoot, build: &Path) -> Result<PathBuf> {
    let archive = build.join("guest-qemu-roms.cpio");
    let program = root.dir().join(PROGRAM);
    let installed = fs::metadata(&program)
        .with_context(|| format!("no {}", program.display()))?
        .modified()?;
    if fs::metadata(&archive)
        .and_then(|data| data.modified())
        .is_ok_and(|made| made > installed)
    {
        return Ok(archive);
    }
    fs::create_dir_all(build)?;
    let partial = build.join("guest-qemu-roms.cpio.partial");
    let mut image = Initramfs::create(&partial)?;
    let mut put = |name: &str| image.copy(&root.dir().join(name), &format!("qemu-root/{name}"));
    put(PROGRAM)?;
    put(LINKER)?;
    for (library, _) in libraries::of(root, &program, &[])? {
        put(&format!("{LIBRARIES}/{library}"))?;
    }
    for file in FIRMWARE {
        put(file)?;
    }
    image.file("bin/qemu-system-x86_64", START.as_bytes(), 0o755)?;
    image.finish()?;
    fs::rename(&partial, &archive)?;
    Ok(archive)
}
