// SPDX-License-Identifier: GPL-2.0
//! What should not have happened: noted in a folder, with the program that it happened to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use crate::shared::Shared;

const FOLDER: &str = "/tmp/fuzz-findings";
/// More are only counted.
const MOST: u32 = 20;

/// Notes a finding in the program that a process runs now.
pub fn report(shared: &Shared, worker: usize, text: &str) {
    let number = shared.findings.fetch_add(1, Relaxed);
    if number >= MOST {
        return;
    }
    let doing = &shared.workers[worker];
    let call = doing.call.load(Relaxed);
    let program = doing.program();
    let mut body = format!("# {text}\n# process {worker}, at call {call}\n");
    for (at, line) in program.lines().enumerate() {
        let mark = if at as u32 == call { "  # here" } else { "" };
        body.push_str(&format!("{line}{mark}\n"));
    }
    let _ = fs::create_dir_all(FOLDER);
    let _ = fs::write(Path::new(FOLDER).join(format!("{number:03}")), body);
}

/// All of them, one for each kind.
pub fn all() -> Vec<String> {
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let mut kinds = BTreeMap::new();
    for text in texts {
        kinds.entry(kind(&text)).or_insert(text);
    }
    kinds.into_values().collect()
}

/// The first line without its numbers.
fn kind(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_with_other_numbers_is_the_same() {
        assert_eq!(
            kind("# word 5 of page 2\nopen"),
            kind("# word 7 of page 1\n")
        );
        assert_ne!(kind("# move"), kind("# used"));
    }
}
