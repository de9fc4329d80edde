// SPDX-License-Identifier: GPL-2.0
//! The running kernel: release, command line, configuration, log.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::tree::Tree;

#[derive(Debug, Serialize, Deserialize)]
pub struct Kernel {
    pub release: Fact<String>,
    /// Words of the command line that matter here.
    pub options: Fact<Vec<String>>,
    /// Of the lockdown LSM: none, integrity, confidentiality; or absent.
    pub lockdown: Fact<String>,
}

/// The beginnings of the words that matter.
const WORDS: &[&str] = &[
    "intel_iommu=",
    "amd_iommu=",
    "iommu=",
    "iommu.",
    "tsx=",
    "tsc=",
    "notsc",
    "clocksource=",
    "lockdown=",
    "pcie_acs_override=",
    "pci=",
    "vfio",
];

pub fn read(tree: &Tree, command_line: &Fact<CommandLine>) -> Kernel {
    let matters = |line: &CommandLine| {
        let words = line.0.iter();
        let words = words.filter(|word| WORDS.iter().any(|start| word.starts_with(start)));
        words.cloned().collect()
    };
    Kernel {
        release: release(tree),
        options: command_line.as_ref().map(matters),
        lockdown: lockdown(tree),
    }
}

fn release(tree: &Tree) -> Fact<String> {
    tree.must("proc/sys/kernel/osrelease")
}

/// The words of the kernel's command line.
#[derive(Clone, Debug, Default)]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    pub fn read(tree: &Tree) -> Fact<Self> {
        tree.must("proc/cmdline").map(|text| Self::parse(&text))
    }

    pub fn parse(text: &str) -> Self {
        Self(text.split_whitespace().map(String::from).collect())
    }

    /// Returns the last value of `key=value`, which is the one that counts.
    pub fn last(&self, key: &'static str) -> Option<&str> {
        self.values(key).last()
    }

    /// Returns every part of every `key=part,part`, in order.
    pub fn parts(&self, key: &'static str) -> impl Iterator<Item = &str> {
        self.values(key).flat_map(|value| value.split(','))
    }

    fn values(&self, key: &'static str) -> impl Iterator<Item = &str> {
        let words = self.0.iter();
        words.filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|other| other == word)
    }
}

/// Returns whether the kernel was configured with a symbol, by the file that distributions
/// install beside it.
pub fn configured(tree: &Tree, symbol: &str) -> Fact<bool> {
    let release = match release(tree) {
        Known(release) => release,
        Fact::Unknown(unknown) => return Fact::Unknown(unknown),
    };
    let places = [
        format!("boot/config-{release}"),
        format!("lib/modules/{release}/config"),
    ];
    let yes = format!("{symbol}=y");
    for place in &places {
        if let Some(Some(text)) = tree.text(place).known() {
            return Known(text.lines().any(|line| line.trim() == yes));
        }
    }
    Fact::unknown(format!(
        "neither /{} nor /{} can be read",
        places[0], places[1]
    ))
}

/// Reads the lockdown, `none [integrity] confidentiality`: the one in brackets.
fn lockdown(tree: &Tree) -> Fact<String> {
    const FILE: &str = "sys/kernel/security/lockdown";
    match tree.text(FILE) {
        Known(Some(text)) => {
            let chosen = text
                .split_whitespace()
                .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
            match chosen {
                Some(word) => Known(word.to_string()),
                None => Fact::unknown(format!("/{FILE} chooses nothing")),
            }
        }
        Known(None) => match tree.text("sys/kernel/security/lsm") {
            Known(Some(_)) => Known("absent".to_string()),
            _ => Fact::unknown("securityfs is not mounted"),
        },
        Fact::Unknown(unknown) => Fact::Unknown(unknown),
    }
}

/// Returns the lines of the kernel's log, as far as it still has them, that `wanted` takes.
pub fn log(tree: &Tree, wanted: impl Fn(&str) -> bool) -> Fact<Vec<String>> {
    const FILE: &str = "dev/kmsg";
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let mut file = match options.open(tree.path(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Fact::unknown(format!("needs root: /{FILE}"))
        }
        Err(error) => return Fact::unknown(format!("/{FILE} can not be read: {error}")),
    };
    let mut lines = Vec::new();
    // One read gives one record, or fails with EAGAIN after the last.
    let mut record = [0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let first = text.lines().next().unwrap_or_default();
                let message = first.split_once(';').map_or(first, |(_, message)| message);
                if wanted(message) {
                    lines.push(message.to_string());
                }
            }
            // The record was overwritten meanwhile: the next read goes on.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Fact::unknown(format!("/{FILE} can not be read: {error}")),
        }
    }
    Known(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_parts_stay_in_order() {
        let line = CommandLine::parse("quiet intel_iommu=on,sm_off tsx=on intel_iommu=sm_on tsx=");
        let parts: Vec<&str> = line.parts("intel_iommu").collect();
        assert_eq!(parts, ["on", "sm_off", "sm_on"]);
        assert_eq!(line.last("tsx"), Some(""));
        assert_eq!(line.last("iommu"), None);
        assert!(line.has("quiet") && !line.has("quie"));
    }
}
