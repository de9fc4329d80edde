// SPDX-License-Identifier: GPL-2.0
//! Kernel modules: loading and unloading them.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::system;

pub const PAGEMOVE: &str = "pagemove";

/// What the VM loads the module with. The runner may say otherwise.
const PARAMETERS: &str = "allow_incoherent=1 allow_unqualified=1";

fn errno() -> i32 {
    std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module")
        .join(name)
        .join("initstate")
        .exists()
}

/// insmod: the errno if the kernel does not want it.
fn insert(path: &Path, parameters: &str) -> Result<Result<(), i32>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let parameters = CString::new(parameters)?;
    // SAFETY: an open file and a C string.
    let result = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            parameters.as_ptr(),
            0,
        )
    };
    Ok(if result == 0 { Ok(()) } else { Err(errno()) })
}

/// rmmod: the errno if the module is in use.
pub fn remove(name: &str) -> Result<(), i32> {
    let name = CString::new(name).expect("a module's name");
    // SAFETY: a C string.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    if result == 0 {
        Ok(())
    } else {
        Err(errno())
    }
}

/// A module of the stock kernel that the VM has but did not load.
pub fn load_stock(name: &str) -> Result<()> {
    if is_loaded(name) {
        return Ok(());
    }
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
    let path = Path::new("/lib/modules")
        .join(release.trim())
        .join(format!("{name}.ko"));
    let result = insert(&path, "")?;
    ensure!(
        result.is_ok(),
        "loading {name}: {}",
        std::io::Error::from_raw_os_error(result.unwrap_err())
    );
    Ok(())
}

/// A module that the test brought along.
pub fn load_file(path: &Path) -> Result<()> {
    let result = insert(path, "")?;
    ensure!(
        result.is_ok(),
        "loading {}: {}",
        path.display(),
        std::io::Error::from_raw_os_error(result.unwrap_err())
    );
    Ok(())
}

pub fn pagemove_file() -> PathBuf {
    std::env::var_os("PAGEMOVE_KO").map_or_else(|| PathBuf::from("/pagemove.ko"), PathBuf::from)
}

/// Loads pagemove with the parameters that the VM uses.
pub fn load_pagemove() -> Result<()> {
    let parameters = std::env::var("PAGEMOVE_PARAMS").unwrap_or_else(|_| PARAMETERS.to_string());
    load_pagemove_with(&parameters)
}

/// One attempt with more parameters: the errno if it fails.
pub fn try_to_load(more: &str) -> Result<Result<(), i32>> {
    let parameters = std::env::var("PAGEMOVE_PARAMS").unwrap_or_else(|_| PARAMETERS.to_string());
    insert(&pagemove_file(), &format!("{parameters} {more}"))
}

pub fn load_pagemove_with(parameters: &str) -> Result<()> {
    let result = insert(&pagemove_file(), parameters)?;
    ensure!(
        result.is_ok(),
        "insmod: {}",
        std::io::Error::from_raw_os_error(result.unwrap_err())
    );
    // devtmpfs makes the file in a thread of its own.
    let file = Path::new(pagemove_uapi::DEVICE);
    system::wait_until("the device file is there", Duration::from_secs(5), || {
        Ok(file.exists())
    })?;
    Ok(())
}

/// Unloads pagemove; it may need a moment after its last use.
pub fn unload_pagemove(most: Duration) -> Result<Duration> {
    let mut last = 0;
    system::wait_until("the module unloads", most, || {
        Ok(remove(PAGEMOVE).inspect_err(|errno| last = *errno).is_ok())
    })
    .with_context(|| format!("rmmod: {}", std::io::Error::from_raw_os_error(last)))
}
