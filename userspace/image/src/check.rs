// SPDX-License-Identifier: GPL-2.0
//! Whether an image makes sense, beyond being whole.

use crate::error::Error;
use crate::image::{File, Image};
use crate::memory::{Memory, MOST_PAGES};
use crate::part::{Kind, MOST_PARTS};
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// Refuses what no application can have left.
pub fn check(image: &Image) -> Result<(), Error> {
    check_globals(image)?;
    check_files(&image.files)?;
    if let Some(messages) = &image.messages {
        let checked = messages.check();
        checked.or_else(|what| nonsense(Kind::Messages, what))?;
    }
    if image.memories.len() > MOST_PARTS as usize - Kind::ALL.len() {
        return Err(Error::TooLarge("the number of memories"));
    }
    let mut indices = BTreeSet::new();
    for memory in &image.memories {
        if !indices.insert(memory.index) {
            return nonsense(
                Kind::Memory,
                format!("there are two with index {}", memory.index),
            );
        }
        check_memory(memory)?;
    }
    Ok(())
}

fn nonsense<T>(kind: Kind, what: String) -> Result<T, Error> {
    Err(Error::Nonsense(kind.name(), what))
}

fn check_globals(image: &Image) -> Result<(), Error> {
    let mut indices = BTreeSet::new();
    for global in &image.globals {
        if !indices.insert(global.index) {
            return nonsense(
                Kind::Globals,
                format!("there are two with index {}", global.index),
            );
        }
    }
    Ok(())
}

fn check_files(files: &[File]) -> Result<(), Error> {
    let mut numbers = BTreeSet::new();
    for file in files {
        if !numbers.insert(file.number) {
            return nonsense(
                Kind::Files,
                format!("there are two with number {}", file.number),
            );
        }
        let inside = Path::new(&file.path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if file.path.is_empty() || file.path.contains('\0') || !inside {
            let what = format!("{:?} is not below the program's directory", file.path);
            return nonsense(Kind::Files, what);
        }
        if !file.access.read && !file.access.write {
            return nonsense(
                Kind::Files,
                format!("{:?} is neither read nor written", file.path),
            );
        }
    }
    Ok(())
}

fn check_memory(memory: &Memory) -> Result<(), Error> {
    if memory.pages > MOST_PAGES {
        return nonsense(Kind::Memory, format!("{} pages are too many", memory.pages));
    }
    let mut end = 0u64;
    for run in &memory.runs {
        let from = u64::from(run.offset);
        if from < end {
            return nonsense(Kind::Memory, format!("two runs lie at {from:#x}"));
        }
        if run.bytes.is_empty() {
            return nonsense(Kind::Memory, format!("a run at {from:#x} is empty"));
        }
        end = from + run.bytes.len() as u64;
        if end > memory.len() {
            let what = format!(
                "a run ends at {end:#x} in a memory of {} pages",
                memory.pages
            );
            return nonsense(Kind::Memory, what);
        }
    }
    Ok(())
}
