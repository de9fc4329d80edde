// SPDX-License-Identifier: GPL-2.0
//! The format of the source: Rust as rustfmt makes it with the checkout's rustfmt.toml, C as
//! clang-format does with the kernel tree's .clang-format. Both programs are the build root's, so
//! that the format is one on every machine.

use crate::place::Place;
use crate::root::BuildRoot;
use anyhow::{bail, ensure, Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Directories in which nothing is ours: what was built, and the crates of others.
const FOREIGN: [&str; 3] = ["build", "target", "third_party"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    C,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::Rust, Language::C];

    /// Returns the language of a source file, and nothing for other files.
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?;
        match name.rsplit_once('.')?.1 {
            "rs" => Some(Language::Rust),
            // kbuild makes these.
            "c" if name.ends_with(".mod.c") => None,
            "c" | "h" => Some(Language::C),
            _ => None,
        }
    }

    pub fn formatter(self) -> &'static str {
        match self {
            Language::Rust => "rustfmt",
            Language::C => "clang-format",
        }
    }

    /// Returns the formatter's command, which reads a text and prints it formatted.
    fn command(self, place: &Place, root: &BuildRoot) -> Command {
        let mut command = root.tool(&format!("usr/bin/{}", self.formatter()));
        match self {
            // Of a text it does not format the modules that it declares: each file is read once.
            Language::Rust => command
                .args(["--edition", "2021", "--config-path"])
                .arg(place.checkout().join("rustfmt.toml")),
            Language::C => {
                let style = root.dir().join(root.tree()).join(".clang-format");
                command
                    .arg(format!("--style=file:{}", style.display()))
                    .arg("--assume-filename=a.c")
            }
        };
        command
    }
}

/// A source file, and what its formatter makes of it.
pub struct Source {
    /// Within the checkout.
    pub file: PathBuf,
    pub language: Language,
    text: String,
    formatted: String,
}

impl Source {
    fn read(place: &Place, root: &BuildRoot, file: &Path, language: Language) -> Result<Self> {
        let path = place.checkout().join(file);
        let text = fs::read_to_string(&path)?;
        let output = language
            .command(place, root)
            .stdin(File::open(&path)?)
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("starting {}", language.formatter()))?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self {
            file: file.to_path_buf(),
            language,
            text,
            formatted: String::from_utf8(output.stdout)?,
        })
    }

    /// Returns the first line that is not as the formatter makes it, counted from 1.
    pub fn wrong_line(&self) -> Option<usize> {
        first_difference(&self.text, &self.formatted)
    }

    pub fn rewrite(&self, place: &Place) -> Result<()> {
        let path = place.checkout().join(&self.file);
        fs::write(&path, &self.formatted).with_context(|| format!("writing {}", path.display()))
    }
}

fn first_difference(text: &str, other: &str) -> Option<usize> {
    if text == other {
        return None;
    }
    // Lines with their ends, so that a last one without is seen.
    let mut others = other.split_inclusive('\n');
    let same = text
        .split_inclusive('\n')
        .take_while(|line| others.next() == Some(*line));
    Some(same.count() + 1)
}

/// Formats every source file of the checkout, and writes none.
pub fn sources(place: &Place, root: &BuildRoot) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    collect(place.checkout(), Path::new(""), &mut files)?;
    for language in Language::ALL {
        ensure!(
            files.iter().any(|(_, other)| *other == language),
            "no {language:?} file was found"
        );
    }
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((file, language)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let source = Source::read(place, root, file, *language);
            done.push(source.with_context(|| format!("formatting {}", file.display()))?);
        }
        Ok(done)
    };
    let workers = thread::available_parallelism().map_or(1, |count| count.get());
    let done: Result<Vec<Vec<Source>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut sources: Vec<Source> = done?.into_iter().flatten().collect();
    sources.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(sources)
}

/// Finds the source files at or below `dir` of the checkout. git is not asked: a file that it
/// does not know yet has a format, too.
fn collect(checkout: &Path, dir: &Path, files: &mut Vec<(PathBuf, Language)>) -> Result<()> {
    let path = checkout.join(dir);
    for entry in fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let file = dir.join(&name);
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&&*name) {
            collect(checkout, &file, files)?;
        }
        if kind.is_file() {
            files.extend(Language::of(&file).map(|language| (file, language)));
        }
    }
    Ok(())
}

/// Rewrites the files that are not formatted, and prints their names.
pub fn rewrite(place: &Place, root: &BuildRoot) -> Result<()> {
    for source in sources(place, root)? {
        if source.wrong_line().is_some() {
            source.rewrite(place)?;
            println!("{}", source.file.display());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
