// SPDX-License-Identifier: GPL-2.0
//! The program that answers, and its answers. See `c/oracle.c` for what it is told.

use crate::headers::{self, Edit};
use anyhow::{bail, ensure, Context, Result};
use engine::Format;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Linux's functions for one format.
pub struct Oracle {
    folder: TempDir,
    program: PathBuf,
}

/// What Linux takes an entry for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Empty,
    /// A table at this address.
    Table(u64),
    Leaf {
        address: u64,
        /// Its size is this power of two, in bytes.
        lg2: u32,
        /// Whether Linux makes leaves of that size at the level.
        possible: bool,
        /// Asked of possible leaves only.
        dirty: bool,
    },
}

/// A leaf to make.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    pub level: u32,
    pub address: u64,
    /// Its size is this power of two, in bytes.
    pub lg2: u32,
    /// One at least of this and `writable`.
    pub readable: bool,
    pub writable: bool,
}

/// What the format's header says beside its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constants {
    /// 0: the header does not name it.
    pub accessed: u64,
    pub dirty: u64,
    pub top_level: u32,
}

impl Oracle {
    /// Compiles the headers of `tree`, the format's with `edit` made.
    pub fn compile(tree: &Path, format: Format, edit: Option<Edit>) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for the oracle")?;
        headers::lay_out(tree, folder.path(), format, edit)?;
        let program = folder.path().join("oracle");
        let name = headers::name(format);
        let (accessed, dirty) = match format {
            Format::X86_64 => ("X86_64_FMT_A", "X86_64_FMT_D"),
            Format::VtdSs => ("VTDSS_FMT_A", "VTDSS_FMT_D"),
            Format::AmdV1 => ("0", "AMDV1PT_FMT_D"),
        };
        let mut command = Command::new("cc");
        command
            .args(["-std=gnu11", "-O1", "-w", "-Iinclude"])
            .arg(format!(
                "-DFORMAT_INSTANCE=\"drivers/iommu/generic_pt/fmt/iommu_{name}.c\""
            ))
            .arg(format!("-DFORMAT_DEFINITIONS=\"defs_{name}.h\""))
            .arg(format!("-DFORMAT_HEADER=\"{name}.h\""))
            .arg(format!("-DACCESSED={accessed}"))
            .arg(format!("-DDIRTY={dirty}"))
            .args(["-o", "oracle", "oracle.c"])
            .current_dir(folder.path());
        let output = command.output().context("starting cc: install gcc")?;
        ensure!(
            output.status.success(),
            "the kernel's {name}.h does not compile here:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self { folder, program })
    }

    /// Asks for each level and entry what it is.
    pub fn kinds(&self, entries: &[(u32, u64)]) -> Result<Vec<Kind>> {
        let lines = self.ask(entries, |(level, entry)| format!("e {level:x} {entry:x}"))?;
        lines.iter().map(|words| kind(words)).collect()
    }

    /// Asks for each leaf its entry, and in how many places of the table it is.
    pub fn leaves(&self, leaves: &[Leaf]) -> Result<Vec<(u64, u64)>> {
        let lines = self.ask(leaves, |leaf| {
            // IOMMU_READ, IOMMU_WRITE.
            let protection = u32::from(leaf.readable) | u32::from(leaf.writable) << 1;
            format!(
                "l {:x} {:x} {:x} {protection:x}",
                leaf.level, leaf.address, leaf.lg2
            )
        })?;
        lines
            .iter()
            .map(|words| Ok((word(words, 0)?, word(words, 1)?)))
            .collect()
    }

    /// Asks for each level and address of a table the entry that points to it.
    pub fn tables(&self, tables: &[(u32, u64)]) -> Result<Vec<u64>> {
        let lines = self.ask(tables, |(level, table)| format!("t {level:x} {table:x}"))?;
        lines.iter().map(|words| word(words, 0)).collect()
    }

    /// Each entry, made dirty. Linux leaves it as it is in a format whose dirty bits
    /// it does not track.
    pub fn dirtied(&self, entries: &[(u32, u64)]) -> Result<Vec<u64>> {
        let lines = self.ask(entries, |(level, entry)| format!("d {level:x} {entry:x}"))?;
        lines.iter().map(|words| word(words, 0)).collect()
    }

    pub fn constants(&self) -> Result<Constants> {
        let lines = self.ask(&[()], |()| "c".to_string())?;
        let words = lines.first().context("no answer")?;
        Ok(Constants {
            accessed: word(words, 0)?,
            dirty: word(words, 1)?,
            top_level: word(words, 2)? as u32,
        })
    }

    /// The words of each line of answer.
    fn ask<T>(&self, questions: &[T], line: impl Fn(&T) -> String) -> Result<Vec<Vec<u64>>> {
        let mut text = String::new();
        for question in questions {
            writeln!(text, "{}", line(question))?;
        }
        // A file, since two pipes can wait for each other. Its own for each call.
        let file = tempfile::NamedTempFile::new_in(self.folder.path())?;
        fs::write(file.path(), text)?;
        let output = Command::new(&self.program)
            .stdin(Stdio::from(File::open(file.path())?))
            .output()
            .context("starting the oracle")?;
        ensure!(
            output.status.success(),
            "the oracle ended with {}",
            output.status
        );
        let lines: Vec<_> = std::str::from_utf8(&output.stdout)?
            .lines()
            .map(words)
            .collect::<Result<_>>()?;
        ensure!(
            lines.len() == questions.len(),
            "{} answers to {} questions",
            lines.len(),
            questions.len()
        );
        Ok(lines)
    }
}

fn words(line: &str) -> Result<Vec<u64>> {
    let number =
        |word| u64::from_str_radix(word, 16).with_context(|| format!("the oracle said {line:?}"));
    line.split(' ').map(number).collect()
}

fn word(words: &[u64], n: usize) -> Result<u64> {
    words
        .get(n)
        .copied()
        .with_context(|| format!("an answer of {} words", words.len()))
}

fn kind(words: &[u64]) -> Result<Kind> {
    Ok(match *words {
        [0] => Kind::Empty,
        [1, table] => Kind::Table(table),
        [2, address, lg2, possible, dirty] => Kind::Leaf {
            address,
            lg2: lg2 as u32,
            possible: possible != 0,
            dirty: dirty != 0,
        },
        _ => bail!("the oracle said {words:x?}"),
    })
}
