// SPDX-License-Identifier: GPL-2.0
//! The emulation of RTM in a VM: how QEMU is told of it, and what it reports.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Kernel words that keep the TSC of an emulated CPU trusted, as it has to be where
/// two CPUs compare it.
pub const KERNEL: [&str; 2] = ["tsc=reliable", "clocksource=tsc"];

/// Counters that have to be 0 at the end of a run: the emulation did what a CPU would
/// not have done.
const ZERO: [&str; 2] = ["unsupported", "leaked"];

#[derive(Clone, Debug)]
pub struct Rtm {
    /// The plugin.
    pub plugin: PathBuf,
    /// Options for it; tests/rtm-emulation/README.md lists them.
    pub options: Vec<String>,
}

impl Rtm {
    /// Returns QEMU's options; the report goes to `report`.
    pub fn args(&self, report: &Path) -> [OsString; 2] {
        let mut plugin = OsString::from("file=");
        plugin.push(&self.plugin);
        plugin.push(",report=");
        plugin.push(report);
        for option in &self.options {
            plugin.push(",");
            plugin.push(option);
        }
        ["-plugin".into(), plugin]
    }
}

/// What the plugin counted, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtmReport {
    counters: BTreeMap<String, u64>,
    notes: Vec<String>,
}

impl RtmReport {
    pub fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Ok(Self::parse(&text))
    }

    pub fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            match line.strip_prefix("# ") {
                Some(note) => report.notes.push(note.to_string()),
                None => {
                    let counter = line
                        .split_once('=')
                        .and_then(|(name, n)| Some((name, n.parse().ok()?)));
                    report
                        .counters
                        .extend(counter.map(|(name, n)| (name.to_string(), n)));
                }
            }
        }
        report
    }

    /// Returns why this run proves nothing, if so.
    pub fn complaints(&self) -> Vec<String> {
        let note = self
            .notes
            .first()
            .map(|note| format!(" ({note})"))
            .unwrap_or_default();
        ZERO.iter()
            .filter_map(|name| match self.counters.get(*name) {
                Some(0) => None,
                Some(n) => Some(format!("rtm: {name}={n}{note}")),
                None => Some(format!("rtm: the emulation did not report {name}{note}")),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_report_with_both_at_zero_is_good() {
        let report = |text| RtmReport::parse(text).complaints();
        assert!(report("begun=2\nunsupported=0\nleaked=0\n").is_empty());
        assert_eq!(
            report("# at 0x1: 0f\nunsupported=3\nleaked=0\n"),
            ["rtm: unsupported=3 (at 0x1: 0f)"]
        );
        assert_eq!(report("unsupported=0\nleaked=1\n"), ["rtm: leaked=1"]);
        assert_eq!(report("").len(), 2);
    }
}
