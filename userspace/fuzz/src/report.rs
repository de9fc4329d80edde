// SPDX-License-Identifier: GPL-2.0
//! What a campaign did, to be read; and programs for the corpus, to be taken from its output.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};
use pagemove_testkit::tap::note;

use crate::op::OPS;
use crate::program::Program;
use crate::shared::Shared;
use crate::{corpus, errno};

/// Programs that one run prints.
const MOST: usize = 80;
const TITLE: &str = "# corpus ";
const LINE: &str = "# > ";

pub fn progress(shared: &Shared) {
    let numbers =
        [&shared.calls, &shared.programs, &shared.rebinds].map(|number| number.load(Relaxed));
    let [calls, programs, rebinds] = numbers;
    let edges = shared.edges.load(Relaxed);
    let outcomes = shared.outcomes.load(Relaxed);
    note(&format!(
        "{calls} calls, {programs} programs, {rebinds} rebinds, {edges} edges, {outcomes} outcomes"
    ));
}

/// Calls by name and by how they ended.
pub fn print(shared: &Shared, time: Duration) {
    progress(shared);
    let calls = shared.calls.load(Relaxed);
    note(&format!(
        "{} calls a second",
        calls * 1000 / (time.as_millis() as u64).max(1)
    ));
    for (at, op) in OPS.iter().enumerate() {
        let mut row = shared.row(at);
        row.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let sum: u64 = row.iter().map(|(_, count)| count).sum();
        let cells = row.iter().map(|(number, count)| match number {
            0 => format!("ok {count}"),
            number => format!("{} {count}", errno::name(*number)),
        });
        let us = shared.time(at) / sum.max(1) / 1000;
        note(&format!(
            "{:<14} {sum:>8} of {us:>6} us: {}",
            op.name,
            cells.collect::<Vec<_>>().join(", ")
        ));
    }
    let programs = shared.programs.load(Relaxed).max(1);
    note(&format!(
        "{} us between two programs",
        shared.tidying.load(Relaxed) / programs / 1000
    ));
}

pub fn export() {
    for (name, text) in corpus::added().into_iter().take(MOST) {
        println!("{TITLE}{name}");
        text.lines().for_each(|line| println!("{LINE}{line}"));
    }
}

/// Writes the programs that a run has printed to a folder. Says how many.
pub fn harvest(log: &Path, folder: &Path) -> Result<usize> {
    let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    let found = printed(&text);
    fs::create_dir_all(folder)?;
    for (name, text) in &found {
        Program::parse(text).with_context(|| name.clone())?;
        fs::write(folder.join(name).with_extension("txt"), text)?;
    }
    Ok(found.len())
}

fn printed(log: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in log.lines() {
        if let Some(name) = line.strip_prefix(TITLE) {
            let safe = name
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
                .collect();
            found.push((safe, String::new()));
        } else if let (Some(text), Some((_, program))) = (line.strip_prefix(LINE), found.last_mut())
        {
            program.push_str(text);
            program.push('\n');
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_found() {
        let log = "ok 1 - x\n# corpus move-12\n# > # 3 new\n# > open file=2\n# corpus ../a\n# > close file=2\nok 2 - y\n";
        let found = printed(log);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0],
            ("move-12".to_string(), "# 3 new\nopen file=2\n".to_string())
        );
        assert_eq!(found[1].0, "a");
    }
}
