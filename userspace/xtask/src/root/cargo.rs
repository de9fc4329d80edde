// SPDX-License-Identifier: GPL-2.0
//! The build root's cargo, on this checkout: the compiler that users of Debian have.

use super::chroot;
use crate::module::checkout_id;
use crate::place::Place;
use anyhow::{bail, Context, Result};
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checkout can only be read there, so that Cargo.lock stays as it is. Where crates are kept is
/// shared with this machine's cargo; the programs that it keeps there, as rustup's cargo-clippy, are hidden:
/// cargo would take them for its own.
const ENTER: &str = r#"dir=$1 checkout=$2 home=$3 target=$4; shift 4
mount -t proc proc "$dir/proc" &&
mount -t tmpfs tmpfs "$dir/mnt" && mkdir "$dir/mnt/checkout" "$dir/mnt/cargo" "$dir/mnt/target" &&
mount --bind "$checkout" "$dir/mnt/checkout" && mount -o remount,bind,ro "$dir/mnt/checkout" &&
mount --bind "$home" "$dir/mnt/cargo" &&
{ test ! -d "$dir/mnt/cargo/bin" || mount -t tmpfs tmpfs "$dir/mnt/cargo/bin"; } &&
mount --bind "$target" "$dir/mnt/target" &&
exec chroot "$dir" sh -c 'cd /mnt/checkout/userspace && exec cargo "$@"' sh "$@""#;

/// Makes `cargo ARGUMENTS` of the build root at `dir`, in the workspace of this checkout.
///
/// It never asks the network: this machine's cargo, which is set up for it, has fetched all crates.
pub fn command(place: &Place, dir: &Path, arguments: &[String]) -> Result<Command> {
    chroot::need_root("running the build root's cargo")?;
    fetch(place)?;
    let home = home()?;
    let target = target(place);
    seed(place, &target)?;
    fs::create_dir_all(&target).with_context(|| format!("making {}", target.display()))?;
    let mut command = chroot::shell(dir, ENTER);
    command
        .args([place.checkout(), &home, &target])
        .args(arguments);
    command
        .env("CARGO_HOME", "/mnt/cargo")
        .env("CARGO_TARGET_DIR", "/mnt/target")
        .env("CARGO_NET_OFFLINE", "true");
    // The user's settings, which are beside the crates, may name programs that are not in there.
    command
        .env("RUSTC_WRAPPER", "")
        .env("RUSTFLAGS", "")
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "cc");
    Ok(command)
}

/// Returns where it builds, for this checkout.
fn target(place: &Place) -> PathBuf {
    place.cache().join("cargo-debian").join(checkout_id(place))
}

/// Takes what another checkout has built of the crates of others. It only saves time.
fn seed(place: &Place, target: &Path) -> Result<()> {
    let script = place.workspace().join("seed.sh");
    let status = Command::new(&script).arg(target).status();
    status.with_context(|| format!("starting {}", script.display()))?;
    Ok(())
}

/// Removes what it has built of this checkout.
pub fn clean(place: &Place) -> Result<()> {
    let dir = target(place);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn fetch(place: &Place) -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args(["fetch", "--locked", "--target", "x86_64-unknown-linux-gnu"])
        .current_dir(place.workspace())
        .stdin(Stdio::null());
    let output = command
        .output()
        .context("cargo is missing: install cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("cargo could not fetch the crates: {}", text.trim());
    }
    Ok(())
}

/// Returns where this machine's cargo keeps the crates.
fn home() -> Result<PathBuf> {
    match env::var_os("CARGO_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(PathBuf::from(dir)),
        None => {
            let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
            Ok(Path::new(&home).join(".cargo"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_of_this_checkout() {
        let scratch = tempfile::tempdir().unwrap();
        let of = |checkout: &str| Place::made_up(scratch.path().join(checkout), scratch.path());
        let (one, other) = (of("one"), of("other"));
        for place in [&one, &other] {
            fs::create_dir_all(target(place).join("debug")).unwrap();
        }
        clean(&one).unwrap();
        assert!(!target(&one).exists() && target(&other).exists());
        clean(&one).unwrap();
    }
}
