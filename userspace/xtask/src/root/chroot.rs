// SPDX-License-Identifier: GPL-2.0
//! Run a program inside the build root.

use anyhow::{bail, Result};
use nix::unistd::geteuid;
use std::path::Path;
use std::process::Command;

/// What the shell in between does: everything it mounts is in a mount namespace
/// of its own, so nothing stays mounted however this ends. objtool needs /proc.
const ENTER: &str = r#"dir=$1; shift
mount -t proc proc "$dir/proc" && exec chroot "$dir" "$@""#;

/// Variables that are passed on into the build root.
const KEPT: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// Makes a command of `program` of the build root at `dir`, to be run in it.
pub fn command(dir: &Path, program: &str) -> Command {
    let mut command = shell(dir, ENTER);
    command.arg(program);
    command
}

/// Returns a shell of this machine that runs `script`, which is to enter the build root at `dir`,
/// its $1. What it mounts is there for what it starts and for nobody else.
pub fn shell(dir: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]);
    command.args(["sh", "-c", script, "sh"]).arg(dir);
    command.env_clear();
    command.envs(
        KEPT.iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    command
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Fails where there are no root's rights, which entering the build root takes.
pub fn need_root(what: &str) -> Result<()> {
    if !geteuid().is_root() {
        bail!("{what} needs root, to enter the build root (chroot and a private /proc): run it with sudo");
    }
    Ok(())
}
