// SPDX-License-Identifier: GPL-2.0
//! The corpus: programs that reached something that no other did. What is kept for good is in
//! tests/fuzz/corpus/ and compiled in; what a campaign finds goes to a folder, from which its
//! processes learn of each other's.

use std::fs;
use std::path::Path;

use crate::program::Program;

include!(concat!(env!("OUT_DIR"), "/corpus.rs"));

const FOLDER: &str = "/tmp/fuzz-corpus";

/// The entries that are kept.
pub fn kept() -> Vec<Program> {
    CORPUS
        .iter()
        .filter_map(|(_, text)| Program::parse(text).ok())
        .collect()
}

/// A name that says what is in it.
fn name_of(program: &Program) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in program.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let last = program.0.last().map_or("nothing", |call| call.op().name);
    format!("{last}-{:08x}", hash as u32)
}

/// Makes a program known to the other processes.
pub fn add(program: &Program, about: &str) {
    let _ = fs::create_dir_all(FOLDER);
    let path = Path::new(FOLDER).join(name_of(program));
    // Others see it when it is whole.
    let draft = path.with_extension("draft");
    if fs::write(&draft, format!("# {about}\n{program}")).is_ok() {
        let _ = fs::rename(draft, path);
    }
}

/// The texts of what this campaign added.
pub fn added() -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_none());
    files.sort();
    let named = files.into_iter().filter_map(|file| {
        let name = file.file_name()?.to_string_lossy().into_owned();
        Some((name, fs::read_to_string(file).ok()?))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the corpus may grow to.
    const MOST: usize = 200;
    const LONGEST: usize = 4096;

    #[test]
    fn every_entry_is_a_program_and_small() {
        assert!((1..=MOST).contains(&CORPUS.len()), "{}", CORPUS.len());
        for (name, text) in CORPUS {
            assert!(text.len() <= LONGEST, "{name}");
            let program = Program::parse(text).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert!(
                !program.0.is_empty() && program.0.len() <= crate::program::LONGEST,
                "{name}"
            );
            assert_eq!(
                Program::parse(&program.to_string()).unwrap(),
                program,
                "{name}"
            );
        }
        assert_eq!(kept().len(), CORPUS.len());
    }

    #[test]
    fn the_table_of_calls_is_covered() {
        let all: String = CORPUS.iter().map(|(_, text)| *text).collect();
        let never: Vec<_> = crate::op::OPS
            .iter()
            .map(|op| op.name)
            .filter(|name| !all.contains(name))
            .collect();
        assert!(never.is_empty(), "no entry of the corpus has {never:?}");
    }
}
