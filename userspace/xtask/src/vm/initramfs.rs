// SPDX-License-Identifier: GPL-2.0
//! The guest's first file system: a cpio archive in the format "newc", the one
//! that the kernel unpacks (Documentation/driver-api/early-userspace).

use anyhow::{Context, Result};
use cpio::newc::{trailer, Builder, ModeFileType};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub struct Initramfs {
    out: BufWriter<File>,
    inode: u32,
    directories: BTreeSet<String>,
}

impl Initramfs {
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self {
            out: BufWriter::new(file),
            inode: 0,
            directories: BTreeSet::new(),
        })
    }

    /// Adds a file of the host, with its permissions, at `name` in the guest.
    pub fn copy(&mut self, from: &Path, name: &str) -> Result<()> {
        let data = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o7777;
        self.file(name, &data, mode)
    }

    pub fn file(&mut self, name: &str, data: &[u8], mode: u32) -> Result<()> {
        let name = name.trim_start_matches('/');
        self.parents(name)?;
        let builder = self
            .entry(name)
            .mode(mode)
            .set_mode_file_type(ModeFileType::Regular);
        self.put(builder, data)
    }

    pub fn directory(&mut self, name: &str) -> Result<()> {
        let name = name.trim_matches('/');
        if name.is_empty() || !self.directories.insert(name.to_string()) {
            return Ok(());
        }
        self.parents(name)?;
        let builder = self
            .entry(name)
            .mode(0o755)
            .set_mode_file_type(ModeFileType::Directory);
        self.put(builder, &[])
    }

    /// Adds a character device node: the archive may hold it though its maker is not root.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        self.parents(name)?;
        let builder = self
            .entry(name)
            .mode(0o600)
            .set_mode_file_type(ModeFileType::Char);
        self.put(builder.rdev_major(major).rdev_minor(minor), &[])
    }

    /// Appends an archive that was made before: the kernel unpacks one after the other.
    pub fn append(mut self, archive: &Path) -> Result<Self> {
        self.end()?;
        let mut from =
            File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
        std::io::copy(&mut from, &mut self.out)?;
        Ok(self)
    }

    pub fn finish(mut self) -> Result<()> {
        self.end()?;
        Ok(self.out.flush()?)
    }

    fn end(&mut self) -> Result<()> {
        trailer(&mut self.out)?;
        Ok(())
    }

    fn parents(&mut self, name: &str) -> Result<()> {
        match name.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, name: &str) -> Builder {
        self.inode += 1;
        Builder::new(name).ino(self.inode).nlink(1)
    }

    fn put(&mut self, builder: Builder, data: &[u8]) -> Result<()> {
        let size = u32::try_from(data.len()).context("a cpio archive holds no file of 4 GiB")?;
        let mut writer = builder.write(&mut self.out, size);
        writer.write_all(data)?;
        writer.finish()?;
        Ok(())
    }
}
