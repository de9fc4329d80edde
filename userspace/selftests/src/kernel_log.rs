// SPDX-License-Identifier: GPL-2.0
//! The kernel's log since a moment: a warning there is a failure, and the round
//! that made it is known.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{ensure, Context, Result};

const BAD: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "KASAN",
    "Call Trace",
    "Kernel panic",
    "possible recursive locking",
    "circular locking",
    "blocked for more than",
    "self-detected stall",
    "detected stalls",
    "Bad page",
    "bad page",
];

/// Whether a race is ours the runner judges, which has the whole report.
fn is_bad(line: &str) -> bool {
    let is_of_others = line.contains("BUG: KCSAN:") && !line.contains("[pagemove");
    !is_of_others && BAD.iter().any(|mark| line.contains(mark))
}

/// Reads what the kernel logs from now on.
pub struct KernelLog {
    file: File,
}

impl KernelLog {
    pub fn from_now() -> Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))
            .context("the end of /dev/kmsg")?;
        Ok(Self { file })
    }

    /// Lines since the last call, without their prefix.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    lines.push(
                        text.split_once(';')
                            .map_or(&*text, |(_, line)| line)
                            .trim_end()
                            .to_string(),
                    );
                }
                // Some records were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return lines,
            }
        }
    }

    /// How many lines since the last call have this text.
    pub fn count(&mut self, text: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }

    /// Fails with the first bad line since the last call.
    pub fn check(&mut self) -> Result<()> {
        let lines = self.lines();
        let bad = lines.iter().find(|line| is_bad(line));
        ensure!(
            bad.is_none(),
            "the kernel says: {}",
            bad.expect("just checked")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_bad;

    #[test]
    fn races_of_the_kernels_own_are_not_ours() {
        assert!(is_bad("BUG: KASAN: slab-use-after-free in f+0x1/0x2"));
        assert!(is_bad("BUG: KCSAN: data-race in f [pagemove] / g"));
        assert!(!is_bad(
            "BUG: KCSAN: data-race in do_nanosleep / hrtimer_wakeup"
        ));
    }
}
