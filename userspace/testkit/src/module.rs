// SPDX-License-Identifier: GPL-2.0
//! Kernel modules: loading and unloading them.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags};

use crate::wait;

pub const PAGEMOVE: &str = "pagemove";
/// What the VM loads the module with. The runner may say otherwise.
const PARAMETERS: &str = "allow_incoherent=1 allow_unqualified=1";

pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module")
        .join(name)
        .join("initstate")
        .exists()
}

/// Loads a module; the errno if the kernel does not want it.
pub fn insert(path: &Path, parameters: &str) -> Result<Result<(), i32>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let parameters = CString::new(parameters)?;
    Ok(finit_module(&file, &parameters, ModuleInitFlags::empty()).map_err(|errno| errno as i32))
}

/// Loads a module, and tells what the kernel has against it.
fn load(path: &Path, parameters: &str) -> Result<()> {
    insert(path, parameters)?
        .map_err(std::io::Error::from_raw_os_error)
        .with_context(|| format!("insmod {} {parameters}", path.display()))
}

/// Unloads a module; the errno if it is in use.
pub fn remove(name: &str) -> Result<(), i32> {
    let name = CString::new(name).map_err(|_| libc::EINVAL)?;
    delete_module(&name, DeleteModuleFlags::O_NONBLOCK).map_err(|errno| errno as i32)
}

/// Unloads modules that are loaded, in this order.
pub fn remove_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    for name in names.into_iter().filter(|name| is_loaded(name)) {
        remove(name)
            .map_err(std::io::Error::from_raw_os_error)
            .with_context(|| format!("rmmod {name}"))?;
    }
    Ok(())
}

/// Loads a module of the stock kernel that the VM has but did not load.
pub fn load_stock(name: &str) -> Result<()> {
    if is_loaded(name) {
        return Ok(());
    }
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
    let path = Path::new("/lib/modules")
        .join(release.trim())
        .join(format!("{name}.ko"));
    load(&path, "")
}

/// Loads a module that the test brought along.
pub fn load_file(path: &Path) -> Result<()> {
    load(path, "")
}

pub fn pagemove_file() -> PathBuf {
    std::env::var_os("PAGEMOVE_KO").map_or_else(|| PathBuf::from("/pagemove.ko"), PathBuf::from)
}

/// Returns the parameters that the VM loads pagemove with.
pub fn parameters() -> String {
    std::env::var("PAGEMOVE_PARAMS").unwrap_or_else(|_| PARAMETERS.to_string())
}

/// Loads pagemove with the parameters that the VM uses.
pub fn load_pagemove() -> Result<()> {
    load_pagemove_with(&parameters())
}

/// Tries once to load pagemove, with more parameters: the errno if it fails.
pub fn try_to_load(more: &str) -> Result<Result<(), i32>> {
    insert(&pagemove_file(), &format!("{} {more}", parameters()))
}

pub fn load_pagemove_with(parameters: &str) -> Result<()> {
    load(&pagemove_file(), parameters)?;
    // devtmpfs makes the file in a thread of its own.
    let file = Path::new(pagemove_uapi::DEVICE);
    wait::until("the device file is there", Duration::from_secs(5), || {
        Ok(file.exists())
    })?;
    Ok(())
}

/// Unloads pagemove; it may need a moment after its last use.
pub fn unload_pagemove(most: Duration) -> Result<Duration> {
    let mut last = 0;
    wait::until("the module unloads", most, || {
        Ok(remove(PAGEMOVE).inspect_err(|errno| last = *errno).is_ok())
    })
    .with_context(|| format!("rmmod: {}", std::io::Error::from_raw_os_error(last)))
}
