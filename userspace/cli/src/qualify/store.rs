// SPDX-License-Identifier: GPL-2.0
//! The file of stored verdicts: a header, then the verdicts, in the byte order of the
//! machine. The module reads it with the kernel's firmware loader.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{Verdict, MAX_VERDICTS, VERDICT_FILE, VERDICT_MAGIC};

use pagemove_uapi::cpu::Cpu;

use super::noes::same;

/// How a file begins that a version before this one has written: its verdicts do not say where the
/// IOMMU's registers are. They allow nothing any more, and their noes stay.
const OLD_MAGIC: u32 = 0x3156_4750;
const OLD_EACH: usize = 40;

const HEADER: usize = 8;
const EACH: usize = size_of::<Verdict>();
const NAME: usize = 16;

/// Verdicts of any number of machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    verdicts: Vec<Verdict>,
}

/// Returns where the file is.
pub fn path(firmware: &Path) -> PathBuf {
    firmware.join(VERDICT_FILE)
}

impl Store {
    /// Reads what is stored; nothing, if there is no file.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Self::parse(&bytes).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| {
            let part = bytes.get(at..at + 4)?;
            Some(u32::from_ne_bytes(part.try_into().ok()?))
        };
        let each = match word(0) {
            Some(OLD_MAGIC) => OLD_EACH,
            _ => EACH,
        };
        ensure!(
            [Some(VERDICT_MAGIC), Some(OLD_MAGIC)].contains(&word(0)),
            "it does not begin as a file of verdicts does"
        );
        let count = word(4).unwrap_or(0) as usize;
        ensure!(
            count <= MAX_VERDICTS && bytes.len() == HEADER + count * each,
            "it has not the length that it says: {} bytes for {count} verdicts",
            bytes.len()
        );
        let verdicts = bytes[HEADER..].chunks_exact(each).map(decode).collect();
        Ok(Self { verdicts })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [VERDICT_MAGIC, self.verdicts.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        for verdict in &self.verdicts {
            bytes.extend(verdict.iommu);
            for word in words(verdict) {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(verdict.registers.to_ne_bytes());
        }
        bytes
    }

    /// Puts one in, in the place of an older one on the same thing.
    pub fn merge(&mut self, verdict: Verdict) -> Result<()> {
        if let Some(old) = self.verdicts.iter_mut().find(|old| same(old, &verdict)) {
            *old = verdict;
            return Ok(());
        }
        ensure!(
            self.verdicts.len() < MAX_VERDICTS,
            "{MAX_VERDICTS} verdicts are stored, and the module reads no more: remove the file, \
             and qualify again what is still used"
        );
        self.verdicts.push(verdict);
        Ok(())
    }

    /// Returns all verdicts, of whatever machine.
    pub fn all(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// Returns the verdicts that count on a machine.
    pub fn of(&self, cpu: Cpu) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(move |verdict| {
            (verdict.cpu, verdict.microcode) == (cpu.signature, cpu.microcode)
        })
    }

    /// Replaces the file as a whole: whoever reads it finds the old one or the new one.
    pub fn write(&self, path: &Path) -> Result<()> {
        let directory = path.parent().context("a file without a directory")?;
        let new = directory.join(format!(".verdicts.{}", std::process::id()));
        let written = fs::create_dir_all(directory)
            .and_then(|()| write_synced(&new, &self.bytes()))
            .and_then(|()| fs::rename(&new, path))
            .and_then(|()| fs::File::open(directory)?.sync_all());
        if written.is_err() {
            // It may not be there; the first error is the one to tell.
            let _ = fs::remove_file(&new);
        }
        written.with_context(|| format!("can not write {}", path.display()))
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn words(verdict: &Verdict) -> [u32; 6] {
    [
        verdict.format,
        verdict.cpu,
        verdict.microcode,
        verdict.engines,
        verdict.findings,
        verdict.flags,
    ]
}

/// Decodes a verdict from the bytes of exactly one, of this version's length or the older.
fn decode(bytes: &[u8]) -> Verdict {
    let mut iommu = [0; NAME];
    iommu.copy_from_slice(&bytes[..NAME]);
    let mut words = bytes[NAME..]
        .chunks_exact(4)
        .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    let mut next = || words.next().unwrap_or_default();
    let mut registers = [0; 8];
    let is_old = bytes.len() == OLD_EACH;
    if !is_old {
        registers.copy_from_slice(&bytes[EACH - 8..EACH]);
    }
    let mut verdict = Verdict {
        iommu,
        format: next(),
        cpu: next(),
        microcode: next(),
        engines: next(),
        findings: next(),
        flags: next(),
        registers: u64::from_ne_bytes(registers),
    };
    if is_old {
        verdict.engines = 0;
    }
    verdict
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
