// SPDX-License-Identifier: GPL-2.0
//! The kernel's log while a campaign runs: a complaint ends it, and what ran then is printed.
//! (The runner judges the log as well.)

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

const BAD: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "KASAN",
    "UBSAN",
    "kmemleak:",
    "possible recursive locking",
    "circular locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "blocked for more than",
    "detected stall",
    "Bad page",
];

pub struct KernelLog(Option<File>);

impl KernelLog {
    pub fn from_now() -> Self {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg");
        Self(
            file.ok()
                .and_then(|mut file| file.seek(SeekFrom::End(0)).ok().map(|_| file)),
        )
    }

    /// The first complaint since the last look.
    pub fn complaint(&mut self) -> Option<String> {
        let file = self.0.as_mut()?;
        let mut record = [0; 8192];
        let mut found = None;
        // An error is the end, or records that were overwritten: then the next look goes on.
        while let Ok(length) = file.read(&mut record) {
            let text = String::from_utf8_lossy(&record[..length]);
            let line = text.split_once(';').map_or(&*text, |(_, line)| line);
            if found.is_none() && is_bad(line) {
                found = Some(line.lines().next().unwrap_or_default().to_string());
            }
        }
        found
    }
}

fn is_bad(line: &str) -> bool {
    BAD.iter().any(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_known() {
        assert!(is_bad("WARNING: CPU: 0 PID: 1 at x.c:3"));
        assert!(is_bad("BUG: KASAN: slab-use-after-free in f+0x1/0x2"));
        assert!(!is_bad("pagemove: region 7: freed"));
    }
}
