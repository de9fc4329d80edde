// SPDX-License-Identifier: GPL-2.0
//! Where the sockets of programs that run are.

use crate::exit::{Exit, Failure};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Names a directory of the user's own, which systemd and others make.
const RUNTIME: &str = "XDG_RUNTIME_DIR";
/// What a socket's name ends with.
const END: &str = ".sock";

/// Returns the directory, and makes it.
pub fn directory() -> Result<PathBuf, Failure> {
    let base = std::env::var_os(RUNTIME)
        .filter(|base| !base.is_empty())
        .map(PathBuf::from);
    let base = match base {
        Some(base) => base,
        None if fs::metadata("/run").is_ok_and(|run| !run.permissions().readonly()) => {
            "/run".into()
        }
        None => {
            let text = format!("{RUNTIME} is not set: set it to a directory of yours");
            return Err(Failure::new(Exit::System, text));
        }
    };
    let directory = base.join("pagemove-app");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(Failure::of(
            Exit::System,
            format!("making {}", directory.display()),
        ))?;
    Ok(directory)
}

/// Returns the socket of a program.
pub fn socket(name: &str) -> Result<PathBuf, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        let text = format!(
            "{name:?} is no name: it has 1 to 64 letters, digits, '-', '_' or '.', and does not begin with '.'"
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(directory()?.join(format!("{name}{END}")))
}

/// Returns the names of all programs that have a socket.
pub fn names() -> Result<Vec<String>, Failure> {
    let directory = directory()?;
    let told = || Failure::of(Exit::System, format!("reading {}", directory.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).map_err(told())? {
        let name = entry.map_err(told())?.file_name();
        names.extend(
            name.to_str()
                .and_then(|name| name.strip_suffix(END))
                .map(str::to_string),
        );
    }
    names.sort();
    Ok(names)
}
