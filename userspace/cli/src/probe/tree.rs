// SPDX-License-Identifier: GPL-2.0
//! The files of the kernel, all below one root, so that tests can make them up.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::fact::{Fact, Known};

/// Names are paths without the first slash: `sys/class/iommu`.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns whether these are the files of the machine that this runs on, so that what
    /// its CPU says belongs to them.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Returns a file's text without the white space around it; None if there is none.
    pub fn text(&self, name: &str) -> Fact<Option<String>> {
        self.bytes(name)
            .map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_string()))
    }

    /// Returns a file's text; unknown if there is no such file.
    pub fn must(&self, name: &str) -> Fact<String> {
        self.text(name).and_then(|text| match text {
            Some(text) => Known(text),
            None => Fact::unknown(format!("there is no /{name}")),
        })
    }

    pub fn bytes(&self, name: &str) -> Fact<Option<Vec<u8>>> {
        found(name, fs::read(self.path(name)))
    }

    /// Returns what is in a directory, in order; None if it does not exist.
    pub fn names(&self, name: &str) -> Fact<Option<Vec<String>>> {
        let read = |entries: fs::ReadDir| -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in entries {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        };
        found(name, fs::read_dir(self.path(name)).and_then(read))
    }

    /// Returns the parts of a symbolic link's target; None if there is no link.
    pub fn link(&self, name: &str) -> Option<Vec<String>> {
        let target = fs::read_link(self.path(name)).ok()?;
        let parts = target.components().filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        });
        Some(parts.collect())
    }

    /// Returns the last part of a symbolic link's target: how sysfs names a driver or group.
    pub fn link_name(&self, name: &str) -> Option<String> {
        self.link(name)?.pop()
    }

    /// Returns how long a file says that it is.
    pub fn size(&self, name: &str) -> Option<u64> {
        Some(fs::metadata(self.path(name)).ok()?.len())
    }
}

fn found<T>(name: &str, result: io::Result<T>) -> Fact<Option<T>> {
    match result {
        Ok(value) => Known(Some(value)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Known(None),
            ErrorKind::PermissionDenied => Fact::unknown(format!("needs root: /{name}")),
            _ => Fact::unknown(format!("/{name} can not be read: {error}")),
        },
    }
}

/// Returns a number in a file's text, with the file's name where it is none.
pub fn number(name: &str, text: &str, radix: u32) -> Fact<u64> {
    let digits = text.strip_prefix("0x").filter(|_| radix == 16);
    let digits = digits.unwrap_or(text);
    // from_str_radix alone would take a sign, too.
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
    match u64::from_str_radix(digits, radix) {
        Ok(number) if plain => Known(number),
        _ => Fact::unknown(format!(
            "/{name} holds {}, which is not a number",
            shortened(text)
        )),
    }
}

/// Returns a text of unknown origin for a message: printable, and not too much of it.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    format!("{start:?}")
}

/// Returns numbers as the kernel lists them: `0-2,5`.
pub fn list(name: &str, text: &str) -> Fact<Vec<u32>> {
    // More than any kernel has CPUs; keeps a nonsense range from being counted out.
    const MOST: u32 = 1 << 16;
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last < MOST => numbers.extend(first..=last),
            _ => {
                let text = shortened(text);
                return Fact::unknown(format!("/{name} holds {text}, which is not a list"));
            }
        }
    }
    Known(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_strictly() {
        assert_eq!(number("f", "f0", 16), Known(0xf0));
        assert_eq!(number("f", "0xf0", 16), Known(0xf0));
        for text in ["", "+1", "-1", "zz", "1 2", "11112222333344445", "0x"] {
            let why = number("sys/f", text, 16);
            assert!(why.why().unwrap().starts_with("/sys/f holds"), "{text}");
        }
    }

    #[test]
    fn what_may_not_be_read_needs_root() {
        let denied = || Err::<(), _>(io::Error::from(ErrorKind::PermissionDenied));
        assert_eq!(found("dev/f", denied()).why(), Some("needs root: /dev/f"));
        let missing = Err::<(), _>(io::Error::from(ErrorKind::NotFound));
        assert_eq!(found("dev/f", missing), Known(None));
    }

    #[test]
    fn lists_are_read_strictly() {
        assert_eq!(list("f", "0-2,5"), Known(vec![0, 1, 2, 5]));
        assert_eq!(list("f", ""), Known(vec![]));
        for text in ["a", "3-1", "0-4294967295", "-", "1,-2"] {
            assert!(list("f", text).known().is_none(), "{text}");
        }
    }

    #[test]
    fn a_long_text_is_shortened_in_messages() {
        let long = "\u{7}x".repeat(4000);
        let why = number("f", &long, 16);
        assert!(why.why().unwrap().len() < 200);
        assert!(why.why().unwrap().contains("\\u{7}"));
    }
}
