// SPDX-License-Identifier: GPL-2.0
//! The kernel's log since a moment: a complaint there is a failure, and the round that made it
//! is known. (The runner judges the whole log as well.)

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{bail, Context, Result};

/// Returns whether a line has one of these marks. Whether a race is ours the runner judges,
/// which has the whole report.
pub fn is_bad(line: &str, marks: &[&str]) -> bool {
    let is_of_others = line.contains("BUG: KCSAN:") && !line.contains("[pagemove");
    !is_of_others && marks.iter().any(|mark| line.contains(mark))
}

/// Reads what the kernel logs from now on.
pub struct KernelLog {
    file: File,
    /// What a complaint has in it.
    marks: &'static [&'static str],
}

impl KernelLog {
    /// Opens the log at its end, for complaints that have one of these marks.
    pub fn from_now(marks: &'static [&'static str]) -> Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))
            .context("the end of /dev/kmsg")?;
        Ok(Self { file, marks })
    }

    /// Reads the lines since the last call, without their prefix.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    let line = text.split_once(';').map_or(&*text, |(_, line)| line);
                    lines.push(line.trim_end().to_string());
                }
                // Some records were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return lines,
            }
        }
    }

    /// Counts the lines since the last call that have this text.
    pub fn count(&mut self, text: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }

    /// Returns the first complaint since the last call.
    pub fn complaint(&mut self) -> Option<String> {
        let lines = self.lines();
        let bad = lines.iter().find(|line| is_bad(line, self.marks))?;
        Some(bad.lines().next().unwrap_or_default().to_string())
    }

    /// Fails with the first complaint since the last call.
    pub fn check(&mut self) -> Result<()> {
        match self.complaint() {
            Some(line) => bail!("the kernel says: {line}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_bad;

    #[test]
    fn races_of_the_kernels_own_are_not_ours() {
        let marks = &["WARNING:", "BUG:"];
        assert!(is_bad("WARNING: CPU: 0 PID: 1 at x.c:3", marks));
        assert!(is_bad(
            "BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            marks
        ));
        assert!(is_bad("BUG: KCSAN: data-race in f [pagemove] / g", marks));
        let of_others = "BUG: KCSAN: data-race in do_nanosleep / hrtimer_wakeup";
        assert!(!is_bad(of_others, marks));
        assert!(!is_bad("pagemove: region 7: freed", marks));
    }
}
