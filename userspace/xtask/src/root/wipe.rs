// SPDX-License-Identifier: GPL-2.0
//! Remove a directory tree without reaching beyond it.

use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Removes a directory, if it is there. Refuses, and removes nothing, while
/// anything is mounted on it or below: somebody is using it.
pub fn remove_tree(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let real = dir
        .canonicalize()
        .with_context(|| format!("looking for {}", dir.display()))?;
    let table =
        fs::read_to_string("/proc/self/mountinfo").context("reading the table of mounts")?;
    if let Some(mount) = mounted_below(&table, &real) {
        bail!(
            "{} is mounted, so {} is in use: umount it first",
            mount.display(),
            dir.display()
        );
    }
    // A mount that comes after the check is not crossed, either.
    let status = Command::new("rm")
        .args(["-rf", "--one-file-system", "--"])
        .arg(&real)
        .status()?;
    if !status.success() || real.exists() {
        bail!("could not remove {}", dir.display());
    }
    Ok(())
}

/// Returns the first mount point at or below `dir`. The fifth field of a line is the
/// mount point, with blanks and backslashes in octal (proc_pid_mountinfo(5)).
fn mounted_below(table: &str, dir: &Path) -> Option<PathBuf> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(|point| PathBuf::from(unescape(point)))
        .find(|point| point.starts_with(dir))
}

fn unescape(text: &str) -> String {
    let pairs = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    pairs.iter().fold(text.to_string(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                         35 22 0:5 / /cache/my\\040root/proc rw - proc proc rw\n";

    #[test]
    fn a_mount_below_is_found_and_one_beside_is_not() {
        assert_eq!(
            mounted_below(TABLE, Path::new("/cache/my root")),
            Some("/cache/my root/proc".into())
        );
        assert_eq!(
            mounted_below(TABLE, Path::new("/cache/my root/proc")),
            Some("/cache/my root/proc".into())
        );
        assert_eq!(mounted_below(TABLE, Path::new("/cache/my root2")), None);
        assert_eq!(mounted_below(TABLE, Path::new("/cache/my")), None);
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        remove_tree(Path::new("/nowhere/at/all")).unwrap();
    }

    #[test]
    fn a_tree_is_removed() {
        let dir = std::env::temp_dir().join(format!("pagemove-wipe-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        remove_tree(&dir).unwrap();
        assert!(!dir.exists());
    }
}
