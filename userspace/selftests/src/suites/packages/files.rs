// SPDX-License-Identifier: GPL-2.0
//! Every file of a tree, to be compared with what it was.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What changes with every installation of whatever, and stays: logs, dpkg's list of states, the groups of the
/// system (an installation adds one, and leaves it, for files may belong to it).
const BESIDE: [&str; 11] = [
    "etc/.pwd.lock",
    "etc/group",
    "etc/group-",
    "etc/gshadow",
    "etc/gshadow-",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/status",
    "var/lib/dpkg/status-old",
    "var/log/alternatives.log",
    "var/log/dpkg.log",
];

/// Each file below a folder: what it is, whose, and what is in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, (u32, u32, u32, u64)>);

impl Files {
    /// Looks at all files below `top`, but not below the folders `without`.
    pub fn look(top: &Path, without: &[&str]) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![top.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let path = entry?.path();
                let name = path.strip_prefix(top)?.to_path_buf();
                if BESIDE
                    .iter()
                    .chain(without)
                    .any(|one| name == Path::new(one))
                {
                    continue;
                }
                let data = fs::symlink_metadata(&path)?;
                let mut hasher = DefaultHasher::new();
                if data.is_symlink() {
                    fs::read_link(&path)?.hash(&mut hasher);
                } else if data.is_file() {
                    sum(&fs::read(&path)?).hash(&mut hasher);
                } else if data.is_dir() {
                    folders.push(path);
                }
                let content = hasher.finish();
                files.insert(name, (data.mode(), data.uid(), data.gid(), content));
            }
        }
        Ok(Self(files))
    }

    /// Returns what is more, less or other in `later`, one path a line.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (name, file) in &later.0 {
            match self.0.get(name) {
                None => changes.push(format!("{} is new", name.display())),
                Some(old) if old != file => changes.push(format!("{} is another", name.display())),
                Some(_) => {}
            }
        }
        let gone = self.0.keys().filter(|name| !later.0.contains_key(*name));
        changes.extend(gone.map(|name| format!("{} is gone", name.display())));
        changes
    }
}

/// Returns a sum of a file's bytes, fast enough for a whole system on an emulated CPU.
fn sum(bytes: &[u8]) -> (usize, u64) {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder().iter().map(|&byte| u64::from(byte));
    let words = words.map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
    let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (bytes.len(), words.chain(rest).fold(0, mix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_gone_or_changed_is_told() {
        let top = std::env::temp_dir().join(format!("pagemove-files-{}", std::process::id()));
        let look = || Files::look(&top, &["dev"]).unwrap();
        fs::create_dir_all(top.join("etc")).unwrap();
        fs::create_dir_all(top.join("dev")).unwrap();
        for name in ["etc/a", "etc/b", "etc/c"] {
            fs::write(top.join(name), "text of many words").unwrap();
        }
        let before = look();
        for name in ["etc/group", "dev/x"] {
            fs::write(top.join(name), "").unwrap();
        }
        fs::write(top.join("etc/c"), "text of many words").unwrap();
        assert!(before.changes(&look()).is_empty());
        fs::create_dir(top.join("left")).unwrap();
        fs::write(top.join("etc/b"), "text of many Words").unwrap();
        fs::remove_file(top.join("etc/a")).unwrap();
        let changes = before.changes(&look());
        assert_eq!(
            changes,
            ["etc/b is another", "left is new", "etc/a is gone"]
        );
        fs::remove_dir_all(&top).unwrap();
    }
}
