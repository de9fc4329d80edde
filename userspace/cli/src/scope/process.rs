// SPDX-License-Identifier: GPL-2.0
//! Which devices a process has: VFIO tells it of each of its files.

use std::fs;
use std::path::Path;

use pagemove_uapi::PciAddress;

/// How VFIO begins the line about a device (`vfio_device_show_fdinfo()`).
const LINE: &str = "vfio-device-syspath:";

/// Returns the devices that a process has open by VFIO, by address. `proc`: where that file system is.
pub fn devices(proc: &Path, pid: u32) -> Result<Vec<PciAddress>, String> {
    let files = proc.join(pid.to_string()).join("fdinfo");
    let entries = fs::read_dir(&files).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no process {pid}"),
        _ => format!("{}: {error}", files.display()),
    })?;
    let mut found: Vec<PciAddress> = entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .filter_map(|text| device(&text))
        .collect();
    found.sort();
    found.dedup();
    match found.is_empty() {
        true => Err(format!(
            "process {pid} has no device open by VFIO: give the process of the VMM"
        )),
        false => Ok(found),
    }
}

/// Returns the device that the information on a file is about.
fn device(text: &str) -> Option<PciAddress> {
    let path = text.lines().find_map(|line| line.strip_prefix(LINE))?;
    path.trim().rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_those_of_the_files() {
        let proc = tempfile::tempdir().unwrap();
        let folder = proc.path().join("7/fdinfo");
        fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        put("0", "pos:\t0\nflags:\t02\n");
        assert!(devices(proc.path(), 7)
            .unwrap_err()
            .contains("no device open"));
        let path = "/sys/devices/pci0000:64/0000:64:02.0";
        put("1", &format!("pos:\t0\n{LINE} {path}/0000:65:00.1\n"));
        put("2", &format!("pos:\t0\n{LINE} {path}/0000:65:00.0\n"));
        put("3", &format!("pos:\t0\n{LINE} {path}/0000:65:00.0\n"));
        put(
            "4",
            &format!("pos:\t0\n{LINE} /sys/devices/virtual/mdev/abc\n"),
        );
        assert_eq!(
            devices(proc.path(), 7).unwrap(),
            [
                PciAddress::new(0, 0x65, 0, 0),
                PciAddress::new(0, 0x65, 0, 1)
            ]
        );
        assert!(devices(proc.path(), 8)
            .unwrap_err()
            .contains("no process 8"));
    }
}
