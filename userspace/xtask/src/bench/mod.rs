// SPDX-License-Identifier: GPL-2.0
//! `xtask bench`: has a VM measure what a move costs, and shows that.

pub mod chart;
pub mod data;
pub mod page;
pub mod steps;
pub mod table;

use crate::place::Place;
use crate::root::BuildRoot;
use anyhow::{Context, Result};
use data::{Bench, Host};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use table::Of;

/// The length of calls that is drawn, and shown by function.
pub const SHOWN: usize = 512;

fn directory(place: &Place) -> PathBuf {
    place.build().join("bench")
}

/// Writes what was measured, and returns where, and a text for the terminal.
pub fn keep(place: &Place, bench: &Bench) -> Result<(PathBuf, String)> {
    let dir = directory(place);
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    write(
        &dir.join("bench.json"),
        &(serde_json::to_string_pretty(bench)? + "\n"),
    )?;
    write(&dir.join("bench.svg"), &chart::draw(bench, SHOWN))?;
    Ok((dir, text(bench)))
}

/// Makes the page of the last run.
pub fn page(place: &Place) -> Result<PathBuf> {
    let from = directory(place).join("bench.json");
    let json = fs::read(&from)
        .with_context(|| format!("reading {}: `make bench` writes it", from.display()))?;
    let bench: Bench =
        serde_json::from_slice(&json).with_context(|| format!("in {}", from.display()))?;
    let to = place.checkout().join("Documentation");
    write(&to.join("benchmarks.svg"), &chart::draw(&bench, SHOWN))?;
    let page = to.join("benchmarks.md");
    write(&page, &page::of(&bench))?;
    Ok(page)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn text(bench: &Bench) -> String {
    let mut text = String::new();
    for (title, busy, what) in [
        ("Time of a page in µs, device quiet", false, Of::Time),
        (
            "Instructions of a page, device quiet",
            false,
            Of::Instructions,
        ),
        ("Time of a page in µs, device busy", true, Of::Time),
        ("Longest gap between two completions, in ms", true, Of::Gap),
        ("Pages that one call moved, device busy", true, Of::Moved),
    ] {
        text += &format!("{title}\n{}\n", table::of(bench, busy, what).text());
    }
    let profiles: Vec<_> = bench.profiles.iter().collect();
    let shown: Vec<_> = profiles
        .into_iter()
        .filter(|profile| profile.engine == "adbit" && profile.verify)
        .collect();
    text += "Instructions of a page by step, adbit, verified\n";
    text += &page::side_by_side("step", &shown, steps::of, usize::MAX).text();
    text += "\nEmulated CPUs: only ratios mean anything.";
    text
}

impl Host {
    /// Looks at this machine before something is measured.
    pub fn look(root: &BuildRoot) -> Result<Self> {
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = about.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == "model name").then(|| value.trim().to_string())
        });
        let load = load();
        Ok(Self {
            date: output(Command::new("date").arg("+%F"))?,
            cpus: thread::available_parallelism().map_or(0, |count| count.get()),
            model: model.unwrap_or_else(|| "unknown".to_string()),
            load: [load, load],
            emulator: output(root.tool("usr/bin/qemu-system-x86_64").arg("--version"))?,
        })
    }

    /// The same afterwards.
    pub fn look_again(&mut self) {
        self.load[1] = load();
    }
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Returns the first line that a command prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}
