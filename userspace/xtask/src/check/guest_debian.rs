// SPDX-License-Identifier: GPL-2.0
//! Programs of Debian's for the guest, each at its own place, with the libraries and files it needs: archives
//! that the guest's kernel unpacks.

use super::guest_qemu::{FIRMWARE, LIBRARIES, LINKER, PROGRAM};
use super::libraries;
use crate::root::BuildRoot;
use crate::vm::initramfs::Initramfs;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const PYTHON: &str = "usr/bin/python3";
/// What it takes to speak JSON over a socket, and its own start.
const MODULE_DIRS: [&str; 5] = ["collections", "encodings", "importlib", "json", "re"];

/// What of libvirt is run, and what it runs.
const LIBVIRT: [&str; 8] = [
    "usr/sbin/libvirtd",
    "usr/sbin/virtlogd",
    "usr/bin/virsh",
    "usr/lib/libvirt/virt-aa-helper",
    "usr/sbin/apparmor_parser",
    "usr/sbin/depmod",
    "usr/sbin/modprobe",
    "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
];
/// What it reads.
const SETTINGS: [&str; 5] = [
    "etc/libvirt",
    "etc/apparmor",
    "etc/apparmor.d",
    "usr/share/apparmor-features",
    "usr/share/libvirt",
];
/// Where the guest's kernel looks for the dynamic linker: there are no links in the guest.
const INTERPRETER: &str = "lib64/ld-linux-x86-64.so.2";

/// Makes an archive of Python, unless there is one that this program has made.
pub fn python(root: &BuildRoot, build: &Path) -> Result<PathBuf> {
    make(
        build,
        "guest-python.cpio",
        SystemTime::UNIX_EPOCH,
        |image| {
            let mut tree = Tree::new(root, Vec::new(), image)?;
            tree.program(PYTHON)?;
            // python3.13, of which the plain name is a link.
            let version = root.dir().join(PYTHON).canonicalize()?;
            let version = version.file_name().unwrap_or_default().to_string_lossy();
            let modules = format!("usr/lib/{version}");
            for entry in fs::read_dir(root.dir().join(&modules))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                // Links lead to the machine's own files, and are nothing here.
                let is_module = name.ends_with(".py") && !entry.file_type()?.is_symlink();
                if is_module || MODULE_DIRS.contains(&name.as_str()) {
                    tree.all(&format!("{modules}/{name}"))?;
                }
            }
            // Where Python looks for itself.
            tree.image.directory(&format!("{modules}/lib-dynload"))
        },
    )
}

/// Makes an archive of libvirt, whose files are in `libvirt`, and of QEMU.
pub fn libvirt(root: &BuildRoot, libvirt: &Path, build: &Path) -> Result<PathBuf> {
    let fetched = fs::metadata(libvirt)?.modified()?;
    make(build, "guest-libvirt.cpio", fetched, |image| {
        let mut tree = Tree::new(root, vec![libvirt.to_path_buf()], image)?;
        for program in LIBVIRT.iter().chain([&PROGRAM]) {
            tree.program(program)?;
        }
        for name in SETTINGS.iter().chain(&FIRMWARE) {
            tree.all(name)?;
        }
        Ok(())
    })
}

fn make(
    build: &Path,
    name: &str,
    changed: SystemTime,
    fill: impl FnOnce(&mut Initramfs) -> Result<()>,
) -> Result<PathBuf> {
    let archive = build.join(name);
    // What is in it this program says.
    let itself = fs::metadata(std::env::current_exe()?)?.modified()?;
    let made = fs::metadata(&archive).and_then(|data| data.modified());
    if made.is_ok_and(|made| made > itself.max(changed)) {
        return Ok(archive);
    }
    fs::create_dir_all(build)?;
    let partial = build.join(format!("{name}.partial"));
    let mut image = Initramfs::create(&partial)?;
    fill(&mut image)?;
    image.finish()?;
    fs::rename(&partial, &archive)?;
    Ok(archive)
}

/// What is put into an archive, out of the first root that has it.
struct Tree<'a> {
    root: &'a BuildRoot,
    others: Vec<PathBuf>,
    image: &'a mut Initramfs,
    there: BTreeSet<String>,
}

impl<'a> Tree<'a> {
    fn new(root: &'a BuildRoot, others: Vec<PathBuf>, image: &'a mut Initramfs) -> Result<Self> {
        image.copy(&root.dir().join(LINKER), INTERPRETER)?;
        Ok(Self {
            root,
            others,
            image,
            there: BTreeSet::new(),
        })
    }

    fn find(&self, name: &str) -> Result<PathBuf> {
        let roots = self.others.iter().map(PathBuf::as_path);
        let mut roots = roots.chain([self.root.dir()]);
        let found = roots.find_map(|root| Some(root.join(name)).filter(|file| file.exists()));
        found.with_context(|| format!("there is no {name}"))
    }

    fn file(&mut self, from: &Path, name: &str) -> Result<()> {
        match self.there.insert(name.to_string()) {
            true => self.image.copy(from, name),
            false => Ok(()),
        }
    }

    /// Puts a program, or a library that a program loads by itself, and what it needs.
    fn program(&mut self, name: &str) -> Result<()> {
        let file = self.find(name)?;
        for (library, from) in libraries::of(self.root, &file, &self.others)? {
            self.file(&from, &format!("{LIBRARIES}/{library}"))?;
        }
        self.file(&file, name)
    }

    /// Puts a file, or a directory with all that is below it.
    fn all(&mut self, name: &str) -> Result<()> {
        let from = self.find(name)?;
        if !from.is_dir() {
            return self.file(&from, name);
        }
        for entry in fs::read_dir(&from)? {
            let entry = entry?.file_name().to_string_lossy().into_owned();
            self.all(&format!("{name}/{entry}"))?;
        }
        Ok(())
    }
}
