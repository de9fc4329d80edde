// SPDX-License-Identifier: GPL-2.0
//! A VM's RAM as a file, which a device of the same or of another VM can show.

use anyhow::{Context, Result};
use nix::sys::memfd::{memfd_create, MFdFlags};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// A file in memory alone: nothing writes it to a disk while the guest runs, and it is gone
/// with the runner, however that ends. Only what the guest touches takes memory.
#[derive(Debug)]
pub struct SharedRam {
    file: File,
    mib: u64,
}

impl SharedRam {
    pub fn new(mib: u64) -> Result<Self> {
        let file = memfd_create("pagemove-ram", MFdFlags::MFD_CLOEXEC)
            .context("making a file for a VM's RAM")?;
        let file = File::from(file);
        file.set_len(mib << 20)?;
        Ok(Self { file, mib })
    }

    pub fn mib(&self) -> u64 {
        self.mib
    }

    /// Returns the name by which a QEMU that we started opens it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn who_opens_it_by_its_name_sees_the_same_memory() {
        let ram = SharedRam::new(64).unwrap();
        let (one, other) = (
            File::options().write(true).open(ram.path()).unwrap(),
            File::open(ram.path()).unwrap(),
        );
        one.write_all_at(b"page", 60 << 20).unwrap();
        let mut found = [0; 4];
        other.read_exact_at(&mut found, 60 << 20).unwrap();
        assert_eq!(&found, b"page");
        let made = fs::metadata(ram.path()).unwrap();
        assert_eq!(made.len(), 64 << 20);
        assert!(
            made.blocks() * 512 < 1 << 20,
            "{} blocks for 4 bytes",
            made.blocks()
        );
    }
}
